"""A server and a client that remember heads say and see the same as those that read every one, and remember no more than is safe."""

import random

import pytest
from net.test_http1_fuzz import Sink, pieces, twisted
from support.http1 import connected, echo, serving

from pillion.net.http import HttpLimits, Request, Responder, Response
from pillion.net.http1.client import ClientConnection
from pillion.net.http1.familiar import BREAK, Answered, Asked, Familiar
from pillion.net.http1.heads import Blocks
from pillion.net.http1.server import WAITING, ServerConnection, Site
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Stream, discard

PLAIN = b"Host: x\r\nAccept: */*\r\n"
REQUESTS = (
    *(
        b"%b /%b HTTP/1.1\r\n%b\r\n" % (verb, path, PLAIN)
        for verb in (b"GET", b"HEAD", b"PUT")
        for path in (b"", b"a?b")
    ),
    *(
        b"POST /%d HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (size, PLAIN, size, b"x" * size)
        for size in (0, 3, 9)
    ),
    b"GET /x HTTP/1.1\r\nContent-Length: 3\r\n%b\r\nGET" % PLAIN,
    b"POST /p HTTP/1.1\r\n%bContent-Length: 3\r\n\r\nabcd" % PLAIN,
    b"POST /p HTTP/1.1\r\n%bContent-Length: 3\r\n\r\nab" % PLAIN,
    b"POST /p HTTP/1.1\r\n%bContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc" % PLAIN,
    b"POST /p HTTP/1.1\r\n%bContent-Length: 3\n\nabc\r\n\r\n\r\n\r\n" % PLAIN,
    b"PUT /q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n",
    b"PUT /q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /k HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"GET /k HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"GET /o HTTP/1.0\r\n%b\r\n" % PLAIN,
    b"GET /n HTTP/1.1\r\nAccept: */*\r\n\r\n",
    b"GET /n HTTP/1.1\r\nHost:\r\nAccept: */*\r\n\r\n",
    b"GET /2 HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET /f HTTP/1.1\r\nHost: x\r\nAccept: a\r\n b\r\n\r\n",
    b"GET /s HTTP/1.1\r\nHost : x\r\n\r\n",
    b"GET /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"POST /u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nab",
    b"CONNECT x:1 HTTP/1.1\r\n%b\r\n" % PLAIN,
    b"GET http://y/b HTTP/1.1\r\n%b\r\n" % PLAIN,
    b"GET /\xc3\xa4 HTTP/1.1\r\n%b\r\n" % PLAIN,
    b"GET /a b HTTP/1.1\r\n%b\r\n" % PLAIN,
    b"GET /a HTTP/1.2\r\n%b\r\n" % PLAIN,
    b"GET /long%b HTTP/1.1\r\n%b\r\n" % (b"g" * 400, PLAIN),
    b"\r\nGET / HTTP/1.1\r\n%b\r\n" % PLAIN,
    b"GET / HTTP/1.1\r\n%b\r\n\r\n" % PLAIN,
    b"GET / HTTP/1.1\r\n%b" % PLAIN,
    b"GET / HTTP/1.1\r\n%b\r" % PLAIN,
    b"\r\n",
)


class Forgetful(Familiar[Asked]):
    """Remembers nothing."""

    def keep(self, head: bytes, meaning: Asked) -> None:
        pass


class Side:
    """A server that is spoken to in memory: what its handler saw, what it wrote."""

    def __init__(self, memory: Familiar[Asked], limits: HttpLimits, wheel: Wheel) -> None:
        self.site = Site(self._handle, limits, wheel)
        self.site.familiar = memory
        self.site.status.dated = lambda status: b"HTTP/1.1 %d Some" % status  # type: ignore[method-assign]
        self.seen: list[tuple[object, ...]] = []
        self.waiting: list[tuple[Request, Responder]] = []
        self.at_once = True

    def connect(self) -> None:
        self.sink, self.connection = Sink(), ServerConnection(self.site)
        self.connection.connection_made(self.sink)  # type: ignore[arg-type]

    def _handle(self, request: Request, responder: Responder) -> None:
        kept, body = request.headers.copy(), request.body
        self.seen.append(
            (
                request.method,
                request.target,
                kept,
                request.host,
                request.version,
                body if isinstance(body, bytes) else "stream",
            )
        )
        request.headers.append((b"added", b"by the handler"))
        if self.at_once:
            responder.respond(200, [], body)
        else:
            self.waiting.append((request, responder))

    def step(self, piece: bytes, at_once: bool, release: bool) -> None:
        self.at_once = at_once
        if not self.sink.closed:
            self.connection.data_received(piece)
        if release and self.waiting:
            request, responder = self.waiting.pop(0)
            responder.respond(200, [(b"a", b"b")], request.body)

    def leave(self) -> None:
        self.connection.connection_lost(None)
        for request, _ in self.waiting:
            if isinstance(request.body, Stream):
                discard(request.body)
        self.waiting.clear()


@pytest.mark.parametrize("seed", range(6))
async def test_a_server_with_a_memory_does_as_one_without(seed: int):
    chance, wheel = random.Random(seed), Wheel()
    limits = HttpLimits(header_bytes=300, body_bytes=chance.choice((None, 8)))
    knows, reads = Side(Familiar(), limits, wheel), Side(Forgetful(), limits, wheel)
    taken = 0
    for _ in range(500):
        knows.connect(), reads.connect()
        asked = chance.choices(REQUESTS, k=chance.randint(1, 6))
        if chance.random() < 0.3:
            asked = pieces(chance, b"".join(asked))
        elif chance.random() < 0.2:
            asked.append(twisted(chance, REQUESTS))
        elif chance.random() < 0.3:
            cut = chance.choice(REQUESTS)
            asked.append(cut[: chance.randrange(1, len(cut) + 1)])
        for piece in asked:
            at_once, release = chance.random() < 0.5, chance.random() < 0.6
            knows.step(piece, at_once, release), reads.step(piece, at_once, release)
        taken += sum(request.head != b"" for request, _ in knows.waiting)
        knows.leave(), reads.leave()
        assert knows.seen == reads.seen, asked
        assert b"".join(knows.sink.written) == b"".join(reads.sink.written), asked
        assert knows.sink.closed == reads.sink.closed, asked
        knows.seen.clear(), reads.seen.clear()
    assert taken and not reads.site.familiar.of(PLAIN)
    wheel.close()


def in_memory(handler: object, limits: HttpLimits | None = None) -> tuple[Site, ServerConnection, Wheel]:
    wheel = Wheel()
    site = Site(handler, limits or HttpLimits(), wheel)  # type: ignore[arg-type]
    connection = ServerConnection(site)
    connection.connection_made(Sink())  # type: ignore[arg-type]
    return site, connection, wheel


async def test_a_head_that_did_not_come_whole_is_not_kept_with_another_requests_fields():
    kept: list[tuple[Request, Responder]] = []
    victim = b"\r\nHost: x\r\nContent-Length: 70\r\nAccept: */*"
    ahead = b"POST /a HTTP/1.1\r\nHost: evil\r\nContent-Length: 70\r\n\r\n" + b"e" * 70
    for line in range(1, 60):  # with one of them the bytes that came are as many as would make a body
        site, connection, wheel = in_memory(lambda request, responder: kept.append((request, responder)))
        connection.data_received(b"GET /slow HTTP/1.1\r\n\r\n".replace(b"\r\n", b"\r\nHost: x\r\n", 1))
        connection.data_received(ahead)
        connection.data_received(b"GET /" + b"1" * line + b" HTTP/1.1" + victim + b"!")
        assert site.familiar.of(victim) is None, line
        connection.connection_lost(None)
        wheel.close()


async def test_familiar_requests_sent_ahead_are_no_longer_read_past_a_number():
    kept: list[tuple[Request, Responder]] = []
    _, connection, wheel = in_memory(lambda request, responder: kept.append((request, responder)))
    for _ in range(WAITING + 2):
        connection.data_received(REQUESTS[0])
    assert not connection._reading
    while kept:
        kept.pop()[1].respond(200, [])
    assert connection._reading
    connection.connection_lost(None)
    wheel.close()


async def test_a_familiar_head_above_the_limit_is_refused_still():
    site, connection, wheel = in_memory(echo, HttpLimits(header_bytes=200))
    sink = connection._transport
    for path in (b"a", b"a", b"a" * 300):
        connection.data_received(b"GET /%b HTTP/1.1\r\n%b\r\n" % (path, PLAIN))
    assert [each[9:12] for each in sink.written] == [b"200", b"200", b"431"]  # type: ignore[union-attr]
    connection.connection_lost(None)
    wheel.close()


async def test_the_memory_is_bounded_in_number_and_size():
    memory: Familiar[int] = Familiar()
    for each in range(10_000):
        memory.keep(b"%d" % each, each)
    assert len(memory._known) <= 256 and memory.of(b"9999") == 9999
    memory.keep(b"l" * 4096, 1)
    assert memory.of(b"l" * 4096) is None


async def test_over_a_socket_familiar_requests_are_answered_each_with_its_own_body():
    async with serving(echo) as (server, port):
        for _ in range(2):
            async with connected(port) as raw:
                for body in (b"one", b"two", b"six"):
                    raw.send(b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n%b" % (body, body))
                    status, headers, answer = await raw.answer()
                    assert (status, headers["X-Target"], answer) == (200, "/" + body.decode(), body)


async def test_a_server_that_drains_answers_a_familiar_request_and_closes():
    kept: list[tuple[Request, Responder]] = []
    _, connection, wheel = in_memory(lambda request, responder: kept.append((request, responder)))
    sink = connection._transport
    for _ in range(2):
        connection.data_received(REQUESTS[0])
        if not kept[-1][0].head:
            kept.pop()[1].respond(200, [])
    connection.drain()
    kept.pop()[1].respond(200, [])
    assert b"Connection: close" in sink.written[-1] and sink.closed  # type: ignore[union-attr]
    wheel.close()


ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\nok\r\n\r\n",
    b"",
)


class Shop:
    """A client's connections to a server that is played in memory, one after another."""

    def __init__(self, memory: Familiar[Answered], wheel: Wheel) -> None:
        self._make = lambda: ClientConnection(b"h", Blocks(), memory, wheel, self.free.append, lambda _: None)
        self.free: list[ClientConnection] = []

    def ask(self, method: bytes, answer: list[bytes]) -> object:
        """What comes of a request that is answered by these pieces."""
        connection = self.free.pop() if self.free else None
        if connection is None or not connection.usable:
            connection = self._make()
            connection.connection_made(Sink())  # type: ignore[arg-type]
        answered = connection.send(method, b"/", [], b"")
        for piece in answer:
            if connection.usable:
                connection.data_received(piece)
        found: object = None
        if answered.done():
            error = answered.exception()
            found = type(error) if error else told(answered.result())
        if connection not in self.free:
            connection.connection_lost(None)
            if answered.done():
                answered.exception()
        return found, len(self.free)


def told(answer: Response) -> object:
    """An answer as it can be compared; its headers are spoilt, as whoever got them may."""
    body = answer.body if isinstance(answer.body, bytes) else "stream"
    found = (answer.status, answer.reason, answer.headers.copy(), body)
    answer.headers.append((b"added", b"by the caller"))
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_a_client_with_a_memory_sees_what_one_without_sees(seed: int):
    chance, wheel, memory = random.Random(seed), Wheel(), Familiar[Answered]()
    for _ in range(200):
        knows, reads = Shop(memory, wheel), Shop(Forgetful(), wheel)  # type: ignore[arg-type]
        asked: list[object] = []
        for _ in range(8):
            method = chance.choice((b"GET", b"GET", b"HEAD", b"POST"))
            answer = [chance.choice(ANSWERS)]
            if chance.random() < 0.2:
                answer = pieces(chance, answer[0] + chance.choice(ANSWERS))
            elif chance.random() < 0.2:
                answer = [twisted(chance, ANSWERS[:-1])]
            asked.append((method, answer))
            assert knows.ask(method, answer) == reads.ask(method, answer), asked
    assert memory.of(ANSWERS[0].partition(BREAK)[0])
    wheel.close()
