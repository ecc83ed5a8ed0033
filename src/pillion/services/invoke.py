"""Service invocation: to our own app, to another sidecar's, or out to a plain HTTP service."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pillion.model.errors import DIRECT_INVOKE, DIRECT_INVOKE_DENIED, ApiError
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.ports.app import App, AppUnreachable
from pillion.ports.peers import Outside, PeerFailed, Peers, PeerUnreachable
from pillion.ports.telemetry import Telemetry
from pillion.rules import invoke as rules
from pillion.rules.invoke import Caller, InvalidTarget, Target, target
from pillion.services.names import Resolver
from pillion.toolbox.stream import Body, Stream, discard

RETRIES: Final = 3
"""Further tries after a transport failure, one second apart, when the body can be sent again."""

_VERBS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
_UNHEALTHY = "rpc error: code = Internal desc = app is not in a healthy state"
_NO_APP = "cannot invoke local endpoint: app channel not initialized"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A named HTTP service outside, with headers of its own."""

    url: str
    headers: Pairs = field(default_factory=list)


class AppGate:
    """The app as invocation may use it: absent, unhealthy, or there."""

    def __init__(self, app: App | None) -> None:
        self.app = app
        self.healthy = True

    def open(self) -> App:
        """The app, or why it cannot be called."""
        if self.app is None:
            raise NotReachable(_NO_APP)
        if not self.healthy:
            raise NotReachable(_UNHEALTHY)
        return self.app


class NotReachable(Exception):
    """Our own app cannot be called; the text says why."""


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

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Carry a call of our own app. `invocation.app_id` is the target as it was written."""
        asked = invocation.app_id
        try:
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
        except (InvalidTarget, NotReachable, PeerUnreachable, PeerFailed, AppUnreachable) as error:
            discard(invocation.body)
            fault = (
                DIRECT_INVOKE_DENIED if isinstance(error, PeerFailed) and error.code == 7 else DIRECT_INVOKE
            )
            raise ApiError(fault, app_id=asked, why=str(error)) from error

    async def http(
        self,
        asked: str,
        path: str,
        verb: str,
        query: str,
        headers: Pairs,
        body: Body,
        *,
        deadline: float | None = None,
    ) -> Outcome:
        """A call that came in over HTTP: `path` is the method as it stood in the URL, still escaped.

        The answer's headers are ready to be sent on: hop-by-hop ones are gone.
        """
        try:
            method = rules.method(path)
        except rules.InvalidMethod as error:
            discard(body)
            why = f"rpc error: code = InvalidArgument desc = {error}"
            raise ApiError(DIRECT_INVOKE, app_id=asked, why=why) from error
        if verb not in _VERBS:
            verb = "POST"
        content_type = _first(headers, b"content-type")
        invocation = Invocation(
            asked, method, verb, rules.forwarded(headers), body,
            query=query, content_type=content_type, deadline=deadline,
        )  # fmt: skip
        outcome = await self.invoke(invocation)
        outcome.headers = rules.returned(outcome.headers)
        return outcome

    async def serve(self, invocation: Invocation) -> Outcome:
        """A call from another sidecar for our app. Raises NotReachable, Denied, AppUnreachable."""
        caller = _first(invocation.headers, b"dapr-caller-app-id")
        self._telemetry.invocation_received(caller)
        if self._admits is not None and not self._admits(invocation):
            discard(invocation.body)
            raise Denied(
                f"access control policy has denied access to id:  operation: {invocation.method} verb: {invocation.verb}"
            )
        outcome = await self._gate.open().invoke(invocation)
        self._telemetry.answer_sent(caller, outcome.status)
        return outcome

    async def _self(self, invocation: Invocation) -> Outcome:
        app = self._gate.open()
        if not invocation.from_grpc:
            invocation.headers = self._caller.introduced(invocation.headers, self._app_id)
        return await app.invoke(invocation)

    async def _out(self, asked: str, endpoint: Endpoint, invocation: Invocation) -> Outcome:
        try:
            return await self._outside.invoke(endpoint.url, endpoint.headers, invocation)
        except ConnectionError as error:
            raise PeerUnreachable(str(error)) from error

    async def _remote(self, whom: Target, invocation: Invocation) -> Outcome:
        invocation.headers = self._caller.addressed(invocation.headers, whom.app_id)
        streaming = isinstance(invocation.body, Stream)
        self._telemetry.invocation_sent(whom.app_id, streaming)
        started = time.perf_counter()
        tries = 0
        while True:
            try:
                outcome = await self._round(whom, invocation, streaming)
            except PeerUnreachable:
                tries += 1
                if streaming or tries > RETRIES:
                    raise
                await asyncio.sleep(1)
                continue
            self._telemetry.answer_received(
                whom.app_id, outcome.status, streaming, time.perf_counter() - started
            )
            return outcome

    async def _round(self, whom: Target, invocation: Invocation, streaming: bool) -> Outcome:
        """Try each known sidecar once. One that refuses the connection is forgotten and costs nothing: nothing was sent."""
        addresses = await self._names.addresses(whom.app_id, whom.namespace)
        if not addresses:
            raise NotReachable("no host found with the given ID")
        last: PeerUnreachable | None = None
        for address in addresses:
            try:
                return await self._peers.invoke(address, invocation)
            except PeerUnreachable as error:
                last = error
                if error.refused:
                    self._names.drop(whom.app_id, whom.namespace, address)
                elif streaming:
                    raise
        raise last or PeerUnreachable("no sidecar took the call")


class Denied(Exception):
    """The access policy does not let this call in."""


def http_status(outcome: Outcome) -> int:
    """The HTTP status of an answer, a gRPC code mapped."""
    return outcome.status if outcome.is_http else rules.status_of(outcome.status)


def grpc_code(outcome: Outcome) -> int:
    """The gRPC code of an answer, an HTTP status mapped."""
    return rules.code_of(outcome.status) if outcome.is_http else outcome.status


def _first(headers: Pairs, name: bytes) -> str:
    for key, value in headers:
        if key == name:
            return value.decode("latin-1")
    return ""
