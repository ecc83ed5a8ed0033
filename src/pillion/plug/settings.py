"""Typed driver settings: one declaration is the parser, the validator and the manual's row."""

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pillion.toolbox import durations, suggest
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.truth import TRUE, is_true

T = TypeVar("T")
Unit = Literal["ns", "us", "ms", "s", "m", "h"]
REQUIRED: Any = object()
FALSE = frozenset({"0", "f", "false", "n", "no", "off", ""})


@dataclass(frozen=True, slots=True)
class Help:
    """What a person needs to know of one setting."""

    text: str
    default: str | None
    required: bool
    name: str | None
    aliases: tuple[str, ...]
    secret: bool
    example: str | None
    unit: Unit | None


def setting(
    text: str,
    *,
    default: str | None = REQUIRED,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    secret: bool = False,
    example: str | None = None,
    unit: Unit | None = "s",
) -> Any:
    """Declare a setting. `default` is written as a user would write it in YAML; without one it is required.

    | argument | meaning                                                                                   |
    |----------|-------------------------------------------------------------------------------------------|
    | name     | the wire name where it is not the attribute's in camelCase                                |
    | aliases  | other wire names that mean the same                                                       |
    | secret   | the value never prints                                                                    |
    | unit     | for a timedelta: what a plain number counts (Dapr counts seconds); None refuses numbers   |
    """
    required = default is REQUIRED
    note = Help(text, None if required else default, required, name, aliases, secret, example, unit)
    return dataclasses.field(metadata={"help": note}, repr=not secret)


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One setting that cannot be used. `name` is as the manifest writes it, so that its line can be found."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class SettingsError(ValueError):
    """Every problem found, not only the first. Values of secret settings are never in it."""

    def __init__(self, problems: Collection[SettingProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def read(
    cls: type[T],
    metadata: Mapping[str, str],
    *,
    also: Collection[str] = (),
    remark: Callable[[SettingProblem], None] | None = None,
) -> T:
    """Build settings from a component's metadata; names match without regard to case.

    An empty text counts as not given, unless the setting is text. `remark` is told, once each, what is odd but not
    fatal: a name that is neither declared nor in `also` (with the nearest right one), and a bool that is neither of
    its words (it is false, as in Dapr).
    """
    given = {name.lower(): (name, text) for name, text in metadata.items()}
    notes = {field.name: help_of(field) for field in _fields(cls)}
    remarks = _unknown(cls, metadata, also)
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    problems: list[SettingProblem] = []
    for field in _fields(cls):
        note, hint = notes[field.name], hints[field.name]
        name, text = _given(field, note, hint, given)
        if text is None:
            if note.required:
                problems.append(SettingProblem(name, "is required"))
            values[field.name] = None
            continue
        try:
            values[field.name] = _parsed(hint, text, note)
        except ValueError as error:
            problems.append(SettingProblem(name, "is not usable" if note.secret else str(error)))
        if plain(hint) is bool and text.strip().lower() not in TRUE | FALSE:
            remarks.append(SettingProblem(name, f'"{text}" is neither true nor false: taken as false'))
    if remark is not None:
        for each in remarks:
            remark(each)
    if problems:
        raise SettingsError(problems)
    return cls(**values)


def wire_names(cls: type[Any]) -> tuple[str, ...]:
    """Every name a settings class answers to, aliases included."""
    return tuple(name for field in _fields(cls) for name in (wire_name(field), *help_of(field).aliases))


def wire_name(field: "dataclasses.Field[Any]") -> str:
    """`busy_timeout` is `busyTimeout` on the wire unless the setting says otherwise."""
    return help_of(field).name or re.sub(r"_(\w)", lambda match: match[1].upper(), field.name)


def _fields(cls: type[Any]) -> tuple["dataclasses.Field[Any]", ...]:
    return dataclasses.fields(cls)


def help_of(field: "dataclasses.Field[Any]") -> Help:
    """What was declared of a field; a TypeError where `setting` was not used."""
    note = field.metadata.get("help")
    if not isinstance(note, Help):
        raise TypeError(f"{field.name} is not declared with `setting`")
    return note


def _given(
    field: "dataclasses.Field[Any]", note: Help, hint: Any, given: Mapping[str, tuple[str, str]]
) -> tuple[str, str | None]:
    """The name it goes by here and its text; the default where nothing is given."""
    for wire in (wire_name(field), *note.aliases):
        name, text = given.get(wire.lower(), (wire, ""))
        if text != "" or (wire.lower() in given and plain(hint) is str and not note.required):
            return name, text
    return wire_name(field), note.default


def _unknown(cls: type[Any], metadata: Mapping[str, str], also: Collection[str]) -> list[SettingProblem]:
    known = [*wire_names(cls), *also]
    lowered = {name.lower() for name in known}
    return [
        SettingProblem(name, "is not a setting of this component" + suggest.hint(name, known))
        for name in metadata
        if name.lower() not in lowered
    ]


def plain(hint: Any) -> Any:
    """The type without its `| None`."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        return next(arg for arg in get_args(hint) if arg is not types.NoneType)
    return hint


def _parsed(hint: Any, text: str, note: Help) -> Any:
    hint = plain(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return _choice(get_args(hint), text)
    if origin in (tuple, list):
        item = get_args(hint)[0]
        return origin(_parsed(item, part.strip(), note) for part in text.split(",") if part.strip())
    if hint is timedelta:
        return durations.span(text, note.unit)
    return _PARSERS[hint](text)


def _choice(choices: tuple[str, ...], text: str) -> str:
    for choice in choices:
        if choice.lower() == text.strip().lower():
            return choice
    raise ValueError(f'"{text}" is not one of {", ".join(choices)}{suggest.hint(text, choices)}')


def _bool(text: str) -> bool:
    return is_true(text)


def _int(text: str) -> int:
    try:
        return int(text.strip(), 10)
    except ValueError:
        pass
    try:
        return int(text.strip(), 0)
    except ValueError:
        raise ValueError(f'"{text}" is not a whole number') from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a number') from None


_PARSERS: Mapping[Any, Callable[[str], Any]] = {str: str, int: _int, float: _float, bool: _bool, Path: Path}
