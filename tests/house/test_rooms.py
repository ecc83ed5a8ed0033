"""Rooms only look down, and third parties enter by named doors."""

import subprocess
import sys

import grimp
import pytest

from tests.house.source import PROJECT
from tools.contracts import Doors, Plan, Rooms

ROWS = ["toolbox! ->", "model -> toolbox", "drivers.state! -> drivers.clients model", "drivers.clients ->"]


def graph(*imports: tuple[str, str]) -> grimp.ImportGraph:
    made = grimp.ImportGraph()
    made.add_module("pillion")
    for importer, imported in imports:
        made.add_import(importer=importer, imported=imported, line_number=1, line_contents="import")
    return made


def rooms() -> Rooms:
    return Rooms(name="rooms", session_options={}, contract_options={"rooms": ROWS})


def doors() -> Doors:
    options = {"doors": ["orjson -> wire edge"], "pure": ["rules"], "impure": ["time"]}
    return Doors(name="doors", session_options={}, contract_options=options)


def test_every_import_of_the_tree_is_allowed() -> None:
    # In a process of its own: import-linter configures logging and turns every logger of the process off.
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    told = subprocess.run([*command, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("pillion.model.state", "pillion.toolbox.ids", True),
        ("pillion.model.state", "pillion.model.errors", True),
        ("pillion.model.state", "pillion", True),
        ("pillion.toolbox.ids", "pillion.model.state", False),
        ("pillion.toolbox.ids", "pillion.toolbox.clock", False),
        ("pillion.drivers.state.redis", "pillion.drivers.clients.redis", True),
        ("pillion.drivers.state.redis", "pillion.drivers.state.memory", False),
        ("pillion.drivers.state.redis.rows", "pillion.drivers.state.redis.names", True),
        ("pillion.drivers.clients.redis", "pillion.drivers.state.redis", False),
        ("pillion.cellar", "pillion.toolbox.ids", False),
        ("pillion", "pillion.toolbox.ids", False),
    ],
)
def test_the_table_of_rooms_decides(importer: str, imported: str, allowed: bool) -> None:
    assert (Plan(ROWS).objection(importer, imported) is None) is allowed


def test_an_upward_import_breaks_the_contract() -> None:
    made = graph(("pillion.model.state", "pillion.drivers.clients.redis"))
    assert not rooms().check(made, verbose=False).kept


def test_a_downward_import_keeps_the_contract() -> None:
    assert rooms().check(graph(("pillion.model.state", "pillion.toolbox.ids")), verbose=False).kept


@pytest.mark.parametrize(
    ("importer", "imported", "kept"),
    [
        ("pillion.wire.json", "orjson", True),
        ("pillion.edge.http.state", "orjson", True),
        ("pillion.services.state", "orjson", False),
        ("pillion.services.state", "nobody_listed_this", False),
        ("pillion.services.state", "time", True),
        ("pillion.rules.state", "time", False),
        ("pillion.rules.state", "json", True),
    ],
)
def test_a_package_comes_in_by_its_door_only(importer: str, imported: str, kept: bool) -> None:
    made = graph()
    made.add_module(imported, is_squashed=True)
    made.add_import(importer=importer, imported=imported, line_number=1, line_contents="import")
    assert doors().check(made, verbose=False).kept is kept
