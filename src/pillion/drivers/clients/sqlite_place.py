"""Where a connection string says that a database lies, and what else it says of how to open it."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from pillion.contracts.words import Refused

MEMORY: Final = ":memory:"
_OURS: Final = {
    "busy_timeout": "busyTimeout",
    "journal_mode": "disableWAL",
    "foreign_keys": "",
}
"""Pragmas that may not be given, with the setting to use instead."""
_SQLITES_OWN: Final = frozenset({"mode", "immutable", "nolock", "psow", "vfs"})
_PRAGMA: Final = re.compile(r"\s*(\w+)\s*(?:[(=]\s*([\w.+-]+)\s*\)?)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A path (or MEMORY), SQLite's own parameters for opening it, and pragmas to set afterwards."""

    path: str
    parameters: tuple[tuple[str, str], ...] = ()
    pragmas: tuple[str, ...] = ()

    @property
    def in_memory(self) -> bool:
        return self.path == MEMORY

    @property
    def read_only(self) -> bool:
        return ("mode", "ro") in self.parameters or ("immutable", "1") in self.parameters

    @property
    def uri(self) -> str:
        """As SQLite takes it."""
        options = f"?{urlencode(self.parameters)}" if self.parameters else ""
        return f"file:{quote(self.path)}{options}"


def place_of(connection_string: str) -> Place:
    """Read `data.db`, `file:data.db?mode=ro`, `file:///var/data.db`, `:memory:`, with `_pragma=name(value)` as often as wanted.

    Raises Refused for a pragma that belongs to a setting. Other parameters of the Go driver have no meaning here, since
    every write begins by taking the lock and the file has one connection.
    """
    body, _, query = connection_string.strip().partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    path = _path(body)
    parameters = tuple((name, value) for name, value in given if name in _SQLITES_OWN)
    if path.lower().startswith(MEMORY) or ("mode", "memory") in given:
        path, parameters = MEMORY, ()
    pragmas = tuple(_pragma(value) for name, value in given if name == "_pragma")
    return Place(path=path, parameters=parameters, pragmas=pragmas)


def path_of(connection_string: str) -> str:
    """The path alone."""
    return place_of(connection_string).path


def _path(body: str) -> str:
    if not body.lower().startswith("file:"):
        return body
    path = unquote(body[5:])
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        return f"/{rest.lstrip('/')}" if slash and host in ("", "localhost") else "/" + path.lstrip("/")
    return path


def _pragma(text: str) -> str:
    found = _PRAGMA.fullmatch(text)
    if found is None:
        raise Refused(f"connectionString: _pragma={text} is not of the form name(value)")
    name, value = found[1].lower(), found[2]
    if name in _OURS:
        instead = f": use {_OURS[name]}" if _OURS[name] else ""
        raise Refused(f"found forbidden option '_pragma={name}' in the connection string{instead}")
    return name if value is None else f"{name} = {value}"
