"""Conditions and the paths they lead to."""

import subprocess
import sys

import pytest

from pillion.model.pubsub import Rule
from pillion.rules.expressions import Expression, ExpressionError
from pillion.rules.routing import Routes
from pillion.wire.json import loads

EVENT = loads(b'{"type":"widget","data":{"n":7,"price":10,"list":["x"],"f":1.5,"no":null},"event":"odd"}')


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('event.type == "widget"', True),
        ("event.data.n > 5", True),
        ("event.data.n > 5.0 && event.data.n < 7.5", True),
        ("event.data.price * 1.5 == 15.0", True),
        ("int(event.data.n) % 2 == 0", False),
        ('"x" in event.data.list', True),
        ("has(event.data.missing)", False),
        ("has(event.missing)", False),
        ('event["type"] == "widget"', True),
        ('event.exists(k, k == "type")', True),
        ("event.data.no == null", True),
        ("event.data.f == 1.5", True),
        ('event.type.startsWith("wid")', True),
        ('event.event == "odd"', True),
    ],
)
def test_a_condition_is_true_or_false(text: str, holds: bool) -> None:
    assert Expression(text).holds(EVENT) is holds


@pytest.mark.parametrize(
    "text", ["event.data.n", "event.data.missing > 5", "event.missing == 1", "stranger == 1"]
)
def test_a_condition_without_an_answer_is_an_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text).holds(EVENT)


@pytest.mark.parametrize("text", ["event.type ==", "((", "nofunction(event)"])
def test_what_is_no_condition_is_refused_when_compiled(text: str) -> None:
    with pytest.raises(ExpressionError, match="not a valid condition"):
        Expression(text)


RULES = (Rule('event.type == "gadget"', "/gadgets"), Rule("event.data.n > 5", "/big"), Rule("", "/default"))


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "gadget", "data": {"n": 9}}, "/gadgets"),
        ({"type": "x", "data": {"n": 9}}, "/big"),
        ({"type": "x", "data": {"n": 1}}, "/default"),
    ],
)
def test_the_first_rule_that_holds_names_the_path(event: dict[str, object], path: str) -> None:
    assert Routes(RULES).path(event) == path


def test_an_event_no_rule_wants_has_no_path() -> None:
    assert Routes(RULES[:1]).path({"type": "x"}) is None


def test_a_rule_without_a_condition_is_the_one_path() -> None:
    assert Routes((Rule("", "/all"),)).fixed == "/all"


def test_the_library_is_imported_when_the_first_condition_appears() -> None:
    script = (
        "import sys; from pillion.rules.routing import Routes; from pillion.model.pubsub import Rule\n"
        "Routes((Rule('', '/a'),)); assert 'cel_expr_python' not in sys.modules\n"
        "Routes((Rule('true', '/a'),)); assert 'cel_expr_python' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
