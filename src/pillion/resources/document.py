"""YAML documents as trees whose every node knows its line; bounded in size."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pillion.resources.problems import Report, Source
from pillion.toolbox.lazily import dataclass

MAX_BYTES = 16 * 1024 * 1024

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. A member of a mapping stands where its key stands."""

    source: Source
    value: "Scalar | tuple[Node, ...] | dict[str, Node]"
    weight: int = 1
    """How many nodes it is made of, aliases counted each time."""

    @property
    def fields(self) -> "dict[str, Node]":
        """The members of a mapping, nothing for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> "tuple[Node, ...]":
        """The members of a sequence, nothing for anything else."""
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def text(self) -> str | None:
        """A scalar as Dapr would hand it to something that wants text; None for null and collections."""
        match self.value:
            case bool(flag):
                return "true" if flag else "false"
            case float(number):
                return _float_text(number)
            case str() | int():
                return str(self.value)
        return None

    def plain(self) -> Any:
        """The same as ordinary dicts and lists."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value


def _float_text(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e21 else repr(number)


def read(path: Path, report: Report, *, rewrite: Callable[[str], str] | None = None) -> list[Node]:
    """The documents of a file; `rewrite` changes its text first. What cannot be read is reported."""
    whole = Source(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            report.spoil(whole, "", f"larger than {MAX_BYTES >> 20} MiB: not read")
            return []
        text = data.decode("utf-8-sig")
    except OSError as error:
        report.spoil(whole, "", f"cannot be read: {error.strerror or error}")
        return []
    except UnicodeDecodeError:
        report.spoil(whole, "", "not UTF-8 text: not read")
        return []
    return parse(rewrite(text) if rewrite else text, str(path), report)


def parse(text: str, file: str, report: Report) -> list[Node]:
    """The documents of a text. One that is not YAML is reported and left out; the others stay."""
    from pillion.resources import events  # a sidecar without a manifest does without the YAML library

    return events.documents(text, file, report)


def overlay(below: Node, above: Node) -> Node:
    """Two trees as one: mappings are merged field by field, anything else above replaces what is below."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    fields = dict(below.value)
    for name, node in above.value.items():
        fields[name] = overlay(fields[name], node) if name in fields else node
    return replace(above, value=fields)
