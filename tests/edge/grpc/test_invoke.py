"""InvokeService through real sidecars, asked by grpcio, answered by HTTP and grpcio apps."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
from support.apps import PlainApp, answer, grpc_app, plain_app
from support.pair import Pair, http_app, pair, rpc_app

from pillion.edge.grpc.api import DAPR
from pillion.toolbox.stream import whole
from pillion.wire.proto import common, rpc, runtime

INVOKE = (DAPR + b"InvokeService").decode()
ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"

LANE = ContextVar("LANE", default=False)


@pytest.fixture(autouse=True, params=[False, True], ids=["messages", "lane"])
def way(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Every test here runs twice: with sidecars that know protobuf messages alone, and with two of our own kind."""
    token = LANE.set(request.param)
    yield request.param
    LANE.reset(token)


def request(app_id: str, method: str, data: bytes = b"hi", verb: int = 3, **more: Any) -> bytes:
    made = runtime.InvokeServiceRequest(id=app_id)
    made.message.method = method
    made.message.data.value = data
    made.message.content_type = "text/plain"
    if verb:
        made.message.http_extension.verb = verb  # type: ignore[assignment]
        made.message.http_extension.querystring = more.get("query", "")
    return made.SerializeToString()


class Said:
    """A call's whole answer, whatever its status."""

    def __init__(self, code: grpc.StatusCode, text: str, data: bytes, initial: Any, trailing: Any) -> None:
        self.code = code.name
        self.text = text
        self.message = common.InvokeResponse.FromString(data)
        self.initial = dict(initial or ())
        self.trailing = dict(trailing or ())

    def info(self) -> Any:
        status = rpc.Status.FromString(self.trailing["grpc-status-details-bin"])
        found = rpc.ErrorInfo()
        assert status.details[0].Unpack(found)
        return found


async def invoke(port: int, message: bytes, metadata: Any = (), timeout: float | None = 10) -> Said:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(INVOKE)(message, metadata=metadata, timeout=timeout)
        try:
            data = await call
        except grpc.aio.AioRpcError as error:
            return Said(
                error.code(), error.details() or "", b"", error.initial_metadata(), error.trailing_metadata()
            )
        return Said(
            grpc.StatusCode.OK, "", data, await call.initial_metadata(), await call.trailing_metadata()
        )


@asynccontextmanager
async def web(app: PlainApp) -> AsyncIterator[Pair]:
    async with plain_app(app) as port, pair(http_app(port), lane=LANE.get()) as both:
        yield both


class RpcApp:
    """OnInvoke as the golden app has it: echoes, fails as the method says."""

    def __init__(self) -> None:
        self.asked: list[tuple[common.InvokeRequest, Any]] = []

    async def on_invoke(self, data: bytes, context: Any) -> bytes:
        wanted = common.InvokeRequest.FromString(data)
        self.asked.append((wanted, list(context.invocation_metadata())))
        await context.send_initial_metadata((("x-init", "iv"), ("x-init-bin", b"\x09"), ("custom", "1")))
        context.set_trailing_metadata((("x-trail", "tv"), ("x-tr-bin", b"\x01\x02")))
        if wanted.method.startswith("err/"):
            await context.abort(grpc.StatusCode.NOT_FOUND, "app says 5")
        if wanted.method == "slow":
            await asyncio.sleep(30)
        made = common.InvokeResponse(content_type="text/plain")
        made.data.value = b"echo:" + wanted.data.value
        return made.SerializeToString()


@asynccontextmanager
async def rpcs() -> AsyncIterator[tuple[Pair, RpcApp]]:
    served = RpcApp()
    async with grpc_app({ON_INVOKE: served.on_invoke}) as port:
        app, channel = rpc_app(port)
        async with pair(app, channel, lane=LANE.get()) as both:
            yield both, served


CODES = [
    (301, "UNKNOWN", "Moved Permanently"), (304, "UNKNOWN", "Not Modified"), (400, "INTERNAL", "Bad Request"),
    (401, "UNAUTHENTICATED", "Unauthorized"), (403, "PERMISSION_DENIED", "Forbidden"), (404, "NOT_FOUND", "Not Found"),
    (408, "CANCELLED", "Request Timeout"), (409, "ALREADY_EXISTS", "Conflict"), (413, "UNKNOWN", "Request Entity Too Large"),
    (418, "UNKNOWN", "I'm a teapot"), (429, "RESOURCE_EXHAUSTED", "Too Many Requests"), (499, "UNKNOWN", ""),
    (500, "UNKNOWN", "Internal Server Error"), (501, "UNIMPLEMENTED", "Not Implemented"),
    (503, "UNAVAILABLE", "Service Unavailable"), (504, "DEADLINE_EXCEEDED", "Gateway Timeout"), (599, "UNKNOWN", ""),
]  # fmt: skip


async def test_every_status_of_an_http_app_has_its_code_and_its_details() -> None:
    bodies = {f"/s/{status}": answer(status, b"st" if status != 304 else b"") for status, _, _ in CODES}
    async with web(PlainApp(bodies)) as both:
        for status, code, text in CODES:
            said = await invoke(both.front.grpc_port, request("back", f"s/{status}"))
            assert (said.code, said.text, said.initial["dapr-http-status"]) == (code, text, str(status))
            info = said.info()
            assert (info.reason, info.domain, info.metadata["http.code"]) == (text, "dapr.io", str(status))
            assert info.metadata["http.error_message"] == ("st" if status != 304 else "")


@pytest.mark.parametrize("side", ["front", "back"])
async def test_an_ok_answer_of_an_http_app_brings_its_headers_as_metadata(side: str) -> None:
    app = PlainApp(
        {
            "/a/b?q=1 x".replace(" ", "%20"): answer(
                201, b"st", "Content-Type: text/x", "Server: x", "X-Foo: bar", "Date: D"
            )
        }
    )
    async with web(app) as both:
        said = await invoke(
            getattr(both, side).grpc_port,
            request("back", "a/b", verb=4, query="q=1 x"),
            [("x-b-bin", b"\1"), ("x-c", "1")],
        )
        assert (
            said.code == "OK" and said.message.data.value == b"st" and said.message.content_type == "text/x"
        )
        assert {
            "server": "x",
            "x-foo": "bar",
            "dapr-http-status": "201",
            "dapr-content-type": "text/x",
            "dapr-date": "D",
        }.items() <= said.initial.items()
        asked = app.asked[0]
        assert asked.line.startswith("PUT ") and asked.body == b"hi"
        assert asked.header("x-c") == ["1"] and asked.header("content-type") == ["text/plain"]
        assert "x-b-bin" not in asked.names and "dapr-authority" in asked.names
        assert ("dapr-caller-app-id" in asked.names) == (side == "front")


@pytest.mark.parametrize("status", [200, 404])
async def test_a_header_that_metadata_cannot_hold_is_left_out_and_the_answer_stays(status: int) -> None:
    app = PlainApp({"/x": answer(status, b"st", "X-Name: Müller", "X!Odd: 1", "X-Foo: bar")})
    async with web(app) as both:
        said = await invoke(both.front.grpc_port, request("back", "x"))
        assert said.initial["x-foo"] == "bar" and said.initial["dapr-http-status"] == str(status)
        assert not {"x-name", "x!odd"} & said.initial.keys()
        assert said.message.data.value == (b"st" if status == 200 else b"")


async def test_only_the_start_of_a_long_error_is_shown() -> None:
    async with web(PlainApp({"/x": answer(500, b"e" * 100)})) as both:
        said = await invoke(both.front.grpc_port, request("back", "x"))
        assert said.info().metadata["http.error_message"] == "e" * 63


REFUSED = [
    (request("", "x"), "failed to invoke, id: , err: app id is empty"),
    (request("a.b.c", "x"), "failed to invoke, id: a.b.c, err: invalid app id a.b.c"),
    (request("front", "x"), "failed to invoke, id: front, err: cannot invoke local endpoint: app channel not initialized"),
    (runtime.InvokeServiceRequest(id="back").SerializeToString(),
     "failed to invoke, id: back, err: rpc error: code = InvalidArgument desc = "
     "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk"),
    (request("back", "a?b"), 'failed to invoke, id: back, err: rpc error: code = InvalidArgument desc = invalid method: '
     'method contains forbidden character: "a?b"'),
]  # fmt: skip


async def test_what_cannot_be_invoked_is_internal_and_says_why() -> None:
    async with web(PlainApp()) as both:
        for message, text in REFUSED:
            said = await invoke(both.front.grpc_port, message)
            assert (said.code, said.text) == ("INTERNAL", text)


async def test_an_http_app_needs_a_verb() -> None:
    async with web(PlainApp()) as both:
        said = await invoke(both.back.grpc_port, request("back", "x", verb=0))
        assert (
            said.text
            == "failed to invoke, id: back, err: rpc error: code = InvalidArgument desc = missing HTTP extension field"
        )


@pytest.mark.parametrize("side", ["front", "back"])
async def test_a_grpc_apps_answer_passes_with_head_and_trailers(side: str) -> None:
    async with rpcs() as (both, app):
        said = await invoke(
            getattr(both, side).grpc_port,
            request("back", "m", verb=0),
            [("x-c", "1"), ("x-c-bin", b"\xff\x00")],
        )
        assert (
            said.code == "OK"
            and said.message.data.value == b"echo:hi"
            and said.message.content_type == "text/plain"
        )
        assert said.initial == {"x-init": "iv", "x-init-bin": b"\x09", "custom": "1"}
        assert {"x-trail": "tv", "x-tr-bin": b"\x01\x02"}.items() <= said.trailing.items()
        wanted, metadata = app.asked[0]
        assert wanted.method == "m" and {("x-c", "1"), ("x-c-bin", b"\xff\x00")} <= set(metadata)
        assert ("dapr-caller-app-id" in dict(metadata)) == (side == "front")


@pytest.mark.parametrize("side", ["front", "back"])
async def test_a_grpc_apps_error_passes_with_its_trailers(side: str) -> None:
    async with rpcs() as (both, _):
        said = await invoke(getattr(both, side).grpc_port, request("back", "err/5"))
        assert (said.code, said.text) == ("NOT_FOUND", "app says 5")
        assert {"x-trail": "tv", "x-tr-bin": b"\x01\x02"}.items() <= said.trailing.items()


async def test_a_deadline_ends_the_call_on_both_hops() -> None:
    async with rpcs() as (both, app):
        said = await invoke(both.front.grpc_port, request("back", "slow"), timeout=0.3)
        assert said.code == "DEADLINE_EXCEEDED" and len(app.asked) == 1


async def test_an_http_caller_of_a_grpc_app_gets_statuses_and_json() -> None:
    async with rpcs() as (both, app):
        fine = await both.front.ask(
            "POST", "/v1.0/invoke/back/method/m1?x=1", b"hi", [(b"accept", b"*/*"), (b"x-c", b"1")]
        )
        assert (fine.status, await whole(fine.body), fine.header(b"content-type")) == (
            200,
            b"echo:hi",
            b"text/plain",
        )
        assert fine.header(b"x-init") == b"iv" and fine.header(b"x-init-bin") is None
        wanted, metadata = app.asked[0]
        assert (wanted.method, wanted.http_extension.querystring) == ("m1", "x=1")
        assert {("dapr-accept", "*/*"), ("x-c", "1"), ("dapr-caller-app-id", "front")} <= set(metadata)
        failed = await both.front.ask("GET", "/v1.0/invoke/back/method/err/5")
        assert (failed.status, await whole(failed.body)) == (404, b'{"code":5, "message":"app says 5"}')
        assert failed.header(b"content-type") == b"text/plain; charset=utf-8"


async def test_a_large_body_passes_both_hops() -> None:
    async with rpcs() as (both, _):
        said = await invoke(both.front.grpc_port, request("back", "m", b"x" * 3_000_000))
        assert len(said.message.data.value) == 3_000_005
