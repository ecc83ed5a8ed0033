"""Which path an event takes into the app."""

from collections.abc import Iterable, Mapping

from pillion.model.pubsub import Rule
from pillion.rules.expressions import Expression


class Routes:
    """A subscription's rules, compiled: the first whose condition holds names the path."""

    __slots__ = ("_rules", "fixed")

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Raises ExpressionError for a condition that is not CEL."""
        self._rules = [(Expression(rule.match) if rule.match else None, rule.path) for rule in rules]
        self.fixed = self._rules[0][1] if self._rules and self._rules[0][0] is None else None
        """The one path of every event, where there is no condition."""

    def path(self, event: Mapping[str, object]) -> str | None:
        """The event's path, None when no rule holds. Raises ExpressionError when a condition has no answer."""
        if self.fixed is not None:
            return self.fixed
        for expression, path in self._rules:
            if expression is None or expression.holds(event):
                return path
        return None
