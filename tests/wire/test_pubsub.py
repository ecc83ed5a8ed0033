"""What an app says of its topics and its events, when it says it badly."""

import random
from typing import Any

import pytest

from pillion.model.pubsub import Bulk
from pillion.wire import pubsub
from pillion.wire.json import JsonError
from pillion.wire.proto import runtime


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


def publish_message(data: bytes, **more: Any) -> bytes:
    said = {"pubsub_name": "ps", "topic": "t" * 127, "data_content_type": "text/plain", **more}
    return runtime.PublishEventRequest(data=data, **said).SerializeToString()


@pytest.mark.parametrize("size", [1, 127, 128, 16_384, 70_000])
def test_a_plain_publish_is_read_by_hand(size: int) -> None:
    message = publish_message(b"\x22" * size)
    assert pubsub.plain_publish(message) == ("ps", "t" * 127, b"\x22" * size, "text/plain")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        publish_message(b"", topic="t"),
        publish_message(b"1", data_content_type=""),
        publish_message(b"1", metadata={"a": "b"}),
        publish_message(b"1", topic="t" * 128),
        publish_message(b"1", pubsub_name=""),
    ],
)
def test_any_other_publish_is_left_to_protobuf(message: bytes) -> None:
    assert pubsub.plain_publish(message) is None


def test_what_is_read_by_hand_of_spoiled_publishes_is_what_protobuf_reads() -> None:
    chance = random.Random(7)
    whole = publish_message(b"d" * 130, topic="t")
    for _ in range(4000):
        spoiled = bytearray(whole)
        for _ in range(chance.choice((1, 2))):
            spoiled[chance.choice((chance.randrange(10), chance.randrange(135, len(whole))))] = (
                chance.randrange(256)
            )
        found = pubsub.plain_publish(bytes(spoiled))
        if found is not None:
            read = runtime.PublishEventRequest.FromString(bytes(spoiled))
            assert found == (read.pubsub_name, read.topic, read.data, read.data_content_type)
