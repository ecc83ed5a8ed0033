"""Command lines of the CLI: long and one-letter flags, in any order among plain words, with pflag's own rules."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from pillion.toolbox import pflags, suggest
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.pflags import Flag, HelpAsked, Kind, UnknownUse


@dataclass(frozen=True, slots=True)
class Option:
    """One flag of a command. `also` are other names it goes by, the old ones among them."""

    name: str
    short: str = ""
    kind: Kind = "text"
    default: str = ""
    help: str = ""
    also: tuple[str, ...] = ()
    deprecated: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line says: the texts given for each flag, and the plain words."""

    options: tuple[Option, ...]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    words: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        """The last text given, else the default."""
        return self.values[name][-1] if name in self.values else self._option(name).default

    def number(self, name: str) -> int:
        """A whole number; 0 where neither given nor defaulted."""
        return pflags.number(self.text(name) or "0")

    def flag(self, name: str) -> bool:
        """Whether a switch is on."""
        return pflags.boolean(self.text(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """The members of a list."""
        return pflags.listed(self.values.get(name, ()))

    def _option(self, name: str) -> Option:
        return next(option for option in self.options if option.name == name)


def read(args: Sequence[str], options: Iterable[Option]) -> Given:
    """Split a command line. After `--` everything is a plain word.

    Raises `UnknownUse` with pflag's text and, for an unknown flag, the closest known one; `HelpAsked` for `-h`.
    """
    known = tuple(options)
    names = {name: option for option in known for name in (option.name, *option.also)}
    shorts = {option.short: option for option in known if option.short}
    flags: list[str] = []
    words: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
        elif word.startswith("--") or _is_long(word, names, shorts):
            flags.append(_long(word, rest, names))
        else:
            flags += _shorts(word, rest, shorts)
    values = pflags.read(flags, [Flag(each.name, each.kind, each.default) for each in known])
    return Given(known, values, tuple(words))


def _is_long(word: str, names: Mapping[str, Option], shorts: Mapping[str, Option]) -> bool:
    """Whether `-app-id` is meant for `--app-id`, which the sidecar accepts as well."""
    return word[1:].partition("=")[0] in names and word[1] not in shorts


def _long(word: str, rest: list[str], names: Mapping[str, Option]) -> str:
    name, equals, text = word.lstrip("-").partition("=")
    option = names.get(name)
    if option is None:
        if name == "help":
            raise HelpAsked
        near = suggest.closest(name, names)
        raise UnknownUse(f"unknown flag: --{name}" + (f'; did you mean "--{near}"?' if near else ""))
    return f"--{option.name}={text if equals else _value(option, rest)}"


def _shorts(word: str, rest: list[str], shorts: Mapping[str, Option]) -> list[str]:
    """`-a id`, `-aid`, `-a=id`, and switches run together: `-wk`."""
    found = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = shorts.get(letter)
        if option is None:
            if letter == "h":
                raise HelpAsked
            raise UnknownUse(f"unknown shorthand flag: '{letter}' in {word}")
        if option.kind == "bool" and not letters.startswith("="):
            found.append(f"--{option.name}=true")
            continue
        text = letters.removeprefix("=") if letters else _value(option, rest)
        found.append(f"--{option.name}={text}")
        break
    return found


def _value(option: Option, rest: list[str]) -> str:
    if option.kind == "bool":
        return "true"
    if not rest:
        raise UnknownUse(f"flag needs an argument: --{option.name}")
    return rest.pop(0)


def table(options: Iterable[Option]) -> list[str]:
    """The flags as lines of a help page, sorted by name; old ones are left out."""
    shown = sorted(
        (each for each in options if not (each.hidden or each.deprecated)), key=lambda each: each.name
    )
    heads = [_head(each) for each in shown]
    width = max(map(len, heads), default=0) + 3
    return [
        f"{head:<{width}}{each.help}{_default(each)}".rstrip()
        for head, each in zip(heads, shown, strict=True)
    ]


def _head(option: Option) -> str:
    words = {"text": " string", "list": " strings", "bool": ""}
    short = f"-{option.short}, " if option.short else "    "
    return f"  {short}--{option.name}{words.get(option.kind, ' ' + option.kind)}"


def _default(option: Option) -> str:
    return f" (default {option.default})" if option.default not in ("", "false", "-1", "0") else ""
