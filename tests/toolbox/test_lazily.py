"""A dataclass whose methods are written late behaves like one whose methods are written at once."""

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from pillion.toolbox.lazily import dataclass, pattern

BOTH = pytest.mark.parametrize("made", [dataclass, dataclasses.dataclass])


def point(made: Callable[..., Any], **options: bool) -> Any:
    @made(**{"frozen": True, "slots": True, **options})
    class Point:
        """Where."""

        x: int
        y: int = 0
        names: list[str] = dataclasses.field(default_factory=list, compare=False)
        hidden: str = dataclasses.field(default="", repr=False)

        def __post_init__(self) -> None:
            self.names.append("born")

    return Point


@BOTH
def test_objects_are_made_shown_compared_and_counted(made: Callable[..., Any]) -> None:
    cls = point(made)
    one = cls(1, y=2, hidden="no")
    assert repr(one).endswith("Point(x=1, y=2, names=['born'])")
    assert one == cls(1, 2, ["other"], "no")
    assert one != cls(1, 2)
    assert one != (1, 2)
    assert hash(one) == hash(cls(1, 2, hidden="no"))
    assert cls.__match_args__ == ("x", "y", "names", "hidden")


@BOTH
def test_a_wrong_call_names_the_class(made: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing 1 required positional argument: 'x'"):
        point(made)()
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        point(made, kw_only=True)(1)


@BOTH
def test_what_is_frozen_stays(made: Callable[..., Any]) -> None:
    one = point(made)(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        one.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del one.x
    assert not hasattr(one, "__dict__")


@BOTH
def test_what_is_not_frozen_changes_and_has_no_hash(made: Callable[..., Any]) -> None:
    one = point(made, frozen=False)(1)
    one.x = 5
    assert one.x == 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


@BOTH
def test_the_standard_librarys_tools_work_on_it(made: Callable[..., Any]) -> None:
    one = point(made)(1, 2)
    assert dataclasses.is_dataclass(one)
    assert [field.name for field in dataclasses.fields(one)] == ["x", "y", "names", "hidden"]
    assert dataclasses.replace(one, x=7).x == 7
    assert dataclasses.asdict(one)["y"] == 2
    assert copy.deepcopy(one) == copy.copy(one) == one


@BOTH
def test_a_subclass_of_either_making_inherits_fields(made: Callable[..., Any]) -> None:
    @made(frozen=True, slots=True)
    class Deep(point(dataclass)):  # type: ignore[misc]
        z: int = 3

    deep = Deep(1, z=4)
    assert (deep.x, deep.z, deep.names) == (1, 4, ["born"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        deep.z = 1


@BOTH
def test_a_class_keeps_the_method_it_wrote_itself(made: Callable[..., Any]) -> None:
    @made(frozen=True, slots=True)
    class Quiet:
        secret: str = "s"

        def __repr__(self) -> str:
            return "quiet"

    assert repr(Quiet()) == "quiet"
    assert Quiet() == Quiet("s")


def test_nothing_is_written_before_it_is_used() -> None:
    cls = point(dataclass)
    before = cls.__init__
    cls(1)
    assert cls.__init__ is not before
    assert cls.__init__.__code__.co_varnames[:3] == ("self", "x", "y")


def test_class_variables_are_refused() -> None:
    with pytest.raises(TypeError, match=r"need dataclasses\.dataclass"):

        @dataclass(frozen=True)
        class Odd:
            value: dataclasses.InitVar[int]


def test_a_pattern_is_compiled_when_it_is_used() -> None:
    wrong = pattern("(")
    with pytest.raises(re.error):
        wrong.search("x")
    found = pattern(r"(\d)[a-c]", re.IGNORECASE)
    assert found.sub(r"<\1>", "1A 2b 3d") == "<1> <2> 3d"
    assert found.fullmatch("1B")
    assert "sub" in vars(found)
