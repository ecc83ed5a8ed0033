"""The way out: a pool of kept connections to one origin."""

import asyncio
import ssl

from pillion.net.http import Headers, Response
from pillion.net.http1.client import ClientConnection
from pillion.net.http1.familiar import Answered, Familiar
from pillion.net.http1.heads import Blocks
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Body, Stream, discard

IDLE_CONNECTIONS = 64
IDLE_TIME = 60.0
CONNECT_TIMEOUT = 30.0

_REPEATABLE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))


class Http1Client:
    """Sends requests over HTTP/1.1, each on a connection of its own for as long as it takes.

    Connections are dialled when none is idle, without limit; of those no longer in use a few are kept for a while.
    A request costs one future; a timer only if it was given a timeout. A cancelled request closes its connection.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        path: str | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        wheel: Wheel | None = None,
        idle_connections: int = IDLE_CONNECTIONS,
        idle_time: float = IDLE_TIME,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        """`path` is a unix socket to dial instead of host and port; `server_name` is checked in place of `host` under TLS."""
        self._host = host
        self._port = port
        self._path = path
        self._tls = tls
        self._server_name = server_name
        self._wheel = wheel
        self._kept = idle_connections
        self._idle_time = idle_time
        self._connect_timeout = connect_timeout
        self._authority = _authority(host, port, secure=tls is not None)
        self._blocks = Blocks()
        self._familiar: Familiar[Answered] = Familiar()
        self._idle: list[ClientConnection] = []
        self._closed = False

    async def request(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        timeout: float | None = None,
    ) -> Response:
        """Send, and wait for the head of the answer; see `HttpClient`."""
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        kept = self._take()
        if kept is not None:
            try:
                answer = kept.send(method, target, headers, body)
                return await (answer if deadline is None else _in_time(answer, deadline))
            except ConnectionError:
                # What was written may have been acted on: only a method that may be repeated is sent again, as Go does.
                if kept.touched or method not in _REPEATABLE or isinstance(body, Stream):
                    discard(body)
                    raise
            except BaseException:  # cancelled, too late, or refused before it was sent: not to be used again
                kept.cut()
                raise
        return await self._first(method, target, headers, body, deadline)

    async def close(self) -> None:
        """Close idle connections at once and those in use when they are done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    async def _first(
        self, method: bytes, target: bytes, headers: Headers, body: Body, deadline: float | None
    ) -> Response:
        """The first exchange of a new connection."""
        try:
            fresh = await self._dial(deadline)
        except BaseException:
            discard(body)
            raise
        try:
            answer = fresh.send(method, target, headers, body)
            return await (answer if deadline is None else _in_time(answer, deadline))
        except BaseException:
            fresh.cut()
            raise

    def _take(self) -> ClientConnection | None:
        """The connection used last, if one is idle: the others may grow old and go."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def _free(self, connection: ClientConnection) -> None:
        if self._closed or len(self._idle) >= self._kept:
            connection.close()
            return
        self._idle.append(connection)
        connection.rest(self._idle_time)

    def _lost(self, connection: ClientConnection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    async def _dial(self, deadline: float | None) -> ClientConnection:
        """A new connection. A task of its own makes it, so that the wait for it can end early."""
        if self._closed:
            raise ConnectionError("the client is closed")
        loop = asyncio.get_running_loop()
        patience = (
            self._connect_timeout
            if deadline is None
            else max(0.0, min(self._connect_timeout, deadline - loop.time()))
        )
        dial = loop.create_task(self._connect())
        try:
            await asyncio.wait({dial}, timeout=patience)
        except asyncio.CancelledError:
            _abandon(dial)
            raise
        if not dial.done():
            _abandon(dial)
            raise TimeoutError(f"no connection to {self._authority.decode()} within {patience:g} s")
        return dial.result()

    async def _connect(self) -> ClientConnection:
        try:
            return await self._open()
        except (ConnectionError, TimeoutError):
            raise
        except OSError as error:
            kind = ConnectionRefusedError if "refused" in str(error) else ConnectionError
            raise kind(str(error)) from error

    async def _open(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        if self._wheel is None:
            self._wheel = Wheel(loop)
        name = (self._server_name or self._host) if self._tls is not None else None
        if self._path is not None:
            _, made = await loop.create_unix_connection(
                self._make, self._path, ssl=self._tls, server_hostname=name
            )
            return made
        _, made = await loop.create_connection(
            self._make, self._host, self._port, ssl=self._tls, server_hostname=name
        )
        return made

    def _make(self) -> ClientConnection:
        assert self._wheel is not None
        return ClientConnection(
            self._authority, self._blocks, self._familiar, self._wheel, self._free, self._lost
        )


async def _in_time(answer: asyncio.Future[Response], deadline: float) -> Response:
    timer = asyncio.get_running_loop().call_at(deadline, _expire, answer)
    try:
        return await answer
    finally:
        timer.cancel()


def _expire(answer: asyncio.Future[Response]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer in time"))


def _abandon(dial: asyncio.Task[ClientConnection]) -> None:
    """Nobody waits for this connection any more; if it comes all the same, close it."""
    dial.cancel()
    dial.add_done_callback(_close_made)


def _close_made(dial: asyncio.Task[ClientConnection]) -> None:
    if not dial.cancelled() and dial.exception() is None:
        dial.result().close()


def _authority(host: str, port: int, *, secure: bool) -> bytes:
    """What the Host field says: no port where it is the scheme's own."""
    name = f"[{host}]" if ":" in host else host
    return (name if port == (443 if secure else 80) or not port else f"{name}:{port}").encode()
