"""Which driver class serves a component type: the built-in index and what installed packages add."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from pillion.drivers.index import INDEX
from pillion.plug.component import Component
from pillion.toolbox import suggest

GROUP: Final = "pillion.drivers"
"""Entry-point group: name `state.mystore/v1`, value `package.module:Class`."""

_NOUNS: Final = {
    "state": "state store",
    "pubsub": "message bus",
    "bindings": "binding",
    "secretstores": "secret store",
    "nameresolution": "name resolver",
}


class UnknownType(LookupError):
    """No driver has this type and version."""


class ExtraMissing(ImportError):
    """The driver is there but its client library is not installed."""


class Catalogue:
    """Looks drivers up; a class is imported when it is first asked for."""

    def __init__(self, rows: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._rows = dict(INDEX if rows is None else rows)
        self._asked_packages = rows is not None

    def find(self, type_name: str, version: str) -> type[Component[Any]]:
        """The class of a type and version. No version, v0 and v1 are the same; the part after the category is matched without case.

        Raises UnknownType with the nearest right type, ExtraMissing with what to install.
        """
        category, _, name = type_name.partition(".")
        wanted = f"{category}.{name.lower()}/{canonical(version)}"
        row = self._rows.get(wanted) or self._installed().get(wanted)
        if row is None:
            raise UnknownType(self._unknown(type_name, version, wanted))
        module, _, attribute = row["at"].partition(":")
        try:
            found: type[Component[Any]] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise ExtraMissing(_install(type_name, row, error)) from error
        return found

    def extra(self, type_name: str) -> str:
        """The extra that installs a type's client library, "" when none is needed."""
        return self._rows.get(f"{type_name.lower()}/v1", {}).get("extra", "")

    def _installed(self) -> Mapping[str, Mapping[str, str]]:
        """All rows, those of installed packages too: looking through these takes longer than all the rest of a start."""
        if not self._asked_packages:
            from importlib.metadata import entry_points

            self._asked_packages = True
            found = {point.name: {"at": point.value} for point in entry_points(group=GROUP)}
            self._rows = {**found, **self._rows}
        return self._rows

    def _unknown(self, type_name: str, version: str, wanted: str) -> str:
        category = type_name.partition(".")[0]
        versions = sorted(
            row.partition("/")[2] for row in self._rows if row.partition("/")[0] == wanted.partition("/")[0]
        )
        if versions:
            hint = f"; this version has {', '.join(versions)} of it"
        else:
            types = {row.partition("/")[0] for row in self._rows if row.startswith(f"{category}.")}
            hint = suggest.hint(type_name, sorted(types))
        return f"couldn't find {_NOUNS.get(category, category)} {type_name}/{version or 'v1'}{hint}"


def canonical(version: str) -> str:
    """A component version as the rows spell it."""
    return "v1" if version.lower() in ("", "v0", "v1") else version.lower()


def _install(type_name: str, row: Mapping[str, str], error: ModuleNotFoundError) -> str:
    extra = row.get("extra")
    how = f"pip install 'pillion[{extra}]'" if extra else f"install the module {error.name}"
    return f"{type_name} needs a library that is not installed ({error.name}): {how}"
