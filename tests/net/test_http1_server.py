"""The HTTP/1.1 server, asked over raw sockets."""

import asyncio
import http.client
import re
import socket
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from support.http1 import Desk, connected, echo, serving, talking
from support.waiting import eventually

from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.listen import HttpServer
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import BodyTooLarge, Stream, StreamClosed

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_a_request_is_answered_with_date_and_length():
    async with talking(echo) as raw:
        raw.send(b"POST /a%20b?c=d HTTP/1.1\r\nHost: here:1\r\nContent-Length: 5\r\n\r\nhello")
        status, headers, body = await raw.answer()
    assert (status, body) == (200, b"hello")
    assert headers["X-Target"] == "/a%20b?c=d" and headers["X-Host"] == "here:1"
    assert headers["Content-Length"] == "5"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["Date"])


async def test_what_the_handler_sees_is_lower_case_and_trimmed():
    seen = []

    def handler(request: Request, responder: Responder) -> None:
        seen.append((request.method, request.version, request.headers, request.peer))
        responder.respond(204, [])

    async with talking(handler) as raw:
        raw.send(b"PURGE / HTTP/1.1\r\nHost: x\r\nX-Two:  b \t\r\nX-Two: c\r\n\r\n")
        assert (await raw.answer())[0] == 204
        port = raw.writer.get_extra_info("sockname")[1]
    assert seen == [
        (b"PURGE", b"1.1", [(b"host", b"x"), (b"x-two", b"b"), (b"x-two", b"c")], f"127.0.0.1:{port}")
    ]


async def test_header_names_go_out_as_go_writes_them():
    given = [
        (b"etag", b"1"),
        (b"metadata.ttlexpiretime", b"2"),
        (b"x-dapr-id", b"3"),
        (b"Metadata.content-Length", b"4"),
    ]
    async with talking(lambda request, responder: responder.respond(200, given)) as raw:
        raw.send(GET)
        _, headers, _ = await raw.answer()
    assert list(headers)[1:5] == ["Etag", "Metadata.ttlexpiretime", "X-Dapr-Id", "Metadata.content-Length"]


async def test_a_line_break_in_a_value_starts_no_header_of_its_own():
    given = [(b"x-a", b"1\r\nX-Evil: 2"), (b"x bad", b"3"), (b"x-b", b"4")]
    async with talking(lambda request, responder: responder.respond(200, given)) as raw:
        raw.send(GET)
        _, headers, _ = await raw.answer()
    assert headers["X-A"] == "1  X-Evil: 2" and headers["X-B"] == "4"
    assert "X-Evil" not in headers and len(headers) == 4


async def test_the_handlers_own_date_and_length_do_not_double_ours():
    given = [
        (b"date", b"yesterday"),
        (b"content-length", b"99"),
        (b"transfer-encoding", b"chunked"),
        (b"connection", b"x"),
    ]
    async with talking(lambda request, responder: responder.respond(200, given, b"abc")) as raw:
        raw.send(GET)
        head = await raw.reader.readuntil(b"\r\n\r\n")
    assert head == b"HTTP/1.1 200 OK\r\nDate: yesterday\r\nContent-Length: 3\r\n\r\n"


async def test_pipelined_requests_are_answered_in_order_even_when_the_first_takes_longer():
    desk = Desk()
    async with talking(desk) as raw:
        raw.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: desk.open)
        desk.open[0][1].respond(200, [], b"first")
        await eventually(lambda: len(desk.open) == 2)
        desk.open[1][1].respond(200, [], b"second")
        assert [(await raw.answer())[2] for _ in range(2)] == [b"first", b"second"]


async def test_pipelined_requests_answered_at_once_leave_in_one_write():
    async with serving(echo) as (server, port), connected(port) as raw:
        raw.send(GET)
        await raw.answer()
        [connection] = server._site.connections
        writes: list[bytes] = []
        kept = connection._transport

        class Counting:
            write = staticmethod(writes.append)

            def __getattr__(self, name: str) -> object:
                return getattr(kept, name)

        connection._transport = Counting()
        connection.data_received(GET * 5)
        assert len(writes) == 1 and writes[0].count(b"HTTP/1.1 200 OK") == 5
        connection._transport = kept


@pytest.mark.parametrize("step", [1, 2, 7, 50])
async def test_a_request_may_come_in_any_pieces(step: int):
    data = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world" + GET
    async with talking(echo) as raw:
        for at in range(0, len(data), step):
            raw.send(data[at : at + step])
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert (await raw.answer())[2] == b"hello world"
        assert (await raw.answer())[2] == b""


async def test_a_chunked_request_is_read_and_its_trailers_ignored():
    async with talking(echo) as raw:
        raw.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n2\r\nde\r\n0\r\nHost: y\r\nX-T: u\r\n\r\n"
        )
        status, headers, body = await raw.answer()
    assert (status, body, headers["X-Host"]) == (200, b"abcde", "x")


async def test_a_slow_chunked_request_is_a_stream_from_its_first_piece():
    async with talking(echo) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        status, headers = await raw.head()
        assert headers["Transfer-Encoding"] == "chunked"
        assert await raw.reader.readexactly(8) == b"3\r\nabc\r\n"
        raw.send(b"1\r\nd\r\n0\r\n\r\n")
        assert await raw.reader.readexactly(11) == b"1\r\nd\r\n0\r\n\r\n"
        raw.send(GET)
        assert (await raw.answer())[0] == 200


async def test_a_large_body_is_a_stream_of_known_length():
    lengths = []

    async def read(request: Request, responder: Responder) -> None:
        assert isinstance(request.body, Stream)
        lengths.append(request.body.length)
        responder.respond(200, [], await request.body.read_all())

    tasks = []
    body = bytes(range(256)) * 1024
    async with talking(
        lambda request, responder: tasks.append(asyncio.ensure_future(read(request, responder)))
    ) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        assert (await raw.answer())[2] == body
        await asyncio.gather(*tasks)
    assert lengths == [len(body)]


async def test_a_body_nobody_reads_is_not_read_off_the_connection():
    desk = Desk()
    size = 64 * 1024 * 1024
    async with talking(desk) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
        await eventually(lambda: desk.open)
        body = desk.open[0][0].body
        raw.send(bytes(8 * 1024 * 1024))
        await eventually(lambda: body._paused)
        assert body._size < 2 * 1024 * 1024
        raw.writer.transport.abort()
        body.cancel()


async def test_a_slow_reader_holds_back_the_stream_it_is_sent():
    told: list[str] = []
    stream = Stream(on_pause=lambda: told.append("pause"), on_resume=lambda: told.append("resume"))
    async with talking(lambda request, responder: responder.respond(200, [], stream)) as raw:
        raw.send(GET)
        await raw.head()
        raw.reader._transport.pause_reading()
        sent = 0
        while not told and sent < 1000:
            stream.push(bytes(64 * 1024))
            sent += 1
            await asyncio.sleep(0)
        assert told == ["pause"]
        raw.reader._transport.resume_reading()
        stream.finish()
        got = await raw._chunks()
    assert told == ["pause", "resume"] and len(got) == sent * 64 * 1024


async def test_a_stream_of_known_length_goes_out_unchunked():
    stream = Stream(length=6)
    async with talking(lambda request, responder: responder.respond(200, [], stream)) as raw:
        raw.send(GET)
        stream.push(b"abc")
        stream.push(b"defgh")
        stream.finish()
        status, headers, body = await raw.answer()
    assert (headers["Content-Length"], body) == ("6", b"abcdef")


async def test_an_answer_that_breaks_off_cuts_the_connection():
    stream = Stream()
    async with talking(lambda request, responder: responder.respond(200, [], stream)) as raw:
        raw.send(GET)
        stream.push(b"abc")
        await raw.head()
        stream.abort()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await raw._chunks()


async def test_head_and_204_and_304_have_no_body():
    def handler(request: Request, responder: Responder) -> None:
        responder.respond(
            int(request.target[1:]), [(b"etag", b"e")], b"" if request.target != b"/200" else b"abc"
        )

    async with talking(handler) as raw:
        raw.send(
            b"HEAD /200 HTTP/1.1\r\nHost: x\r\n\r\nGET /204 HTTP/1.1\r\nHost: x\r\n\r\nGET /304 HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        heads = [await raw.head() for _ in range(3)]
    assert [status for status, _ in heads] == [200, 204, 304]
    assert [headers.get("Content-Length") for _, headers in heads] == ["3", None, None]


async def test_connection_close_is_honoured_and_announced():
    async with talking(echo) as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
        answer = await raw.rest()
    assert b"\r\nConnection: close\r\n" in answer and answer.count(b"HTTP/1.1 200") == 1


async def test_a_handler_may_close_the_connection():
    def handler(request: Request, responder: Responder) -> None:
        responder.close_after()
        responder.respond(200, [], b"bye")

    async with talking(handler) as raw:
        raw.send(GET)
        assert (await raw.rest()).endswith(b"Connection: close\r\nContent-Length: 3\r\n\r\nbye")


async def test_http_1_0_closes_unless_asked_to_stay():
    async with talking(echo) as raw:
        raw.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await raw.answer())[1]["Connection"] == "keep-alive"
        raw.send(b"GET / HTTP/1.0\r\n\r\n")
        assert b"Connection: close" in await raw.rest()


async def test_http_1_0_gets_a_stream_until_the_connection_ends():
    stream = Stream()
    async with talking(lambda request, responder: responder.respond(200, [], stream)) as raw:
        raw.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        stream.push(b"abc")
        stream.finish()
        answer = await raw.rest()
    assert answer.endswith(b"\r\n\r\nabc") and b"chunked" not in answer


async def test_a_client_that_expects_100_is_told_to_go_on():
    async with talking(echo) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert await raw.answer() == (100, {}, b"")
        raw.send(b"abc")
        assert (await raw.answer())[2] == b"abc"


async def test_a_refusal_spares_the_client_the_body_it_offered():
    async with talking(lambda request, responder: responder.respond(401, [], b"no")) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        status, headers, _ = await raw.answer()
        assert (status, headers["Connection"]) == (401, "close")
        assert await raw.rest() == b""


async def test_a_small_unread_body_does_not_cost_the_connection():
    async with talking(lambda request, responder: responder.respond(401, [], b"no")) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(50000))
        assert (await raw.answer())[0] == 401
        raw.send(bytes(50000) + GET)
        assert (await raw.answer())[0] == 401


async def test_absolute_targets_are_taken_apart():
    async with talking(echo) as raw:
        raw.send(b"GET http://there:8/p?q HTTP/1.1\r\nHost: x\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
        first, second = (await raw.answer())[1], (await raw.answer())[1]
    assert (first["X-Target"], first["X-Host"]) == ("/p?q", "there:8")
    assert second["X-Target"] == "*"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_malformed_request_gets_400_and_the_connection_closes(request_bytes: bytes):
    async with talking(echo) as raw:
        raw.send(request_bytes)
        answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\nDate: ")
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in answer
    assert answer.endswith(b"\r\n\r\n400 Bad Request")


async def test_what_came_before_a_malformed_request_is_answered_first():
    desk = Desk()
    async with talking(desk) as raw:
        raw.send(GET + b"nonsense\r\n\r\n")
        await eventually(lambda: desk.open)
        desk.open[0][1].respond(200, [], b"fine")
        assert (await raw.answer())[2] == b"fine"
        assert (await raw.answer())[0] == 400


@pytest.mark.parametrize("pieces", [1, 3])
async def test_a_head_past_the_limit_gets_431(pieces: int):
    async with talking(echo) as raw:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: %b\r\n\r\n" % (b"a" * 9000)
        step = -(-len(head) // pieces)
        for at in range(0, len(head), step):
            raw.send(head[at : at + step])
            await asyncio.sleep(0.01)
        answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert answer.endswith(b"\r\n\r\n431 Request Header Fields Too Large")


async def test_a_head_of_5_kilobytes_passes_and_a_big_body_is_not_counted():
    async with talking(echo) as raw:
        raw.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nX-Big: %b\r\nContent-Length: 60000\r\n\r\n" % (b"a" * 5000)
            + bytes(60000)
        )
        assert len((await raw.answer())[2]) == 60000


async def test_endless_trailers_are_refused():
    async with talking(lambda request, responder: None) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        with pytest.raises((ConnectionError, TimeoutError)):
            for _ in range(100):
                raw.send(b"a" * 16384)
                await raw.writer.drain()
                await asyncio.sleep(0)
            assert b"400" in await asyncio.wait_for(raw.rest(), 0.01)
            raise ConnectionError


async def test_a_body_past_the_limit_breaks_off_with_body_too_large():
    errors = []

    async def read(request: Request, responder: Responder) -> None:
        try:
            assert isinstance(request.body, Stream)
            await request.body.read_all()
        except BodyTooLarge as error:
            errors.append(str(error))
            responder.respond(400, [], b"too large")

    tasks = []
    limits = HttpLimits(body_bytes=100_000)
    async with serving(lambda q, r: tasks.append(asyncio.ensure_future(read(q, r))), limits) as (_, port):
        for head in (b"Content-Length: 200000", b"Transfer-Encoding: chunked"):
            async with connected(port) as raw:
                raw.send(
                    b"POST / HTTP/1.1\r\nHost: x\r\n%b\r\n\r\n" % head
                    + (b"" if head[0:1] == b"C" else b"30d40\r\n")
                    + bytes(200_000)
                )
                status, headers, body = await raw.answer()
                assert (status, headers["Connection"], body) == (400, "close", b"too large")
        await asyncio.gather(*tasks)
    assert errors == ["stream too large"] * 2


async def test_a_small_body_past_the_limit_reaches_the_handler_as_a_stream_that_failed():
    bodies = []

    def handler(request: Request, responder: Responder) -> None:
        bodies.append(request.body)
        responder.respond(400, [])

    async with talking(handler, HttpLimits(body_bytes=3)) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd")
        assert (await raw.answer())[0] == 400
    with pytest.raises(BodyTooLarge):
        await bodies[0].read_all()


async def test_an_exact_body_at_the_limit_passes():
    async with talking(echo, HttpLimits(body_bytes=4)) as raw:
        raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd")
        assert (await raw.answer())[2] == b"abcd"


async def test_a_client_that_leaves_is_told_to_those_who_asked():
    desk, told = Desk(), []
    async with serving(desk) as (server, port):
        async with connected(port) as raw:
            raw.send(GET)
            await eventually(lambda: desk.open)
            desk.open[0][1].on_disconnect(lambda: told.append(True))
        await eventually(lambda: told)
        stream = Stream()
        desk.open[0][1].respond(200, [], stream)  # too late, and ignored
        assert told == [True] and stream.ended
        await eventually(lambda: server.connections == 0)


async def test_nobody_is_told_of_a_client_that_leaves_after_its_answer():
    told = []

    def handler(request: Request, responder: Responder) -> None:
        responder.on_disconnect(lambda: told.append(True))
        responder.respond(200, [])

    async with serving(handler) as (server, port):
        async with connected(port) as raw:
            raw.send(GET)
            await raw.answer()
        await eventually(lambda: server.connections == 0)
    assert told == []


async def test_a_client_that_leaves_ends_both_streams():
    desk = Desk()
    answer = Stream()
    async with serving(desk) as (_, port):
        async with connected(port) as raw:
            raw.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
            await eventually(lambda: desk.open)
            request, responder = desk.open[0]
            responder.respond(200, [], answer)
            await raw.head()
        await eventually(lambda: answer.ended)
        with pytest.raises(StreamClosed):
            await request.body.read_all()


async def test_answering_twice_is_an_error():
    desk = Desk()
    async with talking(desk) as raw:
        raw.send(GET)
        await eventually(lambda: desk.open)
        desk.open[0][1].respond(200, [])
        with pytest.raises(RuntimeError):
            desk.open[0][1].respond(200, [])


async def test_a_handler_that_raises_costs_its_request_only():
    def handler(request: Request, responder: Responder) -> None:
        raise ValueError("broken")

    async with serving(handler) as (_, port):
        for _ in range(2):
            async with connected(port) as raw:
                raw.send(GET)
                assert (await raw.answer())[0] == 500


async def test_a_connection_that_says_nothing_is_closed():
    wheel = Wheel(tick=0.02)
    async with serving(echo, HttpLimits(header_timeout=0.05), wheel=wheel) as (_, port):
        for begun in (b"", b"GET / HT", GET + b"GET"):
            async with connected(port) as raw:
                raw.send(begun)
                assert (await raw.rest()).count(b"HTTP/1.1 200") == begun.count(b"\r\n\r\n")
    wheel.close()


async def test_an_idle_connection_is_closed_but_a_working_one_is_not():
    wheel, desk = Wheel(tick=0.02), Desk()
    async with talking(desk, HttpLimits(idle_timeout=0.05), wheel=wheel) as raw:
        raw.send(GET)
        await eventually(lambda: desk.open)
        await asyncio.sleep(0.15)
        desk.open[0][1].respond(200, [])
        assert (await raw.answer())[0] == 200
        assert await raw.rest() == b""
    wheel.close()


async def test_closing_lets_a_running_request_end_and_tells_the_client():
    desk = Desk()
    async with serving(desk) as (server, port), connected(port) as busy, connected(port) as idle:
        busy.send(GET)
        await eventually(lambda: desk.open and server.connections == 2)
        closing = asyncio.ensure_future(server.close(5.0))
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        desk.open[0][1].respond(200, [], b"done")
        answer = await busy.rest()
        assert b"\r\nConnection: close\r\n" in answer and answer.endswith(b"done")
        await closing


async def test_closing_cuts_what_does_not_end_by_the_deadline():
    desk, told = Desk(), []
    async with serving(desk) as (server, port), connected(port) as raw:
        raw.send(GET)
        await eventually(lambda: desk.open)
        desk.open[0][1].on_disconnect(lambda: told.append(True))
        await server.close(0.05)
        assert told == [True] and server.connections == 0


async def test_a_busy_port_is_an_error_and_nothing_stays_bound():
    async with serving(echo) as (_, port):
        other = HttpServer(echo)
        with pytest.raises(OSError, match="in use"):
            await other.listen(["127.0.0.1"], port)
        await other.close()


async def test_several_hosts_share_a_port():
    server = HttpServer(echo)
    bound = await server.listen(["127.0.0.1", "::1"] if socket.has_ipv6 else ["127.0.0.1"], 0)
    assert len({port for _, port in bound}) == 1
    await server.close()


async def test_a_unix_socket_is_served_replaced_when_stale_and_removed(tmp_path: Path):
    path = str(tmp_path / "s.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    server = HttpServer(echo)
    await server.listen_unix(path)
    second = HttpServer(echo)
    with pytest.raises(OSError, match="in use"):
        await second.listen_unix(path)
    await second.close()
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(GET)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await server.close(1)
    assert not Path(path).exists()


class Second(asyncio.Protocol):
    """Stands where HTTP/2 goes: notes what it is given and says so."""

    def __init__(self, upgrade: tuple[Request, bytes] | None = None) -> None:
        self.upgrade = upgrade

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        request = self.upgrade[0].target + b" " + self.upgrade[1] if self.upgrade else b"-"
        self.transport.write(b"<%b|%b>" % (request, data))


@pytest.mark.parametrize("cut", [3, 14, 24, 30])
async def test_the_preface_of_http_2_hands_the_connection_over(cut: int):
    data = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n123456"
    async with talking(echo, http2=lambda upgrade=None: Second(upgrade)) as raw:
        raw.send(data[:cut])
        await asyncio.sleep(0.01)
        raw.send(data[cut:])
        got = b""
        while got.count(b">") < (2 if 24 <= cut < 30 else 1):
            got += await raw.reader.read(1000)
    assert got.replace(b"><-|", b"") == b"<-|" + data + b">"


async def test_an_upgrade_to_h2c_hands_the_request_over():
    settings = urlsafe_b64encode(b"\x00\x03\x00\x00\x00\x64").rstrip(b"=")
    async with talking(echo, http2=lambda upgrade=None: Second(upgrade)) as raw:
        raw.send(
            b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: %b\r\n\r\nPRI"
            % settings
        )
        status, headers = await raw.head()
        assert (status, headers["Upgrade"]) == (101, "h2c")
        assert await raw.reader.readuntil(b">") == b"</up \x00\x03\x00\x00\x00\x64|PRI>"


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
async def test_another_upgrade_or_one_without_settings_is_ignored(upgrade: bytes):
    async with talking(echo, http2=lambda upgrade=None: Second(upgrade)) as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % upgrade + GET)
        assert [(await raw.answer())[0] for _ in range(2)] == [200, 200]


async def test_http_2_is_refused_when_switched_off():
    async with talking(echo, HttpLimits(h2c=False), http2=lambda upgrade=None: Second(upgrade)) as raw:
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await raw.rest()).startswith(b"HTTP/1.1 400")


async def test_a_standard_client_is_served():
    def talk(port: int) -> list[tuple[int, bytes]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        got = []
        for body in (b"small", bytes(500_000), iter([b"a", b"b" * 70_000])):
            connection.request("POST", "/", body=body)
            response = connection.getresponse()
            got.append((response.status, response.read()))
        connection.close()
        return got

    async with serving(echo) as (_, port):
        got = await asyncio.to_thread(talk, port)
    assert got == [(200, b"small"), (200, bytes(500_000)), (200, b"a" + b"b" * 70_000)]


async def test_a_client_that_closed_its_half_still_gets_its_answer():
    waiting: list[Responder] = []
    async with talking(lambda request, responder: waiting.append(responder)) as raw:
        raw.send(GET)
        raw.writer.write_eof()
        await eventually(lambda: waiting)
        await asyncio.sleep(0.01)
        waiting[0].respond(200, [], b"late")
        assert (await raw.rest()).endswith(b"Connection: close\r\nContent-Length: 4\r\n\r\nlate")


async def test_a_target_beyond_ascii_is_taken_as_if_escaped():
    async with talking(echo) as raw:
        raw.send("GET /stäte HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await raw.answer())[1]["X-Target"] == "/st%C3%A4te"
        raw.send(b"GET /a\x01b HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer())[0] == 400


@pytest.mark.parametrize(
    "framed",
    [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
)
@pytest.mark.parametrize("cut", [0, 3])
async def test_the_body_of_an_upgrade_is_a_body_and_never_a_request(framed: bytes, cut: int):
    asking = b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    data = asking + framed
    async with talking(echo, http2=lambda upgrade=None: Second(upgrade)) as raw:
        raw.send(data[: len(data) - cut])
        await asyncio.sleep(0.01 if cut else 0)
        raw.send(data[len(data) - cut :] + GET)
        assert (await raw.answer())[2] == b"hello"
        assert (await raw.answer())[0] == 200


async def test_a_request_behind_one_that_a_task_answered_is_not_part_of_that_task() -> None:
    body, seen = Stream(), []

    def serve(request: Request, responder: Responder) -> None:
        seen.append((request.target, asyncio.current_task()))
        responder.respond(200, [], body if request.target == b"/first" else b"second")

    async def write() -> None:
        body.push(b"x")
        body.finish()

    async with talking(serve) as raw:
        raw.send(b"GET /first HTTP/1.1\r\nhost: a\r\n\r\nGET /second HTTP/1.1\r\nhost: a\r\n\r\n")
        await raw.head()
        await asyncio.create_task(write())
        assert await raw._chunks() == b"x"
        assert (await raw.answer())[2] == b"second"
    assert seen == [(b"/first", None), (b"/second", None)]
