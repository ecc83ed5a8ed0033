"""What apps ask of bindings, and what bindings bring to apps."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import pytest
from support.bindings import Quay, Spring
from support.waiting import eventually

from pillion.contracts.bindings import NotDelivered
from pillion.model.bindings import Reply, Trigger
from pillion.model.call import PLAIN, Call
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.services.bindings import BindingFailed, InputBindings, OutputBindings
from pillion.toolbox.tasks import Crew
from pillion.wire import json


@pytest.fixture
def quay() -> Quay:
    return Quay()


def outputs(quay: Quay) -> OutputBindings:
    return OutputBindings(quay.mounts, quay)  # type: ignore[arg-type]


# Outputs.


async def test_an_invocation_reaches_the_driver_and_its_answer_comes_back(quay: Quay) -> None:
    echo = quay.echo()
    reply = await outputs(quay).invoke(PLAIN, "echo", "create", b"data", {"k": "v"})
    assert reply is not None and reply.data == b"data"
    assert echo.got == [("create", b"data", {"k": "v"})]
    assert quay.noted.told == [("create", True)]


async def test_the_trace_is_added_to_the_metadata(quay: Quay) -> None:
    echo = quay.echo()
    call = Call(trace="00-a-b-01", trace_state="s=1", baggage="b=1")
    await outputs(quay).invoke(call, "echo", "create", b"", {"traceparent": "old", "k": "v"})
    assert echo.got[0][2] == {"traceparent": "00-a-b-01", "tracestate": "s=1", "baggage": "b=1", "k": "v"}


@pytest.mark.parametrize(
    ("name", "operation", "why"),
    [
        ("echo", "", "operation field is missing from request"),
        ("nob", "", "operation field is missing from request"),
        ("nob", "create", "couldn't find output binding nob"),
        ("spring", "create", "couldn't find output binding spring"),
        ("inward", "create", "couldn't find output binding inward"),
        (
            "echo", "zzz",
            "binding echo does not support operation zzz. supported operations:create fail refuse lose nothing",
        ),
        ("echo", "refuse", "this cannot be"),
        ("echo", "lose", "nobody there"),
        ("echo", "fail", "received status code 500"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_says_why_and_is_counted(
    quay: Quay, name: str, operation: str, why: str
) -> None:
    quay.echo()
    quay.spring()
    quay.echo("inward", direction="input")
    with pytest.raises(BindingFailed) as failed:
        await outputs(quay).invoke(PLAIN, name, operation, b"")
    assert failed.value.message == f"error invoking output binding {name}: {why}"
    assert quay.noted.told == [(operation, False)]


async def test_what_the_outside_told_of_its_failure_goes_along(quay: Quay) -> None:
    quay.echo()
    with pytest.raises(BindingFailed) as failed:
        await outputs(quay).invoke(PLAIN, "echo", "fail", b"")
    assert failed.value.metadata == {"statusCode": "500"}


# Inputs.


class Shop:
    """An app that takes events."""

    def __init__(self, takes: set[str]) -> None:
        self.takes = takes
        self.asked: list[dict[str, str]] = []
        self.got: list[tuple[str, str, Trigger, str]] = []
        self.answer: Reply | Exception = Reply(b"thanks")
        self.gate = asyncio.Event()
        self.gate.set()

    async def inputs(self, names: Mapping[str, str]) -> frozenset[str]:
        self.asked.append(dict(names))
        return frozenset(names) & self.takes

    async def bring(self, name: str, route: str, trigger: Trigger, trace: str) -> Reply:
        self.got.append((name, route, trigger, trace))
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def shop() -> Shop:
    return Shop({"spring", "tick", "other"})


@pytest.fixture
async def inputs(quay: Quay, shop: Shop) -> AsyncIterator[InputBindings]:
    made = InputBindings(quay.mounts, shop, outputs(quay), json, quay.clock)  # type: ignore[arg-type]
    yield made
    shop.gate.set()
    quay.clock._now += 10
    await made.stop(forever=True)


async def bring(spring: Spring, data: bytes = b"event", **metadata: str) -> Reply:
    assert spring.bring is not None
    return await spring.bring(Trigger(data, metadata))


async def test_the_app_is_asked_by_name_and_route_and_gets_what_it_takes(
    quay: Quay, shop: Shop, inputs: InputBindings, caplog: pytest.LogCaptureFixture
) -> None:
    taken, left = quay.spring(Route="/orders"), quay.spring("left")
    quay.echo()
    with caplog.at_level(logging.INFO):
        await inputs.start()
    assert shop.asked == [{"spring": "/orders", "left": "left"}]
    assert (await bring(taken, b"e1", k="v")).data == b"thanks"
    assert shop.got == [("spring", "/orders", Trigger(b"e1", {"k": "v"}), "")]
    assert left.bring is None and "app has not subscribed to binding left." in caplog.messages
    assert quay.arrived.told == [("", True)]


async def test_an_explicit_direction_needs_no_asking(quay: Quay, shop: Shop, inputs: InputBindings) -> None:
    sure, never = quay.spring("sure", direction="Input, output"), quay.spring("never", direction="output")
    await inputs.start()
    assert shop.asked == [] and sure.bring is not None and never.bring is None


async def test_the_trace_of_an_event_is_handed_on(quay: Quay, shop: Shop, inputs: InputBindings) -> None:
    spring = quay.spring()
    await inputs.start()
    await bring(spring, traceparent="00-a-b-01")
    assert shop.got[0][3] == "00-a-b-01"


@pytest.mark.parametrize("error", [AppUnreachable("gone"), AppFailed("status code: 500")])
async def test_an_event_the_app_did_not_take_is_told_to_the_driver(
    quay: Quay, shop: Shop, inputs: InputBindings, error: Exception
) -> None:
    spring = quay.spring()
    await inputs.start()
    shop.answer = error
    with pytest.raises(NotDelivered, match=str(error)):
        await bring(spring)
    assert quay.arrived.told == [("", False)]


async def test_one_input_that_cannot_start_leaves_the_others_alone(
    quay: Quay, shop: Shop, inputs: InputBindings, caplog: pytest.LogCaptureFixture
) -> None:
    quay.spring("broken", direction="input")
    spring = quay.spring()
    await inputs.start()
    assert spring.bring is not None
    assert "error reading from input binding broken: nothing to listen to" in caplog.messages


async def test_an_app_that_cannot_be_asked_gets_only_what_is_sure(
    quay: Quay, shop: Shop, inputs: InputBindings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(names: Mapping[str, str]) -> frozenset[str]:
        raise AppUnreachable("refused")

    monkeypatch.setattr(shop, "inputs", gone)
    sure, unsure = quay.spring("sure", direction="input"), quay.spring()
    await inputs.start()
    assert sure.bring is not None and unsure.bring is None


async def test_starting_twice_listens_once_and_after_a_stop_again(
    quay: Quay, shop: Shop, inputs: InputBindings
) -> None:
    spring = quay.spring()
    await inputs.start()
    first = spring.bring
    await inputs.start()
    assert spring.bring is first
    await inputs.stop()
    assert spring.closed == 1
    await inputs.start()
    assert spring.bring is not first
    await bring(spring)


async def test_stopped_for_ever_it_does_not_start(quay: Quay, inputs: InputBindings) -> None:
    spring = quay.spring()
    await inputs.stop(forever=True)
    await inputs.start()
    assert spring.bring is None


async def test_a_stop_lets_the_event_under_way_end_and_refuses_new_ones(
    quay: Quay, shop: Shop, inputs: InputBindings
) -> None:
    spring, crew = quay.spring(), Crew("test")
    await inputs.start()
    shop.gate.clear()
    brought = crew.start(bring(spring))
    await eventually(lambda: shop.got)
    stopping = crew.start(inputs.stop())
    await asyncio.sleep(0)
    with pytest.raises(NotDelivered, match="input binding is closed"):
        await bring(spring)
    shop.gate.set()
    assert (await brought).data == b"thanks"
    await eventually(lambda: quay.clock.sleepers)
    assert spring.closed == 0  # the driver has a moment to pass the answer on
    await quay.clock.advance(0.4)
    await stopping
    assert spring.closed == 1


async def test_a_stop_does_not_wait_for_ever(quay: Quay, shop: Shop, inputs: InputBindings) -> None:
    spring, crew = quay.spring(), Crew("test")
    await inputs.start()
    shop.gate.clear()
    crew.start(bring(spring))
    await eventually(lambda: shop.got)
    stopping = crew.start(inputs.stop(patience=0.01))
    await eventually(lambda: quay.clock.sleepers)
    await quay.clock.advance(0.4)
    await stopping
    assert spring.closed == 1
    await crew.close()


async def test_a_schedule_ticks_for_the_app(quay: Quay, shop: Shop, inputs: InputBindings) -> None:
    await quay.cron()
    await inputs.start()
    await eventually(lambda: quay.clock.sleepers)
    await quay.clock.advance(1)
    assert [(name, route) for name, route, *_ in shop.got] == [("tick", "tick")]
    assert set(shop.got[0][2].metadata) == {"readTimeUTC", "timeZone"}


# An answer that names outputs.


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    ("data", "sent"),
    [(b'{"b":1, "a":2}', b'{"a":2,"b":1}'), (b"no json", b"no json"), (None, b"null"), (b"", b"null")],
)
async def test_its_data_goes_to_each(
    quay: Quay, shop: Shop, inputs: InputBindings, parallel: bool, data: bytes | None, sent: bytes
) -> None:
    spring, one, two = quay.spring(), quay.echo("one"), quay.echo("two")
    await inputs.start()
    shop.answer = Reply(data, to=("one", "two"), parallel=parallel)
    assert await bring(spring) is shop.answer
    assert one.got == two.got == [("create", sent, {})]


@pytest.mark.parametrize(("parallel", "reached"), [(False, 0), (True, 1)])
async def test_one_that_fails_ends_a_row_but_not_those_at_once(
    quay: Quay,
    shop: Shop,
    inputs: InputBindings,
    caplog: pytest.LogCaptureFixture,
    parallel: bool,
    reached: int,
) -> None:
    spring, two = quay.spring(), quay.echo("two")
    await inputs.start()
    shop.answer = Reply(b"1", to=("nobody", "two"), parallel=parallel)
    assert await bring(spring) is shop.answer
    assert len(two.got) == reached
    assert any("couldn't find output binding nobody" in message for message in caplog.messages)
