"""Plain HTTP services outside, called by name (HTTPEndpoint) or by full URL: nothing of Dapr travels to them."""

import asyncio
from collections import OrderedDict
from urllib.parse import quote, urlsplit

from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.net.http_client import Http1Client
from pillion.net.tls import client_context
from pillion.net.wheel import Wheel
from pillion.toolbox.tasks import Crew

MOST_ORIGINS = 64
"""Origins whose connections are kept; the one used longest ago goes first."""

_UNESCAPED = "/%:@!$&'()*+,;=~"
_NOT_SENT = frozenset((b"content-length", b"dapr-api-token"))


class OutsideHttp:
    """Calls origins over HTTP/1.1, certificates verified; redirects are the caller's to follow."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._clients: OrderedDict[str, Http1Client] = OrderedDict()
        self._crew = Crew("outside")

    async def invoke(self, url: str, headers: Pairs, invocation: Invocation) -> Outcome:
        """See `ports.peers.Outside`."""
        parts = urlsplit(url)
        try:
            client = self._client(
                f"{parts.scheme}://{parts.netloc}", parts.hostname, parts.port, parts.scheme
            )
        except ValueError as error:
            raise ConnectionError(f"{url} is not an address: {error}") from error
        own = {name for name, _ in headers}
        sent = [pair for pair in invocation.headers if pair[0] not in own and pair[0] not in _NOT_SENT]
        answer = await client.request(
            invocation.verb.encode(), _target(parts.path, invocation), [*sent, *headers], invocation.body
        )
        return Outcome(answer.status, answer.headers, answer.body)

    async def close(self) -> None:
        """Let connections go."""
        clients, self._clients = list(self._clients.values()), OrderedDict()
        await asyncio.gather(*(client.close() for client in clients))
        await self._crew.close()

    def _client(self, origin: str, host: str | None, port: int | None, scheme: str) -> Http1Client:
        client = self._clients.get(origin)
        if client is None:
            if not host:
                raise ValueError("no host")
            secure = client_context() if scheme == "https" else None
            client = Http1Client(host, port or (443 if secure else 80), tls=secure, wheel=self._wheel)
            self._clients[origin] = client
            if len(self._clients) > MOST_ORIGINS:
                _, oldest = self._clients.popitem(last=False)
                self._crew.start(oldest.close(), "close an origin")
        self._clients.move_to_end(origin)
        return client


def _target(base: str, invocation: Invocation) -> bytes:
    path = base.rstrip("/") + "/" + quote(invocation.method, safe=_UNESCAPED)
    return f"{path}?{invocation.query}".encode() if invocation.query else path.encode()
