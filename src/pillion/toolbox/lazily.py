"""The standard library's `dataclass` and `re.compile`, doing their work when it is first used.

Writing `__init__`, `__eq__` and their kin costs a compilation each, a millisecond and more per class. A sidecar that
starts defines over a hundred classes and makes objects of some; so here a class gets stand-ins, each of which has the
standard library write the real method in its place. What a class means and what it costs in use are unchanged.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "pattern"]

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from re import compile as pattern
else:

    class pattern:
        """A regular expression that is compiled when something is looked for with it; use it by its methods."""

        def __init__(self, text, flags=0):
            self._text, self._flags = text, flags

        def __getattr__(self, name):
            found = getattr(re.compile(self._text, self._flags), name)
            setattr(self, name, found)
            return found

    def dataclass(cls=None, /, **options):
        """As `dataclasses.dataclass`; whatever goes beyond plain fields is left to the original."""
        if cls is not None:
            return _made(cls, options)
        return lambda each: _made(each, options)


_OURS = frozenset(("frozen", "slots", "kw_only"))
_WRITTEN = frozenset(("__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__"))


def _made(cls: Any, options: dict[str, bool]) -> Any:
    if not _is_plain(cls, options):
        return dataclasses.dataclass(**options)(cls)
    if not cls.__doc__:
        cls.__doc__ = cls.__name__  # the original would write a signature here
    frozen, others = options.get("frozen", False), {k: v for k, v in options.items() if k != "frozen"}
    light: Any = dataclasses.dataclass(init=False, repr=False, eq=False, **others)(cls)
    if len(light.__dataclass_fields__) != len(dataclasses.fields(light)):
        raise TypeError(
            f"{cls.__qualname__}: class variables and init-only fields need dataclasses.dataclass"
        )
    _stand_in(light, "__init__", lambda: _init(light, frozen))
    _stand_in(light, "__repr__", lambda: _twin(light, eq=False, init=False).__repr__)
    _stand_in(light, "__eq__", lambda: _twin(light, init=False, repr=False).__eq__)
    if frozen:
        _stand_in(light, "__hash__", lambda: _twin(light, init=False, repr=False, frozen=True).__hash__)
        _freeze(light)
    else:
        light.__hash__ = None
    return light


def _is_plain(cls: type[Any], options: dict[str, bool]) -> bool:
    """Whether the class stands alone, has written none of the methods itself and asks for nothing unusual."""
    alone = not any(dataclasses.is_dataclass(base) for base in cls.__mro__[1:])
    return alone and options.keys() <= _OURS and not _WRITTEN & cls.__dict__.keys()


def _stand_in(cls: type[Any], name: str, write: Callable[[], Any]) -> None:
    """A method that puts the real one into its place and goes on there."""

    def stand_in(self: Any, /, *args: Any, **named: Any) -> Any:
        written = write()
        setattr(cls, name, written)
        return written(self, *args, **named)

    stand_in.__name__ = name
    stand_in.__qualname__ = f"{cls.__qualname__}.{name}"
    setattr(cls, name, stand_in)


def _init(cls: Any, frozen: bool) -> Any:
    """The constructor, as the standard library would write it: a few lines, so that the first object is soon there."""
    space: dict[str, Any] = {"_set": object.__setattr__, "_MADE": dataclasses.MISSING}
    plain, named, body = ["self"], list[str](), list[str]()
    for field in dataclasses.fields(cls):
        given = f"_default_{field.name}"
        value = field.name
        if field.default_factory is not dataclasses.MISSING:
            space[given] = field.default_factory
            value = f"{given}() if {field.name} is _MADE else {field.name}" if field.init else f"{given}()"
        elif field.default is not dataclasses.MISSING:
            space[given] = field.default
            value = field.name if field.init else given
        elif not field.init:
            continue
        if field.init:
            (named if field.kw_only else plain).append(_parameter(field, given))
        body.append(f"_set(self, {field.name!r}, {value})" if frozen else f"self.{field.name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    signature = ", ".join([*plain, *(["*", *named] if named else [])])
    exec(f"def __init__({signature}):\n " + "\n ".join(body or ["pass"]), space)
    made = space["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    return made


def _parameter(field: "dataclasses.Field[Any]", given: str) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"{field.name}=_MADE"
    return field.name if field.default is dataclasses.MISSING else f"{field.name}={given}"


def _twin(cls: Any, **options: Any) -> Any:
    """A class of the same name and fields, written out by the standard library as asked."""
    fields = cls.__dataclass_fields__
    space: dict[str, Any] = {
        **fields,
        "__annotations__": {name: field.type for name, field in fields.items()},
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
    }
    return dataclasses.dataclass(**options)(type(cls.__name__, (), space))


def _freeze(cls: Any) -> None:
    names = tuple(cls.__dataclass_fields__)
    cls.__dataclass_params__.frozen = True
    cls.__setattr__ = _guard(cls, names, "assign to", object.__setattr__)
    cls.__delattr__ = _guard(cls, names, "delete", object.__delattr__)
    cls.__getstate__, cls.__setstate__ = _state(names)


def _guard(
    cls: type[Any], names: Sequence[str], verb: str, otherwise: Callable[..., None]
) -> Callable[..., None]:
    def guard(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot {verb} field {name!r}")
        otherwise(self, name, *value)

    return guard


def _state(names: Sequence[str]) -> tuple[Callable[[Any], list[Any]], Callable[[Any, Sequence[Any]], None]]:
    """How a frozen object is copied: past its own guard."""

    def get(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names]

    def put(self: Any, state: Sequence[Any]) -> None:
        for name, value in zip(names, state, strict=True):
            object.__setattr__(self, name, value)

    return get, put
