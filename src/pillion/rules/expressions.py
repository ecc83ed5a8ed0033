"""Conditions over an event, in CEL. The library is imported when the first condition appears.

An expression sees one variable, `event`: the CloudEvent, its numbers as doubles. Any other name it uses is accepted, and
has no value. Only the attributes an expression can reach are handed to the library, which copies what it is given.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pillion.toolbox.lazily import pattern

_UNDECLARED = pattern(r"undeclared reference to '([^']+)'")
_EVENT = pattern(r"\bevent\b")
_ATTRIBUTE = pattern(r"\bevent\s*\.\s*([A-Za-z_]\w*)(?!\w)(?!\s*\()")
_MOST_NAMES = 32


class ExpressionError(ValueError):
    """The expression cannot be understood, or has no answer for this event; the sentence says which."""


class Expression:
    """One condition, compiled."""

    __slots__ = ("text", "_evaluate", "_needs")

    def __init__(self, text: str) -> None:
        """Raises ExpressionError for what is not CEL."""
        self.text = text
        self._evaluate = _compiled(text)
        self._needs = _needed(text)

    def holds(self, event: Mapping[str, object]) -> bool:
        """Whether it is true of the event. A missing key, or an answer that is not a boolean, is an ExpressionError."""
        seen = event if self._needs is None else {key: event[key] for key in self._needs if key in event}
        try:
            answer = self._evaluate({"event": _plain(seen)})
        except RecursionError as error:
            raise ExpressionError(f"{self.text!r} has no answer: the event is nested too deep") from error
        if isinstance(answer, bool):
            return answer
        raise ExpressionError(f"{self.text!r} gave {answer!r} instead of true or false")


def _compiled(text: str) -> Callable[[dict[str, Any]], object]:
    try:
        from cel_expr_python import cel
    except ImportError as error:
        raise ExpressionError(
            f"conditions such as {text!r} need the package cel-expr-python, which is not installed"
        ) from error

    names = ["event"]
    while True:
        env = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN))
        try:
            compiled = env.compile(text)
        except RuntimeError as error:
            unknown = _UNDECLARED.search(str(error))
            if unknown is None or unknown[1] in names or len(names) >= _MOST_NAMES:
                raise ExpressionError(f"{text!r} is not a valid condition: {_first_line(error)}") from error
            names.append(unknown[1])
        else:
            break

    def evaluate(data: dict[str, Any]) -> object:
        try:
            value = compiled.eval(data=data)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ExpressionError(f"{text!r} has no answer: {_first_line(error)}") from error
        if value.type() == cel.Type.ERROR:
            raise ExpressionError(f"{text!r} has no answer: {value.value()}")
        return value.value()

    return evaluate


def _needed(text: str) -> frozenset[str] | None:
    """The attributes the expression can reach; None when it uses the event as a whole."""
    attributes = _ATTRIBUTE.findall(text)
    return frozenset(attributes) if len(attributes) == len(_EVENT.findall(text)) else None


def _plain(value: object) -> Any:
    """The value with every number a float, as a JSON reader of Go gives it."""
    match value:
        case bool() | None | str() | bytes():
            return value
        case int() | float():
            return float(value)
        case Mapping():
            return {str(key): _plain(member) for key, member in value.items()}
        case list() | tuple():
            return [_plain(member) for member in value]
        case _:
            return str(value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removeprefix("INVALID_ARGUMENT: ERROR: ")
