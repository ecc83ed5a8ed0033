"""From the wish for a topic to the app, over brokers in memory: nothing is lost on the way."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from support.pubsub import Deck, Told, failing
from support.waiting import eventually

from pillion.contracts.pubsub import Deliver, Subscription
from pillion.contracts.words import Unavailable
from pillion.drivers.pubsub.memory import MemoryPubSub, MemoryPubSubSettings
from pillion.model.call import PLAIN
from pillion.model.errors import ApiError
from pillion.model.pubsub import Answer, Bulk, Event, Interest, Origin, Rule, Topic
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.services.subscriptions import NotSubscribed
from pillion.wire.json import loads

T1 = Interest("ps", "t1", (Rule("", "/t1"),))
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def app() -> Told:
    return Told(T1)


@pytest.fixture
async def deck(app: Told) -> AsyncIterator[Deck]:
    made = Deck(app)
    await made.memory()
    yield made
    await made.close()


async def publish(deck: Deck, data: str, topic: str = "t1", pubsub: str = "ps", **metadata: str) -> None:
    await deck.service.publish(PLAIN, pubsub, topic, data.encode(), "text/plain", metadata)


async def raw(deck: Deck, data: bytes, topic: str = "t1", **metadata: str) -> None:
    await deck.service.publish(PLAIN, "ps", topic, data, "", {"rawPayload": "true", **metadata})


async def test_an_event_reaches_the_app_as_the_broker_stored_it(deck: Deck, app: Told) -> None:
    seen = await deck.spy("t1")
    await deck.subscriptions.start()
    await publish(deck, "hello", foo="bar")
    event = await eventually(lambda: app.events and app.events[0])
    assert event.body == seen[0].data and event.path == "/t1" and dict(event.headers) == {"foo": "bar"}
    assert ("ingress", "ps", "t1", "success", "") in deck.noted.told


async def test_a_raw_object_on_a_plain_subscription_is_delivered_as_it_is(deck: Deck, app: Told) -> None:
    await deck.subscriptions.start()
    await raw(deck, b'{"raw":1}')
    event = await eventually(lambda: app.events and app.events[0])
    assert event.body == b'{"raw":1}' and event.trace == ""


async def test_a_raw_subscription_wraps_what_comes(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "raw", (Rule("", "/raw"),), {"rawPayload": "true"})]
    await deck.subscriptions.start()
    await raw(deck, b'{"raw":1}', "raw")
    event = await eventually(lambda: app.events and app.events[0])
    assert loads(event.body)["data_base64"] == "eyJyYXciOjF9" and event.raw == b'{"raw":1}'


async def test_the_trace_of_the_event_goes_with_the_call(deck: Deck, app: Told) -> None:
    await deck.subscriptions.start()
    await raw(deck, b'{"id":"1"}', traceparent=TRACE)
    event = await eventually(lambda: app.events and app.events[0])
    assert event.trace == TRACE


async def test_what_the_app_fails_comes_again(deck: Deck, app: Told) -> None:
    tries: list[Event] = []

    def says(event: Event) -> Answer:
        tries.append(event)
        return Answer.RETRY if len(tries) < 3 else Answer.SUCCESS

    app.says = says
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: tries and deck.clock.sleepers)
    await deck.clock.advance(60)
    await eventually(lambda: len(tries) == 3)
    assert ("ingress", "ps", "t1", "retry", "") in deck.noted.told


@pytest.mark.parametrize("answer", [Answer.DROP, Answer.RETRY, None])
async def test_what_cannot_be_delivered_ends_on_the_dead_letter_topic(
    deck: Deck, app: Told, answer: Answer | None
) -> None:
    app.wants = [Interest("ps", "t1", (Rule("", "/t1"),), dead_letter="dead")]
    app.says = failing if answer is None else lambda event: answer
    stored, dead = await deck.spy("t1"), await deck.spy("dead")
    await deck.subscriptions.start()
    await publish(deck, "hello", foo="bar")
    letter = await eventually(lambda: dead and dead[0])
    assert letter.data == stored[0].data and dict(letter.metadata) == {"foo": "bar"}
    assert len(app.events) == 1


async def test_an_app_without_the_handler_gets_no_dead_letter(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "t1", (Rule("", "/t1"),), dead_letter="dead")]
    app.says = lambda event: Answer.UNHANDLED
    dead = await deck.spy("dead")
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: ("ingress", "ps", "t1", "drop", "") in deck.noted.told)
    assert dead == []


async def test_a_dead_letter_that_may_not_be_published_leaves_the_message_with_the_broker(app: Told) -> None:
    deck = Deck(app)
    await deck.memory(publishingScopes="appa=t1")
    app.wants = [Interest("ps", "t1", (Rule("", "/t1"),), dead_letter="dead")]
    app.says = lambda event: Answer.DROP if len(app.events) == 1 else Answer.SUCCESS
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: len(app.events) == 1 and deck.clock.sleepers)
    await deck.clock.advance(10)
    await eventually(lambda: len(app.events) == 2)
    await deck.close()


async def test_an_expired_event_is_dropped_before_the_app_sees_it(deck: Deck, app: Told) -> None:
    await deck.subscriptions.start()
    await publish(deck, "old", ttl="-1s")
    await publish(deck, "new")
    await eventually(lambda: app.events)
    assert app.heard() == ["new"] and ("ingress", "ps", "t1", "drop", "") in deck.noted.told


async def test_what_is_no_event_is_tried_again_and_never_shown_to_the_app(deck: Deck, app: Told) -> None:
    await deck.subscriptions.start()
    await raw(deck, b"not json")
    await eventually(lambda: ("ingress", "ps", "t1", "retry", "") in deck.noted.told)
    assert app.events == []


async def test_rules_choose_the_path(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "t1", (Rule('event.type == "red"', "/red"), Rule("", "/rest")))]
    await deck.subscriptions.start()
    await raw(deck, b'{"type":"red"}')
    await raw(deck, b'{"type":"blue"}')
    await eventually(lambda: len(app.events) == 2)
    assert sorted(event.path for event in app.events) == ["/red", "/rest"]


@pytest.mark.parametrize("bulk", [Bulk(), Bulk(enabled=True, max_messages=1)])
async def test_a_mistake_on_the_way_leaves_the_message_with_the_broker(
    deck: Deck, app: Told, caplog: pytest.LogCaptureFixture, bulk: Bulk
) -> None:
    def says(event: Event) -> Answer:
        if len(app.events) + len(app.batches) == 1:
            raise KeyError("a mistake")
        return Answer.SUCCESS

    app.wants, app.says = [Interest("ps", "t1", (Rule("", "/t1"),), bulk=bulk)], says
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: deck.clock.sleepers)
    await deck.clock.advance(1)
    await eventually(lambda: len(app.events) + len(app.batches) == 2)
    assert "a mistake" in caplog.text


async def test_an_event_no_rule_wants_is_dropped(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "t1", (Rule('event.type == "red"', "/red"),))]
    await deck.subscriptions.start()
    await raw(deck, b'{"type":"blue"}')
    await eventually(lambda: ("ingress", "ps", "t1", "drop", "success") in deck.noted.told)
    assert app.events == []


async def test_a_rule_without_an_answer_fails_the_delivery(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "t1", (Rule("event.data.n > 1", "/n"),), dead_letter="dead")]
    dead = await deck.spy("dead")
    await deck.subscriptions.start()
    await raw(deck, b'{"data":{}}')
    await eventually(lambda: dead)
    assert app.events == []


async def test_what_the_app_lists_wins_over_what_is_declared(deck: Deck, app: Told) -> None:
    other = Interest("ps", "t2", (Rule("", "/t2"),), origin=Origin.DECLARATIVE)
    same = Interest("ps", "t1", (Rule("", "/declared"),), origin=Origin.DECLARATIVE)
    await deck.subscriptions.start([other, same])
    assert deck.subscriptions.listing() == (other, T1)


async def test_an_app_that_does_not_answer_yet_is_asked_again(deck: Deck, app: Told) -> None:
    plain = app.interests

    async def interests() -> object:
        if app.asked < 2:
            app.asked += 1
            raise AppUnreachable("connection refused")
        return await plain()

    app.interests = interests  # type: ignore[method-assign, assignment]
    starting = asyncio.get_running_loop().create_task(deck.subscriptions.start())
    while not starting.done():
        await deck.clock.advance(1)
    assert deck.subscriptions.listing() == (T1,)


async def test_an_app_that_never_answers_leaves_what_is_declared(
    deck: Deck, app: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async def interests() -> object:
        app.asked += 1
        raise AppUnreachable("connection refused")

    app.interests = interests  # type: ignore[method-assign, assignment]
    declared = Interest("ps", "t2", (Rule("", "/t2"),), origin=Origin.DECLARATIVE)
    starting = asyncio.get_running_loop().create_task(deck.subscriptions.start([declared]))
    while not starting.done():
        await deck.clock.advance(1)
    assert app.asked == 4 and deck.subscriptions.listing() == (declared,)


async def test_an_answer_that_cannot_be_used_is_logged_and_not_asked_for_again(
    deck: Deck, app: Told, caplog: pytest.LogCaptureFixture
) -> None:
    async def interests() -> object:
        app.asked += 1
        raise AppFailed("app returned http status code 500 from subscription endpoint")

    app.interests = interests  # type: ignore[method-assign, assignment]
    await deck.subscriptions.start()
    assert app.asked == 1 and "status code 500 from subscription endpoint" in caplog.text


async def test_a_refused_topic_does_not_keep_the_others_back(
    app: Told, caplog: pytest.LogCaptureFixture
) -> None:
    deck = Deck(app)
    await deck.memory(subscriptionScopes="appa=t1")
    app.wants = [Interest("ps", "z", (Rule("", "/z"),)), Interest("nops", "t", (Rule("", "/t"),)), T1]
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: app.events)
    assert "subscription to topic 'z' on pubsub 'ps' is not allowed" in caplog.text
    assert "pubsub nops is not found" in caplog.text and len(deck.subscriptions.listing()) == 3
    await deck.close()


async def test_a_broker_that_is_not_there_yet_is_subscribed_when_it_comes(deck: Deck, app: Told) -> None:
    app.wants = [Interest("late", "t1", (Rule("", "/t1"),))]
    await deck.subscriptions.start()
    await deck.memory("late")
    await eventually(lambda: deck.clock.sleepers)
    await deck.clock.advance(60)
    await publish(deck, "hello", pubsub="late")
    await eventually(lambda: app.events)


async def test_a_broker_that_refuses_is_asked_again_and_complained_of_once(
    app: Told, caplog: pytest.LogCaptureFixture
) -> None:
    class Shy(MemoryPubSub):
        refusals = 3

        async def subscribe(self, topic: Topic, deliver: Deliver) -> Subscription:
            self.refusals -= 1
            if self.refusals >= 0:
                raise Unavailable("not yet")
            return await super().subscribe(topic, deliver)

    Shy.__doc__ = "Not at once."
    deck = Deck(app)
    driver = Shy(MemoryPubSubSettings(), deck.context("ps"))
    await driver.open()
    deck.mount("ps", driver)
    await deck.subscriptions.start()
    while driver.refusals >= 0:
        await deck.clock.advance(30)
    await publish(deck, "hello")
    await eventually(lambda: app.events)
    assert [r.levelno for r in caplog.records if "not yet" in r.message].count(logging.ERROR) == 1
    await deck.close()


async def test_an_app_of_2020_means_the_only_broker(deck: Deck, app: Told) -> None:
    app.wants = [Interest("", "t1", (Rule("", "t1"),))]
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: app.events)
    assert app.events[0].pubsub == "ps"


async def test_a_namespaced_topic_is_shown_without_its_namespace(app: Told) -> None:
    deck = Deck(app)
    await deck.memory(prefix="prod")
    await deck.subscriptions.start()
    await publish(deck, "hello")
    event = await eventually(lambda: app.events and app.events[0])
    assert event.topic == "t1"
    await deck.close()


async def test_nothing_is_handed_to_an_ill_app_and_nothing_is_lost(deck: Deck, app: Told) -> None:
    await deck.subscriptions.start()
    await deck.subscriptions.pause()
    for number in range(10):
        await publish(deck, str(number))
    await asyncio.sleep(0)
    assert app.events == []
    await deck.subscriptions.resume()
    await eventually(lambda: len(app.events) == 10)
    assert sorted(app.heard()) == [str(number) for number in range(10)]  # type: ignore[type-var]


async def test_an_app_that_starts_ill_is_subscribed_when_it_heals(deck: Deck, app: Told) -> None:
    await deck.subscriptions.pause()
    await deck.subscriptions.start()
    await publish(deck, "lost on purpose: nobody is subscribed in memory")
    await deck.subscriptions.resume()
    await eventually(lambda: deck.brokers["ps"].mount.driver._subscriptions)  # type: ignore[attr-defined]
    await publish(deck, "hello")
    await eventually(lambda: app.heard() == ["hello"])


async def test_draining_lets_what_is_in_flight_finish(deck: Deck, app: Told) -> None:
    gate = asyncio.Event()
    app.silent = gate.wait
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: app.events)
    draining = asyncio.get_running_loop().create_task(deck.subscriptions.drain(5))
    await asyncio.sleep(0)
    gate.set()
    await draining
    assert ("ingress", "ps", "t1", "success", "") in deck.noted.told


@pytest.mark.parametrize("bulk", [Bulk(), Bulk(enabled=True, max_messages=1)])
async def test_what_fails_while_draining_is_released_and_never_buried(
    deck: Deck, app: Told, bulk: Bulk
) -> None:
    gate = asyncio.Event()
    app.wants = [Interest("ps", "t1", (Rule("", "/t1"),), dead_letter="dead", bulk=bulk)]
    app.silent, app.says = gate.wait, failing
    dead = await deck.spy("dead")
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: app.events or app.batches)
    draining = asyncio.get_running_loop().create_task(deck.subscriptions.drain(5))
    await asyncio.sleep(0)
    gate.set()
    await draining
    assert dead == []
    again = Told(T1)
    next_life = deck.subscribing(again)
    await next_life.start()
    await eventually(lambda: again.heard() == ["hello"])
    await next_life.close()


async def test_what_is_still_in_flight_at_the_deadline_is_left_for_the_next_life(
    deck: Deck, app: Told
) -> None:
    app.silent = asyncio.Event().wait
    await deck.subscriptions.start()
    for number in range(5):
        await publish(deck, str(number))
    await eventually(lambda: len(app.events) == 5)
    await deck.subscriptions.drain(0)
    again = Told(T1)
    next_life = deck.subscribing(again)
    await next_life.start()
    await eventually(lambda: len(again.events) == 5)
    await next_life.close()


BULK = Interest("ps", "t1", (Rule("", "/bulk"),), bulk=Bulk(enabled=True, max_messages=3, max_await=1.0))


async def test_a_full_batch_goes_at_once(deck: Deck, app: Told) -> None:
    app.wants = [BULK]
    await deck.subscriptions.start()
    for number in range(3):
        await publish(deck, str(number))
    batch = await eventually(lambda: app.batches and app.batches[0])
    assert len(batch.events) == 3 and batch.path == "/bulk" and dict(batch.metadata) == {"pubsubName": "ps"}
    assert len({event.entry_id for event in batch.events}) == 3
    await eventually(lambda: ("batch", "ps", "t1", {"SUCCESS": 3}) in deck.noted.told)


async def test_a_batch_that_is_not_full_goes_when_it_has_waited_long_enough(deck: Deck, app: Told) -> None:
    app.wants = [BULK]
    await deck.subscriptions.start()
    await publish(deck, "0")
    await publish(deck, "1")
    await eventually(lambda: deck.clock.sleepers)
    assert app.batches == []
    await deck.clock.advance(1)
    await eventually(lambda: [len(batch.events) for batch in app.batches] == [2])


async def test_entries_are_split_by_route_and_judged_one_by_one(deck: Deck, app: Told) -> None:
    app.wants = [
        Interest(
            "ps", "t1", (Rule('event.type == "red"', "/red"), Rule("", "/rest")),
            dead_letter="dead", bulk=Bulk(enabled=True, max_messages=3),
        )
    ]  # fmt: skip
    verdicts = {"a": Answer.SUCCESS, "b": Answer.RETRY, "c": Answer.DROP}
    app.says = lambda event: verdicts[str(event.envelope["id"])]
    dead = await deck.spy("dead")
    await deck.subscriptions.start()
    for id, kind in (("a", "red"), ("b", "blue"), ("c", "blue")):
        await raw(deck, f'{{"id":"{id}","type":"{kind}"}}'.encode())
    await eventually(lambda: len(dead) == 2)
    assert sorted((batch.path, len(batch.events)) for batch in app.batches) == [("/red", 1), ("/rest", 2)]
    assert sorted(str(loads(letter.data)["id"]) for letter in dead) == ["b", "c"]


async def test_an_entry_without_an_answer_comes_again(deck: Deck, app: Told) -> None:
    app.wants = [Interest("ps", "t1", (Rule("", "/b"),), bulk=Bulk(enabled=True, max_messages=1))]
    plain = app.deliver_batch

    async def silent(batch: object) -> object:
        answers = await plain(batch)  # type: ignore[arg-type]
        return {} if len(app.batches) == 1 else answers

    app.deliver_batch = silent  # type: ignore[method-assign, assignment]
    await deck.subscriptions.start()
    await publish(deck, "hello")
    await eventually(lambda: len(app.batches) == 1 and deck.clock.sleepers)
    await deck.clock.advance(10)
    await eventually(lambda: len(app.batches) == 2)


async def test_what_waits_for_its_batch_is_released_at_the_end(deck: Deck, app: Told) -> None:
    app.wants = [BULK]
    await deck.subscriptions.start()
    await publish(deck, "0")
    await eventually(lambda: deck.clock.sleepers)
    await deck.subscriptions.drain(1)
    assert app.batches == []
    again = Told(T1)
    next_life = deck.subscribing(again)
    await next_life.start()
    await eventually(lambda: again.heard() == ["0"])
    await next_life.close()


async def test_a_stream_is_refused_a_topic_out_of_scope(app: Told) -> None:
    deck = Deck(app)
    await deck.memory(subscriptionScopes="appa=t1")
    with pytest.raises(NotSubscribed, match="subscription to topic 'bad' on pubsub 'ps' is not allowed"):
        await deck.subscriptions.open_stream(Interest("ps", "bad", (Rule("", "/"),)), app.deliver)
    with pytest.raises(ApiError, match="ERR_PUBSUB_NOT_FOUND"):
        await deck.subscriptions.open_stream(Interest("zz", "t", (Rule("", "/"),)), app.deliver)
    await deck.close()


async def test_a_sidecar_without_an_app_subscribes_to_nothing() -> None:
    deck = Deck(None)
    await deck.memory()
    await deck.subscriptions.start([T1])
    assert deck.subscriptions.listing() == ()
    await deck.close()


async def test_no_stream_begins_once_the_sidecar_drains(deck: Deck, app: Told) -> None:
    await deck.subscriptions.drain(0)
    with pytest.raises(NotSubscribed, match="shutting down"):
        await deck.subscriptions.open_stream(T1, app.deliver)


async def test_a_stream_is_told_once_that_its_subscription_has_ended(deck: Deck, app: Told) -> None:
    ends: list[str] = []
    line = await deck.subscriptions.open_stream(T1, app.deliver)
    line.at_end(lambda: ends.append("told"))
    await deck.subscriptions.drain(0)
    await deck.subscriptions.close_stream(line)
    assert ends == ["told"]
    line.at_end(lambda: ends.append("late"))
    assert ends == ["told", "late"]
