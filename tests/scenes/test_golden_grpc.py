"""A running sidecar held to Dapr's recorded gRPC answers, row by row; where ours differ on purpose the row says why."""

# ruff: noqa: E501 -- recorded texts are as long as they are.

import json
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import actors_pb2 as actors
from dapr.proto.runtime.v1 import ai_pb2 as ai
from dapr.proto.runtime.v1 import appcallback_pb2 as callback
from dapr.proto.runtime.v1 import binding_pb2 as binding
from dapr.proto.runtime.v1 import configuration_pb2 as configuration
from dapr.proto.runtime.v1 import crypto_pb2 as crypto
from dapr.proto.runtime.v1 import dapr_pb2_grpc
from dapr.proto.runtime.v1 import invoke_pb2 as invoke
from dapr.proto.runtime.v1 import jobs_pb2 as jobs
from dapr.proto.runtime.v1 import lock_pb2 as lock
from dapr.proto.runtime.v1 import pubsub_pb2 as pubsub
from dapr.proto.runtime.v1 import secret_pb2 as secret
from dapr.proto.runtime.v1 import state_pb2 as state
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from scenes.golden_apps.grpc_app import GrpcApp
from scenes.golden_apps.http_app import HttpApp
from scenes.golden_apps.patterns import agrees
from support.http2 import RawClient
from support.sidecar import Sidecar, Stage, component, http

CONFIGURATION = json.dumps({
    "apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "conf"},
    "spec": {
        "secrets": {"scopes": [{"storeName": "sec", "defaultAccess": "allow", "deniedSecrets": ["db:pw"]}]},
        "api": {"denied": [{"name": "invoke", "version": "v1", "protocol": "grpc"}]},
    },
})  # fmt: skip


def subscription(topic: str, name: str = "pub", **more: Any) -> Any:
    return callback.TopicSubscription(pubsub_name=name, topic=topic, **more)


SUBSCRIPTIONS = [
    subscription("t1"),
    subscription("raw", metadata={"rawPayload": "true"}),
    subscription("routed", routes=callback.TopicRoutes(rules=[callback.TopicRule(match='event.type == "red"', path="/red")], default="/def")),
    subscription("t3", dead_letter_topic="t3dlq"),
    subscription("t3dlq"),
    subscription("bulk1", bulk_subscribe=callback.BulkSubscribeConfig(enabled=True, max_messages_count=1, max_await_duration_ms=100)),
    subscription("bulkraw", metadata={"rawPayload": "true"},
                 bulk_subscribe=callback.BulkSubscribeConfig(enabled=True, max_messages_count=1, max_await_duration_ms=100)),
]  # fmt: skip


@dataclass
class House:
    """Every sidecar and app of the golden gRPC scenes, a stub for each API."""

    grpc_app: GrpcApp
    http_app: HttpApp
    sidecars: dict[str, Sidecar]
    channels: dict[str, grpc.Channel]

    def stub(self, at: str) -> Any:
        return dapr_pb2_grpc.DaprStub(self.channels[at])

    def call(self, at: str, method: str, request: Any, metadata: Any = (), timeout: float = 10) -> Any:
        return getattr(self.stub(at), method)(request, metadata=metadata, timeout=timeout)

    def fails(self, at: str, method: str, request: Any, metadata: Any = ()) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(at, method, request, metadata)
        return caught.value


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("goldengrpc")
    with Stage(folder) as stage, GrpcApp(SUBSCRIPTIONS) as grpc_app, HttpApp() as http_app:
        (folder / "conf.yaml").write_text(CONFIGURATION)
        (folder / "sec.json").write_text('{"a":"va","db":{"user":"u1","pw":"p"}}')
        broker = (
            component("pub", "pubsub.in-memory"),
            component("scoped", "pubsub.in-memory", allowedTopics="ok1"),
        )
        mine = stage.resources(
            component("mem", "state.in-memory"), *broker,
            component("files", "bindings.localstorage", rootPath=str(folder / "files")),
            component("sec", "secretstores.local.file", secretsFile=str(folder / "sec.json")),
            component("tick", "bindings.cron", schedule="@every 1s"),
        )  # fmt: skip
        conf = ("--config", str(folder / "conf.yaml"))
        plain_conf = folder / "plain.yaml"
        plain_conf.write_text(CONFIGURATION.replace('"invoke"', '"lock"'))
        sidecars = {
            "app": stage.sidecar(
                "app",
                "--app-protocol",
                "grpc",
                "--config",
                str(plain_conf),
                app_port=grpc_app.port,
                resources=mine,
            ),
            "cli": stage.sidecar("cli", resources=stage.resources(*broker, folder="cli")),
            "http": stage.sidecar("http", app_port=http_app.port),
            "guarded": stage.sidecar("guarded", *conf, env={"DAPR_API_TOKEN": "secret"}),
        }
        channels = {name: grpc.insecure_channel(each.ready().grpc) for name, each in sidecars.items()}
        yield House(grpc_app, http_app, sidecars, channels)
        for channel in channels.values():
            channel.close()


@dataclass(frozen=True)
class Row:
    """A call and its recorded refusal. `info` is ErrorInfo's reason and metadata, `resource` ResourceInfo's type and name."""

    at: str
    method: str
    request: Any
    code: str
    message: str
    info: tuple[str, dict[str, str]] | None = None
    resource: tuple[str, str] | None = None
    violation: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.at} {self.method} {self.message[:60]}"


def details(error: Any) -> dict[str, Any]:
    """The detail messages by their short names."""
    status = rpc_status.from_call(error)
    found: dict[str, Any] = {}
    for each in status.details if status else ():
        kind = each.TypeName().rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        each.Unpack(found[kind])
    return found


def item(key: str, value: bytes = b"1", **more: Any) -> Any:
    return common.StateItem(key=key, value=value, **more)


def save(store: str, *items: Any) -> Any:
    return state.SaveStateRequest(store_name=store, states=items)


def operation(kind: str, request: Any) -> Any:
    op = state.TransactionalStateOperation(operationType=kind, request=request)
    return state.ExecuteStateTransactionRequest(storeName="mem", operations=[op])


def publish(topic: str, data: bytes = b"x", kind: str = "", name: str = "pub", **metadata: str) -> Any:
    return pubsub.PublishEventRequest(pubsub_name=name, topic=topic, data=data, data_content_type=kind,
                                      metadata={key.replace("__", "."): value for key, value in metadata.items()})  # fmt: skip


def bind(name: str, operation: str, data: bytes = b"", **metadata: str) -> Any:
    return binding.InvokeBindingRequest(name=name, operation=operation, data=data, metadata=metadata)


def calling(
    app_id: str,
    method: str = "m/2",
    data: bytes = b"hi",
    kind: str = "text/plain",
    verb: int = 0,
    query: str = "",
) -> Any:
    message = common.InvokeRequest(method=method, data=any_pb2.Any(value=data), content_type=kind)
    if verb:
        message.http_extension.CopyFrom(common.HTTPExtension(verb=verb, querystring=query))
    return invoke.InvokeServiceRequest(id=app_id, message=message)


SAVED = ("ERR_STATE_SAVE", {})
FAILED = "failed saving state in state store mem: "
MISMATCH = "possible etag mismatch. error from state store"
FIRST_WRITE = common.StateOptions(concurrency=common.StateOptions.CONCURRENCY_FIRST_WRITE)
BOUND = ("ERR_INVOKE_OUTPUT_BINDING", {})
NO_STORE: tuple[str, dict[str, str]] = ("DAPR_STATE_NOT_CONFIGURED", {})
DUPLICATE = "entryId is duplicated or not present for entry"
ENTRIES = [pubsub.BulkPublishRequestEntry(entry_id="a", event=b"x", content_type="text/plain")] * 2
JOBS = ("DAPR_SCHEDULER_SCHEDULE_JOB", {"appID": "app", "namespace": "default"})

STATE = [
    Row("app", "SaveState", save("mem", item("k1", etag=common.Etag(value="999"))), "ABORTED",
        f"{FAILED}{MISMATCH}: state etag not match for key=app||k1: current={{uuid}}, expect=999", SAVED),
    Row("app", "SaveState", save("mem", item("k1", options=FIRST_WRITE)), "ABORTED", f"{FAILED}{MISMATCH}: item already exists and no etag was passed", SAVED),
    Row("app", "SaveState", save("mem", item("")), "INVALID_ARGUMENT", "state key cannot be empty", SAVED),
    Row("app", "SaveState", save("mem", item("a||b")), "INVALID_ARGUMENT", "input key/keyPrefix 'a||b' can't contain '||'",
        ("DAPR_STATE_ILLEGAL_KEY", {}), ("state", "mem"), "input key/keyPrefix 'a||b' can't contain '||'"),
    Row("app", "SaveState", save("mem", item("n", metadata={"ttlInSeconds": "abc"})), "INTERNAL", FAILED + 'strconv.Atoi: parsing "abc": invalid syntax', SAVED),
    Row("app", "SaveState", save("mem", item("n", b"{bad", metadata={"contentType": "application/json"})), "UNKNOWN", "invalid character 'b' looking for beginning of object key string"),
    Row("app", "DeleteBulkState", state.DeleteBulkStateRequest(store_name="mem", states=[item("k1", etag=common.Etag(value="9")), item("k2", etag=common.Etag(value="9"))]), "ABORTED",
        f"failed deleting state in state store mem: {MISMATCH}: {{any}}state etag not match for key={{any}}", ("ERR_STATE_BULK_DELETE", {})),
    Row("app", "ExecuteStateTransaction", operation("zap", item("k1")), "UNIMPLEMENTED", "operation type zap not supported", ("ERR_NOT_SUPPORTED_STATE_OPERATION", {})),
    Row("app", "ExecuteStateTransaction", operation("upsert", item("k1", etag=common.Etag(value="999"))), "INTERNAL",
        f"error while executing state transaction: {MISMATCH}: state etag not match for key=app||k1: current={{uuid}}, expect=999", ("ERR_STATE_TRANSACTION", {})),
    Row("app", "QueryStateAlpha1", state.QueryStateRequest(store_name="mem", query="{}"), "INTERNAL", "state store does not support querying",
        ("DAPR_STATE_QUERYING_NOT_SUPPORTED", {}), ("state", "mem")),
    Row("http", "GetState", state.GetStateRequest(store_name="x", key="k"), "FAILED_PRECONDITION", "state store x is not configured", NO_STORE),
    Row("app", "GetState", state.GetStateRequest(key="k"), "INVALID_ARGUMENT", "state store  is not found", ("DAPR_STATE_NOT_FOUND", {})),
]  # fmt: skip

PUBLISH = [
    Row("app", "PublishEvent", publish("t1", name=""), "INVALID_ARGUMENT", "pubsub name is empty", ("DAPR_PUBSUB_NAME_EMPTY", {}), ("pubsub", "")),
    Row("app", "PublishEvent", publish(""), "INVALID_ARGUMENT", "topic is empty in pubsub pub", ("DAPR_PUBSUB_TOPIC_NAME_EMPTY", {}), ("pubsub", "pub")),
    Row("app", "PublishEvent", publish("bad", name="scoped"), "PERMISSION_DENIED", "topic bad is not allowed for app id app",
        ("DAPR_PUBSUB_FORBIDDEN", {"error": "topic bad is not allowed for app id app", "topic": "bad"}), ("pubsub", "scoped")),
    Row("app", "PublishEvent", publish("t1", rawPayload="abc"), "INVALID_ARGUMENT", "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'abc'",
        ("DAPR_PUBSUB_METADATA_DESERIALIZATION", {"rawPayload": "abc"}), ("pubsub", "pub")),
    Row("app", "PublishEvent", publish("t1", b"{x", "application/cloudevents+json"), "INVALID_ARGUMENT", "cannot create cloudevent",
        ("DAPR_PUBSUB_CLOUD_EVENT_CREATION", {"appID": "app", "error": "invalid character 'x' looking for beginning of object key string"}), ("pubsub", "pub")),
    Row("app", "BulkPublishEventAlpha1", pubsub.BulkPublishRequest(pubsub_name="pub", topic="t1", entries=ENTRIES), "INVALID_ARGUMENT",
        f"error marshaling events to bytes for topic t1 pubsub pub. error: {DUPLICATE}", ("DAPR_PUBSUB_MARSHAL_EVENTS", {"appID": "app", "error": DUPLICATE}), ("pubsub", "pub")),
    Row("http", "PublishEvent", publish("t1", name="x"), "INVALID_ARGUMENT", "pubsub x is not found", ("DAPR_PUBSUB_NOT_FOUND", {})),
]  # fmt: skip

COMPONENTS = [
    Row("app", "InvokeBinding", bind("zz", "create"), "INTERNAL", "error invoking output binding zz: couldn't find output binding zz", BOUND),
    Row("app", "InvokeBinding", bind("files", "frob"), "INTERNAL",
        "error invoking output binding files: binding files does not support operation frob. supported operations:create get list delete", BOUND),
    Row("app", "InvokeBinding", bind("files", ""), "INTERNAL", "error invoking output binding files: operation field is missing from request", BOUND),
    Row("app", "GetSecret", secret.GetSecretRequest(store_name="sec", key="nope"), "INTERNAL", "failed getting secret with key nope from secret store sec: secret nope not found"),
    Row("app", "GetSecret", secret.GetSecretRequest(store_name="sec", key="db:pw"), "PERMISSION_DENIED", 'access denied by policy to get "db:pw" from "sec"'),
    Row("app", "GetSecret", secret.GetSecretRequest(store_name="zz", key="a"), "INVALID_ARGUMENT", "failed finding secret store with key zz"),
    Row("http", "GetSecret", secret.GetSecretRequest(store_name="zz", key="a"), "FAILED_PRECONDITION", "secret store is not configured"),
]  # fmt: skip


UNAUTHORIZED = {"http.code": "401"}
TOKENS = [
    Row("guarded", "GetState", state.GetStateRequest(store_name="x", key="k"), "UNAUTHENTICATED", "Unauthorized",
        ("Unauthorized", {**UNAUTHORIZED, "http.error_message": "missing api token in request metadata"})),
    Row("guarded", "GetState", state.GetStateRequest(store_name="x", key="k"), "UNAUTHENTICATED", "Unauthorized",
        ("Unauthorized", {**UNAUTHORIZED, "http.error_message": "authentication error: api token mismatch"}), metadata=(("dapr-api-token", "no"),)),
    Row("guarded", "InvokeService", calling("app"), "UNIMPLEMENTED", "Not Implemented",
        ("Not Implemented", {"http.code": "501", "http.error_message": "requested endpoint is not available"}), metadata=(("dapr-api-token", "secret"),)),
    Row("guarded", "GetState", state.GetStateRequest(store_name="x", key="k"), "FAILED_PRECONDITION", "state store x is not configured", NO_STORE,
        metadata=(("dapr-api-token", "secret"),)),
]  # fmt: skip

INVOKED = "failed to invoke, id: "
INVOCATION = [
    Row("cli", "InvokeService", calling("none"), "INTERNAL", INVOKED + "none, err: no host found with the given ID"),
    Row("cli", "InvokeService", calling(""), "INTERNAL", INVOKED + ", err: app id is empty"),
    Row("cli", "InvokeService", calling("a.b.c"), "INTERNAL", INVOKED + "a.b.c, err: invalid app id a.b.c"),
    Row("cli", "InvokeService", calling("cli"), "INTERNAL", INVOKED + "cli, err: cannot invoke local endpoint: app channel not initialized"),
    Row("cli", "InvokeService", invoke.InvokeServiceRequest(id="app"), "INTERNAL", INVOKED + "app, err: rpc error: code = InvalidArgument desc = parsing InternalInvokeRequest error: {any}"),
    Row("cli", "InvokeService", calling("app", "err/1"), "CANCELLED", "app says 1"),
    Row("cli", "InvokeService", calling("app", "err/9"), "FAILED_PRECONDITION", "app says 9"),
    Row("app", "InvokeService", calling("app", "err/14"), "UNAVAILABLE", "app says 14"),
    Row("http", "InvokeService", calling("http", "x"), "INTERNAL", INVOKED + "http, err: rpc error: code = InvalidArgument desc = missing HTTP extension field"),
]  # fmt: skip


ABSENT = [
    Row("app", "GetConfiguration", configuration.GetConfigurationRequest(store_name="x"), "FAILED_PRECONDITION", "configuration stores not configured",
        ("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", {})),
    Row("app", "TryLockAlpha1", lock.TryLockRequest(store_name="lck", expiry_in_seconds=1, resource_id="r", lock_owner="o"), "FAILED_PRECONDITION", "lock store is not configured"),
    Row("app", "TryLockAlpha1", lock.TryLockRequest(store_name="lck"), "INVALID_ARGUMENT", "ExpiryInSeconds is not positive in lock store lck"),
    Row("app", "UnlockAlpha1", lock.UnlockRequest(store_name="lck"), "FAILED_PRECONDITION", "lock store is not configured"),
    Row("app", "SubtleGetKeyAlpha1", crypto.SubtleGetKeyRequest(), "UNIMPLEMENTED", "this API is currently not implemented"),
    Row("app", "ConverseAlpha2", ai.ConversationRequestAlpha2(name="zz"), "INVALID_ARGUMENT", "failed finding conversation component zz"),
    Row("app", "ScheduleJobAlpha1", jobs.ScheduleJobRequest(job=jobs.Job(name="j", schedule="@daily")), "INTERNAL",
        "failed to schedule job due to: scheduler clients are disabled", JOBS),
    Row("app", "GetJobAlpha1", jobs.GetJobRequest(name="j"), "INTERNAL", "failed to get job due to: scheduler clients are disabled",
        ("DAPR_SCHEDULER_GET_JOB", JOBS[1])),
    Row("app", "InvokeActor", actors.InvokeActorRequest(actor_type="a", actor_id="1", method="m"), "UNAVAILABLE", "placement service is not configured"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*STATE, *PUBLISH, *COMPONENTS, *TOKENS, *INVOCATION, *ABSENT], ids=str)
def test_a_refusal_is_the_recorded_one(house: House, row: Row) -> None:
    if row.at == "app":
        house.call("app", "SaveState", save("mem", item("k1", b'{"a":1}'), item("k2", b"\x00\x01")))
    error = house.fails(row.at, row.method, row.request, row.metadata)
    assert (error.code().name, agrees(error.details(), row.message)) == (row.code, True), error.details()
    found = details(error)
    assert set(found) == {
        name for name, value in (("ErrorInfo", row.info), ("ResourceInfo", row.resource), ("BadRequest", row.violation)) if value
    }  # fmt: skip
    if row.info:
        info = found["ErrorInfo"]
        metadata = {
            key: "{any}" if row.info[1].get(key) == "{any}" else value for key, value in info.metadata.items()
        }
        assert (info.domain, info.reason, metadata) == ("dapr.io", *row.info)
    if row.resource:
        resource = found["ResourceInfo"]
        assert (resource.resource_type, resource.resource_name) == row.resource
        assert resource.description == (error.details() if row.resource[0] == "pubsub" else "")
    if row.violation:
        (violation,) = found["BadRequest"].field_violations
        assert (violation.field, violation.description) == ("a||b", row.violation)


def test_encryption_without_a_provider_is_refused(house: House) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(
            house.stub("app").EncryptAlpha1(
                iter([crypto.EncryptRequest(options=crypto.EncryptRequestOptions(component_name="x"))]),
                timeout=5,
            )
        )
    assert (caught.value.code().name, caught.value.details()) == (
        "INTERNAL",
        "crypto providers not configured",
    )


def test_state_answers_are_the_recorded_ones(house: House) -> None:
    house.call(
        "app",
        "SaveState",
        save(
            "mem",
            item("k1", b'{"a":1}'),
            item("k2", b"\x00\x01"),
            item("ttl", metadata={"ttlInSeconds": "100"}),
        ),
    )
    one = house.call("app", "GetState", state.GetStateRequest(store_name="mem", key="k1"))
    assert one.data == b'{"a":1}' and agrees(one.etag, "{uuid}") and not one.metadata
    assert (
        house.call("app", "GetState", state.GetStateRequest(store_name="mem", key="k2")).data == b"\x00\x01"
    )
    assert agrees(
        house.call("app", "GetState", state.GetStateRequest(store_name="mem", key="ttl")).metadata[
            "ttlExpireTime"
        ],
        "{T}Z",
    )
    none = house.call("app", "GetState", state.GetStateRequest(store_name="mem", key="nope"))
    assert (none.data, none.etag) == (b"", "")
    first, second = house.call(
        "app", "GetBulkState", state.GetBulkStateRequest(store_name="mem", keys=["k1", "nope"])
    ).items
    assert (first.key, first.data, first.etag) == ("k1", b'{"a":1}', one.etag)
    assert (second.key, second.data, second.etag, second.error) == ("nope", b"", "", "")


def test_bindings_and_secrets_answer_as_recorded(house: House) -> None:
    assert (
        house.call("app", "InvokeBinding", bind("files", "create", b"hello", fileName="f1")).data
        == b'{"fileName":"f1"}'
    )
    assert house.call("app", "InvokeBinding", bind("files", "get", fileName="f1")).data == b"hello"
    assert dict(house.call("app", "GetSecret", secret.GetSecretRequest(store_name="sec", key="a")).data) == {
        "a": "va"
    }
    found = house.call("app", "GetBulkSecret", secret.GetBulkSecretRequest(store_name="sec")).data
    assert {key: dict(value.secrets) for key, value in found.items()} == {
        "a": {"a": "va"},
        "db:user": {"db:user": "u1"},
    }


def invoked(house: House, data: bytes, method: str) -> tuple[Any, Any]:
    """Wait for an invocation; what earlier tests left is passed over."""
    while True:
        request, metadata = house.grpc_app.invoked.get(timeout=5)
        if (request.data.value, request.method) == (data, method):
            return request, metadata


CALLER_SENT = (
    ("x-cust", "1"),
    ("x-cust", "2"),
    ("x-b-bin", b"\x01"),
    ("accept", "a/b"),
    ("dapr-caller-app-id", "spoof"),
)


@pytest.mark.parametrize("at", ["cli", "app"])
def test_a_grpc_app_is_invoked_as_recorded(house: House, at: str) -> None:
    answer, call = house.stub(at).InvokeService.with_call(
        calling("app", verb=common.HTTPExtension.HEAD, query="a=1&b=2"), metadata=CALLER_SENT, timeout=5
    )
    assert (answer.data.value, answer.content_type) == (b"echo:hi", "text/plain")
    assert {("custom", "1"), ("x-init", "iv"), ("x-init-bin", b"\t")} <= {
        (key, value) for key, value in call.initial_metadata()
    }
    assert ("x-trail", "tv") in [(key, value) for key, value in call.trailing_metadata()]
    request, metadata = invoked(house, b"hi", "m/2")
    assert (request.method, request.data.value, request.content_type) == ("m/2", b"hi", "text/plain")
    assert (request.http_extension.verb, request.http_extension.querystring) == (
        common.HTTPExtension.HEAD,
        "a=1&b=2",
    )
    pairs = [(key, value) for key, value in metadata]
    assert {("x-cust", "1"), ("x-cust", "2"), ("x-b-bin", b"\x01"), ("accept", "a/b")} <= set(pairs)
    named = dict(pairs)
    if at == "cli":
        assert [value for key, value in pairs if key == "dapr-caller-app-id"] == ["cli"], (
            "what was spoofed is replaced"
        )
        assert (named["dapr-caller-namespace"], named["dapr-callee-app-id"]) == ("default", "app")
        address, host = named["x-forwarded-for"], named["x-forwarded-host"]
        assert named["forwarded"] == f"for={address};by={address};host={host}"
    else:
        assert not {"dapr-callee-app-id", "dapr-caller-namespace", "forwarded"} & set(named)


def test_an_app_s_error_brings_its_trailers_and_details(house: House) -> None:
    refused = house.fails("cli", "InvokeService", calling("app", "err/1"))
    assert {("x-trail", "tv"), ("x-tr-bin", b"\x01\x02")} <= {
        (key, value) for key, value in refused.trailing_metadata()
    }
    rich = house.fails("cli", "InvokeService", calling("app", "richerr"))
    info = details(rich)["ErrorInfo"]
    assert (rich.code().name, rich.details(), info.reason, info.domain, dict(info.metadata)) == (
        "FAILED_PRECONDITION",
        "rich",
        "R",
        "d",
        {"k": "v"},
    )


def test_a_call_that_outlives_its_deadline_is_ended(house: House) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        house.call("cli", "InvokeService", calling("app", "slow"), timeout=0.3)
    assert caught.value.code().name == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize("verb, method, status, text", [
    ("POST", "m1?x=1", 200, "echo:body"), ("GET", "err/5", 404, '{"code":5, "message":"app says 5"}'), ("PUT", "err/7", 403, '{"code":7, "message":"app says 7"}'),
    ("GET", "err/14", 503, '{"code":14, "message":"app says 14"}'), ("GET", "richerr", 400, '{"code":9, "message":"rich", "details":[{any}'),
    ("GET", "httpstatus", 200, "echo:"),
])  # fmt: skip
def test_an_http_caller_reaches_a_grpc_app_as_recorded(
    house: House, verb: str, method: str, status: int, text: str
) -> None:
    heard = http(
        verb,
        f"{house.sidecars['cli'].url}/v1.0/invoke/app/method/{method}",
        "body" if verb == "POST" else None,
        {"Content-Type": "text/z"},
    )
    assert heard.status == status and agrees(heard.body.decode(), text), heard.body
    assert heard.headers["Content-Type"] == ("text/plain; charset=utf-8" if status >= 400 else "text/z")
    if status == 200:
        assert heard.headers["X-Init"] == "iv" and "X-Init-Bin" not in heard.headers
    assert heard.headers.get("Dapr-Http-Status") == ("404" if method == "httpstatus" else None)


STATUSES = [
    (200, "OK", ""), (201, "OK", ""), (204, "OK", ""), (301, "UNKNOWN", "Moved Permanently"), (302, "UNKNOWN", "Found"), (304, "UNKNOWN", "Not Modified"),
    (400, "INTERNAL", "Bad Request"), (401, "UNAUTHENTICATED", "Unauthorized"), (403, "PERMISSION_DENIED", "Forbidden"), (404, "NOT_FOUND", "Not Found"),
    (405, "UNKNOWN", "Method Not Allowed"), (408, "CANCELLED", "Request Timeout"), (409, "ALREADY_EXISTS", "Conflict"), (412, "UNKNOWN", "Precondition Failed"),
    (413, "UNKNOWN", "Request Entity Too Large"), (418, "UNKNOWN", "I'm a teapot"), (429, "RESOURCE_EXHAUSTED", "Too Many Requests"), (499, "UNKNOWN", ""),
    (500, "UNKNOWN", "Internal Server Error"), (501, "UNIMPLEMENTED", "Not Implemented"), (502, "UNKNOWN", "Bad Gateway"), (503, "UNAVAILABLE", "Service Unavailable"),
    (504, "DEADLINE_EXCEEDED", "Gateway Timeout"), (599, "UNKNOWN", ""),
]  # fmt: skip


@pytest.mark.parametrize("at", ["cli", "http"])
@pytest.mark.parametrize("status, code, message", STATUSES)
def test_an_http_app_s_status_is_told_as_recorded(
    house: House, at: str, status: int, code: str, message: str
) -> None:
    request = calling("http", f"status/{status}", verb=common.HTTPExtension.POST)
    try:
        answer, call = house.stub(at).InvokeService.with_call(request, timeout=5)
    except grpc.RpcError as error:
        call, info = error, details(error)["ErrorInfo"]
        assert (error.details(), info.reason) == (message, message)
        said = "" if status == 304 else "st"
        assert dict(info.metadata) == {"http.code": str(status), "http.error_message": said}
    else:
        assert answer.content_type == "text/plain; charset=utf-8"
        assert answer.data.value == (b"" if status == 204 else b"st")
        initial = {(key, value) for key, value in call.initial_metadata()}
        assert {
            ("server", "x"),
            ("x-foo", "bar"),
            ("dapr-content-type", "text/plain; charset=utf-8"),
        } <= initial
    assert call.code().name == code
    assert dict(call.initial_metadata())["dapr-http-status"] == str(status)


UU = "/my.pkg.Svc/UU"
TO_APP = (("dapr-app-id", "app"), ("x-c", "1"), ("x-c-bin", b"\xff"))


def proxied(
    house: House, at: str, data: bytes, metadata: Any = (), method: str = UU, timeout: float = 5
) -> Any:
    """A call of a service that is not Dapr's: (answer, call)."""
    return house.channels[at].unary_unary(method).with_call(data, metadata=metadata, timeout=timeout)


@pytest.mark.parametrize("at", ["cli", "app"])
def test_a_call_is_proxied_with_its_metadata(house: House, at: str) -> None:
    answer, call = proxied(house, at, b"x", TO_APP)
    assert answer == b"pong:x"
    assert {("x-i-bin", b"\x07"), ("x-init", "iv")} <= {
        (key, value) for key, value in call.initial_metadata()
    }
    assert {("x-trail", "tv"), ("x-t-bin", b"\x01")} <= {
        (key, value) for key, value in call.trailing_metadata()
    }
    _, metadata = house.grpc_app.proxied.get(timeout=5)
    named = {each.key: each.value for each in metadata}
    assert (named["x-c"], named["x-c-bin"], "dapr-app-id" in named) == ("1", b"\xff", at == "app")
    assert named.get("dapr-caller-app-id") == ("cli" if at == "cli" else None)
    assert named.get("dapr-callee-app-id") == ("app" if at == "cli" else None)


NO_APP_ID = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"
NOT_DAPR = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
PROXY = [
    ("cli", UU, b"fail", "app", "DATA_LOSS", "pfail"),
    ("cli", UU, b"x", None, "UNKNOWN", NO_APP_ID),
    ("cli", UU, b"x", "nobody", "UNKNOWN", "no host found with the given ID"),
    ("cli", UU, b"x", "a.b.c", "UNKNOWN", "invalid app id a.b.c"),
    # Dapr shows its failed dial of 127.0.0.1:0.
    ("cli", UU, b"x", "cli", "UNAVAILABLE", "{any}"),
    ("cli", "/my.pkg.Svc/Nope", b"x", "app", "UNIMPLEMENTED", "Method not found!"),
    ("cli", "/dapr.proto.runtime.v1.Dapr/Nope", b"", None, "UNKNOWN", NOT_DAPR),
    ("cli", "/dapr.proto.runtime.v1.Dapr/Nope", b"", "app", "UNIMPLEMENTED", "Method not found!"),
    ("cli", "/grpc.health.v1.Health/Check", b"", None, "UNKNOWN", NO_APP_ID),
    ("cli", "/TaskHubSidecarService/Nope", b"", None, "UNKNOWN", NOT_DAPR),
    # Dapr shows what it could not read of the app's HTTP/1.1 answer.
    ("cli", UU, b"x", "http", "UNAVAILABLE", "{any}"),
]  # fmt: skip


@pytest.mark.parametrize("at, method, data, app_id, code, message", PROXY)
def test_a_call_that_cannot_be_proxied_is_refused(
    house: House, at: str, method: str, data: bytes, app_id: str | None, code: str, message: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        proxied(house, at, data, (("dapr-app-id", app_id),) if app_id else (), method)
    assert (caught.value.code().name, agrees(caught.value.details(), message)) == (code, True), (
        caught.value.details()
    )


def test_a_proxied_call_needs_the_token_and_keeps_its_deadline(house: House) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        proxied(house, "guarded", b"x", TO_APP)
    assert (refused.value.code().name, refused.value.details()) == ("UNAUTHENTICATED", "Unauthorized")
    with pytest.raises(grpc.RpcError) as late:
        proxied(house, "cli", b"slow", TO_APP, timeout=0.3)
    assert late.value.code().name == "DEADLINE_EXCEEDED"


def test_a_message_over_the_limit_is_refused(house: House) -> None:
    error = house.fails("app", "PublishEvent", publish("t1", b"x" * 5_000_000))
    assert error.code().name == "RESOURCE_EXHAUSTED"
    assert agrees(error.details(), "grpc: received message larger than max (50000{number} vs. 4194304)"), (
        error.details()
    )


def test_gzip_is_read_and_deflate_is_not(house: House) -> None:
    call = house.stub("app").PublishEvent
    call(publish("t1", b"packed"), compression=grpc.Compression.Gzip, timeout=5)
    with pytest.raises(grpc.RpcError) as caught:
        call(publish("t1", b"packed" * 100), compression=grpc.Compression.Deflate, timeout=5)
    assert (caught.value.code().name, caught.value.details()) == (
        "UNIMPLEMENTED", 'grpc: Decompressor is not installed for grpc-encoding "deflate"',
    )  # fmt: skip


def test_reflection_tells_the_services(house: House) -> None:
    # Dapr answers it only as a proxied call, with dapr-app-id.
    database = ProtoReflectionDescriptorDatabase(house.channels["app"])
    assert "dapr.proto.runtime.v1.Dapr" in database.get_services()
    file = database.FindFileContainingSymbol("dapr.proto.runtime.v1.Dapr")
    assert "GetState" in [method.name for service in file.service for method in service.method]


def delivered(house: House, marker: str) -> tuple[Any, dict[str, Any]]:
    """Wait for the event whose id, type or data has the marker."""
    while True:
        request, metadata = house.grpc_app.events.get(timeout=5)
        if marker in request.id or marker.encode() in request.data or marker in request.topic:
            return request, {each.key: each.value for each in metadata}


GET_STATE = b"/dapr.proto.runtime.v1.Dapr/GetState"
RAW = [
    ("bad content-type", {b"content-type": b"application/json"}, {":status": "415", "grpc-status": "3", "grpc-message": 'invalid gRPC request content-type "application/json"'}),
    ("GET", {b":method": b"GET"}, {":status": "405", "grpc-status": "13", "grpc-message": 'Received a HEADERS frame with :method "GET" which should be POST'}),
    ("timeout 1n", {b"grpc-timeout": b"1n"}, {"grpc-status": "4", "grpc-message": "context deadline exceeded"}),
    ("bad timeout", {b"grpc-timeout": b"zz"}, {":status": "400", "grpc-status": "13", "grpc-message": 'malformed grpc-timeout: transport: timeout unit is not recognized: "zz"'}),
    ("enc snappy", {b"grpc-encoding": b"snappy"}, {"grpc-status": "12", "grpc-message": 'grpc: Decompressor is not installed for grpc-encoding "snappy"'}),
]  # fmt: skip


@pytest.mark.parametrize("case, change, answered", RAW)
async def test_a_malformed_call_is_answered_as_recorded(
    house: House, case: str, change: dict[bytes, bytes], answered: dict[str, str]
) -> None:
    raw = await RawClient.greeted(house.sidecars["app"].ports.grpc)
    raw.send(raw.call(GET_STATE, b"", change=change))
    head, _, trailers = await raw.answer()
    raw.close()
    said = {name.decode(): unquote(value.decode()) for name, value in (*head, *trailers)}
    assert {name: said.get(name) for name in answered} == answered, case


async def test_a_call_without_a_message_is_told_its_end(house: House) -> None:
    raw = await RawClient.greeted(house.sidecars["app"].ports.grpc)
    raw.send(raw.headers(GET_STATE, end=True))
    head, _, trailers = await raw.answer()
    raw.close()
    said = dict([*head, *trailers])
    assert (said[b"grpc-status"], said[b"grpc-message"]) == (b"2", b"EOF")


async def test_both_ports_announce_their_limits(house: House) -> None:
    for port in (house.sidecars["app"].ports.grpc, house.sidecars["app"].ports.internal):
        raw = await RawClient.dial(port)
        _, _, _, settings = await raw.frame()
        raw.close()
        assert settings == bytes.fromhex("000500004000000600400000")


async def test_a_call_with_an_empty_message_names_its_store_and_its_trace(house: House) -> None:
    raw = await RawClient.greeted(house.sidecars["app"].ports.grpc)
    raw.send(raw.call(GET_STATE, b""))
    head, _, trailers = await raw.answer()
    raw.close()
    said = dict([*head, *trailers])
    assert (said[b"grpc-status"], said[b"grpc-message"]) == (b"3", b"state store  is not found")
    assert b"grpc-status-details-bin" in said


STANDARD = {"pubsubname", "topic", "time", "traceid", "traceparent", "tracestate"}
EVENTS = [
    # Dapr answers 12345678901234567000: an integer of any size stays exact here.
    ("application/json", b'{"big":12345678901234567890,"f":1.50,"a":null}', b'{"a":null,"big":12345678901234567890,"f":1.5}', "application/json"),
    ("application/json", b"notjson", b'"notjson"', "application/json"),
    ("", b"noct", b"noct", "text/plain"),
    ("application/octet-stream", b"\x00\xff", b"\x00\xff", "application/octet-stream"),
    ("application/xml", b"<x/>", b"<x/>", "application/xml"),
    ("image/png", b"img", b"", "image/png"),
    ("text/plain", b"\xff\xfe", b"\xef\xbf\xbd\xef\xbf\xbd", "text/plain"),
]  # fmt: skip


@pytest.mark.parametrize("kind, data, arrives, told", EVENTS)
def test_an_event_is_delivered_as_recorded(
    house: House, kind: str, data: bytes, arrives: bytes, told: str
) -> None:
    marker = f"ev-{kind}-{len(data)}"
    house.call("app", "PublishEvent", publish("t1", data, kind, cloudevent__id=marker))
    event, metadata = delivered(house, marker)
    assert (event.source, event.type, event.spec_version, event.topic, event.pubsub_name, event.path) == (
        "app", "com.dapr.event.sent", "1.0", "t1", "pub", "",
    )  # fmt: skip
    assert (event.data, event.data_content_type) == (arrives, told)
    assert set(event.extensions.fields) == STANDARD
    assert (metadata["pubsubname"], metadata["cloudevent.id"]) == ("pub", marker)


CE = "application/cloudevents+json"
GIVEN = [
    ('{"id":"ce1","source":"me","type":"ty","datacontenttype":"application/json","data":{"z":1},"ext1":"e","extn":5,"subject":"sub"}',
     ("me", "ty", "application/json", b'{"z":1}'), {"ext1": "e", "extn": 5.0, "subject": "sub"}),
    ('{"id":"ce2","data":"only"}', ("Dapr", "com.dapr.event.sent", "", b""), {}),
    ('{"id":"ce3","data_base64":"AAE=","datacontenttype":"image/png"}', ("Dapr", "com.dapr.event.sent", "image/png", b"\x00\x01"), {}),
    ('{"id":"ce4","data":{"o":1},"datacontenttype":"image/png"}', ("Dapr", "com.dapr.event.sent", "image/png", b""), {}),
]  # fmt: skip


@pytest.mark.parametrize("body, said, extra", GIVEN)
def test_a_cloud_event_is_delivered_as_it_was_given(
    house: House, body: str, said: tuple[Any, ...], extra: dict[str, Any]
) -> None:
    house.call("app", "PublishEvent", publish("t1", body.encode(), CE))
    event, _ = delivered(house, json.loads(body)["id"])
    assert (event.source, event.type, event.data_content_type, event.data) == said
    assert {key: value for key, value in event.extensions.items() if key not in STANDARD} == extra


def test_attributes_in_the_metadata_win(house: House) -> None:
    house.call(
        "app",
        "PublishEvent",
        publish(
            "t1",
            b"x",
            cloudevent__id="myid",
            cloudevent__type="myt",
            cloudevent__source="mys",
            cloudevent__subject="subj",
        ),
    )
    event, _ = delivered(house, "myid")
    assert (event.source, event.type, event.extensions["subject"]) == ("mys", "myt", "subj")


@pytest.mark.parametrize("kind, path", [("red", "/red"), ("blue", "/def")])
def test_an_event_is_routed(house: House, kind: str, path: str) -> None:
    house.call(
        "app", "PublishEvent", publish("routed", b"x", cloudevent__type=kind, cloudevent__id=f"routed-{kind}")
    )
    assert delivered(house, f"routed-{kind}")[0].path == path


def test_a_raw_message_is_delivered_raw(house: House) -> None:
    house.call("app", "PublishEvent", publish("raw", b"rawbytes", rawPayload="true"))
    event, metadata = delivered(house, "rawbytes")
    assert (event.source, event.data_content_type, event.data) == (
        "Dapr",
        "application/octet-stream",
        b"rawbytes",
    )
    assert (metadata["rawpayload"], metadata["pubsubname"]) == ("true", "pub")
    assert set(event.extensions.fields) <= {"pubsubname", "topic", "traceid", "tracestate"}


@pytest.mark.parametrize("status", ["2", "1", "7", '"INTERNAL"'])
def test_what_the_app_does_not_take_reaches_the_dead_letter_topic(house: House, status: str) -> None:
    marker = f"dead-{status}"
    house.call(
        "app", "PublishEvent", publish("t3", status.encode(), "application/json", cloudevent__id=marker)
    )
    assert delivered(house, marker)[0].topic == "t3"
    dead, _ = delivered(house, marker)
    assert (dead.topic, dead.id, dead.extensions["topic"]) == ("t3dlq", marker, "t3")


def test_what_the_app_does_not_implement_is_done_with(house: House) -> None:
    house.call(
        "app",
        "PublishEvent",
        publish("t3", b'"UNIMPLEMENTED"', "application/json", cloudevent__id="unimplemented"),
    )
    assert delivered(house, "unimplemented")[0].topic == "t3"
    house.call("app", "PublishEvent", publish("t3", b"2", "application/json", cloudevent__id="after"))
    assert delivered(house, "t3")[0].id == "after"
    assert delivered(house, "t3dlq")[0].id == "after"


def test_a_batch_is_delivered_as_recorded(house: House) -> None:
    house.call("app", "PublishEvent", publish("bulk1", b'{"b":1}', "application/json"))
    batch, _ = house.grpc_app.batches.get(timeout=5)
    (entry,) = batch.entries
    assert agrees(batch.id, "{uuid}") and agrees(entry.entry_id, "{uuid}")
    assert (batch.topic, batch.pubsub_name, batch.type, dict(batch.metadata)) == (
        "bulk1",
        "pub",
        "com.dapr.event.sent.bulk",
        {"pubsubName": "pub"},
    )
    event = entry.cloud_event
    assert (event.source, event.type, event.spec_version, event.data_content_type, event.data) == (
        "app", "com.dapr.event.sent", "1.0", "application/json", b'{"b":1}',
    )  # fmt: skip
    house.call("app", "PublishEvent", publish("bulkraw", b"br", rawPayload="true"))
    raw, _ = house.grpc_app.batches.get(timeout=5)
    assert (raw.topic, raw.entries[0].bytes, raw.entries[0].metadata["rawPayload"]) == (
        "bulkraw",
        b"br",
        "true",
    )


def test_an_input_binding_is_delivered_as_recorded(house: House) -> None:
    tick, _ = house.grpc_app.bound.get(timeout=5)
    assert (tick.name, tick.data, tick.metadata["timeZone"]) == ("tick", b"", "Local")
    assert agrees(
        tick.metadata["readTimeUTC"],
        "{number}-{number}-{number} {number}:{number}:{number}.{number} +0000 UTC",
    )


class Stream:
    """A streaming subscription, driven by hand."""

    def __init__(self, house: House, *requests: Any, at: str = "cli") -> None:
        self._out: queue.Queue[Any] = queue.Queue()
        for request in requests:
            self._out.put(request)
        self.call = house.stub(at).SubscribeTopicEventsAlpha1(iter(self._out.get, None), timeout=10)

    def send(self, request: Any) -> None:
        self._out.put(request)

    def next(self) -> Any:
        return next(self.call)

    def event(self) -> Any:
        return self.next().event_message

    def processed(self, event_id: str, status: int) -> None:
        self.send(pubsub.SubscribeTopicEventsRequestAlpha1(event_processed=pubsub.SubscribeTopicEventsRequestProcessedAlpha1(
            id=event_id, status=callback.TopicEventResponse(status=status))))  # fmt: skip

    def refusal(self) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as caught:
            while True:
                next(self.call)
        self._out.put(None)
        return caught.value.code().name, caught.value.details()

    def over(self) -> None:
        self.call.cancel()
        self._out.put(None)


def initial(topic: str, name: str = "pub", **more: Any) -> Any:
    start = pubsub.SubscribeTopicEventsRequestInitialAlpha1(pubsub_name=name, topic=topic, **more)
    return pubsub.SubscribeTopicEventsRequestAlpha1(initial_request=start)


ACK = pubsub.SubscribeTopicEventsRequestAlpha1(
    event_processed=pubsub.SubscribeTopicEventsRequestProcessedAlpha1(id="x")
)
REFUSED = [
    ((initial("s1"), initial("s1")), "UNKNOWN", "duplicate initial request received"),
    ((initial("s1", "zz"),), "INVALID_ARGUMENT", "pubsub zz is not found"),
    ((initial(""),), "UNKNOWN", "topic is required"),
    ((initial("bad", "scoped"),), "UNKNOWN", "failed to create subscription for scoped: subscription to topic 'bad' on pubsub 'scoped' is not allowed"),
    ((ACK,), "UNKNOWN", "initial request is required"),
]  # fmt: skip


@pytest.mark.parametrize("requests, code, message", REFUSED)
def test_a_stream_is_refused_as_recorded(
    house: House, requests: tuple[Any, ...], code: str, message: str
) -> None:
    assert Stream(house, *requests).refusal() == (code, message)


def test_a_stream_brings_events_and_their_dead_letters(house: House) -> None:
    stream, dead = Stream(house, initial("s3", dead_letter_topic="s3dlq")), Stream(house, initial("s3dlq"))
    assert stream.next().HasField("initial_response") and dead.next().HasField("initial_response")
    stream.send(ACK)  # of an id nobody knows: nothing happens
    house.call("cli", "PublishEvent", publish("s3", b'{"a":1}', "application/json"))
    event = stream.event()
    assert agrees(event.id, "{uuid}")
    assert (event.source, event.type, event.spec_version, event.data_content_type, event.topic, event.data) == (
        "cli", "com.dapr.event.sent", "1.0", "application/json", "s3", b'{"a":1}',
    )  # fmt: skip
    stream.processed(event.id, 2)
    assert dead.event().id == event.id
    stream.over()
    dead.over()


def test_a_raw_stream_brings_raw_messages(house: House) -> None:
    stream = Stream(house, initial("s5", metadata={"rawPayload": "true"}))
    stream.next()
    house.call("cli", "PublishEvent", publish("s5", b"rawbytes", rawPayload="true"))
    event = stream.event()
    assert (event.source, event.data_content_type, event.data) == (
        "Dapr",
        "application/octet-stream",
        b"rawbytes",
    )
    stream.over()


def test_a_message_asked_for_again_comes_again(house: House) -> None:
    # Dapr's in-memory broker drops it: what was not taken is delivered again here.
    stream = Stream(house, initial("s4"))
    stream.next()
    house.call("cli", "PublishEvent", publish("s4", b"again"))
    first = stream.event()
    stream.processed(first.id, 1)
    second = stream.event()
    assert (second.id, second.data) == (first.id, b"again")
    stream.processed(second.id, 0)
    stream.over()


def test_two_streams_of_one_topic_both_hear(house: House) -> None:
    streams = [Stream(house, initial("s6")) for _ in range(2)]
    for each in streams:
        assert each.next().HasField("initial_response")
    house.call("cli", "PublishEvent", publish("s6", b"both"))
    assert [each.event().data for each in streams] == [b"both", b"both"]
    for each in streams:
        each.over()
