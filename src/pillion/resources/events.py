"""YAML text to trees, bounded in depth and aliases.

Trees are built from the parser's events and never by its recursive composer, which crashes on deep nesting.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from pillion.resources.document import Node, Scalar
from pillion.resources.problems import Report, Source

MAX_NODES = 200_000
MAX_DEPTH = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?")
_TRUE = frozenset({"true", "yes", "on"})


class _Wrong(Exception):
    """This document cannot be used, from this line on."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def documents(text: str, file: str, report: Report) -> list[Node]:
    """The documents of a text. One that is not YAML is reported and left out; the others stay."""
    documents: list[Node] = []
    for line, part in _parts(text):
        try:
            documents += _Builder(file, line).build(part)
        except _Wrong as wrong:
            report.spoil(Source(file, wrong.line), "", f"not valid YAML: {wrong}")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = line + (mark.line if mark else 0) + 1
            report.spoil(Source(file, where), "", f"not valid YAML: {error.problem or error.context}")
        except yaml.YAMLError:
            report.spoil(
                Source(file, line + 1), "", "not valid YAML: it holds a character that YAML does not allow"
            )
    return documents


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Each document's text and the line, counted from 0, that it starts on."""
    start = line = 0
    for match in [*_SEPARATOR.finditer(text), None]:
        end = match.start() if match else len(text)
        part = text[start:end]
        if part.strip():
            yield line, part
        line += part.count("\n")
        start = match.end() if match else end


class _Builder:
    """Builds the trees of one text out of parser events."""

    def __init__(self, file: str, line: int) -> None:
        self._file = file
        self._first = line + 1
        self._anchors: dict[str, Node] = {}
        self._budget = MAX_NODES

    def build(self, text: str) -> list[Node]:
        self._loader = _LOADER(text)
        try:
            documents: list[Node] = []
            while (event := self._next()) is not None:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors.clear()
                    documents.append(self._node(self._next(), 0))
            return [document for document in documents if document.value is not None]
        finally:
            self._loader.dispose()

    def _next(self) -> Any:
        return self._loader.get_event() if self._loader.check_event() else None

    def _line(self, event: Any) -> int:
        return self._first + int(event.start_mark.line)

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _Wrong(self._line(event), f"nested deeper than {MAX_DEPTH} levels")
        source = Source(self._file, self._line(event))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, source)
        self._spend(1, source)
        if isinstance(event, yaml.ScalarEvent):
            node = Node(source, self._scalar(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(source, depth)
        else:
            node = self._mapping(source, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _spend(self, weight: int, source: Source) -> None:
        self._budget -= weight
        if self._budget < 0:
            raise _Wrong(source.line, f"more than {MAX_NODES:,} values once its aliases are written out")

    def _alias(self, event: Any, source: Source) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Wrong(source.line, f"unknown anchor '{event.anchor}' referenced")
        self._spend(node.weight, source)
        return replace(node, source=source)

    def _scalar(self, event: Any) -> Scalar:
        tag, text = event.tag, event.value
        if tag is None or tag == "!":
            tag = self._loader.resolve(yaml.ScalarNode, text, event.implicit)
        match tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return text.lower() in _TRUE
            case "int" if ":" not in text:  # YAML 1.1 would read 1:30 as ninety
                return _int(text)
            case "float" if ":" not in text:
                return _float(text)
        if event.implicit[0] and _NUMBER.fullmatch(text) and not text.isdecimal():
            return _float(text)  # 1e3, which YAML 1.1 takes for text
        return str(text)

    def _sequence(self, source: Source, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(source, tuple(items), 1 + sum(item.weight for item in items))

    def _mapping(self, source: Source, depth: int) -> Node:
        fields: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if key.value == "<<" and isinstance(value.value, (dict, tuple)):
                for each in reversed(value.items or (value,)):
                    merged |= each.fields
                continue
            if key.text is None:
                raise _Wrong(key.source.line, "a field's name must be text")
            fields[key.text] = replace(value, source=key.source)
        fields = merged | fields
        return Node(source, fields, 1 + sum(1 + node.weight for node in fields.values()))


def _int(text: str) -> int | str:
    digits = text.replace("_", "")
    try:
        octal = (
            len(digits.lstrip("+-")) > 1
            and digits.lstrip("+-").startswith("0")
            and digits.lstrip("+-").isdigit()
        )
        return int(digits, 8 if octal else 0)
    except ValueError:
        return text


def _float(text: str) -> float | str:
    try:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
