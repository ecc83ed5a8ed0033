"""Reading decoded JSON into expected shapes, with the sentences Go's decoders give for a wrong one."""

from collections.abc import Mapping
from typing import Any

from pillion.model.state import NOTHING
from pillion.wire.json import JsonError, Number, field

Members = dict[str, Any]
_TEXT = frozenset((str,))


class GoShape:
    """The members of a structure as Go's encoding/json reads them: names in any case, null leaves the default.

    `struct` is the structure's name, `names` those of its members, `whole` the type a body is read into, `item` the type of
    its elements, `path` what comes before a member's name. Objects leave `array`, `object`, `objects` and `inner` with their members
    under the names given here, in their case.
    """

    __slots__ = ("_struct", "_names", "_whole", "_item", "_path")

    def __init__(self, struct: str, names: str, *, whole: str = "", item: str = "", path: str = "") -> None:
        self._struct = struct
        self._names = frozenset(names.split())
        self._whole = whole
        self._item = item
        self._path = path

    def array(self, value: Any) -> list[Members]:
        """A body that is an array of objects; null is an empty one, and a null element an empty object."""
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._refused(value, f"Go value of type {self._whole}")
        for element in value:
            if not isinstance(element, dict) and element is not None:
                raise self._refused(element, f"Go value of type {self._item}")
        return [self._members(element) for element in value]

    def object(self, value: Any) -> Members:
        """A body that is an object; null is an empty one."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._refused(value, f"Go value of type {self._whole}")
        return self._members(value)

    def objects(self, given: Members, name: str, kind: str, shape: "GoShape") -> list[Members]:
        """A member that is an array of objects of another shape."""
        found = given.get(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._wrong(found, name, kind)
        for element in found:
            if not isinstance(element, dict) and element is not None:
                raise self._wrong(element, name, kind.removeprefix("[]"))
        return [shape._members(element) for element in found]

    def inner(self, given: Members, name: str, kind: str, shape: "GoShape") -> Members | None:
        """A member that is an object of another shape, None when it is not given."""
        found = given.get(name)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise self._wrong(found, name, kind)
        return shape._members(found)

    def text(self, given: Members, name: str) -> str:
        """A member that is a string, "" when it is not given."""
        found = given.get(name)
        if found is None:
            return ""
        if not isinstance(found, str):
            raise self._wrong(found, name, "string")
        return found

    def texts(self, given: Members, name: str) -> Mapping[str, str]:
        """A member that is an object of strings."""
        found = given.get(name)
        if not found and (found is None or isinstance(found, dict)):
            return NOTHING
        if not isinstance(found, dict):
            raise self._wrong(found, name, "map[string]string")
        for value in found.values():
            if not isinstance(value, str) and value is not None:
                raise self._wrong(value, name, "string")
        return {key: value or "" for key, value in found.items()}

    def strings(self, given: Members, name: str) -> list[str]:
        """A member that is an array of strings."""
        found = given.get(name)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self._wrong(found, name, "[]string")
        if _TEXT.issuperset(map(type, found)):
            return found
        for element in found:
            if not isinstance(element, str) and element is not None:
                raise self._wrong(element, name, "string")
        return [element or "" for element in found]

    def integer(self, given: Members, name: str) -> int:
        """A member that is a whole number, 0 when it is not given."""
        found = given.get(name)
        if found is None:
            return 0
        if isinstance(found, bool) or not isinstance(found, int):
            raise self._wrong(found, name, "int")
        return found

    def _members(self, found: Members | None) -> Members:
        if not found or found.keys() <= self._names:
            return found or {}
        return {name: field(found, name) for name in self._names}

    def _wrong(self, value: Any, name: str, kind: str) -> JsonError:
        return self._refused(value, f"Go struct field {self._struct}.{self._path}{name} of type {kind}", name)

    def _refused(self, value: Any, where: str, name: str = "") -> JsonError:
        kind = (
            f"number {value.text}" if isinstance(value, Number) and where.endswith(" int") else _kind(value)
        )
        return JsonError(f"json: cannot unmarshal {kind} into {where}")


class MapShape:
    """The members of an already decoded object as mapstructure reads them: every wrong one is told, together."""

    __slots__ = ("_given", "_problems")

    def __init__(self, given: Any, name: str = "") -> None:
        self._problems: list[str] = []
        self._given: Mapping[str, Any] = {}
        if isinstance(given, dict):
            self._given = given
        elif given is not None:
            self._problems.append(f"'{name}' expected a map, got '{_GO_KINDS[_kind(given)]}'")

    def member(self, name: str) -> Any:
        """A member of any kind."""
        return field(self._given, name)

    def text(self, name: str, told: str) -> str:
        """A member that is a string, "" when it is not given."""
        found = self.member(name)
        if found is None or isinstance(found, str):
            return found or ""
        self._problems.append(_unconvertible(told, found))
        return ""

    def texts(self, name: str, told: str) -> Mapping[str, str]:
        """A member that is an object of strings."""
        found = self.member(name)
        if found is None:
            return NOTHING
        if not isinstance(found, dict):
            self._problems.append(f"'{told}' expected a map, got '{_GO_KINDS[_kind(found)]}'")
            return NOTHING
        wrong = {
            key: value for key, value in found.items() if not isinstance(value, str) and value is not None
        }
        self._problems += [_unconvertible(f"{told}[{key}]", value) for key, value in wrong.items()]
        return {key: value or "" for key, value in found.items() if key not in wrong}

    def inner(self, name: str, told: str) -> "MapShape":
        """A member that is an object."""
        return MapShape(self.member(name), told)

    def settle(self, *inner: "MapShape") -> None:
        """Raise JsonError with every problem of this object and of `inner`, if there is one."""
        problems = sorted(self._problems + [problem for each in inner for problem in each._problems])
        if problems:
            listed = "\n".join(f"* {problem}" for problem in problems)
            raise JsonError(f"{len(problems)} error(s) decoding:\n\n{listed}")


_GO_KINDS = {"string": "string", "number": "float64", "bool": "bool", "object": "map", "array": "slice"}
_GO_TYPES = {**_GO_KINDS, "object": "map[string]interface {}", "array": "[]interface {}"}


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case dict():
            return "object"
        case list():
            return "array"
        case _:
            return "number"


def _unconvertible(name: str, value: Any) -> str:
    return f"'{name}' expected type 'string', got unconvertible type '{_GO_TYPES[_kind(value)]}', value: '{_shown(value)}'"


def _shown(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "map[" + " ".join(f"{key}:{_shown(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(_shown, value)) + "]"
        case None:
            return "<nil>"
        case float():
            return format(value, "g")
        case _:
            return str(value)
