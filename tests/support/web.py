"""A small web server of ours on loopback, that keeps what it was asked."""

import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from pillion.net.http import Headers, HttpLimits, Request, Responder
from pillion.net.listen import HttpServer
from pillion.toolbox.stream import Body, whole
from pillion.toolbox.tasks import Crew

Answering = Callable[[Request, bytes], tuple[int, Headers, Body]]


def always_fine(request: Request, body: bytes) -> tuple[int, Headers, Body]:
    return 200, [(b"content-type", b"text/plain")], b"fine"


@dataclass
class WebSite:
    """Where it listens, what it was asked, and how it answers."""

    answering: Answering = always_fine
    port: int = 0
    asked: list[tuple[Request, bytes]] = field(default_factory=list)
    crew: Crew = field(default_factory=lambda: Crew("site"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> tuple[Request, bytes]:
        return self.asked[-1]

    def headers(self) -> dict[str, str]:
        """The last request's, by name."""
        return {name.decode(): value.decode() for name, value in self.last[0].headers}

    def handle(self, request: Request, responder: Responder) -> None:
        self.crew.start(self._answer(request, responder))

    async def _answer(self, request: Request, responder: Responder) -> None:
        body = await whole(request.body)
        self.asked.append((request, body))
        responder.respond(*self.answering(request, body))


@asynccontextmanager
async def web_site(
    answering: Answering = always_fine,
    *,
    tls: ssl.SSLContext | None = None,
    hosts: Sequence[str] = ("127.0.0.1",),
) -> AsyncIterator[WebSite]:
    """Serve until the test is done."""
    site = WebSite(answering)
    server = HttpServer(site.handle, HttpLimits(), tls=tls)
    ((_, site.port),) = await server.listen(hosts[:1], 0)
    await server.listen(hosts[1:], site.port)
    try:
        yield site
    finally:
        await server.close()
        await site.crew.close()
