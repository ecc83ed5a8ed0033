"""Service invocation: to our own app, to another sidecar's, or out to a plain HTTP service."""

import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Final

from pillion.model.errors import DIRECT_INVOKE, DIRECT_INVOKE_DENIED, ApiError
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.ports.app import App, AppUnreachable
from pillion.ports.peers import Outside, PeerFailed, Peers, PeerUnreachable
from pillion.ports.telemetry import Telemetry
from pillion.rules import invoke as rules
from pillion.rules.invoke import Caller, InvalidTarget, Target, target
from pillion.services.names import Resolver
from pillion.toolbox.clock import Clock, SystemClock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import Body, Stream, discard, whole

RETRIES: Final = 3
"""Further tries after a transport failure, one second apart, when the body can be sent again."""

REPLAYABLE: Final = 1024 * 1024
"""A body announced no longer than this is kept until the call is answered, so that it can be sent again."""

_MOST_SIGNATURES: Final = 1024

_VERBS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
_UNHEALTHY = "rpc error: code = Internal desc = app is not in a healthy state"
_INVALID = "rpc error: code = InvalidArgument desc = "
_NO_APP = "cannot invoke local endpoint: app channel not initialized"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A named HTTP service outside, with headers of its own."""

    url: str
    headers: Pairs = field(default_factory=list)
    trust: str = ""
    """Its name, if it has certificates of its own."""


class AppGate:
    """The app as invocation may use it: absent, unhealthy, or there."""

    def __init__(self, app: App | None) -> None:
        self.app = app
        self.healthy = True

    def open(self) -> App:
        """The app, or why it cannot be called."""
        if self.app is None:
            raise NoApp(_NO_APP)
        if not self.healthy:
            raise NotReachable(_UNHEALTHY)
        return self.app


class NotReachable(Exception):
    """The app cannot be called; the text says why."""


TargetError = InvalidTarget
MethodError = rules.InvalidMethod
"""What is no app id, and no method; the texts are what a client sees."""


class NoApp(NotReachable):
    """This sidecar has no app at all."""


class InvokeService:
    """Finds whom a call is for and carries it there. Every answer of an app is an Outcome; what fails on the way is an ApiError."""

    def __init__(
        self,
        *,
        app_id: str,
        namespace: str,
        caller: Caller,
        gate: AppGate,
        peers: Peers,
        names: Resolver,
        outside: Outside,
        endpoints: Mapping[str, Endpoint],
        telemetry: Telemetry,
        admits: Callable[[Invocation], bool] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._app_id = app_id
        self._namespace = namespace
        self._caller = caller
        self._gate = gate
        self._peers = peers
        self._names = names
        self._outside = outside
        self._endpoints = endpoints
        self._telemetry = telemetry
        self._admits = admits
        self._clock = clock or SystemClock()
        self._signatures: dict[str, Pairs] = {}

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Carry a call of our own app. `invocation.app_id` is the target as it was written."""
        asked = invocation.app_id
        try:
            if invocation.from_grpc:  # over HTTP the URL's path and query were read so far already
                invocation.method = rules.checked(invocation.method)
                invocation.query = rules.query(invocation.query)
            endpoint = self._endpoints.get(asked)
            if endpoint is not None:
                return await self._out(asked, endpoint, invocation)
            whom = target(asked, self._namespace)
            if whom.url:
                return await self._out(asked, Endpoint(whom.url), invocation)
            invocation.app_id, invocation.namespace = whom.app_id, whom.namespace
            if whom.app_id == self._app_id and whom.namespace == self._namespace:
                return await self._self(invocation)
            return await self._remote(whom, invocation)
        except (
            InvalidTarget,
            rules.InvalidMethod,
            NotReachable,
            PeerUnreachable,
            PeerFailed,
            AppUnreachable,
        ) as error:
            discard(invocation.body)
            why = f"{_INVALID}{error}" if isinstance(error, rules.InvalidMethod) else str(error)
            fault = (
                DIRECT_INVOKE_DENIED if isinstance(error, PeerFailed) and error.code == 7 else DIRECT_INVOKE
            )
            raise ApiError(fault, app_id=asked, why=why) from error

    async def http(
        self,
        asked: str,
        path: str,
        verb: str,
        query: str,
        headers: Pairs,
        body: Body,
        content_type: str,
        *,
        deadline: float | None = None,
        trace: str = "",
    ) -> Outcome:
        """A call that came in over HTTP: `path` is the method as it stood in the URL, still escaped; `headers` are `travelling`.

        The answer's headers are ready to be sent on: hop-by-hop ones are gone.
        """
        try:
            method = rules.method(path)
        except rules.InvalidMethod as error:
            discard(body)
            raise ApiError(DIRECT_INVOKE, app_id=asked, why=f"{_INVALID}{error}") from error
        if verb not in _VERBS:
            verb = "POST"
        invocation = Invocation(
            asked, method, verb, headers, body,
            query=query, content_type=content_type, deadline=deadline, trace=trace,
        )  # fmt: skip
        outcome = await self.invoke(invocation)
        outcome.headers = rules.returned(outcome.headers)
        return outcome

    async def serve(self, invocation: Invocation) -> Outcome:
        """A call from another sidecar for our app. Raises NotReachable, Denied, AppUnreachable, MethodError."""
        invocation.method = rules.checked(invocation.method)
        invocation.query = rules.query(invocation.query)
        caller = dict(reversed(invocation.headers)).get(b"dapr-caller-app-id", b"").decode("latin-1")
        self._telemetry.invocation_received(caller)
        if self._admits is not None and not self._admits(invocation):
            discard(invocation.body)
            raise Denied(
                f"access control policy has denied access to id:  operation: {invocation.method} verb: {invocation.verb}"
            )
        outcome = await self._gate.open().invoke(invocation)
        self._telemetry.answer_sent(caller, outcome.status)
        return outcome

    async def whereabouts(self, asked: str) -> list[str] | None:
        """The addresses of an app's sidecars, None when the app is our own. Raises InvalidTarget, NotReachable."""
        whom = target(asked, self._namespace)
        if whom.url:
            raise InvalidTarget(f"invalid app id {asked}")
        if whom.app_id == self._app_id and whom.namespace == self._namespace:
            return None
        return await self._found(whom)

    def gone(self, asked: str, address: str) -> None:
        """Nobody listens at this address of an app any more."""
        whom = target(asked, self._namespace)
        self._names.drop(whom.app_id, whom.namespace, address)

    async def _self(self, invocation: Invocation) -> Outcome:
        app = self._gate.open()
        if not invocation.from_grpc:
            invocation.headers = self._caller.introduced(invocation.headers, self._app_id)
        return await app.invoke(invocation)

    async def _out(self, asked: str, endpoint: Endpoint, invocation: Invocation) -> Outcome:
        try:
            return await self._outside.invoke(endpoint.url, endpoint.headers, invocation, endpoint.trust)
        except ConnectionError as error:
            raise PeerUnreachable(str(error)) from error

    async def _remote(self, whom: Target, invocation: Invocation) -> Outcome:
        if invocation.from_grpc:
            invocation.headers = rules.unspoofed(invocation.headers)
        invocation.headers = invocation.headers + self._signature(whom.app_id)
        body = invocation.body
        if isinstance(body, Stream) and body.length is not None and body.length <= REPLAYABLE:
            invocation.body = await whole(body)
        started = time.perf_counter()
        tries = 0
        while True:
            try:
                outcome = await self._round(whom, invocation, tries)
            except PeerUnreachable:
                tries += 1
                if isinstance(invocation.body, Stream) or tries > RETRIES:
                    raise
                await self._clock.sleep(1)
                continue
            if rules.WANTS_EVENTS in invocation.headers and 100 <= outcome.status < 400:
                outcome.headers = rules.as_events(outcome.headers)
            self._telemetry.answer_received(whom.app_id, outcome.status, False, time.perf_counter() - started)
            return outcome

    async def _round(self, whom: Target, invocation: Invocation, tries: int) -> Outcome:
        """Try the known sidecars. One that refuses the connection is forgotten and costs nothing: nothing was sent.

        After any other failure the call may have reached an app: it goes out again only in the next round, as on Dapr.
        """
        last: PeerUnreachable | None = None
        addresses = self._names.known(whom.app_id, whom.namespace) or await self._found(whom)
        if not tries:  # an app that nobody knows was not called
            self._telemetry.invocation_sent(whom.app_id, False)
        for address in addresses:
            try:
                return await self._peers.invoke(address, invocation)
            except PeerUnreachable as error:
                if not error.refused:
                    raise
                last = error
                self._names.drop(whom.app_id, whom.namespace, address)
        raise last or PeerUnreachable("no sidecar took the call")

    def _signature(self, callee: str) -> Pairs:
        found = self._signatures.get(callee)
        if found is None:
            if len(self._signatures) >= _MOST_SIGNATURES:
                self._signatures.clear()
            found = self._signatures[callee] = self._caller.signature(callee)
        return found

    async def _found(self, whom: Target) -> list[str]:
        addresses = await self._names.addresses(whom.app_id, whom.namespace)
        if not addresses:
            raise NotReachable("no host found with the given ID")
        return addresses


def travelling(headers: Pairs) -> Pairs:
    """Those of an HTTP caller's headers that go along with its call."""
    return rules.forwarded(headers)


class Denied(Exception):
    """The access policy does not let this call in."""


def http_status(outcome: Outcome) -> int:
    """The HTTP status of an answer, a gRPC code mapped."""
    return outcome.status if outcome.is_http else rules.status_of(outcome.status)


def grpc_code(outcome: Outcome) -> int:
    """The gRPC code of an answer, an HTTP status mapped."""
    return rules.code_of(outcome.status) if outcome.is_http else outcome.status
