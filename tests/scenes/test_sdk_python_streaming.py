"""The official Python SDK subscribes by stream: with and without a handler, synchronous and asynchronous."""

import json
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from dapr.aio.clients import DaprClient as AsyncClient
from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse
from dapr.common.pubsub.subscription import StreamCancelledError, StreamInactiveError
from support.sidecar import Sidecar, Stage, component, until
from support.waiting import eventually


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stream")) as made:
        yield made


@pytest.fixture(scope="module")
def sidecar(stage: Stage) -> Sidecar:
    return stage.sidecar("streamer", resources=stage.resources(component("bus", "pubsub.sqlite"))).ready()


@pytest.fixture
def client(beside: None) -> Iterator[DaprClient]:
    with DaprClient() as made:
        yield made


@pytest.fixture
async def aclient(beside: None) -> AsyncIterator[AsyncClient]:
    async with AsyncClient() as made:
        yield made


@pytest.fixture
def beside(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))


def numbers(count: int) -> list[str]:
    return [json.dumps({"n": number}) for number in range(count)]


def test_messages_are_taken_one_by_one_and_answered(client: DaprClient) -> None:
    subscription = client.subscribe("bus", "pulled")
    client.publish_events("bus", "pulled", numbers(3), data_content_type="application/json")
    told = []
    for _ in range(3):
        message = subscription.next_message()
        told.append((message.topic(), message.pubsub_name(), message.data()["n"]))
        subscription.respond_success(message)
    assert sorted(told) == [("pulled", "bus", number) for number in range(3)]
    subscription.close()
    with pytest.raises((StreamInactiveError, StreamCancelledError)):
        subscription.next_message()


def test_a_message_sent_back_comes_again(client: DaprClient) -> None:
    subscription = client.subscribe("bus", "again")
    client.publish_event("bus", "again", "x", data_content_type="text/plain")
    first = subscription.next_message()
    subscription.respond_retry(first)
    second = subscription.next_message()
    assert (second.id(), second.data()) == (first.id(), "x")
    subscription.respond_success(second)
    subscription.close()


def test_a_dropped_message_goes_to_the_dead_letter_topic(client: DaprClient) -> None:
    dead = client.subscribe("bus", "dead")
    subscription = client.subscribe("bus", "dropped", dead_letter_topic="dead")
    client.publish_event("bus", "dropped", "x", data_content_type="text/plain")
    subscription.respond_drop(subscription.next_message())
    message = dead.next_message()
    assert (message.topic(), message.data()) == ("dead", "x")
    dead.respond_success(message)
    dead.close()
    subscription.close()


def test_a_handler_answers_what_comes(client: DaprClient) -> None:
    seen: list[Any] = []

    def handle(message: Any) -> TopicEventResponse:
        seen.append(message.data()["n"])
        return TopicEventResponse("retry" if seen == [0] else "success")

    close = client.subscribe_with_handler("bus", "handled", handle)
    client.publish_event("bus", "handled", '{"n": 0}', data_content_type="application/json")
    until(lambda: seen == [0, 0], why="the message sent back comes again")
    client.publish_event("bus", "handled", '{"n": 1}', data_content_type="application/json")
    until(lambda: seen == [0, 0, 1])
    close()
    assert not [thread for thread in threading.enumerate() if "stream_messages" in thread.name]


def test_a_raw_payload_comes_as_bytes(client: DaprClient) -> None:
    subscription = client.subscribe("bus", "raw", metadata={"rawPayload": "true"})
    client.publish_event("bus", "raw", b"\x00\xff", publish_metadata={"rawPayload": "true"})
    message = subscription.next_message()
    assert message.raw_data() == b"\x00\xff"
    subscription.respond_success(message)
    subscription.close()


def test_a_broker_that_is_not_there_ends_the_stream_at_once(client: DaprClient) -> None:
    with pytest.raises(Exception, match="nosuch"):
        client.subscribe("nosuch", "t")


async def test_messages_are_taken_asynchronously(aclient: AsyncClient) -> None:
    subscription = await aclient.subscribe("bus", "apulled")
    await aclient.publish_events("bus", "apulled", numbers(3), data_content_type="application/json")
    told = []
    async for message in subscription:
        told.append(message.data()["n"])
        await subscription.respond_success(message)
        if len(told) == 3:
            break
    assert sorted(told) == [0, 1, 2]
    await subscription.close()


async def test_an_asynchronous_handler_answers_what_comes(aclient: AsyncClient) -> None:
    seen: list[Any] = []

    async def handle(message: Any) -> TopicEventResponse:
        seen.append(message.data())
        return TopicEventResponse("success")

    close = await aclient.subscribe_with_handler("bus", "ahandled", handle)
    await aclient.publish_event("bus", "ahandled", "x", data_content_type="text/plain")
    await eventually(lambda: seen == ["x"])
    await close()


def test_a_subscription_returns_by_itself_after_its_sidecar(
    stage: Stage, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = stage.sidecar("returning", resources=stage.folder / "resources").ready()
    monkeypatch.setenv("DAPR_HTTP_PORT", str(first.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(first.ports.grpc))
    seen: list[Any] = []

    def handle(message: Any) -> TopicEventResponse:
        seen.append(message.data())
        return TopicEventResponse("success")

    with DaprClient() as client:
        close = client.subscribe_with_handler("bus", "returning", handle)
        try:
            assert first.stop() == 0, "an open stream does not hold the shutdown up"
            sidecar.ask("POST", "/v1.0/publish/bus/returning", "while away", content_type="text/plain")
            stage.sidecar("returning", resources=stage.folder / "resources", ports=first.ports).ready()
            until(lambda: seen == ["while away"])
        finally:
            close()
