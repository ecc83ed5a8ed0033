"""Which secrets an app may read."""

import pytest

from pillion.rules.secrets import Scope, is_allowed


@pytest.mark.parametrize(
    ("scope", "may"),
    [
        (None, True),
        (Scope(), True),
        (Scope(default_allow=False), False),
        (Scope(allowed=frozenset({"k"})), True),
        (Scope(allowed=frozenset({"other"})), False),
        (Scope(allowed=frozenset({"k"}), denied=frozenset({"k"}), default_allow=False), True),
        (Scope(denied=frozenset({"k"})), False),
        (Scope(denied=frozenset({"other"})), True),
        (Scope(denied=frozenset({"other"}), default_allow=False), False),
        (Scope(allowed=frozenset({"K"})), False),
    ],
)
def test_the_allowed_list_decides_then_the_denied_then_the_default(scope: Scope | None, may: bool) -> None:
    assert is_allowed(scope, "k") is may
