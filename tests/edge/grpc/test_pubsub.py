"""Publishing over gRPC, and subscription streams held open by a grpcio client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support.api import GrpcCaller
from support.pubsub import Deck, Told
from support.waiting import eventually

from pillion.contracts.pubsub import Deliver, Subscription
from pillion.drivers.pubsub.memory import MemoryPubSub, MemoryPubSubSettings
from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.grpc.pubsub import PubSubRpcs
from pillion.model.call import PLAIN
from pillion.model.pubsub import Message, Topic, Verdict
from pillion.net.grpc.server import GrpcServer
from pillion.net.rpc import GrpcLimits, RpcError, ServerCall
from pillion.wire.proto import rpc, runtime

CE = "application/cloudevents+json"


@pytest.fixture
async def deck() -> AsyncIterator[Deck]:
    made = Deck(Told())
    await made.memory("pub")
    await made.memory("scoped", publishingScopes="appa=t1", subscriptionScopes="appa=t1")
    yield made
    await made.close()


@pytest.fixture
async def caller(deck: Deck) -> GrpcCaller:
    return GrpcCaller(PubSubRpcs(deck.service, deck.subscriptions).unary())


def request(pubsub: str = "pub", topic: str = "t1", **more: Any) -> Any:
    return runtime.PublishEventRequest(pubsub_name=pubsub, topic=topic, **more)


@pytest.mark.parametrize(
    ("asked", "code", "message", "resource", "reason", "metadata"),
    [
        (request(pubsub=""), 3, "pubsub name is empty", "", "DAPR_PUBSUB_NAME_EMPTY", {}),
        (request(topic=""), 3, "topic is empty in pubsub pub", "pub", "DAPR_PUBSUB_TOPIC_NAME_EMPTY", {}),
        (
            request("scoped", "bad"), 7, "topic bad is not allowed for app id appa", "scoped", "DAPR_PUBSUB_FORBIDDEN",
            {"error": "topic bad is not allowed for app id appa", "topic": "bad"},
        ),
        (
            request(metadata={"rawPayload": "abc"}), 3,
            "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'abc'", "pub",
            "DAPR_PUBSUB_METADATA_DESERIALIZATION", {"rawPayload": "abc"},
        ),
        (
            request(data=b"{x", data_content_type=CE), 3, "cannot create cloudevent", "pub", "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
            {"appID": "appa", "error": "invalid character 'x' looking for beginning of object key string"},
        ),
        (request("zz"), 3, "pubsub zz is not found", None, "DAPR_PUBSUB_NOT_FOUND", {}),
    ],
)  # fmt: skip
async def test_a_publish_that_fails_answers_as_dapr_does(
    caller: GrpcCaller,
    asked: Any,
    code: int,
    message: str,
    resource: str | None,
    reason: str,
    metadata: dict[str, str],
) -> None:
    with pytest.raises(RpcError) as refused:
        await caller.ask("PublishEvent", asked)
    assert (refused.value.code, refused.value.message) == (code, message)
    details = list(rpc.Status.FromString(refused.value.details).details)
    if resource is not None:
        told = rpc.ResourceInfo.FromString(details.pop(0).value)
        assert (told.resource_type, told.resource_name) == ("pubsub", resource)
    info = rpc.ErrorInfo.FromString(details[0].value)
    assert (info.reason, dict(info.metadata)) == (reason, metadata)


async def test_an_event_is_published(deck: Deck, caller: GrpcCaller) -> None:
    seen = await deck.spy("t1", "pub")
    assert await caller.ask("PublishEvent", request(data=b"x", metadata={"k": "v"})) == b""
    message = await eventually(lambda: seen and seen[0])
    assert b'"data":"x","datacontenttype":"text/plain"' in message.data and dict(message.metadata) == {
        "k": "v"
    }


async def test_a_raw_payload_takes_its_trace_along(deck: Deck, caller: GrpcCaller) -> None:
    seen = await deck.spy("t1", "pub")
    await caller.ask("PublishEvent", request(data=b"x", metadata={"rawPayload": "true"}))
    message = await eventually(lambda: seen and seen[0])
    assert message.data == b"x" and set(message.metadata) == {"rawPayload", "traceid", "tracestate"}


@pytest.mark.parametrize("method", ["BulkPublishEvent", "BulkPublishEventAlpha1"])
async def test_a_batch_is_published(deck: Deck, caller: GrpcCaller, method: str) -> None:
    seen = await deck.spy("t1", "pub")
    asked = runtime.BulkPublishRequest(pubsub_name="pub", topic="t1")
    asked.entries.add(entry_id="1", event=b"a", content_type="text/plain")
    asked.entries.add(entry_id="2", event=b"{}", content_type="application/json")
    assert await caller.ask(method, asked) == b""
    await eventually(lambda: len(seen) == 2)


@pytest.mark.parametrize("ids", [("1", "1"), ("",)])
async def test_entries_need_ids_of_their_own(caller: GrpcCaller, ids: tuple[str, ...]) -> None:
    asked = runtime.BulkPublishRequest(pubsub_name="pub", topic="t1")
    for id in ids:
        asked.entries.add(entry_id=id)
    with pytest.raises(RpcError) as refused:
        await caller.ask("BulkPublishEvent", asked)
    assert refused.value.message == (
        "error marshaling events to bytes for topic t1 pubsub pub. error: entryId is duplicated or not present for entry"
    )


async def test_an_empty_batch_is_fine(caller: GrpcCaller) -> None:
    assert (
        await caller.ask("BulkPublishEvent", runtime.BulkPublishRequest(pubsub_name="pub", topic="t")) == b""
    )


class Client:
    """The app's end of one stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call = channel.stream_stream(f"{DAPR.decode()}SubscribeTopicEventsAlpha1")()

    async def begin(self, topic: str = "s1", pubsub: str = "pub", dead: str = "", **metadata: str) -> None:
        message = runtime.SubscribeTopicEventsRequestAlpha1()
        wish = message.initial_request
        wish.pubsub_name, wish.topic = pubsub, topic
        wish.metadata.update(metadata)
        if dead:
            wish.dead_letter_topic = dead
        await self.call.write(message.SerializeToString())

    async def stands(self) -> None:
        assert (await self.read()).WhichOneof("subscribe_topic_events_response_type") == "initial_response"

    async def answer(self, id: str, status: int = 0) -> None:
        message = runtime.SubscribeTopicEventsRequestAlpha1()
        message.event_processed.id = id
        message.event_processed.status.status = status  # type: ignore[assignment]
        await self.call.write(message.SerializeToString())

    async def event(self) -> Any:
        return (await self.read()).event_message

    async def read(self) -> Any:
        message = await asyncio.wait_for(self.call.read(), 10)
        assert message is not grpc.aio.EOF, (await self.call.code(), await self.call.details())
        return runtime.SubscribeTopicEventsResponseAlpha1.FromString(message)

    async def end(self) -> tuple[str, str]:
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await self.call.read()
        return ended.value.code().name, ended.value.details() or ""


@asynccontextmanager
async def streaming(
    deck: Deck, look: Callable[[ServerCall], None] | None = None, limits: GrpcLimits | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    rpcs = PubSubRpcs(deck.service, deck.subscriptions)
    api = GrpcApi(admission=look, over=lambda *_: None)
    api.serve(DAPR, rpcs.unary(), rpcs.streams())
    server = GrpcServer(api, limits)
    port = await server.listen(["127.0.0.1"], 0)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.close()


@pytest.fixture
async def channel(deck: Deck) -> AsyncIterator[grpc.aio.Channel]:
    async with streaming(deck) as made:
        yield made


async def publish(deck: Deck, data: str, topic: str = "s1", **metadata: str) -> None:
    await deck.service.publish(PLAIN, "pub", topic, data.encode(), "text/plain", metadata)


async def test_events_come_on_the_stream_and_are_answered_by_id(
    deck: Deck, channel: grpc.aio.Channel
) -> None:
    client = Client(channel)
    await client.begin()
    await client.stands()
    await publish(deck, "one")
    await publish(deck, "two")
    first, second = await client.event(), await client.event()
    assert (first.data, first.topic, first.pubsub_name, first.path) == (b"one", "s1", "pub", "/")
    await client.answer(second.id)
    await client.answer("unknown")
    await client.answer(first.id)
    await eventually(lambda: deck.noted.told.count(("ingress", "pub", "s1", "success", "")) == 2)
    assert [interest.origin.name for interest in deck.subscriptions.listing()] == ["STREAMING"]
    client.call.cancel()
    await eventually(lambda: deck.subscriptions.listing() == ())


@pytest.mark.parametrize(
    ("wish", "code", "details"),
    [
        ({"topic": ""}, "UNKNOWN", "topic is required"),
        ({"pubsub": "zz"}, "INVALID_ARGUMENT", "pubsub zz is not found"),
        (
            {"pubsub": "scoped", "topic": "bad"}, "UNKNOWN",
            "failed to create subscription for scoped: subscription to topic 'bad' on pubsub 'scoped' is not allowed",
        ),
    ],
)  # fmt: skip
async def test_a_wish_that_cannot_be_met_ends_the_stream(
    channel: grpc.aio.Channel, wish: dict[str, str], code: str, details: str
) -> None:
    client = Client(channel)
    await client.begin(**wish)
    assert await client.end() == (code, details)


async def test_the_first_message_must_be_the_wish(channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.answer("x")
    assert await client.end() == ("UNKNOWN", "initial request is required")


async def test_a_second_wish_ends_the_stream(channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.begin()
    await client.stands()
    await client.begin()
    assert await client.end() == ("UNKNOWN", "duplicate initial request received")


async def test_a_drained_stream_is_ended_after_what_was_in_flight(
    deck: Deck, channel: grpc.aio.Channel
) -> None:
    client = Client(channel)
    await client.begin()
    await client.stands()
    await publish(deck, "one")
    event = await client.event()
    draining = asyncio.get_running_loop().create_task(deck.subscriptions.drain(5))
    await client.answer(event.id)
    await draining
    assert await client.end() == ("UNKNOWN", "api server closed")
    assert ("ingress", "pub", "s1", "success", "") in deck.noted.told
    assert deck.subscriptions.listing() == ()


async def test_what_a_stream_left_unanswered_goes_to_the_next(deck: Deck, channel: grpc.aio.Channel) -> None:
    first = Client(channel)
    await first.begin(dead="s1dead")
    await first.stands()
    dead = await deck.spy("s1dead", "pub")
    await publish(deck, "unanswered")
    id = (await first.event()).id
    await first.call.done_writing()
    assert await first.end() == ("UNKNOWN", "EOF")
    await eventually(lambda: deck.subscriptions.listing() == ())
    second = Client(channel)
    await second.begin()
    await second.stands()
    again = await second.event()
    assert again.id == id and dead == []
    await second.answer(id)
    second.call.cancel()


async def test_what_the_app_drops_goes_to_the_dead_letter_topic(
    deck: Deck, channel: grpc.aio.Channel
) -> None:
    client, letters = Client(channel), Client(channel)
    await client.begin("s3", dead="s3dlq")
    await letters.begin("s3dlq")
    await client.stands()
    await letters.stands()
    await publish(deck, "bad", "s3")
    event = await client.event()
    await client.answer(event.id, 2)
    letter = await letters.event()
    assert (letter.id, letter.topic, letter.extensions.fields["topic"].string_value) == (
        event.id,
        "s3dlq",
        "s3",
    )
    await letters.answer(letter.id)
    client.call.cancel()
    letters.call.cancel()


async def test_what_the_app_wants_again_comes_again(deck: Deck, channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.begin("s4")
    await client.stands()
    await publish(deck, "again", "s4")
    event = await client.event()
    await client.answer(event.id, 1)
    await eventually(lambda: deck.clock.sleepers)
    await deck.clock.advance(1)
    assert (await client.event()).id == event.id
    await client.answer(event.id)
    client.call.cancel()


async def test_a_raw_stream_gets_payloads_in_an_envelope(deck: Deck, channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.begin("s5", rawPayload="true")
    await client.stands()
    await publish(deck, "raw", "s5", rawPayload="true")
    event = await client.event()
    assert (event.source, event.data_content_type, event.data) == ("Dapr", "application/octet-stream", b"raw")
    await client.answer(event.id)
    client.call.cancel()


async def test_two_streams_of_one_topic_both_hear_an_event_in_memory(
    deck: Deck, channel: grpc.aio.Channel
) -> None:
    clients = [Client(channel), Client(channel)]
    for client in clients:
        await client.begin("s6")
        await client.stands()
    await publish(deck, "both", "s6")
    for client in clients:
        await client.answer((await client.event()).id)
        client.call.cancel()


async def test_an_event_whose_id_is_under_way_waits_its_turn(deck: Deck, channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.begin("s7", dead="s7dead")
    await client.stands()
    dead = await deck.spy("s7dead", "pub")
    for data in ("first", "second"):
        await publish(deck, data, "s7", **{"cloudevent.id": "same"})
    await publish(deck, "other", "s7")
    first, other = await client.event(), await client.event()
    assert (first.data, other.data) == (b"first", b"other")
    await client.answer("same")
    assert (await client.event()).data == b"second"
    await client.answer("same")
    await client.answer(other.id)
    await eventually(lambda: deck.noted.told.count(("ingress", "pub", "s7", "success", "")) == 3)
    assert dead == []
    client.call.cancel()


class Overheard(MemoryPubSub):
    """Lets a test hand up a message when it likes."""

    deliver: Deliver

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        self.deliver = deliver
        return await super().subscribe(topic, deliver)


async def test_an_event_that_finds_its_stream_gone_is_returned_to_the_broker_and_not_buried(
    deck: Deck,
) -> None:
    driver = Overheard(MemoryPubSubSettings(), deck.context("held"))
    await driver.open()
    deck.mount("held", driver)
    dead = await deck.spy("dead", "held")
    event = Message("s9", b'{"id":"1","specversion":"1.0","data":"x"}', "", {}, "1", 1)
    verdicts: list[asyncio.Future[Verdict]] = []

    def meanwhile(call: ServerCall) -> None:
        call.on_cancel(lambda: verdicts.append(asyncio.ensure_future(driver.deliver(event))))

    async with streaming(deck, meanwhile) as channel:
        client = Client(channel)
        await client.begin("s9", "held", dead="dead")
        await client.stands()
        client.call.cancel()
        await eventually(lambda: verdicts)
        assert await verdicts[0] is Verdict.ABANDON and dead == []


class Timed(MemoryPubSub):
    """A broker whose client sets time limits, as most do."""

    async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
        async with asyncio.timeout(5):
            return TimedSubscription(await super().subscribe(topic, deliver))


class TimedSubscription:
    def __init__(self, inner: Subscription) -> None:
        self.inner = inner
        self.pause, self.resume, self.drain = inner.pause, inner.resume, inner.drain

    async def close(self) -> None:
        async with asyncio.timeout(5):
            await self.inner.close()


async def test_a_broker_may_set_time_limits_when_a_stream_begins_and_ends(deck: Deck) -> None:
    driver = Timed(MemoryPubSubSettings(), deck.context("timed"))
    await driver.open()
    deck.mount("timed", driver)
    async with streaming(deck) as channel:
        client = Client(channel)
        await client.begin("s11", "timed")
        await client.stands()
        assert driver._subscriptions
        client.call.cancel()
        await eventually(lambda: not driver._subscriptions)


async def test_an_event_too_large_for_the_stream_goes_to_the_dead_letter_topic(deck: Deck) -> None:
    dead = await deck.spy("s10dead", "pub")
    async with streaming(deck, limits=GrpcLimits(message_bytes=2000)) as channel:
        client = Client(channel)
        await client.begin("s10", dead="s10dead")
        await client.stands()
        await publish(deck, "x" * 3000, "s10")
        await publish(deck, "small", "s10")
        assert (await client.event()).data == b"small"
        await eventually(lambda: len(dead) == 1)
        client.call.cancel()


async def test_a_stream_goes_on_while_the_app_is_ill(deck: Deck, channel: grpc.aio.Channel) -> None:
    client = Client(channel)
    await client.begin()
    await client.stands()
    await deck.subscriptions.pause()
    await publish(deck, "still")
    await client.answer((await client.event()).id)
    client.call.cancel()
