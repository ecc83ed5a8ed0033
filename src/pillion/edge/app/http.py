"""An app that speaks HTTP (1.1, or 2 without upgrade), called back on the paths Dapr uses."""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from pillion.edge.app import traces
from pillion.edge.app.bodies import gunzipped, passed_on
from pillion.edge.app.log import log
from pillion.edge.app.slots import Slots
from pillion.model.bindings import Reply, Trigger
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.model.pubsub import Answer, Batch, Event, Interest
from pillion.net.http import Headers, HttpClient, Response
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.ports.telemetry import Telemetry
from pillion.toolbox.hops import HOP_BY_HOP, named_by_connection
from pillion.toolbox.stream import Body, BodyTooLarge, Stream, discard, whole
from pillion.wire import pubsub as wire
from pillion.wire.json import JsonError

ANSWER_LIMIT: Final = 64 * 1024 * 1024
"""The largest answer to a callback; the answer to an invocation has no limit, it streams."""
OPTIONS_TIMEOUT: Final = 3.0
START_TIMEOUT: Final = 60.0
"""Seconds an app may think about its settings or its topics before it is asked again: it may still be starting."""

_JSON = (b"content-type", b"application/json")
_EVENT = (b"content-type", b"application/cloudevents+json")
_GZIP = (b"accept-encoding", b"gzip")
_CONNECTION = HOP_BY_HOP | {b"content-length", b"destination-app-id", b"host"}
_LOOKED_AT = _CONNECTION | {b"content-type", b"user-agent", b"accept-encoding", b"range"}
_CHANGING = frozenset((b"traceparent", b"tracestate", b"baggage", b"authorization", b"cookie"))
_MOST_KNOWN = 256
_LARGEST_KNOWN = 2048
"""Sets of headers that are remembered, their bytes, and the headers with which none is."""
_PLAIN_PATH = re.compile(r"[A-Za-z0-9/_.~%\-!$&'()*+,;=:@]*")


class HttpApp:
    """Calls the app over a client; one face of `ports.app.App`.

    `base` is the app's address as error texts name it (`http://127.0.0.1:8080`). A slot is held until the answer's body is consumed;
    health probes take none, and carry no token.
    """

    def __init__(
        self,
        client: HttpClient,
        *,
        base: str,
        app_id: str,
        telemetry: Telemetry,
        token: str = "",
        slots: Slots | None = None,
        agent: bytes = b"Go-http-client/1.1",
        options_timeout: float = OPTIONS_TIMEOUT,
    ) -> None:
        self._client = client
        self._base = base
        self._telemetry = telemetry
        self._slots = slots or Slots()
        self._agent = (b"user-agent", agent)
        self._token = [(b"dapr-api-token", token.encode())] if token else []
        self._own_id = (b"dapr-app-id", app_id.encode())
        self._options_timeout = options_timeout
        self._known: dict[tuple[object, ...], tuple[Headers, bool]] = {}
        self._answers: dict[bytes, tuple[Pairs, str, bool, bool]] = {}

    async def invoke(self, invocation: Invocation) -> Outcome:
        """See `App.invoke`. Bodies stream both ways; gzip that the caller did not ask for is undone."""
        if not invocation.verb:
            raise AppUnreachable("rpc error: code = InvalidArgument desc = missing HTTP extension field")
        target = _path(invocation.method)
        if invocation.query:
            target += b"?" + invocation.query.encode("latin-1")
        verb = invocation.verb
        fields, unpack = self._fields(invocation)
        await self._slots.take()
        try:
            answer = await self._send(verb, target, fields, invocation.body, invocation.method)
        except BaseException:
            self._slots.give()
            raise
        headers, content_type, packed = self._of_answer(answer, unpack, verb)
        body = answer.body
        if isinstance(body, bytes) and not packed:
            self._slots.give()
            return Outcome(answer.status, headers, body, content_type)
        try:
            body = passed_on(body, unpack=packed, ended=_once(self._slots.give))
        except ValueError as error:
            raise AppUnreachable(self._trouble(verb, target, error)) from error
        return Outcome(answer.status, headers, body, content_type)

    async def settings(self) -> Mapping[str, object] | None:
        """See `App.settings`."""
        status, body = await self._ask("GET", "dapr/config", [_JSON, self._own_id], timeout=START_TIMEOUT)
        if status != 200:
            return None
        try:
            found = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            log.error("error decoding app configuration: %s", error)
            return None
        return found if isinstance(found, dict) else None

    async def interests(self) -> Sequence[Interest]:
        """See `App.interests`."""
        status, body = await self._ask("GET", "dapr/subscribe", [_JSON, self._own_id], timeout=START_TIMEOUT)
        if status == 404:
            log.debug("app returned http status code 404 from subscription endpoint")
            return ()
        if not 200 <= status < 300:
            raise AppFailed(f"app returned http status code {status} from subscription endpoint")
        try:
            found, left_out = wire.interests(body)
        except JsonError as error:
            raise AppFailed(f"error getting topics from app: {error}") from error
        for topic in left_out:
            log.warning("topic %s has an empty routes. removing from subscriptions list", topic)
        return found

    async def deliver(self, event: Event) -> Answer:
        """See `App.deliver`. 404 is a drop, any other status outside 2xx a retry."""
        headers = self._event_headers(event, _EVENT)
        status, body = await self._ask("POST", event.path, headers, event.body)
        if 200 <= status < 300:
            answer = wire.http_answer(body)
            if answer is None:
                raise AppFailed(
                    f"unknown status returned from app while processing pub/sub event {_id(event)}"
                )
            return answer
        if status == 404:
            log.error(
                "non-retriable error returned from app while processing pub/sub event %s. status code returned: 404",
                _id(event),
            )
            return Answer.DROP
        raise AppFailed(
            f"retriable error returned from app while processing pub/sub event {_id(event)}, "
            f"topic: {event.topic}. status code returned: {status}"
        )

    async def deliver_batch(self, batch: Batch) -> Mapping[str, Answer]:
        """See `App.deliver_batch`. 404 says that nobody wants the entries."""
        last = batch.events[-1]
        headers = [_JSON, (b"pubsubname", batch.pubsub.encode()), *traces.of_event(last)]
        status, body = await self._ask("POST", batch.path, headers, wire.batch_body(batch))
        if status == 404:
            log.error(
                "Non-retriable error returned from app while processing bulk pub/sub event. status code returned: 404"
            )
            return {event.entry_id: Answer.UNHANDLED for event in batch.events}
        if not 200 <= status < 300:
            raise AppFailed(
                f"Retriable error returned from app while processing bulk pub/sub event, topic: {batch.topic}. "
                f"status code returned: {status}"
            )
        try:
            return wire.http_answers(body)
        except JsonError as error:
            raise AppFailed(f"failed unmarshalling app response for bulk subscribe: {error}") from error

    async def inputs(self, names: Mapping[str, str]) -> frozenset[str]:
        """See `App.inputs`: an OPTIONS request to each route, 2xx and 405 mean yes."""
        answers = await asyncio.gather(*(self._takes(route) for route in names.values()))
        return frozenset(name for name, takes in zip(names, answers, strict=True) if takes)

    async def bring(self, name: str, route: str, trigger: Trigger, trace: str) -> Reply:
        """See `App.bring`. Any 2xx is acceptance, and its body goes back to the binding."""
        headers = [_JSON, *wire.http_fields(trigger.metadata), *_traced(trace)]
        status, body = await self._ask("POST", route, headers, trigger.data)
        if not 200 <= status < 300:
            raise AppFailed(f"app returned http status code {status} for input binding {name}")
        return Reply(body)

    async def is_healthy(self, path: str, timeout: float) -> bool:
        """See `App.is_healthy`."""
        started = time.perf_counter()
        healthy = False
        try:
            answer = await self._client.request(b"GET", _path(path), [self._agent, _GZIP], timeout=timeout)
            healthy = 200 <= answer.status < 300
            discard(answer.body)
        except (OSError, TimeoutError) as error:
            log.debug("health probe: %s", error)
        self._telemetry.health_probed(healthy, time.perf_counter() - started, grpc=False)
        return healthy

    async def close(self) -> None:
        """See `App.close`."""
        await self._client.close()

    async def _takes(self, route: str) -> bool:
        try:
            status, _ = await self._ask("OPTIONS", route, [_JSON], timeout=self._options_timeout)
        except (AppUnreachable, AppFailed) as error:
            log.error("error testing whether the app takes %s: %s", route, error)
            return False
        return 200 <= status < 300 or status == 405

    async def _ask(
        self,
        verb: str,
        path: str,
        headers: Headers,
        body: bytes = b"",
        *,
        timeout: float | None = None,
    ) -> tuple[int, bytes]:
        """One callback: the status and the whole body of its answer."""
        fields = [self._agent, *headers, *self._token, _GZIP]
        target = _path(path)
        await self._slots.take()
        try:
            answer = await self._send(verb, target, fields, body, path, timeout)
            text = answer.body
            if isinstance(text, Stream):
                text = await whole(text, ANSWER_LIMIT)
            if text and _is_gzip(answer):
                text = gunzipped(text, ANSWER_LIMIT)
        except ValueError as error:  # BodyTooLarge is one too
            raise AppFailed(f"the app's answer cannot be read: {error}") from error
        except ConnectionError as error:
            raise AppUnreachable(str(error)) from error
        finally:
            self._slots.give()
        return answer.status, text

    async def _send(
        self, verb: str, target: bytes, fields: Headers, body: Body, path: str, timeout: float | None = None
    ) -> Response:
        started, status = time.perf_counter(), 0
        received = 0
        try:
            answer = await self._client.request(verb.encode(), target, fields, body, timeout=timeout)
            status, received = answer.status, _size(answer.body)
            return answer
        except (OSError, TimeoutError, BodyTooLarge) as error:
            raise AppUnreachable(self._trouble(verb, target, error)) from error
        finally:
            self._telemetry.http_called(
                verb, path, status, time.perf_counter() - started, _size(body), received
            )

    def _of_answer(self, answer: Response, unpack: bool, verb: str) -> tuple[Pairs, str, bool]:
        """See `_kept`; what is found out about a head is remembered."""
        if not answer.head:
            return _kept(answer.headers, unpack=unpack, announced=verb == "HEAD")
        known = self._answers.get(answer.head)
        if known is None or known[2] is not unpack:
            if len(self._answers) >= _MOST_KNOWN:
                self._answers.clear()
            kept, content_type, packed = _kept(answer.headers, unpack=unpack, announced=False)
            known = self._answers[answer.head] = (kept, content_type, unpack, packed)
        return known[0].copy(), known[1], known[3]

    def _fields(self, invocation: Invocation) -> tuple[Headers, bool]:
        """The request's headers, and whether gzip was asked for by us rather than by the caller.

        The headers are shared by all calls that are alike, and must not be changed.
        """
        key = (invocation.content_type, invocation.from_grpc, invocation.verb == "HEAD", *invocation.headers)
        known = self._known.get(key)
        if known is None:
            known = self._made(invocation)
            size = sum([len(name) + len(value) for name, value in invocation.headers])
            if size <= _LARGEST_KNOWN and _CHANGING.isdisjoint([name for name, _ in known[0]]):
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[key] = known
        return known

    def _made(self, invocation: Invocation) -> tuple[Headers, bool]:
        headers = _from_rpc(invocation.headers) if invocation.from_grpc else invocation.headers
        if named := named_by_connection(headers):
            headers = [pair for pair in headers if pair[0] not in named]
        fields: Headers = []
        agent = encoding = False
        content_type = invocation.content_type.encode("latin-1", "replace")
        for pair in headers:
            name = pair[0]
            if name in _LOOKED_AT:
                if name in _CONNECTION:
                    continue
                if name == b"content-type":
                    content_type = content_type or pair[1]
                    continue
                if name == b"user-agent":
                    agent = True
                else:
                    encoding = True
            elif name[:1] == b":" or name[-4:] == b"-bin":
                continue
            fields.append(pair)
        if content_type:
            fields.append((b"content-type", content_type))
        if not agent:
            fields.insert(0, self._agent)
        if self._token:  # ours in the place of one that the caller sent along
            fields = [pair for pair in fields if pair[0] != b"dapr-api-token"] + self._token
        unpack = not encoding and invocation.verb != "HEAD"
        if unpack:
            fields.append(_GZIP)
        return fields, unpack

    def _event_headers(self, event: Event, kind: tuple[bytes, bytes]) -> Headers:
        headers = [kind, (b"pubsubname", event.pubsub.encode())]
        if event.headers:
            headers += wire.http_fields(event.headers)
        return headers + traces.of_event(event)

    def _trouble(self, verb: str, target: bytes, error: BaseException) -> str:
        why: object = error if str(error) else type(error).__name__
        if isinstance(error, ConnectionRefusedError):
            why = f"dial tcp {self._base.partition('://')[2]}: connect: connection refused"
        return f'{verb.capitalize()} "{self._base}{target.decode("latin-1")}": {why}'


def _traced(trace: str) -> Headers:
    return [(b"traceparent", traces.child(trace))] if trace else []


def _path(path: str) -> bytes:
    """A path as it goes on the wire: escapes stay, what may not stand in a path is escaped."""
    path = path if path.startswith("/") else f"/{path}"
    if _PLAIN_PATH.fullmatch(path) is None:
        path = quote(path, safe="/%:@!$&'()*+,;=~?")
    return path.encode()


def _once(act: Any) -> Any:
    called = False

    def once() -> None:
        nonlocal called
        if not called:
            called = True
            act()

    return once


def _kept(headers: Headers, *, unpack: bool, announced: bool) -> tuple[Pairs, str, bool]:
    """The answer's headers without those of the connection, its content type, and whether its body is to be unpacked.

    The length stays where there is no body to measure (`announced`).
    """
    kept: Pairs = []
    content_type, coding = "", b""
    named: frozenset[bytes] = frozenset()
    for pair in headers:
        name = pair[0]
        if name == b"content-type":
            content_type = content_type or pair[1].decode("latin-1")
        elif name == b"content-encoding":
            coding = coding or pair[1].lower()
        elif name in _CONNECTION:
            if name == b"connection":
                named = named_by_connection(headers)
            if not (announced and name == b"content-length"):
                continue
        kept.append(pair)
    packed = unpack and coding == b"gzip"
    if named or packed:
        kept = [
            pair for pair in kept if pair[0] not in named and not (packed and pair[0] == b"content-encoding")
        ]
    return kept, content_type, packed


def _from_rpc(metadata: Pairs) -> Pairs:
    """A gRPC caller's metadata as headers: what gRPC reserves for itself comes prefixed."""
    found: Pairs = []
    for name, value in metadata:
        if name[:1] == b":":
            found.append((b"dapr-" + name[1:], value))
        elif name.startswith(b"grpc-"):
            found.append((b"dapr-" + name, value))
        elif name != b"content-type":
            found.append((name, value))
    return found


def _is_gzip(answer: Response) -> bool:
    return (answer.header(b"content-encoding") or b"").lower() == b"gzip"


def _size(body: Body) -> int:
    return len(body) if isinstance(body, bytes) else body.length or 0


def _id(event: Event) -> object:
    return event.envelope.get("id")
