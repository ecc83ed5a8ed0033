"""The papers of the project agree with what is in it."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pillion import __version__
from tests.house.source import PROJECT, SOURCE

PAPERS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "decisions/README.md"]
INDEX = SOURCE / "drivers" / "index.py"


def read(name: str) -> str:
    return (PROJECT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))["project"]


@pytest.mark.parametrize("name", PAPERS)
def test_every_paper_is_there(name: str) -> None:
    assert read(name).strip()


def test_every_make_command_that_a_paper_names_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", read("Makefile"), re.MULTILINE))
    named = {t for p in PAPERS for t in re.findall(r"(?:`|^ *)make ([a-z][a-z0-9-]*)", read(p), re.MULTILINE)}
    assert named <= targets


def test_every_link_between_papers_leads_somewhere() -> None:
    dead = []
    for paper in [
        *(PROJECT / name for name in PAPERS),
        *PROJECT.glob("decisions/*.md"),
        *PROJECT.glob("docs/**/*.md"),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", paper.read_text(encoding="utf-8")):
            if not (paper.parent / target).exists():
                dead.append(f"{paper.relative_to(PROJECT)} -> {target}")
    assert dead == []


def test_versions_agree() -> None:
    assert project()["version"] == __version__
    assert __version__ in read("CHANGELOG.md")


def test_every_dependency_says_what_for() -> None:
    section = read("pyproject.toml").partition("\ndependencies = [\n")[2].partition("\n]\n")[0]
    lines = [line.strip() for line in section.splitlines()]
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line[0] != "#" and before[:1] != "#"
    ]
    assert bare == []


def test_every_room_is_described_and_none_is_invented() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    described = set(re.findall(r"^\*\*`([a-z]+)/`\*\*", read("ARCHITECTURE.md"), re.MULTILINE))
    assert rooms == described


def test_decisions_are_numbered_once_and_complete() -> None:
    pages = sorted((PROJECT / "decisions").glob("[0-9]*.md"))
    assert len({page.name[:4] for page in pages}) == len(pages)
    parts = ("## Context", "## Choice", "## Consequence")
    thin = [p.name for p in pages if not all(part in p.read_text(encoding="utf-8") for part in parts)]
    assert thin == []


def test_every_example_says_what_it_shows() -> None:
    folders = [path for path in PROJECT.glob("examples/*") if path.is_dir() and any(path.iterdir())]
    assert [folder.name for folder in folders if not (folder / "README.md").exists()] == []


@pytest.mark.parametrize("name", ["pilliond", "pillion"])
def test_every_command_points_at_a_function(name: str) -> None:
    module, _, function = project()["scripts"][name].partition(":")
    if not written(module):
        return  # its room is still empty
    assert callable(getattr(importlib.import_module(module), function))


def drivers() -> list[tuple[str, str, str]]:
    """Type, module and class of every row of the index whose driver is in the tree."""
    if not INDEX.exists():
        return []
    rows = importlib.import_module("pillion.drivers.index").INDEX.items()
    places = [(type_name.partition("/")[0], *row["at"].split(":")) for type_name, row in rows]
    return [(type_name, module, name) for type_name, module, name in places if written(module)]


def written(module: str) -> bool:
    path = SOURCE.parent / Path(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def test_every_driver_of_the_index_is_a_class_with_a_page() -> None:
    pages = {
        kind: getattr(importlib.import_module(module), name).__doc__ or "" for kind, module, name in drivers()
    }
    assert [kind for kind, page in pages.items() if len(page.strip().splitlines()) < 2] == []


def test_every_driver_of_the_index_has_a_rig() -> None:
    bare = []
    for kind, module, name in drivers():
        rigs = PROJECT / "tests" / "conformance" / f"test_{module.split('.')[2]}.py"
        told = rigs.read_text(encoding="utf-8") if rigs.exists() else kind
        if kind not in told and name not in told:
            bare.append(f"{kind} in {rigs.name}")
    assert bare == []
