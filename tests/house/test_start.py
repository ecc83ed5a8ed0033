"""What a sidecar that starts does not load. Names are counted and not milliseconds: counting does not flake."""

import json
import re
import subprocess
import sys

import pytest

from tests.house.source import modules

SLOW = {
    "yaml": "no manifest was given",
    "google.protobuf": "nobody has spoken gRPC yet",
    "redis": "no component names it",
    "hiredis": "no component names it",
    "cel_expr_python": "there is no routing rule",
    "cryptography": "nothing is sealed",
    "sqlite3": "no file was opened",
    "importlib.metadata": "every type is one of ours",
    "email": "a date is written by hand",
    "urllib.request": "only --wait asks with it",
    "http.client": "only --wait asks with it",
    "difflib": "nobody made a mistake",
    "fractions": "sizes are whole numbers",
    "tempfile": "there is a home",
    "orjson": "there was no error, and nobody asked what this sidecar is",
    "uuid": "nothing was published",
    "hashlib": "no port was chosen",
    "random": "nothing is tried again",
    "zlib": "nothing is compressed",
    "pillion.host.household": "the ports come first",
    "pillion.contracts": "no component was given",
    "pillion.plug": "no component was given",
    "pillion.drivers": "no component was given",
    "pillion.wire": "nobody has called",
    "pillion.net.http2": "nobody has spoken it",
    "pillion.net.grpc": "nobody has called",
    "pillion.edge.grpc": "nobody has called",
    "pillion.edge.peer": "nobody has called",
    "pillion.edge.app": "the app is called later",
    "pillion.services.state": "nobody has called",
    "pillion.services.pubsub": "nobody has called",
    "pillion.testing": "it is for tests",
    "pillion.cli": "it is another program",
}
"""What may not be there when a sidecar could start, and why not."""

MOST = 75
"""Modules of ours; a few more are no harm, a whole room is."""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    script = "import json, sys, pillion.host.main; print(json.dumps(sorted(sys.modules)))"
    command = [sys.executable, "-I", "-c", script]
    return set(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))


@pytest.mark.parametrize("name", SLOW)
def test_what_an_idle_sidecar_does_without_is_not_imported(loaded: set[str], name: str) -> None:
    assert name not in loaded, SLOW[name]


def test_no_driver_is_imported_before_it_is_named(loaded: set[str]) -> None:
    kinds = ("state", "pubsub", "bindings", "secrets", "names", "clients")
    places = tuple(f"pillion.drivers.{kind}." for kind in kinds)
    assert [name for name in loaded if name.startswith(places)] == []


def test_a_start_loads_no_more_of_us_than_before(loaded: set[str]) -> None:
    assert len([name for name in loaded if name.startswith("pillion")]) <= MOST


def test_values_are_made_by_the_dataclass_that_writes_its_methods_late() -> None:
    # toolbox's modules do not know each other; the settings of SQLite are a default argument, which ruff must know frozen.
    spared = ("src/pillion/toolbox/", "src/pillion/drivers/clients/sqlite")
    early = [
        str(each)
        for each in modules()
        if re.search(r"^from dataclasses import .*\bdataclass\b", each.text, re.M)
    ]
    assert [name for name in early if not name.startswith(spared)] == []
