"""The invocation service's own decisions: whom to try, how often, and what became of it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support.pair import Known
from support.waiting import eventually

from pillion.host.telemetry import Metrics
from pillion.model.errors import ApiError
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.ports.peers import PeerFailed, PeerUnreachable
from pillion.rules.invoke import Caller
from pillion.services.invoke import AppGate, InvokeService
from pillion.services.names import Resolver
from pillion.testing.clock import HandClock
from pillion.toolbox.stream import Body, Stream


class Others:
    """Sidecars elsewhere: what each does with the next call. `ports.peers.Peers` and `Outside` in shape."""

    def __init__(self) -> None:
        self.tried: list[str] = []
        self.bodies: list[Body] = []
        self.does: Callable[[str], Outcome] = lambda address: Outcome(200)

    async def invoke(self, address: str, *rest: Any) -> Outcome:
        self.tried.append(address)
        self.bodies.append(next(each.body for each in rest if isinstance(each, Invocation)))
        return self.does(address)

    async def close(self) -> None: ...


def lost(address: str) -> Outcome:
    raise PeerUnreachable("cut off")


def closed(address: str) -> Outcome:
    raise PeerUnreachable("connection refused", refused=True)


class Bench:
    """A service with its surroundings."""

    def __init__(self, *addresses: str) -> None:
        self.clock = HandClock()
        self.names = Known({"b": list(addresses)})
        self.others = Others()
        self.service = InvokeService(
            app_id="a", namespace="ns", caller=Caller(b"a", b"ns", b"box", b"10.0.0.1"), gate=AppGate(None), peers=self.others,
            names=Resolver([self.names], self.clock), outside=self.others, endpoints={}, telemetry=Metrics("a"), clock=self.clock,  # type: ignore[list-item]
        )  # fmt: skip

    async def ask(self, body: Body = b"", headers: Pairs | None = None) -> Outcome:
        """Call, turning the clock as long as somebody sleeps."""
        asked = asyncio.get_running_loop().create_task(
            self.service.http("b", "m", "POST", "", headers or [], body, "")
        )
        while not asked.done():
            await eventually(lambda: asked.done() or self.clock.sleepers)
            await self.clock.advance(1)
        return await asked


async def test_a_sidecar_that_was_lost_is_tried_three_more_times() -> None:
    bench = Bench("x")
    bench.others.does = lost
    with pytest.raises(ApiError, match="cut off"):
        await bench.ask()
    assert bench.others.tried == ["x"] * 4


async def test_a_try_that_succeeds_ends_the_trying() -> None:
    bench = Bench("x")
    bench.others.does = lambda address: lost(address) if len(bench.others.tried) < 3 else Outcome(204)
    assert (await bench.ask()).status == 204 and len(bench.others.tried) == 3


async def test_a_stream_is_sent_once() -> None:
    bench = Bench("x")
    bench.others.does = lost
    body = Stream()
    with pytest.raises(ApiError):
        await bench.ask(body)
    assert len(bench.others.tried) == 1 and body.ended


async def test_a_stream_whose_length_is_known_and_small_can_be_sent_again() -> None:
    bench = Bench("x")
    bench.others.does = lost
    body = Stream(length=3)
    body.push(b"abc")
    body.finish()
    with pytest.raises(ApiError):
        await bench.ask(body)
    assert bench.others.bodies == [b"abc"] * 4


async def test_a_stream_too_goes_on_to_the_next_address_when_nothing_was_sent() -> None:
    bench = Bench("x", "y")
    bench.others.does = lambda address: Outcome(200) if address == "y" else closed(address)
    assert (await bench.ask(Stream())).status == 200 and bench.clock.sleepers == 0


@pytest.mark.parametrize(("code", "status"), [(7, 403), (13, 500), (3, 500)])
async def test_a_sidecars_own_refusal_is_not_tried_again(code: int, status: int) -> None:
    bench = Bench("x")

    def refuse(address: str) -> Outcome:
        raise PeerFailed(code, "no", "rpc error: no")

    bench.others.does = refuse
    with pytest.raises(ApiError) as caught:
        await bench.ask()
    assert caught.value.fault.status == status and len(bench.others.tried) == 1


async def test_an_apps_error_is_an_answer() -> None:
    bench = Bench("x")
    bench.others.does = lambda address: Outcome(503)
    assert (await bench.ask()).status == 503 and len(bench.others.tried) == 1


async def test_an_app_of_another_namespace_is_looked_for_even_under_our_own_id() -> None:
    bench = Bench()
    bench.names.apps["a"] = ["z"]
    outcome = await bench.service.invoke(Invocation("a.other", "m", "GET", []))
    assert outcome.status == 200 and bench.others.tried == ["z"]


async def test_an_unknown_verb_reaches_the_app_as_post() -> None:
    bench = Bench("x")
    seen: list[str] = []
    original = bench.others.invoke

    async def note(address: str, *rest: Any) -> Outcome:
        seen.append(rest[-1].verb)
        return await original(address, *rest)

    bench.others.invoke = note  # type: ignore[method-assign]
    for verb in ("PURGE", "TRACE", "PATCH"):
        await bench.service.http("b", "m", verb, "", [], b"", "")
    assert seen == ["POST", "TRACE", "PATCH"]


async def test_calls_are_counted_on_the_way_out() -> None:
    bench = Bench("x")
    await bench.ask()
    metrics = bench.service._telemetry
    assert isinstance(metrics, Metrics)
    text = metrics.text()
    assert 'dapr_runtime_service_invocation_req_sent_total{app_id="a",dst_app_id="b",type="unary"} 1' in (
        text if isinstance(text, str) else text.decode()
    )


async def test_a_call_over_grpc_cannot_climb_out_of_what_lies_outside() -> None:
    bench = Bench()
    wild = Invocation(
        "http://api.test", "public/../../admin", "GET", [], b"", query="a b\r\nx: y", from_grpc=True
    )
    await bench.service.invoke(wild)
    assert bench.others.tried == ["http://api.test"]
    assert wild.method == "admin" and wild.query == "a%20b%0D%0Ax:%20y"


async def test_a_method_that_holds_a_question_mark_reaches_nobody_outside() -> None:
    bench = Bench()
    with pytest.raises(ApiError, match="forbidden character"):
        await bench.service.invoke(Invocation("http://api.test", "a?b", "GET", [], b"", from_grpc=True))
    assert not bench.others.tried
