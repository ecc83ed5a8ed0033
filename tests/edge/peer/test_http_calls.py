"""HTTP calls through two sidecars: what the app sees, what the caller gets, and what happens on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from support.pair import Known, Pair, http_app, pair, sidecar, web_app
from support.waiting import eventually

from pillion.net.http import Request, Responder
from pillion.toolbox.stream import HIGH_WATER, Stream, StreamClosed, whole

LANE = ContextVar("LANE", default=False)


@pytest.fixture(autouse=True, params=[False, True], ids=["messages", "lane"])
def way(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Every test here runs twice: with sidecars that know protobuf messages alone, and with two of our own kind."""
    token = LANE.set(request.param)
    yield request.param
    LANE.reset(token)


class WebApp:
    """An HTTP app that shows what it was asked, streams, fails, as its path says."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.streams: list[Stream] = []
        self.gone = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    def handle(self, request: Request, responder: Responder) -> None:
        self.asked.append(request)
        task = asyncio.get_running_loop().create_task(self.answer(request, responder))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, request: Request, responder: Responder) -> None:
        path = request.target.partition(b"?")[0]
        if path.startswith(b"/status/"):
            body = await whole(request.body)
            responder.respond(int(path[8:]), [(b"x-multi", b"a"), (b"x-multi", b"b")], body or b"no")
        elif path == b"/typed":
            responder.respond(200, [(b"content-type", b"text/weird")], b"t")
        elif path == b"/events":
            stream = Stream()
            self.streams.append(stream)
            stream.on_cancel = self.left
            responder.respond(200, [(b"content-type", b"text/event-stream")], stream)
        elif path == b"/never":
            responder.on_disconnect(self.left)
        elif path == b"/unread":
            self.streams.append(request.body)  # type: ignore[arg-type]
        else:
            body = await whole(request.body)
            shown = {
                "line": f"{request.method.decode()} {request.target.decode()}", "body": len(body),
                "headers": [(name.decode(), value.decode("latin-1")) for name, value in request.headers],
            }  # fmt: skip
            responder.respond(200, [(b"content-type", b"application/json")], json.dumps(shown).encode())

    def left(self) -> None:
        self.gone += 1


@asynccontextmanager
async def with_app(**more: Any) -> AsyncIterator[tuple[Pair, WebApp]]:
    app = WebApp()
    async with web_app(app.handle) as port, pair(http_app(port), lane=LANE.get(), **more) as both:
        yield both, app
        for task in app.tasks:
            task.cancel()


async def shown(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await whole(answer.body))
    found["named"] = {}
    for name, value in found["headers"]:
        found["named"].setdefault(name, []).append(value)
    return found


async def test_the_app_sees_the_call_as_it_was_made_and_who_made_it() -> None:
    async with with_app() as (both, _):
        headers = [(b"x-h", b"1"), (b"x-h", b"2"), (b"dapr-caller-app-id", b"spoof"), (b"te", b"trailers"),
                   (b"x-bin-bin", b"AQ"), (b"destination-app-id", b"z"), (b"x-forwarded-for", b"9.9.9.9"),
                   (b"content-type", b"text/x")]  # fmt: skip
        answer = await both.front.ask("PUT", "/v1.0/invoke/back/method/echo/r?q=1&q=2", b"body", headers)
        seen = await shown(answer)
        named = seen["named"]
        assert (answer.status, seen["line"], seen["body"]) == (200, "PUT /echo/r?q=1&q=2", 4)
        assert named["x-h"] == ["1", "2"] and named["content-type"] == ["text/x"]
        assert named["dapr-caller-app-id"] == ["front"] and named["dapr-callee-app-id"] == ["back"]
        assert named["dapr-caller-namespace"] == ["default"]
        assert named["x-forwarded-for"] == ["9.9.9.9", "10.0.0.1"] and named["x-forwarded-host"] == ["box"]
        assert named["forwarded"] == ["for=10.0.0.1;by=10.0.0.1;host=box"]
        assert not {"te", "x-bin-bin", "destination-app-id"} & set(named)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1.0/invoke/back/method/a/b", []),
        ("/v1.0/invoke/back.default/method/a/b", []),
        ("/a/b", [(b"dapr-app-id", b"back")]),
        ("/a/b", [(b"authorization", b"Basic ZGFwci1hcHAtaWQ6YmFjaw==")]),
    ],
)
async def test_an_app_is_addressed_in_any_of_the_forms(path: str, headers: list[tuple[bytes, bytes]]) -> None:
    async with with_app() as (both, _):
        assert (await shown(await both.front.ask("GET", path, b"", headers)))["line"] == "GET /a/b"


@pytest.mark.parametrize("path", ["/v1.0/invoke/back/method/?q=1", "/v1.0//invoke/back/method//?q=1"])
async def test_a_method_may_be_empty(path: str) -> None:
    async with with_app() as (both, _):
        assert (await shown(await both.front.ask("GET", path)))["line"] == "GET /?q=1"


async def test_a_path_that_ends_before_its_method_names_no_app() -> None:
    async with with_app() as (both, _):
        assert (await both.front.ask("GET", "/v1.0/invoke/back/method")).status == 404


@pytest.mark.parametrize("status", [200, 302, 404, 418, 500])
async def test_every_status_of_the_app_passes_with_body_and_headers(status: int) -> None:
    async with with_app() as (both, _):
        answer = await both.front.ask("POST", f"/v1.0/invoke/back/method/status/{status}", b"said")
        assert (answer.status, await whole(answer.body)) == (status, b"said")
        assert [value for name, value in answer.headers if name == b"x-multi"] == [b"a", b"b"]
        assert answer.header(b"content-type") == (
            b"application/json" if status >= 400 else b"text/plain; charset=utf-8"
        )


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_stays_without(status: int) -> None:
    async with with_app() as (both, _):
        answer = await both.front.ask("GET", f"/v1.0/invoke/back/method/status/{status}")
        assert (answer.status, await whole(answer.body)) == (status, b"")


async def test_a_head_request_is_answered_without_a_body() -> None:
    async with with_app() as (both, _):
        answer = await both.front.ask("HEAD", "/v1.0/invoke/back/method/typed")
        assert (answer.status, await whole(answer.body)) == (200, b"")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 300_000, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(size: int) -> None:
    async with with_app() as (both, _):
        answer = await both.front.ask("POST", "/v1.0/invoke/back/method/status/200", b"x" * size)
        assert len(await whole(answer.body)) == (size or 2)


async def test_a_request_of_unknown_length_streams_through() -> None:
    async with with_app() as (both, _):
        body = Stream()
        body.push(b"a" * 10)
        asked = asyncio.get_running_loop().create_task(
            both.front.ask("POST", "/v1.0/invoke/back/method/echo", body)
        )
        await asyncio.sleep(0)
        for _ in range(40):
            body.push(b"b" * 10_000)
        body.finish()
        assert (await shown(await asked))["body"] == 400_010


async def test_each_event_of_a_stream_arrives_at_once() -> None:
    async with with_app() as (both, app):
        answer = await both.front.ask(
            "GET", "/v1.0/invoke/back/method/events", b"", [(b"accept", b"text/event-stream")]
        )
        assert answer.header(b"content-type") == b"text/event-stream"
        assert answer.header(b"cache-control") == b"no-cache"
        assert isinstance(answer.body, Stream)
        for number in range(3):
            app.streams[0].push(b"data: %d\n\n" % number)
            assert await answer.body.read() == b"data: %d\n\n" % number
        app.streams[0].finish()
        assert await answer.body.read() == b""


async def test_a_caller_that_reads_nothing_holds_the_app_back() -> None:
    async with with_app() as (both, app):
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/events")
        assert isinstance(answer.body, Stream)
        paused = []
        app.streams[0].on_pause = lambda: paused.append(1)
        sent = 0
        while not paused:
            app.streams[0].push(b"x" * HIGH_WATER)
            sent += HIGH_WATER
            await asyncio.sleep(0.001)
            assert sent < 64 * 1024 * 1024, "nothing ever said stop"
        app.streams[0].finish()
        assert len(await answer.body.read_all()) == sent


async def test_a_caller_that_leaves_ends_the_apps_work() -> None:
    async with with_app() as (both, app):
        asked = asyncio.get_running_loop().create_task(
            both.front.ask("GET", "/v1.0/invoke/back/method/never")
        )
        await eventually(lambda: app.asked)
        asked.cancel()
        await eventually(lambda: app.gone)


async def test_a_caller_that_leaves_mid_answer_ends_the_stream() -> None:
    async with with_app() as (both, app):
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/events")
        assert isinstance(answer.body, Stream)
        app.streams[0].push(b"1")
        await answer.body.read()
        answer.body.cancel()
        await eventually(lambda: app.gone)


async def test_an_answer_cut_off_in_the_middle_cuts_the_callers_connection() -> None:
    async with with_app() as (both, app):
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/events")
        assert isinstance(answer.body, Stream)
        app.streams[0].push(b"1")
        assert await answer.body.read() == b"1"
        app.streams[0].abort()
        with pytest.raises(StreamClosed):
            await answer.body.read()


async def test_a_request_given_up_in_the_middle_is_cut_off_at_the_app() -> None:
    async with with_app() as (both, app):
        body = Stream()
        asked = asyncio.get_running_loop().create_task(
            both.front.ask("POST", "/v1.0/invoke/back/method/unread", body)
        )
        body.push(b"a")
        await eventually(lambda: app.streams)
        body.abort()
        assert await asyncio.gather(asked, return_exceptions=True)
        with pytest.raises(StreamClosed):
            await app.streams[0].read_all()


ERRORS = [
    ("nosuch", "x", "failed to invoke, id: nosuch, err: no host found with the given ID"),
    ("a.b.c", "x", "failed to invoke, id: a.b.c, err: invalid app id a.b.c"),
    ("front", "x", "failed to invoke, id: front, err: cannot invoke local endpoint: app channel not initialized"),
    ("back", "echo/q%3Fx", "failed to invoke, id: back, err: rpc error: code = InvalidArgument desc = invalid method: "
     'method contains forbidden character: "echo/q?x"'),
]  # fmt: skip


@pytest.mark.parametrize(("target", "method", "text"), ERRORS)
async def test_what_cannot_be_invoked_says_why(target: str, method: str, text: str) -> None:
    async with with_app() as (both, _):
        asked = asyncio.get_running_loop().create_task(
            both.front.ask("GET", f"/v1.0/invoke/{target}/method/{method}")
        )
        while not asked.done():
            await both.front.clock.advance(1)
        answer = await asked
        assert answer.status == 500
        assert json.loads(await whole(answer.body)) == {"errorCode": "ERR_DIRECT_INVOKE", "message": text}


async def test_an_unhealthy_app_is_named_by_its_own_sidecar_and_through_a_peer() -> None:
    async with with_app() as (both, _):
        both.back.gate.healthy = False
        plain = "rpc error: code = Internal desc = app is not in a healthy state"
        for side, why in (
            (both.back, plain),
            (both.front, f"rpc error: code = Internal desc = error invoking app channel: {plain}"),
        ):
            answer = await side.ask("GET", "/v1.0/invoke/back/method/x")
            assert (
                json.loads(await whole(answer.body))["message"] == f"failed to invoke, id: back, err: {why}"
            )


async def test_a_denied_call_is_forbidden() -> None:
    async with with_app(admits=lambda invocation: invocation.method != "secret") as (both, app):
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/secret")
        assert (answer.status, app.asked) == (403, [])


async def test_a_sidecar_without_an_app_says_so_to_its_peer() -> None:
    async with pair(None, lane=LANE.get()) as both:
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/x")
        assert b"app channel is not initialized" in await whole(answer.body)


async def test_an_app_that_refuses_is_an_error_and_not_a_reason_to_try_again() -> None:
    async with pair(http_app(9), lane=LANE.get()) as both:
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/x")
        assert answer.status == 500 and b"error invoking app channel" in await whole(answer.body)


async def test_a_dead_replica_is_passed_over_at_once_and_not_called_again() -> None:
    async with with_app() as (both, app):
        live = f"127.0.0.1:{both.back.internal_port}"
        async with sidecar("back") as dead:
            gone = f"127.0.0.1:{dead.internal_port}"
        both.front.names.apps["back"] = [gone, live]
        for _ in range(4):
            assert (await both.front.ask("GET", "/v1.0/invoke/back/method/typed")).status == 200
        assert both.front.names.dropped == [gone] and len(app.asked) == 4
        assert both.front.clock.sleepers == 0


async def test_a_sidecar_that_dies_during_a_call_is_tried_again_after_a_second() -> None:
    async with (
        with_app() as (both, app),
        web_app(app.handle) as port,
        sidecar("back", app=http_app(port)) as other,
    ):
        asked = asyncio.get_running_loop().create_task(
            both.front.ask("GET", "/v1.0/invoke/back/method/never")
        )
        await eventually(lambda: app.asked)
        assert both.back.internal is not None
        await both.back.internal.close()
        await eventually(lambda: both.front.clock.sleepers)
        both.front.names.apps["back"] = [f"127.0.0.1:{other.internal_port}"]
        await both.front.clock.advance(1)
        await eventually(lambda: both.front.clock.sleepers, 5) if len(app.asked) < 2 else None
        asked.cancel()


async def test_a_full_url_and_an_endpoint_are_called_without_a_sidecar() -> None:
    from pillion.services.invoke import Endpoint

    app = WebApp()
    async with web_app(app.handle) as port:
        url = f"http://127.0.0.1:{port}"
        async with sidecar(
            "front", endpoints={"ext": Endpoint(f"{url}/base", [(b"X-Key", b"mine")])}
        ) as front:
            for target in (url, f"http%3A%2F%2F127.0.0.1%3A{port}"):
                seen = await shown(await front.ask("GET", f"/v1.0/invoke/{target}/method/a?b=1"))
                assert seen["line"] == "GET /a?b=1" and "dapr-caller-app-id" not in seen["named"]
            seen = await shown(
                await front.ask("POST", "/v1.0/invoke/ext/method/a", b"12", [(b"x-key", b"theirs")])
            )
            assert (seen["line"], seen["named"]["x-key"], seen["body"]) == ("POST /base/a", ["mine"], 2)


async def test_an_address_outside_that_does_not_answer_is_an_error() -> None:
    async with sidecar("front") as front:
        asked = asyncio.get_running_loop().create_task(
            front.ask("GET", "/v1.0/invoke/http://127.0.0.1:9/method/x")
        )
        while not asked.done():
            await front.clock.advance(1)
            await asyncio.sleep(0)
        assert (await asked).status == 500


async def test_what_was_not_used_for_long_is_let_go() -> None:
    async with with_app() as (both, _):
        await both.front.ask("GET", "/v1.0/invoke/back/method/typed")
        now = asyncio.get_running_loop().time()
        both.front.links.sweep(now + 179)
        assert len(both.front.links) == 1
        both.front.links.sweep(now + 181)
        assert len(both.front.links) == 0
        assert (await both.front.ask("GET", "/v1.0/invoke/back/method/typed")).status == 200


async def test_a_link_in_use_is_kept_however_old() -> None:
    async with with_app() as (both, app):
        answer = await both.front.ask("GET", "/v1.0/invoke/back/method/events")
        both.front.links.sweep(asyncio.get_running_loop().time() + 1000)
        assert len(both.front.links) == 1
        app.streams[0].finish()
        await whole(answer.body)
        await eventually(
            lambda: (
                not both.front.links.sweep(asyncio.get_running_loop().time() + 1000)
                and not len(both.front.links)
            )
        )


def test_the_resolver_of_these_tests_forgets_what_was_dropped() -> None:
    known = Known({"a": ["x", "y"]})
    known.drop("a", "x")
    assert asyncio.run(known.resolve("a", "")) == ["y"]
