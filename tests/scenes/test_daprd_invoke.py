"""A `pilliond` and a daprd call each other: every test has each of them once on either side."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import dapr_pb2_grpc, invoke_pb2
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from scenes.golden_apps.client import Heard, send
from scenes.golden_apps.grpc_app import GrpcApp
from scenes.golden_apps.http_app import HttpApp, Seen
from support.daprd import BOTH, Programs, neighbour
from support.sidecar import Process, Sidecar, Stage, free_port, http, until

pytestmark = pytest.mark.needs("daprd")

OPEN_APP = Path(__file__).parent / "ops_apps" / "open_app.py"
MEBIBYTE = 1 << 20
TRACE = f"00-{'1' * 32}-{'2' * 16}-01"
POST = common_pb2.HTTPExtension(verb=common_pb2.HTTPExtension.POST)
Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass
class Neighbours:
    """`front` calls; behind three sidecars of the other program stand an HTTP app, one that can be held up, and a gRPC app."""

    http_app: HttpApp
    grpc_app: GrpcApp
    open_port: int
    front: Sidecar
    channel: grpc.Channel

    def ask(
        self, verb: str, path: str, body: bytes | None = None, headers: Any = (), app: str = "web"
    ) -> Heard:
        return send(self.front.ports.http, verb, f"/v1.0/invoke/{app}/method/{path}", body, headers)

    def seen(self, marker: str) -> Seen:
        return self.http_app.got(marker)

    def turn(self, word: str) -> str:
        return http("POST", f"http://127.0.0.1:{self.open_port}/{word}").body.decode()

    def invoke(self, app: str, method: str, data: bytes = b"", metadata: Metadata = ()) -> Any:
        message = common_pb2.InvokeRequest(
            method=method, data=any_pb2.Any(value=data), content_type="text/x", http_extension=POST
        )
        request = invoke_pb2.InvokeServiceRequest(id=app, message=message)
        stub = dapr_pb2_grpc.DaprStub(self.channel)
        return stub.InvokeService.with_call(request, metadata=metadata, timeout=20)


@pytest.fixture(scope="module", params=BOTH)
def neighbours(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Neighbours]:
    caller, callee = request.param
    with ExitStack() as kept:
        stage = kept.enter_context(Stage(tmp_path_factory.mktemp("neighbours")))
        web, rpc, open_port = kept.enter_context(HttpApp()), kept.enter_context(GrpcApp()), free_port()
        stage.python("open", OPEN_APP, str(open_port), "open")
        neighbour(stage, "web", callee, app_port=web.port)
        neighbour(stage, "open", callee, app_port=open_port)
        neighbour(stage, "rpc", callee, "--app-protocol=grpc", app_port=rpc.port)
        front = neighbour(stage, "front", caller)
        channel = kept.enter_context(grpc.insecure_channel(front.grpc))
        yield Neighbours(web, rpc, open_port, front, channel)


def test_a_get_arrives_with_its_path_its_query_and_its_headers(neighbours: Neighbours) -> None:
    heard = neighbours.ask("GET", "plain/a%20b?x=1&y=%20z", headers=[("X-Many", "1"), ("X-Many", "2")])
    assert heard.status == 200
    seen = neighbours.seen("/plain/a")
    assert (seen.method, seen.target, seen.body) == ("GET", "/plain/a%20b?x=1&y=%20z", b"")
    assert seen.all("x-many") == ["1", "2"]
    assert (seen.all("dapr-caller-app-id"), seen.all("dapr-callee-app-id")) == (["front"], ["web"])
    assert not seen.all("transfer-encoding"), "a server of few words would stumble over a chunked nothing"


@pytest.mark.parametrize("size", [5, MEBIBYTE])
def test_a_body_arrives_whole_with_its_length_and_type(neighbours: Neighbours, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    heard = neighbours.ask("POST", f"takes/{size}", body, [("Content-Type", "text/odd")])
    assert heard.status == 200
    seen = neighbours.seen(f"/takes/{size}")
    assert seen.body == body
    assert (seen.all("content-length"), seen.all("content-type")) == ([str(size)], ["text/odd"])


def test_a_body_of_unknown_length_arrives_as_it_comes(neighbours: Neighbours) -> None:
    pieces = (b"p" * MEBIBYTE for _ in range(3))
    with closing(HTTPConnection("127.0.0.1", neighbours.front.ports.http, timeout=20)) as line:
        line.request(
            "PUT",
            "/v1.0/invoke/open/method/count",
            pieces,
            {"transfer-encoding": "chunked"},
            encode_chunked=True,
        )
        assert line.getresponse().read() == b"%d" % (3 * MEBIBYTE)


@pytest.mark.parametrize("path, status, body", [
    ("plain", 200, "abc"), ("none", 204, ""), ("redir", 302, "redir"), ("weird", 404, "nf"), ("boom418", 418, "boom"),
    ("boom500", 500, "boom"), ("status/503", 503, "st"), ("gzip", 200, "plain"),
])  # fmt: skip
def test_what_the_app_answers_is_what_the_caller_gets(
    neighbours: Neighbours, path: str, status: int, body: str
) -> None:
    heard = neighbours.ask("GET", path)
    assert (heard.status, heard.text) == (status, body)


def test_the_apps_headers_come_back(neighbours: Neighbours) -> None:
    heard = neighbours.ask("GET", "weird")
    assert (heard.one("Content-Type"), heard.all("X-Multi")) == ("text/weird", ["a", "b"])
    assert neighbours.ask("GET", "redir").one("Location") == "/elsewhere"


def test_a_trace_arrives_and_comes_back(neighbours: Neighbours) -> None:
    headers = [("traceparent", TRACE), ("tracestate", "a=b"), ("baggage", "user=7")]
    heard = neighbours.ask("GET", "object?traced", headers=headers)
    seen = neighbours.seen("?traced")
    assert [seen.all(name) for name in ("traceparent", "tracestate", "baggage")] == [
        [TRACE],
        ["a=b"],
        ["user=7"],
    ]
    assert (heard.one("Traceparent"), heard.one("Tracestate")) == (TRACE, "a=b")


def test_events_arrive_once_they_are_made(neighbours: Neighbours) -> None:
    """Dapr 1.14 holds small pieces back until the answer ends; ours among themselves do not, which other scenes tell."""
    with closing(HTTPConnection("127.0.0.1", neighbours.front.ports.http, timeout=20)) as line:
        line.request("GET", "/v1.0/invoke/open/method/events", headers={"accept": "text/event-stream"})
        until(lambda: neighbours.turn("waiting") == "1")
        neighbours.turn("go")
        answer = line.getresponse()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.read() == b"data: first\n\ndata: second\n\n"
    neighbours.turn("hold")


def test_thirty_megabytes_come_down(neighbours: Neighbours) -> None:
    with closing(HTTPConnection("127.0.0.1", neighbours.front.ports.http, timeout=20)) as line:
        line.request("GET", "/v1.0/invoke/open/method/stream/30")
        assert len(line.getresponse().read()) == 30 * MEBIBYTE


def test_ten_callers_at_once_get_each_its_own_answer(neighbours: Neighbours) -> None:
    def calls(caller: int) -> list[str]:
        asked = [f"crowd/{caller}/{turn}" for turn in range(10)]
        return [
            json.loads(neighbours.ask("POST", each, b"x" * 5000, app="open").text)["path"] for each in asked
        ]

    with ThreadPoolExecutor(10) as crowd:
        found = list(crowd.map(calls, range(10)))
    assert found == [[f"/crowd/{caller}/{turn}" for turn in range(10)] for caller in range(10)]


def test_nobody_of_that_name_is_told_in_the_same_words(neighbours: Neighbours) -> None:
    heard = neighbours.ask("GET", "m", app="nobody")
    assert (heard.status, json.loads(heard.text)) == (500, {
        "errorCode": "ERR_DIRECT_INVOKE",
        "message": "failed to invoke, id: nobody, err: no host found with the given ID",
    })  # fmt: skip


def test_a_grpc_caller_reaches_an_http_app(neighbours: Neighbours) -> None:
    answer, call = neighbours.invoke("web", "plain", b"asked by rpc", (("x-mine", "yes"),))
    assert answer.data.value == b"abc"
    assert dict(call.initial_metadata())["dapr-http-status"] == "200"
    seen = neighbours.seen("asked by rpc")
    assert (seen.method, seen.all("content-type"), seen.all("x-mine")) == ("POST", ["text/x"], ["yes"])


@pytest.mark.parametrize(
    "path, code", [("weird", "NOT_FOUND"), ("boom500", "UNKNOWN"), ("status/503", "UNAVAILABLE")]
)
def test_an_http_apps_refusal_is_a_grpc_callers_status(neighbours: Neighbours, path: str, code: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        neighbours.invoke("web", path)
    assert caught.value.code().name == code
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    status = {"weird": "404", "boom500": "500", "status/503": "503"}[path]
    assert (info.domain, info.metadata["http.code"]) == ("dapr.io", status)


def test_a_grpc_caller_reaches_a_grpc_app(neighbours: Neighbours) -> None:
    answer, call = neighbours.invoke("rpc", "m", b"x" * MEBIBYTE, (("x-mine", "yes"), ("x-bin", b"\x00\xff")))
    assert (answer.data.value[:6], len(answer.data.value), answer.content_type) == (
        b"echo:x",
        MEBIBYTE + 5,
        "text/x",
    )
    assert dict(call.initial_metadata())["x-init"] == "iv"
    assert dict(call.trailing_metadata())["x-tr-bin"] == b"\x01\x02"
    request, metadata = neighbours.grpc_app.invoked.get(timeout=5)
    assert (request.method, request.http_extension.verb) == ("m", common_pb2.HTTPExtension.POST)
    assert dict(metadata)["x-mine"] == "yes" and dict(metadata)["dapr-caller-app-id"] == "front"


def test_a_grpc_apps_refusal_passes_whole(neighbours: Neighbours) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        neighbours.invoke("rpc", "richerr")
    assert (caught.value.code().name, caught.value.details()) == ("FAILED_PRECONDITION", "rich")
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert (info.reason, dict(info.metadata)) == ("R", {"k": "v"})


def test_an_http_caller_reaches_a_grpc_app(neighbours: Neighbours) -> None:
    heard = neighbours.ask("POST", "m?q=1", b"hi", [("Content-Type", "text/x")], app="rpc")
    assert (heard.status, heard.text, heard.one("Content-Type")) == (200, "echo:hi", "text/x")
    refused = neighbours.ask("POST", "err/5", b"", app="rpc")
    assert refused.status == 404 and json.loads(refused.text) == {"code": 5, "message": "app says 5"}


TO_RPC: Metadata = (("dapr-app-id", "rpc"), ("x-mine", "yes"), ("x-mine-bin", b"\x01\x02"))


def test_a_unary_call_of_any_service_is_passed_on(neighbours: Neighbours) -> None:
    answer, call = neighbours.channel.unary_unary("/my.pkg.Svc/UU").with_call(
        b"ping", metadata=TO_RPC, timeout=20
    )
    assert answer == b"pong:ping"
    assert dict(call.initial_metadata())["x-i-bin"] == b"\x07"
    assert dict(call.trailing_metadata())["x-t-bin"] == b"\x01"
    _, metadata = neighbours.grpc_app.proxied.get(timeout=5)
    told = dict(metadata)
    assert (told["x-mine"], told["x-mine-bin"], told["dapr-caller-app-id"]) == ("yes", b"\x01\x02", "front")


def test_all_kinds_of_streams_are_passed_on(neighbours: Neighbours) -> None:
    channel, asked = neighbours.channel, [b"a", b"b" * 100_000, b"c"]
    answers = channel.unary_stream("/my.pkg.Svc/US")(b"x", metadata=TO_RPC, timeout=20)
    assert list(answers) == [b"0:x", b"1:x", b"2:x"]
    joined = channel.stream_unary("/my.pkg.Svc/SU")(iter(asked), metadata=TO_RPC, timeout=20)
    assert joined == b"+".join(asked)
    echoes = channel.stream_stream("/my.pkg.Svc/SS")(iter(asked), metadata=TO_RPC, timeout=20)
    assert list(echoes) == [b"pong:" + each for each in asked]


def test_an_answer_in_a_stream_comes_before_the_next_question(neighbours: Neighbours) -> None:
    last: list[bytes] = []

    def questions() -> Iterator[bytes]:
        for number in range(5):
            yield b"%d" % number
            until(lambda number=number: last and last[-1] == b"pong:%d" % number)

    for answer in neighbours.channel.stream_stream("/my.pkg.Svc/SS")(
        questions(), metadata=TO_RPC, timeout=20
    ):
        last.append(answer)
    assert len(last) == 5


@pytest.mark.parametrize(
    "kind, code, text",
    [("UU", "DATA_LOSS", "pfail"), ("US", "OUT_OF_RANGE", "after three"), ("ZZ", "UNIMPLEMENTED", "")],
)
def test_a_proxied_refusal_keeps_its_code(neighbours: Neighbours, kind: str, code: str, text: str) -> None:
    call = neighbours.channel.unary_stream(f"/my.pkg.Svc/{kind}")(b"fail", metadata=TO_RPC, timeout=20)
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code().name == code and text in caught.value.details()


@pytest.mark.parametrize("programs", BOTH)
def test_tokens_are_asked_for_given_to_the_app_and_kept_from_it(stage: Stage, programs: Programs) -> None:
    with HttpApp() as app:
        neighbour(
            stage,
            "web",
            programs[1],
            app_port=app.port,
            env={"APP_API_TOKEN": "for-the-app", "DAPR_API_TOKEN": "other"},
        )
        front = neighbour(stage, "front", programs[0], env={"DAPR_API_TOKEN": "sesame"})
        path = "/v1.0/invoke/web/method/guarded"
        assert send(front.ports.http, "GET", path).status == 401
        assert send(front.ports.http, "GET", path, headers=[("dapr-api-token", "sesame")]).status == 200
        assert app.got("/guarded").all("dapr-api-token") == ["for-the-app"]


@pytest.mark.parametrize("programs", BOTH)
def test_a_killed_neighbour_is_an_error_and_its_heir_answers(stage: Stage, programs: Programs) -> None:
    with HttpApp() as app:
        dead = neighbour(stage, "web", programs[1], app_port=app.port)
        front = neighbour(stage, "front", programs[0])
        path = "/v1.0/invoke/web/method/plain"
        assert send(front.ports.http, "GET", path).status == 200
        dead.kill()
        refused = send(front.ports.http, "GET", path)
        assert (refused.status, json.loads(refused.text)["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
        neighbour(stage, "web", programs[1], app_port=app.port)
        until(lambda: send(front.ports.http, "GET", path).status == 200)


@pytest.mark.parametrize("programs", BOTH)
def test_an_app_that_is_gone_is_an_error_of_the_call(stage: Stage, programs: Programs) -> None:
    port = free_port()
    app: Process = stage.python("open", OPEN_APP, str(port), "open")
    neighbour(stage, "web", programs[1], app_port=port)
    front = neighbour(stage, "front", programs[0])
    path = "/v1.0/invoke/web/method/who"
    assert send(front.ports.http, "GET", path).status == 200
    app.kill()
    refused = send(front.ports.http, "GET", path)
    assert (refused.status, json.loads(refused.text)["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert "connection refused" in refused.text
