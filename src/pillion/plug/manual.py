"""The manual of a settings class: rows for the docs and the dashboard, and a JSON schema for editors."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pillion.plug.settings import help_of, plain, wire_name
from pillion.toolbox.lazily import dataclass

_WORDS = {str: "string", int: "number", float: "number", bool: "bool", timedelta: "duration", Path: "path"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting as a person reads about it."""

    name: str
    type: str
    description: str
    required: bool = False
    sensitive: bool = False
    default: str | None = None
    example: str | None = None
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def rows(settings: type[Any]) -> tuple[Row, ...]:
    """One row per setting, in the order they are declared."""
    hints = get_type_hints(settings)
    return tuple(_row(field, plain(hints[field.name])) for field in dataclasses.fields(settings))


def _row(field: "dataclasses.Field[Any]", hint: Any) -> Row:
    note = help_of(field)
    return Row(
        name=wire_name(field),
        type=_word(hint),
        description=note.text,
        required=note.required,
        sensitive=note.secret,
        default=note.default,
        example=note.example,
        choices=get_args(hint) if get_origin(hint) is Literal else (),
        aliases=note.aliases,
    )


def _word(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Literal:
        return "string"
    return f"list of {_word(get_args(hint)[0])}" if origin in (tuple, list) else _WORDS[hint]


def schema(settings: type[Any]) -> dict[str, Any]:
    """A JSON schema of the metadata, every value being text as a manifest has it."""
    listed = rows(settings)
    return {
        "type": "object",
        "properties": {row.name: _property(row) for row in listed},
        "required": [row.name for row in listed if row.required],
        "additionalProperties": True,
    }


def _property(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"type": "string", "description": row.description, "format": row.type}
    if row.choices:
        told["enum"] = list(row.choices)
    if row.default is not None:
        told["default"] = row.default
    if row.example is not None:
        told["examples"] = [row.example]
    if row.sensitive:
        told["writeOnly"] = True
    return told
