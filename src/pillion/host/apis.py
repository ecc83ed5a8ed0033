"""Both APIs of one runtime, put together from its services."""

from collections.abc import Callable

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
from pillion.edge.http.api import Ask, HttpApi, Operation, Reply, Route
from pillion.edge.http.bindings import BindingRoutes
from pillion.edge.http.invoke import Invocations
from pillion.edge.http.metadata import MetadataRoutes
from pillion.edge.http.pubsub import PubSubRoutes
from pillion.edge.http.secrets import SecretRoutes
from pillion.edge.http.state import StateRoutes
from pillion.host.fronts import Fronts
from pillion.host.setup import Setup
from pillion.model.call import PLAIN, Call, traceparent, until
from pillion.net.rpc import ServerCall
from pillion.services.bindings import OutputBindings
from pillion.services.invoke import InvokeService
from pillion.services.metadata import MetadataService
from pillion.services.pubsub import PubSubService
from pillion.services.readiness import Readiness
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

    def __init__(self, setup: Setup, services: Services, fronts: Fronts) -> None:
        self._setup = setup
        self._services = services
        self._fronts = fronts

    def http(self) -> HttpApi:
        """The API's own port: every route that is allowed, and invocation for all the rest."""
        invocations = Invocations(self._services.invoke, allowed=self._fronts.admits("invoke.v1"))
        return HttpApi(
            self._routes(invocations.fallback), invocations.fallback, self._fronts.http(guarded=True)
        )

    def public(self) -> HttpApi:
        """The public port: health and metadata, no token, nothing else."""
        metadata = MetadataRoutes(self._services.metadata, self._services.readiness, self._services.shutdown)
        routes = [route for route in metadata.public() if self._fronts.admits(route.group)]
        return HttpApi(routes, _not_found, self._fronts.http(guarded=False))

    def grpc(self, proxy: Proxy) -> GrpcApi:
        """The gRPC API; what it does not know is proxied to the app it is addressed to."""
        services, flags = self._services, self._setup.flags
        admission = None
        gate = self._fronts.gate("grpc")
        if flags.api_token or gate is not None:
            admission = GrpcAdmission(flags.api_token, gate)
        api = GrpcApi(admission, self._fronts.served.rpc, call=_rpc_call)
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
        if self._fronts.served.is_logging:
            watch(api, self._fronts.served.log_rpc)
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
        return [route for route in routes if self._fronts.admits(route.group)]


async def _not_found(ask: Ask) -> Reply:
    return Reply(404, [(b"content-type", b"text/plain; charset=utf-8")], b"404 page not found\n")


def _rpc_call(call: ServerCall) -> Call:
    if b"traceparent" in dict(call.metadata):
        value = next(value for name, value in call.metadata if name == b"traceparent")
        return Call(traceparent(value.decode("latin-1")), deadline=call.deadline)
    return PLAIN if call.deadline is None else until(call.deadline)
