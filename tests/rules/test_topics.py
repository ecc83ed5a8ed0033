"""Who may use which topic."""

import pytest

from pillion.rules.topics import scopes

APP = "appa"


@pytest.mark.parametrize(
    ("metadata", "topic", "publish", "subscribe"),
    [
        ({}, "t", True, True),
        ({"allowedTopics": "a, b"}, "b", True, True),
        ({"allowedTopics": "a,b"}, "c", False, False),
        ({"publishingScopes": "appa=a,b;appb=c"}, "b", True, True),
        ({"publishingScopes": "appa=a,b;appb=c"}, "c", False, True),
        ({"subscriptionScopes": "appa=a"}, "b", True, False),
        ({"publishingScopes": "appb=c"}, "x", True, True),
        ({"publishingScopes": "appa="}, "x", False, True),
        ({"publishingScopes": "appa"}, "x", True, True),
        ({"protectedTopics": "p"}, "p", False, False),
        ({"protectedTopics": "p"}, "q", True, True),
        ({"protectedTopics": "p", "publishingScopes": "appa=p"}, "p", True, False),
        ({"allowedTopics": "a", "publishingScopes": "appa=b"}, "b", False, False),
        ({"PUBLISHINGSCOPES": " appa = a "}, "b", False, True),
    ],
)  # fmt: skip
def test_scopes_allow_and_deny(metadata: dict[str, str], topic: str, publish: bool, subscribe: bool) -> None:
    allowed = scopes(metadata, APP)
    assert (allowed.may_publish(topic), allowed.may_subscribe(topic)) == (publish, subscribe)
