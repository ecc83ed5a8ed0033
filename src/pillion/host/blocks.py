"""The services of one runtime, built from what was loaded."""

import logging
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pillion.contracts.bindings import Binding
from pillion.contracts.names import Names
from pillion.contracts.pubsub import PubSub
from pillion.contracts.secrets import SecretStore
from pillion.edge.app.slots import Slots
from pillion.edge.grpc.api import GrpcApi
from pillion.edge.grpc.proxy import Proxy
from pillion.edge.grpc.reflection import INTERNAL_SERVICES, Reflection
from pillion.edge.outside import OutsideHttp
from pillion.edge.peer.client import PeerCalls
from pillion.edge.peer.links import Links
from pillion.edge.peer.server import PREFIX, PeerRpcs
from pillion.host import channel, mounts, naming
from pillion.host.apilog import Served
from pillion.host.apis import Services
from pillion.host.components import Loaded
from pillion.host.endpoints import Endpoints
from pillion.host.setup import Fatal, Setup
from pillion.host.telemetry import Metrics
from pillion.model.pubsub import Bulk, Interest, Origin, Rule
from pillion.net.grpc.channel import GrpcChannel
from pillion.net.rpc import Channel, GrpcLimits
from pillion.net.wheel import Wheel
from pillion.ports.app import App, AppFailed, AppUnreachable
from pillion.resources.subscription import Subscription
from pillion.rules import secrets as secret_rules
from pillion.rules.expressions import ExpressionError
from pillion.rules.invoke import Caller
from pillion.services import subscriptions as subscriptions_module
from pillion.services.bindings import BindingMount, InputBindings, OutputBindings
from pillion.services.brokers import Broker, broker
from pillion.services.invoke import AppGate, InvokeService
from pillion.services.metadata import MetadataService
from pillion.services.names import Resolver
from pillion.services.pubsub import PubSubService
from pillion.services.readiness import Readiness
from pillion.services.secrets import SecretsService
from pillion.services.state import StateService
from pillion.services.subscriptions import Subscriptions
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.wire import json

log = logging.getLogger("dapr.runtime")


@dataclass(slots=True)
class Blocks:
    """What one runtime consists of once its components are open."""

    services: Services
    declared: tuple[Interest, ...]
    subscriptions: Subscriptions
    inputs: InputBindings | None
    gate: AppGate
    app: App | None
    app_tls: ssl.SSLContext | None
    proxies: tuple[Proxy, Proxy]
    """For our own app's calls, and for those of other sidecars."""
    internal: GrpcApi
    peer_rpcs: PeerRpcs
    resolver: Resolver
    peers: PeerCalls
    outside: OutsideHttp

    async def pause(self) -> None:
        """Bring the app nothing new."""
        await self.subscriptions.pause()
        if self.inputs is not None:
            await self.inputs.stop()

    async def resume(self) -> None:
        """Bring the app events again."""
        await self.subscriptions.resume()
        if self.inputs is not None:
            await self.inputs.start()

    async def drain(self, deadline: float) -> None:
        """Bring nothing new for good, and let what is under way end."""
        await self.subscriptions.drain(deadline)
        if self.inputs is not None:
            await self.inputs.stop(forever=True)

    async def close(self) -> None:
        """Let every connection go."""
        await self.subscriptions.close()
        await self.resolver.close()
        await self.peer_rpcs.close()
        for proxy in self.proxies:
            await proxy.close()
        await self.peers.close()
        await self.outside.close()
        if self.app is not None:
            await self.app.close()


def build(
    setup: Setup,
    loaded: Sequence[Loaded],
    endpoints: Endpoints,
    names: Sequence[Names[Any]],
    metrics: Metrics,
    clock: Clock,
    wheel: Wheel,
    *,
    metadata: MetadataService,
    readiness: Readiness,
    shutdown: Callable[[bool], None],
) -> Blocks:
    """Put the services together. Raises LoadError for a component whose metadata cannot be honoured."""
    flags = setup.flags
    secure = channel.tls(flags)
    rpc = channel.grpc_channel(flags, secure, wheel)
    slots = Slots(flags.app_max_concurrency or 0)
    app = channel.open_app(flags, secure, rpc, slots, metrics, wheel)
    gate, resolver = AppGate(app), Resolver(names, clock)
    links = Links(
        _dialler(setup, wheel),
        idle=flags.grpc_max_conn_idle.total_seconds(),
        every=max(1.0, flags.grpc_conn_collector_interval.total_seconds()),
    )
    peers, outside = PeerCalls(links), OutsideHttp(wheel, trust=endpoints.trust)
    access = _access(setup, metrics)
    invoke = InvokeService(
        app_id=flags.app_id,
        namespace=flags.namespace,
        caller=_caller(setup),
        gate=gate,
        peers=peers,
        names=resolver,
        outside=outside,
        endpoints=endpoints.named,
        telemetry=metrics,
        admits=None if access is None else lambda invocation: access(),
    )
    pubsub = PubSubService(
        brokers=_brokers(setup, loaded, metrics),
        app_id=flags.app_id,
        telemetry=metrics,
        json=json,
        clock=clock,
    )
    subscriptions = Subscriptions(pubsub=pubsub, app=app, telemetry=metrics, json=json, clock=clock)
    bindings = _bindings(loaded, metrics)
    outputs = OutputBindings(bindings, metrics)
    # Only a namespace that was given goes before keys: "default" is not one, as on Dapr.
    state = mounts.state(loaded, metrics, app_id=flags.app_id, namespace=flags.own_namespace or "")
    peer_rpcs = PeerRpcs(invoke)
    proxy, internal = (
        _proxy(setup, invoke, links, gate, rpc, slots, metrics, internal=each) for each in (False, True)
    )
    services = Services(
        state=StateService(state, clock),
        pubsub=pubsub,
        subscriptions=subscriptions,
        invoke=invoke,
        bindings=outputs,
        secrets=_secrets(setup, loaded, metrics),
        metadata=metadata,
        readiness=readiness,
        shutdown=shutdown,
    )
    return Blocks(
        services=services,
        declared=_declared(setup),
        subscriptions=subscriptions,
        inputs=InputBindings(bindings, app, outputs, json, clock) if app is not None else None,
        gate=gate,
        app=app,
        app_tls=secure,
        proxies=(proxy, internal),
        internal=_internal(peer_rpcs, internal, metrics),
        peer_rpcs=peer_rpcs,
        resolver=resolver,
        peers=peers,
        outside=outside,
    )


async def read_app_settings(app: App) -> None:
    """Ask the app what it says of its actors; this version hosts none, so one that has some is told."""
    try:
        settings = await app.settings()
    except (AppUnreachable, AppFailed) as error:
        log.warning("could not read the app's configuration: %s", error)
        return
    log.info("Application configuration loaded")
    entities = (settings or {}).get("entities")
    if isinstance(entities, list) and entities:
        named = ", ".join(str(each) for each in entities)
        log.warning(
            "the app hosts actors (%s), which this version does not have: calls to them are refused", named
        )


def _proxy(
    setup: Setup,
    service: InvokeService,
    links: Links,
    gate: AppGate,
    app: Channel | None,
    slots: Slots,
    metrics: Metrics,
    *,
    internal: bool,
) -> Proxy:
    access = _access(setup, metrics)
    return Proxy(
        app_id=setup.flags.app_id,
        service=service,
        links=links,
        gate=gate,
        app=app,
        telemetry=metrics,
        app_token=setup.flags.app_token,
        slots=slots,
        admits=None if access is None else lambda method, metadata: access(),
        internal=internal,
    )


def _internal(rpcs: PeerRpcs, proxy: Proxy, metrics: Metrics) -> GrpcApi:
    """What other sidecars may call; its calls are counted and never logged as API calls."""
    served = Served(metrics, None)
    api = GrpcApi(None, served.rpc)
    api.serve(PREFIX, rpcs.unary(), rpcs.streams())
    api.serve_lane(PREFIX + b"CallLocalStream", rpcs.lane)
    Reflection(INTERNAL_SERVICES).join(api)
    api.fallback = proxy.serve
    return api


def _dialler(setup: Setup, wheel: Wheel) -> Callable[[str], Channel]:
    limits = GrpcLimits(message_bytes=setup.flags.max_body_size or None)

    def dial(address: str) -> Channel:
        host, _, port = address.rpartition(":")
        return GrpcChannel(host.strip("[]"), int(port), limits=limits, wheel=wheel, lane=True)

    return dial


def _caller(setup: Setup) -> Caller:
    return Caller(
        setup.flags.app_id.encode(),
        setup.flags.namespace.encode(),
        socket.gethostname().encode(),
        naming.own_address(setup).encode(),
    )


def _access(setup: Setup, metrics: Metrics) -> Callable[[], bool] | None:
    """The access policy for calls from other sidecars: without identities only its default action can decide."""
    if "accessControl" not in setup.configuration.written:
        return None
    allow = setup.configuration.access_control.default == "allow"

    def admits() -> bool:
        metrics.access_decided("global", allow)
        return allow

    return admits


def _brokers(setup: Setup, loaded: Sequence[Loaded], metrics: Metrics) -> dict[str, Broker]:
    flags = setup.flags
    plain = mounts.mounted(loaded, PubSub, metrics, "")
    return {
        each.component.name: broker(
            plain[each.component.name],
            each.metadata,
            flags.app_id,
            flags.namespace if _namespaced(each) else "",
        )
        for each, _ in mounts.of_kind(loaded, PubSub)
    }


def _namespaced(loaded: Loaded) -> bool:
    """A `{namespace}` anywhere in a broker's metadata also goes before its topics."""
    return any("{namespace}" in (setting.value or "") for setting in loaded.component.settings)


def _bindings(loaded: Sequence[Loaded], metrics: Metrics) -> dict[str, BindingMount]:
    plain = mounts.mounted(loaded, Binding, metrics, "output_binding")
    return {
        each.component.name: BindingMount.of(
            plain[each.component.name],
            each.metadata,
            metrics.component("input_binding", each.component.name),
        )
        for each, _ in mounts.of_kind(loaded, Binding)
    }


def _secrets(setup: Setup, loaded: Sequence[Loaded], metrics: Metrics) -> SecretsService:
    scopes: Mapping[str, secret_rules.Scope] = {
        scope.store: secret_rules.Scope(
            frozenset(scope.allowed), frozenset(scope.denied), scope.default == "allow"
        )
        for scope in setup.configuration.secret_scopes
    }
    return SecretsService(mounts.mounted(loaded, SecretStore, metrics, "secret"), scopes)


def _declared(setup: Setup) -> tuple[Interest, ...]:
    """The declared subscriptions; a condition that is no expression ends start-up, as on Dapr."""
    found: list[Interest] = []
    wrong: list[str] = []
    for each in setup.resources.subscriptions:
        interest = _interest(each)
        try:
            subscriptions_module.check(interest)
        except ExpressionError as error:
            wrong.append(f"{each.source}: Subscription {each.name}: {error}")
        found.append(interest)
    if wrong:
        raise Fatal(wrong)
    return tuple(found)


def _interest(declared: Subscription) -> Interest:
    rules = [Rule(rule.match, rule.path) for rule in declared.rules]
    if declared.default_route or not rules:
        rules.append(Rule("", declared.default_route))
    bulk = declared.bulk
    return Interest(
        declared.pubsub,
        declared.topic,
        tuple(rules),
        dict(declared.metadata),
        declared.dead_letter_topic,
        Bulk(bulk.enabled, bulk.max_messages or 100, (bulk.max_await_ms or 1000) / 1000),
        Origin.DECLARATIVE,
    )
