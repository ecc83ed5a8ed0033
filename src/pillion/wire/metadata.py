"""The sidecar's snapshot as the gRPC metadata message."""

from datetime import timedelta

from pillion.model.metadata import AppConnection, Sidecar
from pillion.model.pubsub import Interest
from pillion.toolbox.durations import written
from pillion.wire.proto import runtime


def response(sidecar: Sidecar) -> "runtime.GetMetadataResponse":
    """The answer of GetMetadata."""
    made = runtime.GetMetadataResponse(
        id=sidecar.app_id,
        runtime_version=sidecar.runtime_version,
        enabled_features=sidecar.features,
        extended_metadata=dict(sidecar.extended),
        app_connection_properties=_app(sidecar.app),
        actor_runtime=runtime.ActorRuntime(
            runtime_status=runtime.ActorRuntime.DISABLED, placement="placement: disconnected"
        ),
        workflows=runtime.MetadataWorkflows(),
    )
    for component in sidecar.components:
        made.registered_components.add(
            name=component.name,
            type=component.type_name,
            version=component.version,
            capabilities=component.capabilities,
        )
    for interest in sidecar.subscriptions:
        made.subscriptions.append(_subscription(interest))
    for name in sidecar.http_endpoints:
        made.http_endpoints.add(name=name)
    return made


def _subscription(interest: Interest) -> "runtime.PubsubSubscription":
    rules = [runtime.PubsubSubscriptionRule(match=rule.match, path=rule.path) for rule in interest.rules]
    return runtime.PubsubSubscription(
        pubsub_name=interest.pubsub,
        topic=interest.topic,
        metadata=dict(interest.metadata),
        rules=runtime.PubsubSubscriptionRules(rules=rules),
        dead_letter_topic=interest.dead_letter,
        type=runtime.PubsubSubscriptionType.Value(interest.origin.value),
    )


def _app(app: AppConnection) -> "runtime.AppConnectionProperties":
    made = runtime.AppConnectionProperties(
        port=app.port, protocol=app.protocol, channel_address=app.address, max_concurrency=app.max_concurrency
    )
    if app.health is not None:
        made.health.health_check_path = app.health.path
        made.health.health_probe_interval = written(timedelta(seconds=app.health.interval))
        made.health.health_probe_timeout = written(timedelta(seconds=app.health.timeout))
        made.health.health_threshold = app.health.threshold
    return made
