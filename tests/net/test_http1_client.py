"""The HTTP/1.1 client, against our own server and against servers that misbehave by script."""

import asyncio
import http.server
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.http1 import Desk, Raw, echo, scripted, serving
from support.waiting import eventually

from pillion.net.http import Request, Responder
from pillion.net.http_client import Http1Client
from pillion.net.listen import HttpServer
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import BodyTooLarge, Stream, StreamClosed, whole

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def client_of(port: int, **more: object) -> AsyncIterator[Http1Client]:
    client = Http1Client("127.0.0.1", port, **more)  # type: ignore[arg-type]
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def asking(
    handler: Callable[[Request, Responder], None],
) -> AsyncIterator[tuple[Http1Client, HttpServer]]:
    async with serving(handler) as (server, port), client_of(port) as client:
        yield client, server


@asynccontextmanager
async def answered_with(*answers: bytes, close: bool = False) -> AsyncIterator[Http1Client]:
    """A client of a server that reads a head and sends the next of these, whatever was asked."""

    async def script(raw: Raw) -> None:
        for answer in answers:
            await raw.reader.readuntil(b"\r\n\r\n")
            raw.send(answer)
        if not close:
            await raw.rest()

    async with scripted(script) as port, client_of(port) as client:
        yield client


async def test_a_small_exchange_is_bytes_both_ways():
    async with asking(echo) as (client, _):
        answer = await client.request(b"POST", b"/a?b", [(b"content-type", b"text/plain")], b"hello")
    assert (answer.status, answer.reason, answer.body) == (200, b"OK", b"hello")
    assert answer.header(b"x-target") == b"/a?b" and answer.header(b"content-length") == b"5"


async def test_the_request_is_written_as_go_would_in_one_piece():
    seen = []

    async def script(raw: Raw) -> None:
        seen.append(await raw.reader.read(10000))
        raw.send(OK)
        await raw.rest()

    async with scripted(script) as port, client_of(port) as client:
        fields = [
            (b"dapr-app-id", b"x"),
            (b"connection", b"close"),
            (b"content-length", b"9"),
            (b"transfer-encoding", b"gzip"),
        ]
        await client.request(b"POST", b"/", fields, b"abc")
    assert seen == [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nDapr-App-Id: x\r\nContent-Length: 3\r\n\r\nabc" % port
    ]


async def test_a_host_given_goes_first_and_a_get_announces_no_body():
    seen = []

    async def script(raw: Raw) -> None:
        seen.append(await raw.reader.readuntil(b"\r\n\r\n"))
        raw.send(OK)
        await raw.rest()

    async with scripted(script) as port, client_of(port) as client:
        await client.request(b"GET", b"/", [(b"a", b"b\r\nEvil: c"), (b"host", b"there")])
    assert seen == [b"GET / HTTP/1.1\r\nHost: there\r\nA: b  Evil: c\r\n\r\n"]


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nX: y", b""])
async def test_a_target_that_would_break_the_request_line_is_refused(target: bytes):
    async with asking(echo) as (client, _):
        with pytest.raises(ValueError):
            await client.request(b"GET", target, [])


async def test_requests_one_after_another_share_a_connection():
    async with asking(echo) as (client, server):
        for _ in range(5):
            await client.request(b"GET", b"/", [])
        assert server.connections == 1


async def test_requests_at_once_each_have_a_connection_and_only_some_are_kept():
    desk = Desk()
    async with serving(desk) as (server, port), client_of(port, idle_connections=2) as client:
        asked = [asyncio.ensure_future(client.request(b"GET", b"/", [])) for _ in range(5)]
        await eventually(lambda: len(desk.open) == 5)
        for _, responder in desk.open:
            responder.respond(200, [])
        await asyncio.gather(*asked)
        await eventually(lambda: server.connections == 2)


async def test_an_idle_connection_grows_old():
    wheel = Wheel(tick=0.02)
    async with serving(echo) as (server, port), client_of(port, wheel=wheel, idle_time=0.05) as client:
        await client.request(b"GET", b"/", [])
        await eventually(lambda: server.connections == 0)
        assert (await client.request(b"GET", b"/", [])).status == 200
    wheel.close()


async def test_large_bodies_are_streams_both_ways():
    body = bytes(range(256)) * 4096
    async with asking(echo) as (client, _):
        for length in (len(body), None):
            stream = Stream(length=length)
            asked = asyncio.ensure_future(client.request(b"PUT", b"/", [], stream))
            for at in range(0, len(body), 50_000):
                stream.push(body[at : at + 50_000])
            stream.finish()
            answer = await asked
            assert isinstance(answer.body, Stream) and answer.body.length == length
            assert await answer.body.read_all() == body


async def test_an_answer_streams_while_the_request_still_does():
    async with asking(echo) as (client, _):
        stream = Stream()
        stream.push(b"one")
        answer = await client.request(b"POST", b"/", [], stream)
        assert isinstance(answer.body, Stream)
        assert await answer.body.read() == b"one"
        stream.push(b"two")
        assert await answer.body.read() == b"two"
        stream.finish()
        assert await answer.body.read() == b""


async def test_a_reader_that_does_not_read_holds_the_server_back():
    source = Stream()
    told: list[str] = []
    source.on_pause = lambda: told.append("pause")
    source.on_resume = lambda: told.append("resume")
    async with asking(lambda request, responder: responder.respond(200, [], source)) as (client, _):
        answer = await client.request(b"GET", b"/", [])
        assert isinstance(answer.body, Stream)
        sent = 0
        while not told and sent < 1000:
            source.push(bytes(64 * 1024))
            sent += 1
            await asyncio.sleep(0)
        assert told == ["pause"]
        source.finish()
        assert len(await answer.body.read_all()) == sent * 64 * 1024


async def test_a_chunked_answer_that_comes_at_once_is_bytes():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: u\r\n\r\n"
    async with answered_with(chunked, OK) as client:
        assert (await client.request(b"GET", b"/", [])).body == b"abc"
        assert (await client.request(b"GET", b"/", [])).body == b"ok"


async def test_interim_answers_are_skipped():
    async with answered_with(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK
    ) as client:
        answer = await client.request(b"GET", b"/", [])
    assert (answer.status, answer.headers, answer.body) == (200, [(b"content-length", b"2")], b"ok")


async def test_head_and_204_and_304_leave_the_connection_usable():
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        b"HTTP/1.1 204 No\r\n\r\n",
        b"HTTP/1.1 304 Same\r\nContent-Length: 100000\r\n\r\n",
        OK,
    )
    async with answered_with(*answers) as client:
        got = [await client.request(method, b"/", []) for method in (b"HEAD", b"GET", b"GET", b"GET")]
    assert [(answer.status, answer.body) for answer in got] == [
        (200, b""),
        (204, b""),
        (304, b""),
        (200, b"ok"),
    ]


async def test_a_body_without_a_length_ends_with_the_connection():
    async with answered_with(b"HTTP/1.0 200 OK\r\n\r\nabc", close=True) as client:
        assert await whole((await client.request(b"GET", b"/", [])).body) == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ],
)
async def test_a_broken_answer_is_a_connection_error(answer: bytes):
    async with answered_with(answer, close=True) as client:
        with pytest.raises(ConnectionError):
            await client.request(b"GET", b"/", [])


async def test_a_stream_that_breaks_off_says_so():
    async with answered_with(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", close=True
    ) as client:
        answer = await client.request(b"GET", b"/", [])
        with pytest.raises(StreamClosed):
            await whole(answer.body)


async def test_a_kept_connection_that_was_closed_is_replaced_once():
    async with answered_with(OK, close=True) as client:
        for _ in range(5):
            assert (await client.request(b"GET", b"/", [], b"x")).body == b"ok"


async def test_a_post_that_may_have_been_acted_on_is_not_sent_again():
    met: list[Raw] = []

    async def script(raw: Raw) -> None:
        met.append(raw)
        await raw.reader.readuntil(b"\r\n\r\n")
        raw.send(OK)
        await raw.reader.readuntil(b"\r\n\r\n")
        raw.writer.transport.abort()

    async with scripted(script) as port, client_of(port) as client:
        assert (await client.request(b"POST", b"/", [])).body == b"ok"
        with pytest.raises(ConnectionError):
            await client.request(b"POST", b"/", [])
    assert len(met) == 1


async def test_a_connection_that_dies_as_it_is_used_again_is_replaced():
    met: list[Raw] = []

    async def script(raw: Raw) -> None:
        met.append(raw)
        await raw.reader.readuntil(b"\r\n\r\n")
        raw.send(OK)
        await raw.reader.readuntil(b"\r\n\r\n")
        if len(met) == 1:
            raw.writer.transport.abort()
        raw.send(OK)

    async with scripted(script) as port, client_of(port) as client:
        assert (await client.request(b"GET", b"/", [])).body == b"ok"
        assert (await client.request(b"GET", b"/", [])).body == b"ok"
    assert len(met) == 2


async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next():
    async with answered_with(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", close=False) as client:
        assert (await client.request(b"GET", b"/", [])).body == b"ok"
        await asyncio.sleep(0)
        assert (await client.request(b"GET", b"/", [])).body == b"ok"


async def test_nobody_listening_is_a_refused_connection():
    async with serving(echo) as (_, port):
        pass
    for host in ("127.0.0.1", "localhost"):
        client = Http1Client(host, port)
        with pytest.raises(ConnectionRefusedError):
            await client.request(b"GET", b"/", [])
        await client.close()


async def test_a_timeout_covers_the_head_only_and_closes_the_connection():
    desk = Desk()
    async with asking(desk) as (client, server):
        with pytest.raises(TimeoutError):
            await client.request(b"GET", b"/", [], timeout=0.05)
        await eventually(lambda: server.connections == 0)
        asked = asyncio.ensure_future(client.request(b"GET", b"/", [], timeout=0.2))
        await eventually(lambda: len(desk.open) == 2)
        slow = Stream()
        desk.open[1][1].respond(200, [], slow)
        answer = await asked
        await asyncio.sleep(0.25)
        slow.push(b"late")
        slow.finish()
        assert await whole(answer.body) == b"late"


async def test_a_cancelled_request_closes_its_connection():
    desk = Desk()
    async with asking(desk) as (client, server):
        asked = asyncio.ensure_future(client.request(b"GET", b"/", []))
        await eventually(lambda: desk.open)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await eventually(lambda: server.connections == 0)


async def test_a_cancelled_answer_stream_closes_its_connection():
    source = Stream()
    async with asking(lambda request, responder: responder.respond(200, [], source)) as (client, server):
        answer = await client.request(b"GET", b"/", [])
        assert isinstance(answer.body, Stream)
        answer.body.cancel()
        await eventually(lambda: server.connections == 0 and source.ended)


async def test_a_request_body_that_fails_fails_the_request_with_its_own_error():
    async with asking(echo) as (client, server):
        stream = Stream()
        asked = asyncio.ensure_future(client.request(b"POST", b"/", [], stream))
        await asyncio.sleep(0)
        stream.abort(BodyTooLarge("stream too large"))
        with pytest.raises(BodyTooLarge):
            await asked
        await eventually(lambda: server.connections == 0)


async def test_closing_ends_idle_connections_now_and_busy_ones_when_done():
    desk = Desk()
    async with asking(desk) as (client, server):
        asked = asyncio.ensure_future(client.request(b"GET", b"/", []))
        await eventually(lambda: desk.open)
        await client.close()
        desk.open[0][1].respond(200, [], b"done")
        assert (await asked).body == b"done"
        await eventually(lambda: server.connections == 0)
        with pytest.raises(ConnectionError):
            await client.request(b"GET", b"/", [])


async def test_a_unix_socket_is_dialled(tmp_path: Path):
    path = str(tmp_path / "s.sock")
    server = HttpServer(echo)
    await server.listen_unix(path)
    client = Http1Client("localhost", 80, path=path)
    answer = await client.request(b"GET", b"/", [])
    assert answer.header(b"x-host") == b"localhost"
    await client.close()
    await server.close(1)


async def test_a_standard_server_is_understood():
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body * 2)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        async with client_of(server.server_port) as client:
            assert await whole((await client.request(b"POST", b"/", [], b"ab")).body) == b"abab"
    finally:
        await asyncio.to_thread(server.shutdown)
        thread.join()
        server.server_close()
