"""What is loaded behind open ports comes in small pieces."""

import json
import subprocess
import sys

from pillion.host.furnish import PIECES

MOST_AT_ONCE = 24
"""Modules between two turns of the loop: a few milliseconds."""

_SCRIPT = """
import importlib, json, sys, pillion.host.main
counts = {}
for name in sys.argv[1:]:
    before = len(sys.modules)
    importlib.import_module(f"pillion.{name}")
    counts[name] = len(sys.modules) - before
print(json.dumps(counts))
"""


def test_each_piece_is_small_and_none_is_idle() -> None:
    command = [sys.executable, "-I", "-c", _SCRIPT, *PIECES]
    counts = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert {name: count for name, count in counts.items() if not 0 < count <= MOST_AT_ONCE} == {}
