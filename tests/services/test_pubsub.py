"""Publishing over brokers in memory."""

from collections.abc import AsyncIterator, Sequence

import pytest
from support.pubsub import Deck
from support.waiting import eventually

from pillion.contracts.pubsub import Feature, PubSub
from pillion.contracts.words import DriverError, Unavailable
from pillion.model.call import PLAIN, Call
from pillion.model.errors import ApiError
from pillion.model.pubsub import Publication
from pillion.services.pubsub import Draft
from pillion.wire.json import loads


class Broken(PubSub[None]):
    """A broker that is down, or takes only some of a batch."""

    features = Feature.MESSAGE_TTL

    def __init__(self, context: object, takes: str = "") -> None:
        super().__init__(None, context)  # type: ignore[arg-type]
        self.takes = takes
        self.seen: list[Publication] = []

    async def publish(self, message: Publication) -> None:
        self.seen.append(message)
        if not self.takes or self.takes.encode() not in message.data:
            raise Unavailable("connection refused")


@pytest.fixture
async def deck() -> AsyncIterator[Deck]:
    made = Deck()
    await made.memory()
    yield made
    await made.close()


async def refusal(work: object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await work  # type: ignore[misc]
    return refused.value


async def test_a_published_event_reaches_the_topic_in_an_envelope(deck: Deck) -> None:
    seen = await deck.spy("t1")
    await deck.service.publish(
        Call(trace="00-a", trace_state="s=1"), "ps", "t1", b'{"a":1}', "application/json", {"foo": "bar"}
    )
    message = await eventually(lambda: seen and seen[0])
    event = loads(message.data)
    assert event["data"] == {"a": 1} and event["source"] == "appa" and event["traceparent"] == "00-a"
    assert event["tracestate"] == "s=1" and dict(message.metadata) == {"foo": "bar"}
    assert message.content_type == "application/cloudevents+json"
    assert ("egress", "ps", "t1", True, 0) in deck.noted.told


async def test_a_raw_payload_goes_as_it_is_and_is_traced_only_when_asked(deck: Deck) -> None:
    seen = await deck.spy("t1")
    call = Call(trace="00-a")
    await deck.service.publish(call, "ps", "t1", b"\x00raw", "text/plain", {"rawPayload": "true"})
    await deck.service.publish(call, "ps", "t1", b"\x01raw", "", {"rawPayload": "true"}, trace_raw=True)
    await eventually(lambda: len(seen) == 2)
    assert [message.data for message in seen] == [b"\x00raw", b"\x01raw"]
    assert dict(seen[0].metadata) == {"rawPayload": "true"}
    assert dict(seen[1].metadata) == {"rawPayload": "true", "traceid": "00-a", "tracestate": ""}


async def test_a_lifetime_becomes_an_expiration_where_the_broker_has_none(deck: Deck) -> None:
    seen = await deck.spy("t1")
    await deck.service.publish(PLAIN, "ps", "t1", b"x", "", {"ttlInSeconds": "50"})
    message = await eventually(lambda: seen and seen[0])
    assert loads(message.data)["expiration"] == "2023-11-14T22:14:10Z"


async def test_a_lifetime_is_left_to_a_broker_that_knows_it(deck: Deck) -> None:
    broken = Broken(deck.context("b"), takes="x")
    deck.mount("b", broken)
    await deck.service.publish(PLAIN, "b", "t1", b"x", "", {"ttlInSeconds": "50", "partitionKey": "k"})
    assert broken.seen[0].expires_at == deck.clock.now() + 50 and broken.seen[0].order_key == "k"
    assert "expiration" not in loads(broken.seen[0].data)


async def test_a_namespace_stands_before_the_topic_on_the_broker_only(deck: Deck) -> None:
    await deck.memory("ns", prefix="prod")
    seen = await deck.spy("prodt1", "ns")
    await deck.service.publish(PLAIN, "ns", "t1", b"x", "")
    message = await eventually(lambda: seen and seen[0])
    assert loads(message.data)["topic"] == "t1"


async def test_a_broker_nobody_loaded_is_not_found(deck: Deck) -> None:
    error = await refusal(deck.service.publish(PLAIN, "nops", "t", b"", ""))
    assert (error.fault.code, error.message, error.info) == (
        "ERR_PUBSUB_NOT_FOUND",
        "pubsub nops is not found",
        {},
    )


async def test_a_topic_out_of_scope_is_forbidden(deck: Deck) -> None:
    await deck.memory("scoped", publishingScopes="appa=t1")
    error = await refusal(deck.service.publish(PLAIN, "scoped", "t2", b"", ""))
    why = "topic t2 is not allowed for app id appa"
    assert (error.message, error.info, error.resource) == (why, {"error": why, "topic": "t2"}, "scoped")


async def test_a_bulk_out_of_scope_is_forbidden(deck: Deck) -> None:
    await deck.memory("scoped", publishingScopes="appa=t1")
    error = await refusal(deck.service.publish_many(PLAIN, "scoped", "t2", [Draft("1", b"x", "text/plain")]))
    assert error.fault.status == 403


async def test_metadata_that_is_no_boolean_is_refused(deck: Deck) -> None:
    error = await refusal(deck.service.publish(PLAIN, "ps", "t", b"", "", {"rawPayload": "zz"}))
    assert (
        error.message
        == "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'zz'"
    )
    assert error.info == {"rawPayload": "zz"}


async def test_a_broken_cloud_event_is_refused_in_gos_words(deck: Deck) -> None:
    error = await refusal(deck.service.publish(PLAIN, "ps", "t", b"notjson", "application/cloudevents+json"))
    assert error.info == {"appID": "appa", "error": "invalid character 'o' in literal null (expecting 'u')"}


async def test_a_broker_that_is_down_fails_the_publish(deck: Deck) -> None:
    deck.mount("down", Broken(deck.context("down")))
    error = await refusal(deck.service.publish(PLAIN, "down", "r1", b"", ""))
    assert error.message == "error when publishing to topic r1 in pubsub down: connection refused"
    assert error.info == {"error": "connection refused", "topic": "r1"}
    assert ("egress", "down", "r1", False, 0) in deck.noted.told


async def test_a_bulk_publish_names_the_entries_that_failed(deck: Deck) -> None:
    deck.mount("half", Broken(deck.context("half"), takes="good"))
    drafts = [Draft("1", b"good", "text/plain"), Draft("2", b"bad", "text/plain")]
    failures = await deck.service.publish_many(PLAIN, "half", "t", drafts)
    assert [(each.id, each.error) for each in failures] == [("2", "connection refused")]
    assert ("egress", "half", "t", False, 2) in deck.noted.told


async def test_a_bulk_publish_wraps_each_entry_by_its_own_type_and_metadata(deck: Deck) -> None:
    seen = await deck.spy("t")
    drafts = [
        Draft("1", b'{"a":1}', "application/json", {"cloudevent.id": "mine"}),
        Draft("2", b"x", "text/plain"),
    ]
    assert await deck.service.publish_many(PLAIN, "ps", "t", drafts) == []
    await eventually(lambda: len(seen) == 2)
    first, second = (loads(message.data) for message in seen)
    assert (first["id"], first["data"], second["data"]) == ("mine", {"a": 1}, "x")


async def test_an_empty_bulk_publish_is_fine(deck: Deck) -> None:
    assert await deck.service.publish_many(PLAIN, "ps", "t", []) == []


async def test_a_broker_that_fails_as_a_whole_fails_every_entry(deck: Deck) -> None:
    class Down(Broken):
        async def publish_many(self, messages: Sequence[Publication]) -> list[DriverError | None]:
            raise Unavailable("gone")

    deck.mount("down", Down(deck.context("down")))
    failures = await deck.service.publish_many(PLAIN, "down", "t", [Draft("1", b"", ""), Draft("2", b"", "")])
    assert [each.id for each in failures] == ["1", "2"]
