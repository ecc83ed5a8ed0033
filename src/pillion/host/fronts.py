"""What stands before the HTTP APIs of one runtime: whose requests come in, how they are counted, what is known of them."""

from collections.abc import Callable

from pillion.edge import allowed
from pillion.edge.allowed import ApiRule
from pillion.edge.http.api import Ask, Front, HttpApi, Reply
from pillion.edge.http.front import Admission, Origins, TokenCheck
from pillion.edge.http.health import HealthRoutes
from pillion.host.apilog import Served
from pillion.host.doorstep import Doorstep
from pillion.host.setup import Setup
from pillion.model.call import PLAIN, Call, traceparent
from pillion.net.http import Request
from pillion.services.readiness import Readiness


class Fronts:
    """Made before the APIs are, and shared by them."""

    def __init__(self, setup: Setup, served: Served) -> None:
        self._setup = setup
        self.served = served

    def doorstep(self, readiness: Readiness, *, guarded: bool) -> Doorstep:
        """Who answers on a port while the API behind it is being loaded."""
        routes = [route for route in HealthRoutes(readiness).routes() if self.admits(route.group)]
        return Doorstep(
            HttpApi(routes, _unasked, self.http(guarded=guarded)), [route.pattern for route in routes]
        )

    def http(self, *, guarded: bool) -> Front:
        """Before a port; `guarded` is the API's own, the other is for probes."""
        flags = self._setup.flags
        origins = Origins(flags.allowed_origins) if guarded and flags.allowed_origins else None
        token = TokenCheck(flags.api_token) if guarded and flags.api_token else None
        return Front(
            served=self.served.http,
            body_limit=flags.max_body_size or None,
            admit=Admission(token=token, origins=origins),
            admits_plain=token is None and origins is None,
            finish=origins.finish if origins is not None else None,
            call=_call,
        )

    def gate(self, protocol: str) -> Callable[[str], bool] | None:
        """Which API groups may be called; None for all."""
        conf = self._setup.configuration
        return allowed.gate(
            [ApiRule(rule.name, rule.version, rule.protocol) for rule in conf.api_allowed],
            [ApiRule(rule.name, rule.version, rule.protocol) for rule in conf.api_denied],
            protocol,
        )

    def admits(self, group: str) -> bool:
        """Whether an API group may be called over HTTP."""
        gate = self.gate("http")
        return gate is None or gate(group)


async def _unasked(ask: Ask) -> Reply:
    """The doorstep passes on what it has no route for."""
    raise LookupError(ask.path)


def _call(request: Request) -> Call:
    """What a request says of itself. A traceparent that is none counts for nothing, its tracestate neither."""
    if _CIRCUMSTANCES.isdisjoint(dict(request.headers)):
        return PLAIN
    trace = state = baggage = ""
    for name, value in request.headers:
        if name == b"traceparent":
            trace = traceparent(value.decode("latin-1"))
        elif name == b"tracestate":
            state = value.decode("latin-1")
        elif name == b"baggage":
            baggage = value.decode("latin-1")
    return Call(trace, state if trace else "", baggage)


_CIRCUMSTANCES = frozenset((b"traceparent", b"tracestate", b"baggage"))
