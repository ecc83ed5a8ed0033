"""The house's two import contracts, for import-linter: which room may import which, and who may import a third party.

Both read the tables in `pyproject.toml`. They are ours because the table of rooms is one of *allowed* imports, rooms may
still be empty or absent, and a third-party package that nobody listed must be refused rather than overlooked.
"""

import sys
from collections.abc import Iterable, Iterator

from grimp import ImportGraph
from importlinter.application import output
from importlinter.domain import fields
from importlinter.domain.contract import Contract, ContractCheck

ROOT = "pillion"


def table(rows: Iterable[str]) -> dict[str, set[str]]:
    """`"a -> b c"` rows as a mapping of a name to a set of names."""
    parts = (row.partition("->") for row in rows)
    return {name.strip(): set(allowed.split()) for name, _, allowed in parts}


def inside(module: str, place: str) -> bool:
    """Whether a module is that place or lies under it."""
    return module == place or module.startswith(place + ".")


def own_imports(graph: ImportGraph) -> Iterator[tuple[str, str]]:
    """Importer and imported, for every import a module of ours makes."""
    for importer in sorted(name for name in graph.modules if inside(name, ROOT)):
        for imported in sorted(graph.find_modules_directly_imported_by(importer)):
            yield importer, imported


class Plan:
    """The table of rooms: where a module belongs and what it may see from there."""

    def __init__(self, rows: Iterable[str]) -> None:
        raw = table(rows)
        self._allowed = {f"{ROOT}.{name.rstrip('!')}": seen for name, seen in raw.items()}
        self._split = {f"{ROOT}.{name.rstrip('!')}" for name in raw if name.endswith("!")}

    def room(self, module: str) -> str | None:
        """The longest name in the table that the module lies in."""
        fitting = [name for name in self._allowed if inside(module, name)]
        return max(fitting, key=len, default=None)

    def objection(self, importer: str, imported: str) -> str | None:
        """Why this import may not be; None when it may."""
        if ROOT in (importer, imported):
            return None if imported == ROOT else "the root package imports nothing"
        here, there = self.room(importer), self.room(imported)
        if here is None:
            return "its room is not in the table"
        if here == there:
            return self._between_siblings(here, importer, imported)
        if any(inside(imported, f"{ROOT}.{name}") for name in self._allowed[here]):
            return None
        return f"{here} may not look there"

    def _between_siblings(self, room: str, importer: str, imported: str) -> str | None:
        if room not in self._split or _part(room, importer) == _part(room, imported):
            return None
        return f"the parts of {room} do not import each other"


def _part(room: str, module: str) -> str:
    return module.removeprefix(room).lstrip(".").partition(".")[0]


class _Listed(Contract):
    """A contract that fails with a list of imports, each with its reason."""

    def render_broken_contract(self, check: ContractCheck) -> None:
        for line in check.metadata["refused"]:
            output.print_error(f"- {line}", bold=False)

    @staticmethod
    def _verdict(graph: ImportGraph, refused: list[tuple[str, str, str]]) -> ContractCheck:
        lines = [f"{_place(graph, a, b)} imports {b}: {why}" for a, b, why in refused]
        return ContractCheck(kept=not lines, metadata={"refused": lines})


def _place(graph: ImportGraph, importer: str, imported: str) -> str:
    details = graph.get_import_details(importer=importer, imported=imported)
    return f"{importer} (line {details[0]['line_number']})" if details else importer


class Rooms(_Listed):
    """Every import between modules of ours is one that the table allows."""

    type_name = "rooms"
    rooms = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        plan = Plan(self.rooms)  # type: ignore[arg-type]  # a field reads as its value on an instance
        refused = []
        for importer, imported in own_imports(graph):
            if inside(imported, ROOT) and (why := plan.objection(importer, imported)):
                refused.append((importer, imported, why))
        return self._verdict(graph, refused)


class Doors(_Listed):
    """Every import of a third party goes through a door of the table, and pure rooms stay pure."""

    type_name = "doors"
    doors = fields.ListField(subfield=fields.StringField())
    pure = fields.ListField(subfield=fields.StringField())
    impure = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        doors = table(self.doors)  # type: ignore[call-overload]
        refused = []
        for importer, imported in own_imports(graph):
            package = imported.partition(".")[0]
            if package != ROOT and (why := self._objection(doors, importer, package)):
                refused.append((importer, imported, why))
        return self._verdict(graph, refused)

    def _objection(self, doors: dict[str, set[str]], importer: str, package: str) -> str | None:
        if package in sys.stdlib_module_names:
            unclean = package in self.impure and any(inside(importer, f"{ROOT}.{room}") for room in self.pure)  # type: ignore[operator,attr-defined]
            return "a pure room has no clock, no I/O and no tasks" if unclean else None
        if package not in doors:
            return "no door is named for this package"
        if any(inside(importer, f"{ROOT}.{place}") for place in doors[package]):
            return None
        return f"its door is {', '.join(sorted(doors[package]))}"
