"""What an app says of its topics and its events, when it says it badly."""

import pytest

from pillion.model.pubsub import Bulk
from pillion.wire import pubsub
from pillion.wire.json import JsonError


@pytest.mark.parametrize(
    "body",
    [
        b'"text"', b"5", b"[5]", b"[null]", b'[{"topic":5}]', b'[{"routes":[]}]', b'[{"routes":{"rules":{}}}]',
        b'[{"routes":{"rules":["x"]}}]', b'[{"route":"/a","metadata":{"k":1}}]', b'[{"bulkSubscribe":{"maxMessagesCount":"5"}}]',
        b'[{"bulkSubscribe":{"maxAwaitDurationMs":true}}]', b'[{"bulkSubscribe":5}]', b"[", b"\xff",
    ],
)  # fmt: skip
def test_a_list_of_topics_in_the_wrong_shape_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        pubsub.interests(body)


@pytest.mark.parametrize("body", [b'{"statuses":[{"entryId":5,"status":"SUCCESS"}]}', b"", b"{"])
def test_statuses_that_cannot_be_read_are_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        pubsub.http_answers(body)


@pytest.mark.parametrize("body", [b"5", b"[]", b'{"statuses":5}', b'{"statuses":[5]}', b'{"statuses":{}}'])
def test_an_answer_without_statuses_says_nothing_of_any_entry(body: bytes) -> None:
    assert pubsub.http_answers(body) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"5",
        b'"x"',
        b"[5]",
        b'[{"entryId":5}]',
        b'[{"entryId":"1","contentType":"application/json","metadata":5}]',
        b"[",
    ],
)
def test_a_bulk_publish_in_the_wrong_shape_is_refused(body: bytes) -> None:
    with pytest.raises(JsonError):
        pubsub.bulk_entries(body)


def test_limits_of_a_bulk_subscription_have_defaults() -> None:
    assert pubsub.bulk(True, 0, -1) == Bulk(True, 100, 1.0)


def test_an_event_that_is_null_is_json_all_the_same() -> None:
    entries = pubsub.bulk_entries(b'[{"entryId":"1","contentType":"application/json"}]')
    assert entries == [("1", b"null", "application/json", None)]
