"""Publishing over HTTP, with a Dapr sidecar's own bytes."""

import json as plain_json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.api import HttpCaller
from support.pubsub import Deck
from support.waiting import eventually

from pillion.contracts.pubsub import PubSub
from pillion.contracts.words import Unavailable
from pillion.edge.http.pubsub import PubSubRoutes
from pillion.model.pubsub import Publication
from pillion.toolbox.stream import Stream


class Down(PubSub[None]):
    """A broker that is down."""

    async def publish(self, message: Publication) -> None:
        raise Unavailable("redis streams: error from publish")


@pytest.fixture
async def deck() -> AsyncIterator[Deck]:
    made = Deck()
    await made.memory()
    await made.memory("psscoped", publishingScopes="appa=t1")
    made.mount("psr", Down(None, made.context("psr")))
    yield made
    await made.close()


@pytest.fixture
async def caller(deck: Deck) -> HttpCaller:
    return HttpCaller(PubSubRoutes(deck.service).routes(), body_limit=100)


NOT_FOUND = (
    '{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub nops is not found","details":[{"@type":"type.googleapis.com/'
    'google.rpc.ErrorInfo","domain":"dapr.io","metadata":{},"reason":"DAPR_PUBSUB_NOT_FOUND"}]}'
)


def rich(code: str, message: str, pubsub: str, metadata: str, reason: str) -> str:
    return (
        f'{{"errorCode":"{code}","message":"{message}","details":[{{"@type":"type.googleapis.com/google.rpc.ResourceInfo",'
        f'"description":"{message}","owner":"","resource_name":"{pubsub}","resource_type":"pubsub"}},'
        f'{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{metadata},"reason":"{reason}"}}]}}'
    )


FORBIDDEN = "topic t2 is not allowed for app id appa"
RAW = "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'zz'"
E = "redis streams: error from publish"


@pytest.mark.parametrize(
    ("target", "headers", "body", "status", "expected"),
    [
        ("/v1.0/publish/nops/t", {}, b"", 404, NOT_FOUND),
        (
            "/v1.0/publish/psscoped/t2", {}, b"x", 403,
            rich("ERR_PUBSUB_FORBIDDEN", FORBIDDEN, "psscoped", f'{{"error":"{FORBIDDEN}","topic":"t2"}}', "DAPR_PUBSUB_FORBIDDEN"),
        ),
        (
            "/v1.0/publish/ps/t?metadata.rawPayload=zz", {}, b"x", 400,
            rich("ERR_PUBSUB_REQUEST_METADATA", RAW, "ps", '{"rawPayload":"zz"}', "DAPR_PUBSUB_METADATA_DESERIALIZATION"),
        ),
        (
            "/v1.0/publish/ps/t", {"content_type": "application/cloudevents+json"}, b"notjson", 500,
            rich(
                "ERR_PUBSUB_CLOUD_EVENTS_SER", "cannot create cloudevent", "ps",
                '{"appID":"appa","error":"invalid character \'o\' in literal null (expecting \'u\')"}',
                "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
            ),
        ),
        (
            "/v1.0/publish/psr/r1", {}, b"x", 500,
            rich(
                "ERR_PUBSUB_PUBLISH_MESSAGE", f"error when publishing to topic r1 in pubsub psr: {E}", "psr",
                f'{{"error":"{E}","topic":"r1"}}', "DAPR_PUBSUB_PUBLISH_MESSAGE",
            ),
        ),
    ],
)  # fmt: skip
async def test_a_publish_that_fails_answers_as_dapr_does(
    caller: HttpCaller, target: str, headers: dict[str, str], body: bytes, status: int, expected: str
) -> None:
    answer = await caller.ask("POST", target, body, **headers)
    assert answer.status == status
    assert plain_json.loads(answer.body) == plain_json.loads(expected)
    assert list(plain_json.loads(answer.body)) == ["errorCode", "message", "details"]


@pytest.mark.parametrize(
    ("target", "topic"),
    [
        ("/v1.0/publish/ps/t1", "t1"),
        ("/v1.0/publish/ps/a/b", "a/b"),
        ("/v1.0/publish/ps/a%2Fb", "a/b"),
        ("/v1.0/publish/ps/t1/", "t1"),
        ("/v1.0/publish/ps/a+b", "a b"),
    ],
)
async def test_the_topic_is_the_rest_of_the_path(
    deck: Deck, caller: HttpCaller, target: str, topic: str
) -> None:
    seen = await deck.spy(topic)
    answer = await caller.ask("PUT", target, b"x")
    assert (answer.status, answer.body) == (204, b"")
    await eventually(lambda: seen)


async def test_metadata_of_the_query_goes_along(deck: Deck, caller: HttpCaller) -> None:
    seen = await deck.spy("t")
    await caller.ask("POST", "/v1.0/publish/ps/t?metadata.foo=bar&metadata.cloudevent.id=mine&x=y", b"x")
    message = await eventually(lambda: seen and seen[0])
    assert (
        dict(message.metadata) == {"foo": "bar", "cloudevent.id": "mine"} and b'"id":"mine"' in message.data
    )


async def test_a_body_past_the_limit_is_not_published(caller: HttpCaller) -> None:
    body = Stream()
    body.push(b"x" * 101)
    body.finish()
    answer = await caller.ask("POST", "/v1.0/publish/ps/t", body)
    assert (
        answer.status == 500
        and b"stream too large" in answer.body
        and b"ERR_PUBSUB_PUBLISH_MESSAGE" in answer.body
    )


@pytest.mark.parametrize("path", ["/v1.0/publish/ps", "/v1.0/publish/ps/", "/v1.0/publish/", "/v1.0/publish"])
async def test_a_publish_without_a_topic_is_no_route(caller: HttpCaller, path: str) -> None:
    assert b"ERR_DIRECT_INVOKE" in (await caller.ask("POST", path, b"x")).body


async def test_one_segment_names_the_topic_where_there_is_one_broker_only() -> None:
    deck = Deck()
    await deck.memory()
    caller = HttpCaller(PubSubRoutes(deck.service).routes())
    seen = await deck.spy("orders")
    assert (await caller.ask("POST", "/v1.0/publish/orders", b"x")).status == 204
    await eventually(lambda: seen)
    assert (await caller.ask("POST", "/v1.0/publish/ps", b"x")).status == 404
    await deck.close()


def bulk(*entries: Any) -> bytes:
    return plain_json.dumps(list(entries)).encode()


@pytest.mark.parametrize("prefix", ["/v1.0", "/v1.0-alpha1"])
async def test_a_bulk_publish_takes_each_entry_by_its_type(deck: Deck, prefix: str) -> None:
    caller = HttpCaller(PubSubRoutes(deck.service).routes())
    seen = await deck.spy("a/b")
    body = bulk(
        {"entryId": "1", "event": {"b": 1}, "contentType": "application/json", "metadata": {"own": "1"}},
        {"ENTRYID": "2", "event": "AAE=", "contentType": "application/octet-stream"},
        {"entryId": "3", "event": "text", "contentType": "text/plain"},
    )
    answer = await caller.ask("POST", f"{prefix}/publish/bulk/ps/a/b?metadata.all=x", body)
    assert (answer.status, answer.body) == (204, b"")
    await eventually(lambda: len(seen) == 3)
    assert [dict(message.metadata) for message in seen] == [{"all": "x", "own": "1"}, {}, {}]
    events = [plain_json.loads(message.data) for message in seen]
    assert [event.get("data", event.get("data_base64")) for event in events] == [{"b": 1}, "AAE=", "text"]


async def test_an_empty_bulk_publish_is_fine(caller: HttpCaller) -> None:
    assert (await caller.ask("POST", "/v1.0/publish/bulk/ps/t", b"[]")).status == 204


@pytest.mark.parametrize(
    ("body", "message", "reason"),
    [
        (
            bulk({"entryId": "1", "event": "a", "contentType": "text/plain"}, {"entryId": "1"}),
            "error marshaling events to bytes for topic t1 pubsub ps. error: entryId is duplicated or not present for entry",
            "DAPR_PUBSUB_MARSHAL_EVENTS",
        ),
        (
            bulk({"entryId": "1", "event": 1, "contentType": "text/plain"}),
            "error when marshalling cloud event envelope for topic t1 pubsub ps: error: mismatch between contentType and event",
            "DAPR_PUBSUB_MARSHAL_ENVELOPE",
        ),
        (
            bulk({"entryId": "1", "event": "a"}),
            "error when marshalling cloud event envelope for topic t1 pubsub ps: error: mismatch between contentType and event",
            "DAPR_PUBSUB_MARSHAL_ENVELOPE",
        ),
        (
            bulk({"entryId": "1", "event": "!!", "contentType": "application/octet-stream"}),
            "error when marshalling cloud event envelope for topic t1 pubsub ps: error: unable to decode base64 "
            "application/octect-stream data: illegal base64 data at input byte 0",
            "DAPR_PUBSUB_MARSHAL_ENVELOPE",
        ),
        (
            b"{}",
            "error when unmarshaling the request for topic t1 pubsub ps: json: cannot unmarshal object into Go value of type "
            "[]http.bulkPublishMessageEntry",
            "DAPR_PUBSUB_UNMARSHAL_EVENTS",
        ),
    ],
)
async def test_a_bulk_request_that_cannot_be_read_is_refused_as_a_whole(
    deck: Deck, body: bytes, message: str, reason: str
) -> None:
    caller = HttpCaller(PubSubRoutes(deck.service).routes())
    answer = await caller.ask("POST", "/v1.0/publish/bulk/ps/t1", body)
    told = plain_json.loads(answer.body)
    assert (answer.status, told["errorCode"], told["message"]) == (400, "ERR_PUBSUB_EVENTS_SER", message)
    assert [detail.get("reason") for detail in told["details"]] == [None, reason]


async def test_entries_that_failed_are_named_in_body_and_headers(caller: HttpCaller) -> None:
    body = bulk({"entryId": "b", "event": "x", "contentType": "text/plain"})
    answer = await caller.ask("POST", "/v1.0/publish/bulk/psr/r1", body)
    expected = (
        f'{{"failedEntries":[{{"entryId":"b","error":"{E}"}}],"errorCode":"ERR_PUBSUB_PUBLISH_MESSAGE"}}'
    )
    assert (answer.status, answer.body.decode()) == (500, expected)
    assert answer.headers["metadata.responsedata"] == expected
    assert answer.headers["metadata.error"] == (
        f"api error: code = Internal desc = error when publishing to topic r1 in pubsub psr: {E}"
    )


async def test_a_broker_called_bulk_is_shadowed(caller: HttpCaller) -> None:
    answer = await caller.ask("POST", "/v1.0/publish/bulk/ps/", b"[]")
    assert answer.status == 404 and b"pubsub bulk is not found" in answer.body
