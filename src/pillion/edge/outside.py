"""Plain HTTP services without a sidecar, called from here: full URLs and HTTPEndpoints."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.net import tls
from pillion.net.http import HttpClient, Response
from pillion.net.http_client import Http1Client
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Stream
from pillion.toolbox.tasks import Crew

MOST_ORIGINS: Final = 256
"""Origins whose connections are kept; the one unused for longest goes first."""

_SAFE: Final = "/%:@!$&'()*+,;=~"
_REPLACED: Final = frozenset((b"host", b"content-length", b"content-type", b"dapr-api-token"))


class OutsideHttp:
    """Calls HTTP services directly; the `Outside` of the services.

    One pool of connections per origin and trust. `https` is verified against the system's authorities unless the endpoint has
    certificates of its own. A redirect is an answer like any other: the app decides whether to follow.
    """

    def __init__(
        self, wheel: Wheel | None = None, *, trust: Mapping[str, ssl.SSLContext] | None = None
    ) -> None:
        """`trust` has the TLS contexts of the endpoints with certificates of their own, by the endpoint's name."""
        self._wheel = wheel
        self._trust = trust or {}
        self._pools: OrderedDict[tuple[str, str, str], HttpClient] = OrderedDict()
        self._usual: ssl.SSLContext | None = None
        self._crew = Crew("outside")

    async def invoke(self, url: str, headers: Pairs, invocation: Invocation, trust: str = "") -> Outcome:
        """See `Outside.invoke`."""
        pool, path = self._pool(url, trust)
        target = path + "/" + quote(invocation.method, safe=_SAFE)
        if invocation.query:
            target += "?" + invocation.query
        answer = await self._ask(pool, invocation, target.encode(), _merged(headers, invocation))
        kind = answer.header(b"content-type") or b""
        return Outcome(answer.status, answer.headers, answer.body, kind.decode("latin-1"))

    async def close(self) -> None:
        """See `Outside.close`."""
        pools, self._pools = self._pools, OrderedDict()
        for pool in pools.values():
            await pool.close()
        await self._crew.drain(1.0)

    async def _ask(self, pool: HttpClient, invocation: Invocation, target: bytes, headers: Pairs) -> Response:
        left = None
        if invocation.deadline is not None:
            left = max(0.0, invocation.deadline - asyncio.get_running_loop().time())
        verb = (invocation.verb or "POST").encode()
        try:
            return await pool.request(verb, target, headers, invocation.body, timeout=left)
        except TimeoutError as error:
            raise ConnectionError(f"{verb.decode()} {target.decode()}: timed out") from error
        except ConnectionError:
            raise
        except OSError as error:  # a name that does not resolve, a certificate that does not verify
            raise ConnectionError(str(error)) from error

    def _pool(self, url: str, trust: str) -> tuple[HttpClient, str]:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConnectionError(f"invalid URL {url}: {error}") from error
        if not parts.hostname:
            raise ConnectionError(f"invalid URL {url}: no host in it")
        secure = parts.scheme == "https"
        context = self._context(trust) if secure else None
        key = parts.scheme, parts.netloc, trust
        pool = self._pools.get(key)
        if pool is None:
            client = Http1Client(
                parts.hostname, port or (443 if secure else 80), tls=context, wheel=self._wheel
            )
            pool = self._pools[key] = client
            self._trim()
        self._pools.move_to_end(key)
        return pool, parts.path.rstrip("/")

    def _context(self, trust: str) -> ssl.SSLContext:
        if trust:
            return self._trust[trust]
        if self._usual is None:
            self._usual = tls.client_context()
        return self._usual

    def _trim(self) -> None:
        while len(self._pools) > MOST_ORIGINS:
            _, oldest = self._pools.popitem(last=False)
            self._crew.start(oldest.close(), "close an origin's connections")


def _merged(headers: Pairs, invocation: Invocation) -> Pairs:
    """The caller's headers, those of the endpoint instead of them where it names the same."""
    named = {name.lower() for name, _ in headers}
    kept = [
        pair for pair in invocation.headers
        if pair[0] not in named and pair[0] not in _REPLACED and pair[0][:1] != b":" and pair[0][-4:] != b"-bin"
    ]  # fmt: skip
    if invocation.content_type and b"content-type" not in named:
        kept.append((b"content-type", invocation.content_type.encode("latin-1", "replace")))
    body = invocation.body
    if isinstance(body, Stream) and body.length is not None:
        kept.append((b"content-length", b"%d" % body.length))
    return [*kept, *((name.lower(), value) for name, value in headers)]
