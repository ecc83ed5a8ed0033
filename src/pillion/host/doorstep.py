"""An HTTP port before the API behind it is loaded: whether the sidecar is ready is answered, all else waits a moment."""

import asyncio
from collections.abc import Iterable
from typing import Final

from pillion.edge.http.api import HttpApi
from pillion.net.http import HttpHandler, Request, Responder
from pillion.toolbox.stream import discard

MOST_WAITING: Final = 1000
"""Requests; more of them within the first moment are refused."""


class Doorstep:
    """Answers GETs of the `answered` paths, and keeps every other request until it is told who serves it.

    What waits holds its connection, so that the answers stay in order; its body stays unread.
    """

    def __init__(self, health: HttpApi, answered: Iterable[str]) -> None:
        self._health = health
        self._answered = frozenset(path.encode() for path in answered)
        self._waiting: list[tuple[Request, Responder]] = []
        self._inside: HttpHandler | None = None

    def __call__(self, request: Request, responder: Responder) -> None:
        if self._inside is not None:  # a connection of HTTP/2 stays with whom it met first
            self._inside(request, responder)
        elif request.method == b"GET" and request.target.partition(b"?")[0] in self._answered:
            self._health.handle(request, responder)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append((request, responder))
        else:
            discard(request.body)
            responder.respond(503, [])

    def open_to(self, handler: HttpHandler) -> None:
        """Let who has waited in, and whoever comes."""
        self._inside = handler
        waiting, self._waiting = self._waiting, []
        for request, responder in waiting:
            asyncio.get_running_loop().call_soon(handler, request, responder)
