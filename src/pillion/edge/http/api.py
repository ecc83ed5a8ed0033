"""The HTTP API's spine: one request comes in, finds its route, is answered once."""

import logging
import posixpath
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import field
from typing import Protocol
from urllib.parse import parse_qsl, unquote_plus

from pillion.edge.render import JSON_TYPE, http_body, unexpected
from pillion.model.call import PLAIN, Call
from pillion.model.errors import ApiError
from pillion.net.http import Headers, Request, Responder
from pillion.toolbox.lazily import dataclass, pattern
from pillion.toolbox.stream import Body, discard, whole
from pillion.toolbox.tasks import light

log = logging.getLogger("dapr.runtime.http")

NO_TRACE = b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-00"
"""The traceparent of a request that nobody traces."""


@dataclass(slots=True)
class Reply:
    """An operation's answer."""

    status: int = 204
    headers: Headers = field(default_factory=list)
    body: Body = b""


def json_reply(body: bytes, status: int = 200, headers: Headers | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(status, [JSON_TYPE, *(headers or ())], body)


class Ask:
    """One request as an operation sees it: path parameters decoded, body still to be read."""

    __slots__ = ("request", "path", "params", "query", "call", "limit")

    def __init__(
        self, request: Request, path: str, params: Sequence[str], query: str, call: Call, limit: int | None
    ) -> None:
        self.request = request
        self.path = path
        """The cleaned path, still escaped."""
        self.params = params
        self.query = query
        self.call = call
        self.limit = limit

    async def body(self) -> bytes:
        """The whole body; raises BodyTooLarge past the server's limit."""
        body = self.request.body
        return body if isinstance(body, bytes) else await whole(body, self.limit)

    def header(self, name: bytes) -> str:
        """A header's first value, "" when absent; the name in lower case."""
        value = self.request.header(name)
        return value.decode("latin-1") if value is not None else ""

    def values(self) -> list[tuple[str, str]]:
        """The query's pairs, decoded."""
        return parse_qsl(self.query, keep_blank_values=True) if self.query else []

    def metadata(self) -> dict[str, str]:
        """`metadata.<key>=<value>` pairs of the query, the first value of each key."""
        found: dict[str, str] = {}
        if "metadata." in self.query:
            for key, value in self.values():
                if key.startswith("metadata."):
                    found.setdefault(key[9:], value)
        return found


Operation = Callable[[Ask], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and where it lives.

    `pattern` is `/v1.0/state/{store}/{key}`; a last `{topic...}` takes the rest of the path. `group` is the API group for
    allow and deny lists (`state.v1`). `label` names the path in metrics from the parameters; None uses the raw path.
    """

    methods: str
    pattern: str
    operation: Operation
    group: str
    label: Callable[[Sequence[str]], str] | None = None
    open: bool = False
    """Answered without an API token, and never traced."""


class Served(Protocol):
    """Told of every request when it is over."""

    def __call__(
        self, method: str, path: str, status: int, seconds: float, received: int, sent: int, request: Request
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What stands before the routes, decided by the host. None switches a part off at no cost."""

    served: Served
    body_limit: int | None = None
    admit: Callable[[Request, bool], Reply | None] | None = None
    """Looks at each request (and whether its route is open) first: CORS, token, baggage. A Reply answers it."""
    finish: Callable[[Request, Reply], None] | None = None
    """May add headers to every reply (CORS)."""
    admits_plain: bool = False
    """`admit` has nothing to look at in a request without trace and baggage, so it is not asked."""
    call: Callable[[Request], Call] | None = None
    """Reads trace, baggage and deadline of a request; None, and a request with none of these, gives PLAIN."""
    around: Callable[[Ask, Operation], Awaitable[Reply]] | None = None
    """The httpPipeline middleware chain."""


class HttpApi:
    """Finds the operation of each request and answers with its outcome.

    A path or method no route knows goes to `fallback` (service invocation by header), as on Dapr, never to a 404 of our own.
    """

    def __init__(self, routes: Iterable[Route], fallback: Operation, front: Front) -> None:
        self._exact: dict[tuple[bytes, str, str, int], list[_Compiled]] = {}
        self._tails: dict[tuple[bytes, str, str], list[_Compiled]] = {}
        self._fallback = Route("", "", fallback, "")
        self._front = front
        self._known: dict[tuple[bytes, bytes], _Found] = {}
        for route in routes:
            self._add(route)

    def handle(self, request: Request, responder: Responder) -> None:
        """Serve one request; the answer may be sent before this returns."""
        started = time.perf_counter()
        try:
            found = self._known.get((request.method, request.target)) or self._look_up(request)
        except ValueError:
            found = _Found("", self._fallback, (), "", "", request.method.decode("latin-1"), True)
            broken = Reply(400, [_TEXT], b"400 Bad Request")
            _Serving(self._front, request, responder, started, found, PLAIN).answer(broken, None)
            return
        front, route = self._front, found.route
        call = PLAIN if front.call is None else front.call(request)
        ask = _Serving(front, request, responder, started, found, call)
        if front.admit is not None and not (call is PLAIN and front.admits_plain):
            if (reply := front.admit(request, route.open)) is not None:
                discard(request.body)
                ask.answer(reply, None)
                return
        work = route.operation(ask) if front.around is None else front.around(ask, route.operation)
        going = light(work, ask.done)  # type: ignore[arg-type]
        if going is not None:
            responder.on_disconnect(going.cancel)

    def _look_up(self, request: Request) -> "_Found":
        """The operation of a request, remembered for its equals. Raises ValueError for a broken escape."""
        method, target = request.method, request.target
        raw, _, query = target.partition(b"?")
        path, route, params = self._find(method, raw.decode("latin-1"))
        label = path if route.label is None else route.label(params)
        relays = route is self._fallback or route.group == "invoke.v1"
        found = _Found(path, route, params, query.decode("latin-1"), label, method.decode("latin-1"), relays)
        if len(target) <= _LONGEST_KNOWN:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[method, target] = found
        return found

    def _find(self, method: bytes, path: str) -> tuple[str, Route, Sequence[str]]:
        path = clean(path)
        parts = path.split("/")
        if len(parts) > 2:
            head = (method, parts[1], parts[2])
            for compiled in self._exact.get((*head, len(parts)), ()):
                if (params := compiled.match(parts)) is not None:
                    return path, compiled.route, params
            for compiled in self._tails.get(head, ()):
                if (params := compiled.match_tail(parts)) is not None:
                    return path, compiled.route, params
            if path.endswith("/"):
                return (
                    self._find(method, path.rstrip("/")) if path.rstrip("/") else (path, self._fallback, ())
                )
        check_escapes(path)
        return path, self._fallback, ()

    def _add(self, route: Route) -> None:
        parts = route.pattern.split("/")
        compiled = _Compiled.of(route, parts)
        for method in route.methods.split(","):
            head = (method.encode(), parts[1], parts[2])
            if compiled.tail:
                self._tails.setdefault(head, []).append(compiled)
            else:
                self._exact.setdefault((*head, len(parts)), []).append(compiled)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a method and a target say: the cleaned path, the operation and its parameters, the query, the words for metrics."""

    path: str
    route: Route
    params: Sequence[str]
    query: str
    label: str
    verb: str
    relays: bool
    """The answer may be another's, and bring headers of its own."""


class _Serving(Ask):
    """A request from its arrival to its answer."""

    __slots__ = ("_front", "_responder", "_started", "_found")

    def __init__(
        self, front: Front, request: Request, responder: Responder, started: float, found: _Found, call: Call
    ) -> None:
        self.request = request
        self.path = found.path
        self.params = found.params
        self.query = found.query
        self.call = call
        self.limit = front.body_limit
        self._front = front
        self._responder = responder
        self._started = started
        self._found = found

    def done(self, reply: Reply | None, error: BaseException | None) -> None:
        """The operation is over, one way or the other."""
        self.answer(reply or _refusal(error), None if self._found.route.open else self.call)

    def answer(self, reply: Reply, traced: Call | None) -> None:
        """Send the answer and count the request; `traced` is the call whose trace goes back with it."""
        front, found, request, headers = self._front, self._found, self.request, reply.headers
        received, sent = request.body, reply.body
        if not isinstance(received, bytes) and not received.ended:
            # What the operation did not read nobody will: the connection cannot be kept for another request.
            self._responder.close_after()
        if traced is PLAIN and not found.relays:
            headers.append(_UNTRACED)
        elif traced is not None:
            _trace_back(headers, traced)
        if front.finish is not None:
            front.finish(request, reply)
        self._responder.respond(reply.status, headers, sent)
        front.served(
            found.verb, found.label, reply.status, time.perf_counter() - self._started,
            len(received) if isinstance(received, bytes) else (received.length or 0),
            len(sent) if isinstance(sent, bytes) else (sent.length or 0), request,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Compiled:
    route: Route
    literals: tuple[tuple[int, str], ...]
    wild: tuple[int, ...]
    tail: int

    @classmethod
    def of(cls, route: Route, parts: list[str]) -> "_Compiled":
        tail = len(parts) - 1 if parts[-1].endswith("...}") else 0
        fixed = parts[:tail] if tail else parts
        literals = tuple((i, part) for i, part in enumerate(fixed) if i > 2 and not part.startswith("{"))
        wild = tuple(i for i, part in enumerate(fixed) if part.startswith("{"))
        return cls(route, literals, wild, tail)

    def match(self, parts: list[str]) -> list[str] | None:
        for i, literal in self.literals:
            if parts[i] != literal:
                return None
        params = [unescape(parts[i]) for i in self.wild]
        return params if all(params) else None

    def match_tail(self, parts: list[str]) -> list[str] | None:
        if len(parts) <= self.tail:
            return None
        params = self.match(parts)
        rest = "/".join(parts[self.tail :])
        if params is None or not rest.strip("/"):
            return None
        return [*params, unescape(rest)]


def _trace_back(headers: list[tuple[bytes, bytes]], call: Call) -> None:
    """Give the caller its trace and its baggage, unless the app has given others."""
    given = {name for name, _ in headers}
    if b"traceparent" not in given:
        headers.append((b"traceparent", call.trace.encode()) if call.trace else _UNTRACED)
        if b"tracestate" not in given and 0 < len(call.trace_state) <= _LONGEST_STATE:
            headers.append((b"tracestate", call.trace_state.encode("latin-1")))
    if call.baggage and b"baggage" not in given:
        headers.append((b"baggage", call.baggage.encode("latin-1")))


_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_LONGEST_STATE = 512
_UNTRACED = (b"traceparent", NO_TRACE)
_BAD_ESCAPE = pattern(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)
_MOST_KNOWN = 1024
_LONGEST_KNOWN = 256
"""Requests whose operation is remembered, and how long their targets may be."""


def clean(path: str) -> str:
    """The path without doubled slashes and dot segments; a trailing slash stays."""
    if "//" not in path and "/." not in path:
        return path
    cleaned = posixpath.normpath(path).replace("//", "/")
    return cleaned + "/" if path.endswith("/") and cleaned != "/" else cleaned


def unescape(text: str) -> str:
    """A path parameter decoded as a query value is (`+` is a space); a bad escape raises ValueError."""
    if "%" not in text and "+" not in text:
        return text
    check_escapes(text)
    return unquote_plus(text)


def check_escapes(text: str) -> None:
    """Raise ValueError for a `%` that two hex digits do not follow."""
    bad = _BAD_ESCAPE.search(text)
    if bad is not None:
        raise ValueError(f'invalid URL escape "{bad[0]}"')


def _refusal(error: BaseException | None) -> Reply:
    if isinstance(error, ApiError):
        return Reply(error.fault.status, [JSON_TYPE], http_body(error))
    known = unexpected(error or RuntimeError("no answer"))
    if isinstance(error, Exception):
        log.error("a request failed unexpectedly: %s", known.message, exc_info=error)
    return Reply(known.fault.status, [JSON_TYPE], http_body(known))
