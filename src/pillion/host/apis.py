"""Both APIs of one runtime, put together from its services."""

from collections.abc import Callable

from pillion.edge import allowed
from pillion.edge.allowed import ApiRule
from pillion.edge.grpc import absent as absent_rpcs
from pillion.edge.grpc import workflow
from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.grpc.bindings import BindingRpcs
from pillion.edge.grpc.front import Admission as GrpcAdmission
from pillion.edge.grpc.invoke import InvokeRpcs
from pillion.edge.grpc.metadata import MetadataRpcs
from pillion.edge.grpc.proxy import Proxy
from pillion.edge.grpc.pubsub import PubSubRpcs
from pillion.edge.grpc.reflection import Reflection
from pillion.edge.grpc.secrets import SecretRpcs
from pillion.edge.grpc.state import StateRpcs
from pillion.edge.grpc.watch import watch
from pillion.edge.http import absent as absent_routes
from pillion.edge.http.api import Ask, Front, HttpApi, Operation, Reply, Route
from pillion.edge.http.bindings import BindingRoutes
from pillion.edge.http.front import Admission, Origins, TokenCheck
from pillion.edge.http.invoke import Invocations
from pillion.edge.http.metadata import MetadataRoutes
from pillion.edge.http.pubsub import PubSubRoutes
from pillion.edge.http.secrets import SecretRoutes
from pillion.edge.http.state import StateRoutes
from pillion.host.apilog import Served
from pillion.host.setup import Setup
from pillion.model.call import PLAIN, Call, traceparent, until
from pillion.net.http import Request
from pillion.net.rpc import ServerCall
from pillion.services.bindings import OutputBindings
from pillion.services.invoke import InvokeService
from pillion.services.metadata import MetadataService, Readiness
from pillion.services.pubsub import PubSubService
from pillion.services.secrets import SecretsService
from pillion.services.state import StateService
from pillion.services.subscriptions import Subscriptions
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What an app may ask of one runtime."""

    state: StateService
    pubsub: PubSubService
    subscriptions: Subscriptions
    invoke: InvokeService
    bindings: OutputBindings
    secrets: SecretsService
    metadata: MetadataService
    readiness: Readiness
    shutdown: Callable[[bool], None]


class Apis:
    """The HTTP and gRPC APIs over one set of services."""

    def __init__(self, setup: Setup, services: Services, served: Served) -> None:
        self._setup = setup
        self._services = services
        self._served = served

    def http(self) -> HttpApi:
        """The API's own port: every route that is allowed, and invocation for all the rest."""
        invocations = Invocations(self._services.invoke, allowed=self._admits_http("invoke.v1"))
        return HttpApi(self._routes(invocations.fallback), invocations.fallback, self._front(guarded=True))

    def public(self) -> HttpApi:
        """The public port: health and metadata, no token, nothing else."""
        metadata = MetadataRoutes(self._services.metadata, self._services.readiness, self._services.shutdown)
        routes = [route for route in metadata.public() if self._admits_http(route.group)]
        return HttpApi(routes, _not_found, self._front(guarded=False))

    def grpc(self, proxy: Proxy) -> GrpcApi:
        """The gRPC API; what it does not know is proxied to the app it is addressed to."""
        services, flags = self._services, self._setup.flags
        admission = None
        gate = self._gate("grpc")
        if flags.api_token or gate is not None:
            admission = GrpcAdmission(flags.api_token, gate)
        api = GrpcApi(admission, self._served.rpc, call=_rpc_call)
        grpc_app = bool(flags.app_port) and flags.app_protocol.startswith("grpc")
        api.serve(
            DAPR, absent_rpcs.unary(flags.app_id, flags.namespace), absent_rpcs.streams(grpc_app=grpc_app)
        )
        api.serve(workflow.TASK_HUB, workflow.unary(), workflow.streams())
        api.serve(DAPR, StateRpcs(services.state).unary())
        pubsub = PubSubRpcs(services.pubsub, services.subscriptions)
        api.serve(DAPR, pubsub.unary(), pubsub.streams())
        api.serve(DAPR, InvokeRpcs(services.invoke).unary())
        api.serve(DAPR, BindingRpcs(services.bindings).unary())
        api.serve(DAPR, SecretRpcs(services.secrets).unary())
        api.serve(DAPR, MetadataRpcs(services.metadata, services.shutdown).unary())
        Reflection().join(api)
        api.fallback = proxy.serve
        if self._served.is_logging:
            watch(api, self._served.log_rpc)
        return api

    def _routes(self, fallback: Operation) -> list[Route]:
        services, flags = self._services, self._setup.flags
        routes = [
            *StateRoutes(services.state, flags.app_id).routes(),
            *PubSubRoutes(services.pubsub, fallback).routes(),
            *BindingRoutes(services.bindings).routes(),
            *SecretRoutes(services.secrets).routes(),
            *MetadataRoutes(services.metadata, services.readiness, services.shutdown).routes(),
            *absent_routes.routes(flags.app_id, flags.namespace),
        ]
        return [route for route in routes if self._admits_http(route.group)]

    def _front(self, *, guarded: bool) -> Front:
        flags = self._setup.flags
        origins = Origins(flags.allowed_origins) if guarded and flags.allowed_origins else None
        token = TokenCheck(flags.api_token) if guarded and flags.api_token else None
        return Front(
            served=self._served.http,
            body_limit=flags.max_body_size or None,
            admit=Admission(token=token, origins=origins),
            admits_plain=token is None and origins is None,
            finish=origins.finish if origins is not None else None,
            call=_http_call,
        )

    def _gate(self, protocol: str) -> Callable[[str], bool] | None:
        conf = self._setup.configuration
        return allowed.gate(
            [ApiRule(rule.name, rule.version, rule.protocol) for rule in conf.api_allowed],
            [ApiRule(rule.name, rule.version, rule.protocol) for rule in conf.api_denied],
            protocol,
        )

    def _admits_http(self, group: str) -> bool:
        gate = self._gate("http")
        return gate is None or gate(group)


async def _not_found(ask: Ask) -> Reply:
    return Reply(404, [(b"content-type", b"text/plain; charset=utf-8")], b"404 page not found\n")


def _http_call(request: Request) -> Call:
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


def _rpc_call(call: ServerCall) -> Call:
    if b"traceparent" in dict(call.metadata):
        value = next(value for name, value in call.metadata if name == b"traceparent")
        return Call(traceparent(value.decode("latin-1")), deadline=call.deadline)
    return PLAIN if call.deadline is None else until(call.deadline)
