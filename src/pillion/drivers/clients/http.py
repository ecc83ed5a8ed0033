"""Our HTTP client for drivers whose server is any web server: origins, redirects, limits."""

import asyncio
import base64
import re
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import field
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from pillion.contracts.words import Refused, Unavailable
from pillion.net.http import Headers, Response
from pillion.net.http1.heads import canonical
from pillion.net.http_client import Http1Client
from pillion.net.tls import HTTP1, client_context
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import Body, Stream, discard

ORIGINS: Final = 32
"""Servers to which connections are kept; a further one closes those of the one unused longest."""
REDIRECTS: Final = 10
CONNECT_TIMEOUT: Final = 15.0

_FOLLOWED: Final = frozenset({301, 302, 303, 307, 308})
_PRIVATE: Final = frozenset({b"authorization", b"www-authenticate", b"cookie", b"cookie2", b"host"})
_SAFE: Final = "/:@!$&'()*+,;=-._~%?[]"
_PEM: Final = re.compile(r"-----BEGIN [A-Z0-9 ]+-----")


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer. Names of `headers` are spelled `Content-Type`; values of a repeated one are joined."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def line(self) -> str:
        """`200 OK`."""
        return f"{self.status} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class Question:
    """A request to any URL. `private` names header fields (in lower case) that only the first origin may see."""

    method: str
    url: str
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    private: frozenset[bytes] = frozenset()


class Web:
    """Asks web servers. Connections are kept; redirects are followed, ten at most.

    Failures leave as Unavailable (nobody answered) or Refused (this cannot be asked). Texts name the URL without its query and
    without what signs in.
    """

    def __init__(self, clock: Clock, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is made by `trust`; without it, what `trust` makes of nothing, once it is needed."""
        self._clock = clock
        self._tls = tls
        self._clients: dict[tuple[str, str, int], Http1Client] = {}

    async def ask(
        self, question: Question, *, timeout: float | None = None, limit: int | None = None
    ) -> Answer:
        """Send and read the whole answer within `timeout` seconds; a body ends after `limit` bytes."""
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        for _ in range(REDIRECTS + 1):
            try:
                response, answer = await self._once(question, deadline, limit)
            except TimeoutError as error:
                raise Unavailable(f"{_shown(question)}: no answer in time") from error
            except OSError as error:
                raise Unavailable(f"{_shown(question)}: {error}") from error
            except ValueError as error:  # a host or a method that cannot be written
                raise Refused(f"{_shown(question)}: {error}") from error
            place = response.header(b"location")
            if response.status not in _FOLLOWED or place is None:
                return answer
            question = _redirected(question, response.status, place.decode("latin-1"))
        raise Refused(f"{_shown(question)}: stopped after {REDIRECTS} redirects")

    async def close(self) -> None:
        """Let connections go. Safe twice."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    async def _once(
        self, question: Question, deadline: float | None, limit: int | None
    ) -> tuple[Response, Answer]:
        url = _split(question)
        headers = _signed_in(question.headers, url)
        target = quote(url.path or "/", safe=_SAFE) + (
            f"?{quote(url.query, safe=_SAFE)}" if url.query else ""
        )
        client = await self._client(question, url)
        response = await client.request(
            question.method.encode(), target.encode(), headers, question.body, timeout=self._left(deadline)
        )
        body = await self._read(response.body, deadline, limit)
        return response, _answer(response, body)

    async def _read(self, body: Body, deadline: float | None, limit: int | None) -> bytes:
        if not isinstance(body, Stream):
            return body if limit is None else body[:limit]
        try:
            async with asyncio.timeout(self._left(deadline)):
                return await _upto(body, limit)
        finally:
            discard(body)

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else max(0.0, deadline - self._clock.monotonic())

    async def _client(self, question: Question, url: SplitResult) -> Http1Client:
        key = _origin(question, url)
        tls = await self._secured(key[0])
        client = self._clients.pop(key, None)
        if client is None:
            client = Http1Client(*key[1:], tls=tls, connect_timeout=CONNECT_TIMEOUT)
        self._clients[key] = client
        if len(self._clients) > ORIGINS:
            await self._clients.pop(next(iter(self._clients))).close()
        return client

    async def _secured(self, scheme: str) -> ssl.SSLContext | None:
        if scheme == "http":
            return None
        if self._tls is None:  # reading the system's authorities takes a tenth of a second
            self._tls = await asyncio.to_thread(trust)
        return self._tls


def trust(
    *,
    authorities: str = "",
    certificate: str = "",
    key: str = "",
    renegotiation: bool = False,
    verify: bool = True,
    protocols: Sequence[str] = HTTP1,
) -> ssl.SSLContext:
    """How TLS is spoken. Each of the first three is PEM text or the path of such a file; raises Refused for what is neither.
    Without `verify` anybody is trusted."""
    try:
        with tempfile.TemporaryDirectory(prefix="pillion-tls-") as folder:
            context = client_context(
                verify=verify,
                protocols=protocols,
                authorities=_pem(authorities) if authorities else None,
                certificate=_stored(Path(folder) / "cert.pem", certificate),
                key=_stored(Path(folder) / "key.pem", key),
            )
    except (OSError, ValueError) as error:
        raise Refused(f"the certificates cannot be used: {error}") from error
    if not renegotiation:
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def _pem(value: str) -> str:
    return value if _PEM.search(value) else Path(value).read_text("ascii")


def _stored(place: Path, value: str) -> str | None:
    """A file that holds the value, for a library that takes nothing else."""
    if not value:
        return None
    if not _PEM.search(value):
        return value
    place.touch(mode=0o600)
    place.write_text(value)
    return str(place)


async def _upto(body: Stream, limit: int | None) -> bytes:
    parts, size = [], 0
    while chunk := await body.read():
        parts.append(chunk)
        size += len(chunk)
        if limit is not None and size >= limit:
            break
    whole = b"".join(parts)
    return whole if limit is None else whole[:limit]


def _split(question: Question) -> SplitResult:
    try:
        url = urlsplit(question.url)
        if url.hostname and url.scheme in ("http", "https"):
            _ = url.port
            return url
    except ValueError as error:
        raise Refused(f"{_shown(question)}: {error}") from error
    raise Refused(f"{_shown(question)}: neither an http:// nor an https:// URL")


def _origin(question: Question, url: SplitResult) -> tuple[str, str, int]:
    assert url.hostname is not None
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)


def _shown(question: Question) -> str:
    try:
        url = urlsplit(question.url)
    except ValueError:
        return f"{question.method} (not a URL)"
    return f"{question.method} {url._replace(netloc=url.netloc.rpartition('@')[2], query='', fragment='').geturl()}"


def _signed_in(headers: Headers, url: SplitResult) -> Headers:
    if url.username is None or any(name == b"authorization" for name, _ in headers):
        return headers
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
    return [*headers, (b"authorization", b"Basic " + base64.b64encode(pair))]


def _redirected(question: Question, status: int, place: str) -> Question:
    """The next question: another method where the status asks for one, and nothing private for another origin."""
    method, body, headers = question.method, question.body, question.headers
    if status in (301, 302, 303) and method not in ("GET", "HEAD"):
        method, body = "GET", b""
        headers = [each for each in headers if each[0] != b"content-type"]
    url = urljoin(question.url, place)
    following = Question(method, url, headers, body, question.private)
    if _origin(following, _split(following)) != _origin(question, _split(question)):
        hidden = _PRIVATE | question.private
        following = Question(method, url, [each for each in headers if each[0] not in hidden], body)
    return following


def _answer(response: Response, body: bytes) -> Answer:
    headers: dict[str, str] = {}
    for raw, value in response.headers:
        if raw == b"transfer-encoding":
            continue
        name, text = canonical(raw).decode("latin-1"), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    reason = response.reason.decode("latin-1") or _reason(response.status)
    return Answer(response.status, reason, headers, body)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
