"""Command lines in the manner of Go's pflag: `--name=value`, `--name value`, `--bool`, repeated lists.

Reading gives text per flag, in the order given; what a text means is its owner's business.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Kind = Literal["text", "bool", "int", "uint", "duration", "list"]
BOOLS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
"""What Go reads as a bool, and so do flags and `rawPayload`. Headers and settings go by `toolbox.truth`."""


class UnknownUse(ValueError):
    """The command line cannot be understood; the text is what pflag says."""


class HelpAsked(Exception):
    """`--help` or `-h` was given."""


class Flag(NamedTuple):
    """One flag: how its value is written, its default as shown to a person, and a sentence about it."""

    name: str
    kind: Kind = "text"
    default: str = ""
    help: str = ""
    hidden: bool = False
    deprecated: str = ""


def read(args: Sequence[str], flags: Sequence[Flag]) -> dict[str, list[str]]:
    """The texts given for each flag that was given.

    A single dash before a long name counts as two; words that are no flags are passed over; `--` ends the flags.
    Raises `UnknownUse` or `HelpAsked` at the first mistake, as pflag does.
    """
    known = {flag.name: flag for flag in flags}
    given: dict[str, list[str]] = {}
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            continue
        name, equals, text = _name(word).partition("=")
        flag = known.get(name)
        if flag is None:
            if name in ("help", "h"):
                raise HelpAsked
            raise UnknownUse(_unknown(word, name))
        if not equals:
            text = _following(flag, rest)
        given.setdefault(name, []).append(text)
        _check(flag, text)
    return given


def _name(word: str) -> str:
    if word in ("-h", "--h"):
        return "h"
    bare = word[2:] if word.startswith("--") else word[1:]
    if not bare or bare[0] in "-=":
        raise UnknownUse(f"bad flag syntax: {word}")
    return bare


def _unknown(word: str, name: str) -> str:
    if len(word) == 2:
        return f"unknown shorthand flag: '{name}' in {word}"
    return f"unknown flag: --{name}"


def _following(flag: Flag, rest: list[str]) -> str:
    if flag.kind == "bool":
        return "true"
    if not rest:
        raise UnknownUse(f"flag needs an argument: --{flag.name}")
    return rest.pop(0)


def _check(flag: Flag, text: str) -> None:
    said = ""
    if flag.kind == "bool" and text not in BOOLS:
        said = f'strconv.ParseBool: parsing "{text}": invalid syntax'
    if flag.kind in ("int", "uint") and _whole(text) is None:
        said = f'strconv.ParseInt: parsing "{text}": invalid syntax'
    if flag.kind == "uint" and text.startswith("-"):
        said = f'strconv.ParseUint: parsing "{text}": invalid syntax'
    if said:
        raise UnknownUse(f'invalid argument "{text}" for "--{flag.name}" flag: {said}')


def _whole(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return int(text)
    except ValueError:
        return None


def boolean(text: str) -> bool:
    """A bool that `read` has checked."""
    return BOOLS.get(text, False)


def number(text: str) -> int:
    """A whole number that `read` has checked: decimal, or 0x, 0o, 0b."""
    return _whole(text) or 0


def listed(texts: Sequence[str]) -> tuple[str, ...]:
    """The members of a list flag: each text is a row of CSV, rows follow each other."""
    if not texts:
        return ()
    import csv

    found: list[str] = []
    for text in texts:
        found += next(csv.reader([text]), [])
    return tuple(found)


def usage(program: str, flags: Sequence[Flag]) -> str:
    """The table of flags, sorted by name."""
    shown = sorted(
        (flag for flag in flags if not (flag.hidden or flag.deprecated)), key=lambda flag: flag.name
    )
    heads = {flag.name: _head(flag) for flag in shown}
    width = max(map(len, heads.values())) + 3
    lines = [f"Usage of {program}:"]
    for flag in shown:
        default = f" (default {_quoted(flag)})" if flag.default not in ("", "false") else ""
        lines.append(f"{heads[flag.name]:<{width}}{flag.help}{default}")
    return "\n".join(lines)


def _head(flag: Flag) -> str:
    words: Mapping[str, str] = {"text": " string", "list": " strings", "bool": ""}
    return f"      --{flag.name}{words.get(flag.kind, ' ' + flag.kind)}"


def _quoted(flag: Flag) -> str:
    return f'"{flag.default}"' if flag.kind == "text" else flag.default
