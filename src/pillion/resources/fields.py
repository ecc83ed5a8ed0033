"""Reading one mapping field by field: types checked, every mistake told, what nobody asked for named last."""

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from pillion.resources.document import Node
from pillion.resources.problems import Report, Source
from pillion.toolbox import durations, suggest


class Fields:
    """The members of one mapping and the path that leads there.

    A wrong type is told as spoiling the resource and the default is returned, so that one pass finds all
    mistakes. Names match exactly first and then without regard to case, as Dapr's reader does. Call `done`
    after the last field was asked for.
    """

    def __init__(self, node: Node, path: str, report: Report) -> None:
        self.source: Source = node.source
        self.report = report
        self.path = path
        self._members = node.fields
        self._lowered = {name.lower(): name for name in self._members}
        self._asked: dict[str, None] = {}
        if node.value is not None and not isinstance(node.value, dict):
            self._wrong(node, "", "fields")

    def __contains__(self, name: str) -> bool:
        node = self._members.get(self._spelled(name))
        return node is not None and node.value is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The fields there are."""
        return tuple(self._members)

    @property
    def asked(self) -> tuple[str, ...]:
        """The fields that were asked for, there or not."""
        return tuple(self._asked)

    def where(self, name: str) -> Source:
        """Where a field stands; the mapping's own place when it is absent."""
        node = self._members.get(self._spelled(name))
        return node.source if node else self.source

    def name_of(self, name: str) -> str:
        """The path of a field, for messages."""
        return f"{self.path}.{name}" if self.path and name else self.path or name

    def node(self, name: str) -> Node:
        """The field as it is; an empty node when absent."""
        self._asked[name] = None
        return self._members.get(self._spelled(name)) or Node(self.source, None)

    def text(self, name: str, default: str = "") -> str:
        """A scalar as text: numbers and bools are taken as written."""
        text = self.text_or_none(name)
        return default if text is None else text

    def text_or_none(self, name: str) -> str | None:
        node = self.node(name)
        if isinstance(node.value, (dict, tuple)):
            self._wrong(node, name, "text")
        return node.text

    def needed(self, name: str) -> str:
        """Text that must be there and not empty."""
        node, text = self.node(name), self.text(name)
        if not text and not isinstance(node.value, (dict, tuple)):
            self.report.spoil(self.where(name), self.name_of(name), "is required")
        return text

    def choice(self, name: str, choices: Collection[str], default: str = "", *, fatal: bool = False) -> str:
        """Text that is one of a few words, in any case; the word is returned as spelled in `choices`."""
        text = self.text(name, default)
        for choice in choices:
            if choice.lower() == text.lower():
                return choice
        if text != default:
            tell = self.report.fail if fatal else self.report.spoil
            said = f'"{text}" is not one of {", ".join(choices)}{suggest.hint(text, choices)}'
            tell(self.where(name), self.name_of(name), said)
        return default

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.flag_or_none(name)
        return default if value is None else value

    def flag_or_none(self, name: str) -> bool | None:
        node = self.node(name)
        if node.value is None or isinstance(node.value, bool):
            return node.value
        self._wrong(node, name, "true or false")
        return None

    def number(self, name: str, default: int = 0) -> int:
        node = self.node(name)
        if node.value is None:
            return default
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.value
        self._wrong(node, name, "a whole number")
        return default

    def span(self, name: str) -> timedelta | None:
        """A Go duration; one that cannot be read is told and ignored, as in Dapr."""
        text = self.text(name)
        try:
            return durations.parse(text) if text else None
        except durations.DurationError as error:
            self.report.warn(self.where(name), self.name_of(name), f"{error}: ignored")
            return None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of scalars."""
        found: list[str] = []
        for number, node in enumerate(self._listed(name)):
            if node.text is None:
                self._wrong(node, f"{name}[{number}]", "text")
            else:
                found.append(node.text)
        return tuple(found)

    def numbers(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        found: list[int] = []
        for number, node in enumerate(self._listed(name)):
            if isinstance(node.value, int) and not isinstance(node.value, bool):
                found.append(node.value)
            else:
                self._wrong(node, f"{name}[{number}]", "a whole number")
        return tuple(found)

    def table(self, name: str) -> dict[str, str]:
        """A mapping of names to text."""
        node = self.node(name)
        if node.value is not None and not isinstance(node.value, dict):
            self._wrong(node, name, "fields")
        found: dict[str, str] = {}
        for key, value in node.fields.items():
            if isinstance(value.value, (dict, tuple)):
                self._wrong(value, f"{name}.{key}", "text")
            found[key] = value.text or ""
        return found

    def section(self, name: str) -> "Fields":
        """A nested mapping; an empty one when absent."""
        return Fields(self.node(name), self.name_of(name), self.report)

    def sections(self, name: str) -> list["Fields"]:
        """A list of mappings."""
        return [
            Fields(node, self.name_of(f"{name}[{number}]"), self.report)
            for number, node in enumerate(self._listed(name))
        ]

    def raw(self, name: str) -> Any:
        """Whatever is there, as ordinary Python values."""
        return self.node(name).plain()

    def verbatim(self, name: str) -> str | None:
        """Any value as text: a scalar as written, a collection as JSON; None when absent."""
        node = self.node(name)
        if isinstance(node.value, (dict, tuple)):
            return json.dumps(node.plain(), separators=(",", ":"))
        return node.text

    def rest(self) -> dict[str, Node]:
        """The fields that nobody asked for."""
        asked = {name.lower() for name in self._asked}
        return {name: node for name, node in self._members.items() if name.lower() not in asked}

    def done(self, elsewhere: Mapping[str, str] = {}) -> None:
        """Tell of every field never asked for. `elsewhere`: where misplaced names belong."""
        for name, node in self.rest().items():
            place = elsewhere.get(name.lower())
            tail = f": it belongs {place}" if place else suggest.hint(name, self._asked)
            self.report.warn(node.source, self.name_of(name), f"unknown field{tail}")

    def _spelled(self, name: str) -> str:
        return name if name in self._members else self._lowered.get(name.lower(), name)

    def _listed(self, name: str) -> tuple[Node, ...]:
        node = self.node(name)
        if node.value is not None and not isinstance(node.value, tuple):
            self._wrong(node, name, "a list")
        return node.items

    def _wrong(self, node: Node, name: str, wanted: str) -> None:
        said = f"must be {wanted}, not {_kind(node)}"
        self.report.spoil(node.source, self.name_of(name), said)


def _kind(node: Node) -> str:
    match node.value:
        case None:
            return "nothing"
        case dict():
            return "fields"
        case tuple():
            return "a list"
        case bool() | int() | float():
            return f"{node.text}"
    return f'the text "{node.text}"'
