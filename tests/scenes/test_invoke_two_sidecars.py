"""Calls through two sidecars that know of each other by the machine's registry alone."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from support.multicast import has_multicast
from support.sidecar import Process, Sidecar, Stage, free_port, http, until

APPS = Path(__file__).parent / "ops_apps"
MEBIBYTE = 1 << 20


class Callee:
    """An app and its sidecar; the app is also reached past it, to turn its doors."""

    def __init__(self, stage: Stage, app_id: str, *flags: str, name: str = "") -> None:
        self.port, self.name, self._stage = free_port(), name or app_id, stage
        self.app = self.start()
        self.sidecar = stage.sidecar(app_id, *flags, app_port=self.port)

    def start(self) -> Process:
        return self._stage.python(f"{self.name}-{self.port}", APPS / "open_app.py", str(self.port), self.name)

    def turn(self, word: str) -> str:
        return http("POST", f"http://127.0.0.1:{self.port}/{word}").body.decode()

    def ready(self) -> "Callee":
        self.sidecar.ready()
        return self


def call(caller: Sidecar, method: str, app_id: str = "b", verb: str = "GET", **options: str) -> bytes:
    answer = caller.ask(verb, f"/v1.0/invoke/{app_id}/method/{method}", **options)
    assert answer.status == 200, answer
    return answer.body


def peak_memory(sidecar: Sidecar) -> int:
    """The most bytes it ever held in memory."""
    status = Path(f"/proc/{sidecar.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def open_files(sidecar: Sidecar) -> int:
    return len(list(Path(f"/proc/{sidecar.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, Callee]]:
    """A pair for all scenes that leave it as they found it."""
    with Stage(tmp_path_factory.mktemp("standing")) as stage:
        caller, callee = stage.sidecar("a"), Callee(stage, "b")
        callee.ready()
        yield caller.ready(), callee


@pytest.fixture
def callee(stage: Stage) -> Callee:
    return Callee(stage, "b")


@pytest.fixture
def caller(stage: Stage, callee: Callee) -> Sidecar:
    made = stage.sidecar("a")
    callee.ready()
    return made.ready()


def test_two_sidecars_find_each_other_at_once(standing: tuple[Sidecar, Callee]) -> None:
    caller, _ = standing
    assert call(caller, "who") == b"b", "the first call, no retry"


def test_a_sidecar_that_starts_later_is_found_at_once(stage: Stage, caller: Sidecar) -> None:
    assert caller.ask("GET", "/v1.0/invoke/late/method/who").status == 500
    Callee(stage, "late").ready()
    assert call(caller, "who", "late") == b"late"


def test_a_stopped_one_is_not_found(caller: Sidecar, callee: Callee) -> None:
    assert call(caller, "who") == b"b"
    callee.sidecar.stop()
    answer = caller.ask("GET", "/v1.0/invoke/b/method/who")
    assert answer.status == 500 and answer.json()["errorCode"] == "ERR_DIRECT_INVOKE"


def test_a_killed_one_is_not_called_again_and_the_next_replica_takes_over(
    stage: Stage, caller: Sidecar, callee: Callee
) -> None:
    second = Callee(stage, "b", name="second").ready()
    until(lambda: {call(caller, "who") for _ in range(8)} == {b"b", b"second"})
    callee.sidecar.kill()
    started = time.monotonic()
    assert {call(caller, "who") for _ in range(30)} == {b"second"}, "every call is answered, none by the dead"
    assert time.monotonic() - started < 5
    second.sidecar.stop()


def test_a_killed_one_that_comes_back_is_called_again(stage: Stage, caller: Sidecar, callee: Callee) -> None:
    assert call(caller, "who") == b"b"
    callee.sidecar.kill()
    stage.sidecar("b", app_port=callee.port).ready()
    assert call(caller, "who") == b"b"


def test_the_app_sees_verb_path_query_and_who_calls(standing: tuple[Sidecar, Callee]) -> None:
    caller, _ = standing
    answer = caller.ask(
        "PUT", "/v1.0/invoke/b/method/a/b?x=1&x=2", b"four", x_mine="yes", content_type="text/x"
    )
    seen = answer.json()
    assert (seen["verb"], seen["path"], seen["bytes"]) == ("PUT", "/a/b?x=1&x=2", 4)
    headers = dict(seen["headers"])
    assert headers["x-mine"] == "yes" and headers["content-type"] == "text/x"
    assert headers["dapr-caller-app-id"] == "a" and headers["dapr-callee-app-id"] == "b"


def test_the_header_and_the_namespace_address_an_app_as_well(standing: tuple[Sidecar, Callee]) -> None:
    caller, _ = standing
    assert caller.ask("GET", "/who", dapr_app_id="b").body == b"b"
    assert call(caller, "who", "b.default") == b"b"


def test_the_first_call_by_messages_and_those_in_the_lane_are_the_same(
    caller: Sidecar, callee: Callee
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    def ask() -> tuple[int, dict[str, str], dict[str, Any]]:
        answer = caller.ask(
            "POST",
            "/v1.0/invoke/b/method/a/%C3%BC?q=1",
            b"four",
            x_mine="yes",
            content_type="text/x",
            traceparent=trace,
        )
        headers = {name.lower(): value for name, value in answer.headers.items() if name.lower() != "date"}
        seen = answer.json()
        seen["headers"].sort()
        return answer.status, headers, seen

    expected = ask()
    before = received(callee.sidecar)
    assert all(ask() == expected for _ in range(5))
    assert (received(callee.sidecar) - before) / 5 < before, "they took less than the first"
    assert expected[2]["path"] == "/a/%C3%BC?q=1" and ["x-mine", "yes"] in expected[2]["headers"]


def received(sidecar: Sidecar) -> float:
    """Bytes of calls that other sidecars have made."""
    page = http("GET", f"http://127.0.0.1:{sidecar.ports.metrics}/").body.decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("dapr_grpc_io_server_received_bytes_per_rpc_sum") and "CallLocalStream" in line
    )


@pytest.mark.parametrize(("offers", "hears"), [(b"\xf1\xca\0\0\0\1", True), (b"", False)])
def test_a_lane_is_offered_to_none_who_has_not_asked(
    standing: tuple[Sidecar, Callee], offers: bytes, hears: bool
) -> None:
    _, callee = standing
    with socket.create_connection(("127.0.0.1", callee.sidecar.ports.internal), timeout=10) as link:
        ping = b"\0\0\x08\6\0\0\0\0\0" + b"and then"
        link.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, len(offers), 4, 0, 0, 0, 0, 0)) + offers + ping
        )
        said = b""
        while b"and then" not in said:
            said += link.recv(65536)
        assert (b"\xf1\xca\0\0\0\1" in said) is hears


def test_what_the_app_answers_is_what_the_caller_gets(standing: tuple[Sidecar, Callee]) -> None:
    caller, _ = standing
    for status in (201, 302, 404, 418, 503):
        with http_stream(caller, f"/v1.0/invoke/b/method/status/{status}") as answer:
            assert (answer.status, answer.read()) == (status, b"as asked")


def test_fifty_megabytes_come_down_in_little_memory(standing: tuple[Sidecar, Callee]) -> None:
    caller, callee = standing
    call(caller, "stream/1")
    before = [peak_memory(each) for each in (caller, callee.sidecar)]
    with http_stream(caller, "/v1.0/invoke/b/method/stream/50") as answer:
        assert sum(iter(lambda: len(answer.read(MEBIBYTE)), 0)) == 50 * MEBIBYTE
    assert all(
        peak_memory(each) - was < 16 * MEBIBYTE
        for each, was in zip((caller, callee.sidecar), before, strict=True)
    )


def test_a_caller_that_reads_nothing_holds_up_the_app_and_nobody_else(
    standing: tuple[Sidecar, Callee],
) -> None:
    caller, callee = standing
    call(caller, "stream/1")
    before = [peak_memory(each) for each in (caller, callee.sidecar)]
    already = int(callee.turn("sent"))
    with http_stream(caller, "/v1.0/invoke/b/method/stream/500"):
        assert [call(caller, "who") for _ in range(200)] == [b"b"] * 200
        sent = int(callee.turn("sent")) - already
    assert sent < 100, "what no one reads stays with the app"
    assert all(
        peak_memory(each) - was < 16 * MEBIBYTE
        for each, was in zip((caller, callee.sidecar), before, strict=True)
    )


def test_callers_that_leave_are_let_go_at_every_hop(standing: tuple[Sidecar, Callee]) -> None:
    caller, callee = standing
    call(caller, "who")
    already = int(callee.turn("sent"))
    before = [open_files(each) for each in (caller, callee.sidecar)]
    for _ in range(10):
        with http_stream(caller, "/v1.0/invoke/b/method/stream/500") as answer:
            assert answer.read(10)
    for each, was in zip((caller, callee.sidecar), before, strict=True):
        until(lambda each=each, was=was: open_files(each) <= was + 2, why="connections are let go")
    assert int(callee.turn("sent")) - already < 10 * 500
    assert call(caller, "who") == b"b"


def test_an_app_that_dies_in_its_answer_cuts_the_caller(caller: Sidecar, callee: Callee) -> None:
    with http_stream(caller, "/v1.0/invoke/b/method/events", accept="text/event-stream") as answer:
        assert answer.readline() == b"data: first\n"
        callee.app.kill()
        with pytest.raises((HTTPException, OSError)):
            answer.read()


def test_fifty_megabytes_go_up_in_little_memory(stage: Stage) -> None:
    caller, callee = stage.sidecar("a", "--max-body-size=64Mi"), Callee(stage, "b", "--max-body-size=64Mi")
    callee.ready()
    caller.ready()
    sidecars = (caller, callee.sidecar)
    assert upload(caller, 1) == b"%d" % MEBIBYTE
    before = [peak_memory(each) for each in sidecars]
    assert upload(caller, 50) == b"%d" % (50 * MEBIBYTE)
    assert all(peak_memory(each) - was < 16 * MEBIBYTE for each, was in zip(sidecars, before, strict=True))


def upload(caller: Sidecar, mebibytes: int) -> bytes:
    """A body of unknown length, piece by piece."""
    pieces: Iterator[bytes] = (bytes(MEBIBYTE) for _ in range(mebibytes))
    unknown = {"transfer-encoding": "chunked"}
    with closing(HTTPConnection("127.0.0.1", caller.ports.http, timeout=30)) as connection:
        connection.request("POST", "/v1.0/invoke/b/method/count", pieces, unknown, encode_chunked=True)
        return connection.getresponse().read()


@contextmanager
def http_stream(caller: Sidecar, path: str, **headers: str) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection("127.0.0.1", caller.ports.http, timeout=30)) as connection:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()


def test_the_first_event_of_a_stream_arrives_before_the_second_is_made(
    standing: tuple[Sidecar, Callee],
) -> None:
    caller, callee = standing
    with http_stream(caller, "/v1.0/invoke/b/method/events", accept="text/event-stream") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.readline() == b"data: first\n"
        assert callee.turn("waiting") == "1", "the app still holds the second"
        callee.turn("go")
        assert b"data: second" in answer.read()
    callee.turn("hold")


def test_an_app_that_dies_is_an_error_and_one_that_comes_back_answers(
    caller: Sidecar, callee: Callee
) -> None:
    assert call(caller, "who") == b"b"
    callee.app.kill()
    answer = caller.ask("GET", "/v1.0/invoke/b/method/who")
    assert answer.status == 500 and answer.json()["errorCode"] == "ERR_DIRECT_INVOKE"
    callee.start()
    until(lambda: call(caller, "who") == b"b")


def test_an_app_gets_no_more_calls_at_once_than_it_asked_for(stage: Stage) -> None:
    caller, callee = stage.sidecar("a"), Callee(stage, "b", "--app-max-concurrency=2").ready()
    caller.ready()
    with ThreadPoolExecutor(8) as crowd:
        calls = [crowd.submit(call, caller, "held") for _ in range(8)]
        until(lambda: callee.turn("waiting") == "2")
        callee.turn("go")
        assert [each.result() for each in calls] == [b"b"] * 8
    assert callee.turn("peak") == "2"


def test_a_grpc_app_answers_an_http_caller(stage: Stage) -> None:
    port = free_port()
    stage.python("grpc", APPS / "grpc_app.py", str(port))
    callee, caller = stage.sidecar("b", "--app-protocol=grpc", app_port=port), stage.sidecar("a")
    callee.ready()
    caller.ready()
    answer = caller.ask("POST", "/v1.0/invoke/b/method/echo", b"hello", content_type="text/plain")
    assert (answer.status, answer.body) == (200, b"hello from a")
    assert caller.ask("POST", "/v1.0/invoke/b/method/nosuch").status == 501


def test_namespaces_keep_equal_names_apart(stage: Stage) -> None:
    production, caller = {"NAMESPACE": "production"}, stage.sidecar("a")
    port = free_port()
    stage.python("open", APPS / "open_app.py", str(port), "open")
    stage.sidecar("b", app_port=port, env=production).ready()
    neighbour = stage.sidecar("a", env=production).ready()
    caller.ready()
    assert call(neighbour, "who") == call(neighbour, "who", "b.production") == b"open"
    assert call(caller, "who", "b.production") == b"open"
    assert caller.ask("GET", "/v1.0/invoke/b/method/who").status == 500
    assert neighbour.ask("GET", "/v1.0/invoke/b.default/method/who").status == 500


def test_without_a_registry_they_find_each_other_by_multicast(stage: Stage) -> None:
    if not has_multicast():
        pytest.skip("multicast does not come back to this machine")
    alone, port = {"PILLION_HOME": "/dev/null/nowhere"}, free_port()
    stage.python("open", APPS / "open_app.py", str(port), "open")
    name = f"b-{port}"
    stage.sidecar(name, "--no-multicast=false", app_port=port, env=alone).ready()
    caller = stage.sidecar("a", "--no-multicast=false", env=alone).ready()
    assert until(lambda: call(caller, "who", name)) == b"open"
