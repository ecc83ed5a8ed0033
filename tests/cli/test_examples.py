"""Every example runs as its README says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(120)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="`pillion run` is proven on Linux")
def test_an_order_travels_and_leaves_nothing_behind() -> None:
    folder = EXAMPLES / "01-orders"
    before = sorted(folder.rglob("*"))
    told = subprocess.run(
        [sys.executable, "-B", str(folder / "demo.py")],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    steps = told.stdout.partition("with the time each app saw")[2]
    words = ["HTTP call", "service invocation", "state saved", "the broker", "subscribes", "output binding"]
    assert [word for word in words if word not in steps] == []
    assert sorted(folder.rglob("*")) == before
