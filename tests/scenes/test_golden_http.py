"""A running sidecar held to Dapr's recorded HTTP answers, row by row; where ours differ on purpose the row says why."""

# ruff: noqa: E501 -- recorded texts are as long as they are.

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from scenes.golden_apps.client import Heard, send
from scenes.golden_apps.http_app import HttpApp
from scenes.golden_apps.patterns import agrees
from support.sidecar import Sidecar, Stage, component, free_port, until

TOO_LARGE = b"x" * (4 * 1024 * 1024 + 2)
JSON = ("Content-Type", "application/json")
NO_APP_ID = '{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}'

SUBSCRIPTIONS = [
    {"pubsubname": "ps", "topic": "t1", "route": "/t1"},
    {"pubsubname": "ps", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}},
    {"pubsubname": "ps", "topic": "dropped", "route": "/drop", "deadLetterTopic": "dead"},
    {"pubsubname": "ps", "topic": "failed", "route": "/error", "deadLetterTopic": "dead"},
    {"pubsubname": "ps", "topic": "gone", "route": "/weird", "deadLetterTopic": "dead"},
    {"pubsubname": "ps", "topic": "dead", "route": "/dead"},
    *({"pubsubname": "ps", "topic": f"bulk-{answer}", "route": f"/{answer}", "deadLetterTopic": "dead",
       "bulkSubscribe": {"enabled": True, "maxMessagesCount": 2, "maxAwaitDurationMs": 200}} for answer in ("empty", "object", "nothing", "error", "weird")),
    ]  # fmt: skip

CONFIGURATION = json.dumps({
    "apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": "conf"},
    "spec": {"secrets": {"scopes": [{"storeName": "sf", "defaultAccess": "allow", "deniedSecrets": ["enckey"]}]}},
})  # fmt: skip


@dataclass
class House:
    """Every sidecar and app of the golden scenes."""

    stage: Stage
    app: HttpApp
    other_app: HttpApp
    appa: Sidecar
    appb: Sidecar
    bare: Sidecar
    late: Sidecar
    guarded: Sidecar
    public: int


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("golden")
    with Stage(folder) as stage, HttpApp(SUBSCRIPTIONS) as app, HttpApp() as other:
        (folder / "conf.yaml").write_text(CONFIGURATION)
        public = free_port()
        house = House(
            stage, app, other,
            appa=stage.sidecar(
                "appa", "--config", str(folder / "conf.yaml"), "--dapr-public-port", str(public),
                app_port=app.port, resources=_resources(stage, app),
            ),
            appb=stage.sidecar("appb", app_port=other.port),
            bare=stage.sidecar("x"),
            late=stage.sidecar("late", app_port=free_port()),
            guarded=stage.sidecar("guarded", "--allowed-origins", "http://good,http://other", env={"DAPR_API_TOKEN": "secret"}),
            public=public,
        )  # fmt: skip
        for sidecar in (house.appa, house.appb, house.bare, house.guarded):
            sidecar.ready()
        house.late.outbound()
        for store in ("mem", "sq"):
            assert house.appa.ask("POST", f"/v1.0/state/{store}", [{"key": "k1", "value": 1}]).status == 204
        yield house


def _resources(stage: Stage, app: HttpApp) -> Path:
    secrets = stage.folder / "secrets.json"
    secrets.write_text('{"plain":"p1","enckey":"e","nest":{"b":{"c":"y"}},"num":5,"arr":["q"]}')
    scoped = json.loads(component("psscoped", "pubsub.in-memory", allowedTopics="t1"))
    return stage.resources(
        component("mem", "state.in-memory"),
        component("sq", "state.sqlite", connectionString=str(stage.folder / "golden.db")),
        component("ps", "pubsub.in-memory"),
        json.dumps(scoped),
        component("sf", "secretstores.local.file", secretsFile=str(secrets), nestedSeparator=":"),
        component("httpb", "bindings.http", url=f"http://127.0.0.1:{app.port}/target"),
        component("httpl", "bindings.http", url=f"http://127.0.0.1:{app.port}/target", errorIfNot2XX="false"),
        component("cronroute", "bindings.cron", schedule="@every 1s"),
        component("files", "bindings.localstorage", rootPath=str(stage.folder / "files")),
    )


INFO = '{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io",'
RESOURCE = '{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":'


def pubsub_fault(code: str, message: str, metadata: str, reason: str, pubsub: str = "ps") -> str:
    """The body of a pub/sub error: two details, the message said twice."""
    said = json.dumps(message)
    return (
        f'{{"errorCode":"{code}","message":{said},"details":[{RESOURCE}{said},"owner":"","resource_name":"{pubsub}",'
        f'"resource_type":"pubsub"}},{INFO}"metadata":{metadata},"reason":"{reason}"}}]}}'
    )


def illegal_key(field: str) -> str:
    message = "api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"
    return (
        f'{{"errorCode":"ERR_MALFORMED_REQUEST","message":"{message}","details":[{{"@type":"type.googleapis.com/google.rpc.BadRequest",'
        f'"field_violations":[{{{field}"description":"{message}"}}]}},{RESOURCE}"","owner":"","resource_name":"mem","resource_type":"state"}},'
        f'{INFO}"metadata":null,"reason":"DAPR_STATE_ILLEGAL_KEY"}}]}}'
    )


def simple(code: str, message: str) -> str:
    return json.dumps({"errorCode": code, "message": message}, separators=(",", ":"))


@dataclass(frozen=True)
class Row:
    """A request and its recorded answer. `at` names the sidecar."""

    request: str
    status: int
    text: str
    body: bytes | str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    at: str = "appa"
    kind: str | None = "application/json"
    answered: tuple[tuple[str, str], ...] = ()
    """Headers of the answer beside its Content-Type."""

    def __str__(self) -> str:
        body = self.body if isinstance(self.body, str) else ""
        return f"{self.at} {self.request[:60]} {body[:60]}"


MALFORMED = "ERR_MALFORMED_REQUEST"
INVOKE = "ERR_DIRECT_INVOKE"
SAVE = "failed saving state in state store "
MISMATCH = "possible etag mismatch. error from state store"
TEXT = "text/plain; charset=utf-8"
EVENTS = "ERR_PUBSUB_EVENTS_SER"
ABOUT_T1 = '{"appID":"appa","error":"entryId is duplicated or not present for entry"}'
DUPLICATE = "error marshaling events to bytes for topic t1 pubsub ps. error: entryId is duplicated or not present for entry"
ENVELOPE = "error when marshalling cloud event envelope for topic t1 pubsub ps: error: "
BINDING = "ERR_INVOKE_OUTPUT_BINDING"

FRONT = [
    *(Row(request, 404, NO_APP_ID) for request in (
        "GET /", "GET /nothing", "GET /v1.0/state/mem", "GET /v1.0/state/mem/x/y", "GET /v1.0/invoke/appa",
        "GET /v1.0/invoke/appa/method", "OPTIONS /v1.0/state/mem/k1", "PATCH /v1.0/state/mem/k1",
        "DELETE /v1.0/actors/a/1/state/k", "POST /v1.0/state/mem/query",
    )),
    Row("HEAD /v1.0/state/mem/k1", 404, ""),
    Row("GET /v1.0/state/mem/%zz", 400, "400 Bad Request", kind=TEXT),
    Row("GET /v1.0/state/mem/k1", 431, "431 Request Header Fields Too Large", headers=(("X-Big", "x" * 9000),), kind=TEXT),
    Row("GET /v1.0/state/mem/k1", 200, "1", headers=(("X-Big", "x" * 5000),)),
    # The words after the first colon are ours: Dapr shows its library's, which names the property "=".
    Row("GET /v1.0/state/mem/k1", 400, 'invalid baggage header: invalid baggage list-member: "bad baggage;;;="\n',
        headers=(("baggage", "bad baggage;;;="),), kind=TEXT),
    *(Row(request, 401, "invalid api token\n", headers=headers, at="guarded", kind=TEXT, answered=(("X-Content-Type-Options", "nosniff"),))
      for request in ("GET /v1.0/metadata", "GET /nowhere", "POST /v1.0/healthz") for headers in ((), (("dapr-api-token", "wrong"),))),
    *(Row(request, 204, "", at="guarded", kind=None) for request in (
        "GET /v1.0/healthz", "GET /v1.0/healthz/", "GET /v1.0/healthz/outbound", "GET /v1.0/healthz/outbound/")),
    Row("GET /v1.0/state/x/k", 500, "{any}ERR_STATE_STORE_NOT_CONFIGURED{any}", headers=(("dapr-api-token", "secret"),), at="guarded"),
    *(Row(request, 404, "404 page not found\n", at="public", kind=TEXT) for request in ("GET /v1.0/state/mem/k1", "GET /")),
    Row("GET /v1.0/healthz", 204, "", at="public", kind=None),
    Row("GET /v1.0/healthz?appid=zz", 500, simple("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")),
    Row("GET /v1.0/healthz?appid=appa", 204, "", kind=None),
    Row("GET /v1.0/healthz", 500, simple("ERR_HEALTH_NOT_READY", "dapr is not ready: [runtime]"), at="late"),
    Row("GET /v1.0/healthz/outbound", 204, "", at="late", kind=None),
]  # fmt: skip

STATE = [
    Row("GET /v1.0/state/nostore/k", 400, '{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store nostore is not found",'
        f'"details":[{INFO}"metadata":{{"appID":"appa"}},"reason":"DAPR_STATE_NOT_FOUND"}}]}}'),
    Row("GET /v1.0/state/x/k", 500, '{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store x is not configured",'
        f'"details":[{INFO}"metadata":{{"appID":"x"}},"reason":"DAPR_STATE_NOT_CONFIGURED"}}]}}', at="bare"),
    Row("POST /v1.0-alpha1/state/x/query", 500, '{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store x is not configured",'
        f'"details":[{INFO}"metadata":null,"reason":"DAPR_STATE_NOT_CONFIGURED"}}]}}', body="{}", at="bare"),
    Row("GET /v1.0/state/mem/a%7C%7Cb", 400, illegal_key('"field":"a||b",')),
    Row("POST /v1.0/state/mem", 400, illegal_key('"field":"a||b",'), body='[{"key":"a||b","value":1}]'),
    Row("POST /v1.0/state/mem/transaction", 400, illegal_key(""), body='{"operations":[{"operation":"upsert","request":{"key":"a||b","value":1}}]}'),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, '"key" is a required field'), body='[{"value":1}]'),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, "invalid character 'b' looking for beginning of object key string"), body="{bad"),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, "json: cannot unmarshal object into Go value of type []state.SetRequest"), body="{}"),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, "EOF"), body=""),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, "json: cannot unmarshal number into Go struct field SetRequest.metadata of type string"),
        body='[{"key":"n","value":1,"metadata":{"ttlInSeconds":100}}]'),
    Row("POST /v1.0/state/mem", 500, simple("ERR_STATE_SAVE", SAVE + 'mem: strconv.Atoi: parsing "abc": invalid syntax'),
        body='[{"key":"n","value":1,"metadata":{"ttlInSeconds":"abc"}}]'),
    Row("POST /v1.0/state/mem", 500, simple("ERR_STATE_SAVE", SAVE + "mem: unrecognized concurrency model 'weird'"),
        body='[{"key":"n","value":1,"options":{"concurrency":"weird"}}]'),
    Row("POST /v1.0/state/mem", 409, simple("ERR_STATE_SAVE", f"{SAVE}mem: {MISMATCH}: state etag not match for key=appa||k1: current={{etag}}, expect=9999"),
        body='[{"key":"k1","value":1,"etag":"9999"}]'),
    Row("POST /v1.0/state/sq", 409, simple("ERR_STATE_SAVE", f"{SAVE}sq: {MISMATCH}"), body='[{"key":"k1","value":1,"etag":"9999"}]'),
    Row("POST /v1.0/state/mem", 409, simple("ERR_STATE_SAVE", f"{SAVE}mem: {MISMATCH}: item already exists and no etag was passed"),
        body='[{"key":"k1","value":1,"options":{"concurrency":"first-write"}}]'),
    Row("POST /v1.0/state/sq", 409, simple("ERR_STATE_SAVE", f"{SAVE}sq: {MISMATCH}: {MISMATCH}"),
        body='[{"key":"first","value":1},{"key":"k1","value":1,"etag":"9999"}]'),
    Row("GET /v1.0/state/sq/first", 200, "1"),
    Row("DELETE /v1.0/state/sq/k1", 409, simple("ERR_STATE_DELETE", f"failed deleting state with key k1: {MISMATCH}"), headers=(("If-Match", "9999"),)),
    Row("POST /v1.0/state/mem/transaction", 400, simple("ERR_NOT_SUPPORTED_STATE_OPERATION", "operation type get not supported"),
        body='{"operations":[{"operation":"get","request":{"key":"k1"}}]}'),
    Row("POST /v1.0/state/sq/transaction", 500, simple("ERR_STATE_TRANSACTION", f"error while executing state transaction: {MISMATCH}"),
        body='{"operations":[{"operation":"upsert","request":{"key":"k1","value":1,"etag":"9999"}}]}'),
    Row("POST /v1.0/state/mem/transaction", 400, simple(MALFORMED, "failed deserializing HTTP body: 1 error(s) decoding:\n\n* 'Metadata[ttlInSeconds]' "
        "expected type 'string', got unconvertible type 'float64', value: '5'"),
        body='{"operations":[{"operation":"upsert","request":{"key":"k","value":1,"metadata":{"ttlInSeconds":5}}}]}'),
    Row("POST /v1.0/state/mem/bulk", 400, simple(MALFORMED, "failed deserializing HTTP body: json: cannot unmarshal array into Go value of type http.BulkGetRequest"), body="[]"),
    Row("POST /v1.0-alpha1/state/mem/query", 500, '{"errorCode":"ERR_STATE_STORE_NOT_SUPPORTED","message":"state store does not support querying",'
        f'"details":[{RESOURCE}{{any}}"resource_name":"mem","resource_type":"state"}},{{any}}"reason":"DAPR_STATE_QUERYING_NOT_SUPPORTED"}}]}}', body="{}"),
    Row("POST /v1.0/state/mem", 400, simple(MALFORMED, "stream too large"), body=TOO_LARGE),
    Row("POST /v1.0/state/mem", 204, "", body='[{"key":"g","value":{"b":1,"a":[1.0,12345678901234567890,"<x>"]}}]', kind=None),
    Row("POST /v1.0/state/sq", 204, "", body='[{"key":"g","value":{"b":1,"a":[1.0,12345678901234567890,"<x>"]}}]', kind=None),
    # Dapr answers 12345678901234567000: an integer of any size stays exact here.
    Row("GET /v1.0/state/mem/g", 200, '{"a":[1,12345678901234567890,"\\u003cx\\u003e"],"b":1}'),
    Row("GET /v1.0/state/sq/g", 200, '{"a":[1,12345678901234567890,"\\u003cx\\u003e"],"b":1}'),
    Row("GET /v1.0/state/mem/absent", 204, "", kind=None),
    Row("DELETE /v1.0/state/mem/absent", 204, "", kind=None),
    *(Row("POST /v1.0/state/mem", 204, "", body=body, kind=None) for body in ("[]", "null", '[{"KEY":"s","VALUE":"str","unknown":1}] trailing')),
    Row("POST /v1.0/state/mem/bulk", 200, '[{"key":"k1","data":1,"etag":"{etag}"},{"key":"s","data":"str","etag":"{etag}"},{"key":"zz"}]\n',
        body='{"keys":["k1","s","zz"]}'),
    Row("POST /v1.0/state/mem/bulk", 200, "[]\n", body='{"keys":[]}'),
    Row("PUT /v1.0/state/mem/transaction", 204, "", body='{"operations":[]}', kind=None),
]  # fmt: skip

PUBLISH = [
    Row("POST /v1.0/publish/nops/t", 404, '{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub nops is not found",'
        f'"details":[{INFO}"metadata":{{}},"reason":"DAPR_PUBSUB_NOT_FOUND"}}]}}', body="x"),
    Row("POST /v1.0/publish/ps/t", 404, '{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub ps is not found",'
        f'"details":[{INFO}"metadata":{{}},"reason":"DAPR_PUBSUB_NOT_FOUND"}}]}}', body="x", at="bare"),
    *(Row(request, 404, NO_APP_ID, body="x") for request in ("POST /v1.0/publish/ps", "POST /v1.0/publish/ps/")),
    Row("POST /v1.0/publish/psscoped/t2", 403, pubsub_fault("ERR_PUBSUB_FORBIDDEN", "topic t2 is not allowed for app id appa",
        '{"error":"topic t2 is not allowed for app id appa","topic":"t2"}', "DAPR_PUBSUB_FORBIDDEN", "psscoped"), body="x"),
    Row("POST /v1.0/publish/ps/t1?metadata.rawPayload=zz", 400, pubsub_fault("ERR_PUBSUB_REQUEST_METADATA",
        "failed deserializing metadata. Error: rawPayload value must be a valid boolean: actual is 'zz'", '{"rawPayload":"zz"}',
        "DAPR_PUBSUB_METADATA_DESERIALIZATION"), body="x"),
    Row("POST /v1.0/publish/ps/t1", 500, pubsub_fault("ERR_PUBSUB_CLOUD_EVENTS_SER", "cannot create cloudevent",
        '{"appID":"appa","error":"invalid character \'o\' in literal null (expecting \'u\')"}', "DAPR_PUBSUB_CLOUD_EVENT_CREATION"),
        body="notjson", headers=(("Content-Type", "application/cloudevents+json"),)),
    Row("POST /v1.0/publish/bulk/ps/t1", 400, pubsub_fault(EVENTS, DUPLICATE, ABOUT_T1, "DAPR_PUBSUB_MARSHAL_EVENTS"),
        body='[{"entryId":"a","event":"x","contentType":"text/plain"},{"entryId":"a","event":"x","contentType":"text/plain"}]'),
    Row("POST /v1.0-alpha1/publish/bulk/ps/t1", 400, pubsub_fault(EVENTS, DUPLICATE, ABOUT_T1, "DAPR_PUBSUB_MARSHAL_EVENTS"),
        body='[{"event":"x","contentType":"text/plain"}]'),
    *(Row("POST /v1.0/publish/bulk/ps/t1", 400, pubsub_fault(EVENTS, ENVELOPE + "mismatch between contentType and event", "{any}", "DAPR_PUBSUB_MARSHAL_ENVELOPE"),
        body=body) for body in ('[{"entryId":"a","event":1,"contentType":"text/plain"}]', '[{"entryId":"a","event":"x"}]')),
    Row("POST /v1.0/publish/bulk/ps/t1", 400, pubsub_fault(EVENTS, ENVELOPE + "unable to decode base64 application/octect-stream data: illegal base64 data at input byte 0",
        "{any}", "DAPR_PUBSUB_MARSHAL_ENVELOPE"), body='[{"entryId":"a","event":"!!","contentType":"application/octet-stream"}]'),
    Row("POST /v1.0/publish/bulk/ps/t1", 400, pubsub_fault(EVENTS, "error when unmarshaling the request for topic t1 pubsub ps: "
        "json: cannot unmarshal object into Go value of type []http.bulkPublishMessageEntry", "{any}", "DAPR_PUBSUB_UNMARSHAL_EVENTS"), body="{}"),
    Row("POST /v1.0/publish/bulk/ps/t1", 204, "", body="[]", kind=None),
    Row("POST /v1.0/publish/bulk/ps/", 404, '{"errorCode":"ERR_PUBSUB_NOT_FOUND","message":"pubsub bulk is not found",{any}', body="[]"),
    Row("PUT /v1.0/publish/ps/nobody/listens", 204, "", body="x", kind=None),
    Row("POST /v1.0/publish/ps/t1", 500, "{any}ERR_PUBSUB_PUBLISH_MESSAGE{any}stream too large{any}", body=TOO_LARGE),
]  # fmt: skip

BINDINGS = [
    Row("POST /v1.0/bindings/nob", 500, simple(BINDING, "error invoking output binding nob: couldn't find output binding nob"), body='{"operation":"create"}'),
    Row("POST /v1.0/bindings/httpb", 500, simple(BINDING, "error invoking output binding httpb: operation field is missing from request"), body="{}"),
    Row("POST /v1.0/bindings/httpb", 500, simple(BINDING, "error invoking output binding httpb: binding httpb does not support operation zzz. "
        "supported operations:create get head post put patch delete options trace"), body='{"operation":"zzz"}'),
    Row("POST /v1.0/bindings/httpb", 400, "{any}ERR_MALFORMED_REQUEST{any}", body='{"operation":"create","metadata":{"a":1}}'),
    Row("POST /v1.0/bindings/httpb", 200, "target", body='{"operation":"get","metadata":{"path":"/ok"}}', answered=(
        ("Metadata.statuscode", "200"), ("Metadata.status", "200 OK"), ("Metadata.content-Length", "6"),
        ("Metadata.content-Type", "text/plain"), ("Metadata.server", "x"), ("Metadata.x-Hb", "v"))),
    Row("POST /v1.0/bindings/httpb", 500, simple(BINDING, "error invoking output binding httpb: received status code 500"),
        body='{"operation":"get","metadata":{"path":"/500"}}', answered=(("Metadata.statuscode", "500"), ("Metadata.x-Hb", "v"))),
    Row("POST /v1.0/bindings/httpl", 200, "broken", body='{"operation":"get","metadata":{"path":"/500"}}', answered=(("Metadata.statuscode", "500"),)),
    Row("POST /v1.0/bindings/files", 200, '{"fileName":"f.txt"}', body='{"operation":"create","data":"hi","metadata":{"fileName":"f.txt"}}'),
    Row("POST /v1.0/bindings/files", 200, "hi", body='{"operation":"get","metadata":{"fileName":"f.txt"}}'),
    Row("PUT /v1.0/bindings/files", 204, "", body='{"operation":"delete","metadata":{"fileName":"f.txt"}}', kind=None),
]  # fmt: skip

SECRETS = [
    Row("GET /v1.0/secrets/nos/k", 401, simple("ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nos")),
    Row("GET /v1.0/secrets/nos/k", 500, simple("ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured"), at="bare"),
    Row("GET /v1.0/secrets/sf/missing", 500, simple("ERR_SECRET_GET", "failed getting secret with key missing from secret store sf: secret missing not found")),
    Row("GET /v1.0/secrets/sf/enckey", 403, simple("ERR_PERMISSION_DENIED", 'access denied by policy to get "enckey" from "sf"')),
    Row("GET /v1.0/secrets/sf/plain", 200, '{"plain":"p1"}\n'),
    # Dapr answers "%!s(float64=5)" for num: a number is spelled as in the file here.
    Row("GET /v1.0/secrets/sf/bulk", 200, '{"arr:0":{"arr:0":"q"},"nest:b:c":{"nest:b:c":"y"},"num":{"num":"5"},"plain":{"plain":"p1"}}\n'),
]  # fmt: skip

ABSENT = [
    Row("GET /v1.0/configuration/x", 500, simple("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")),
    Row("GET /v1.0-alpha1/configuration/x", 500, simple("ERR_CONFIGURATION_STORE_NOT_CONFIGURED", "configuration stores not configured")),
    # Checked before any store is looked for, so this answers so even without one.
    Row("POST /v1.0-alpha1/lock/lk", 400, simple(MALFORMED, "ExpiryInSeconds is not positive in lock store lk"), body="{}"),
    Row("POST /v1.0-alpha1/lock/lk", 500, simple("ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured"),
        body='{"expiryInSeconds":1,"resourceId":"r","lockOwner":"o"}'),
    Row("POST /v1.0-alpha1/unlock/lk", 500, simple("ERR_LOCK_STORE_NOT_CONFIGURED", "lock store is not configured"), body="{}"),
    Row("POST /v1.0-alpha1/lock/lk", 400, simple("ERR_BODY_READ", "failed to read request body: stream too large"), body=TOO_LARGE),
    Row("PUT /v1.0-alpha1/crypto/x/encrypt", 500, simple("ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured"), body="x"),
    Row("PUT /v1.0-alpha1/crypto/x/decrypt", 500, simple("ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured"), body="x"),
    Row("POST /v1.0-alpha1/subtlecrypto/x/getkey", 501, simple("ERR_API_UNIMPLEMENTED", "this API is currently not implemented"), body="{}"),
    Row("POST /v1.0-alpha1/conversation/nos/converse", 400, simple("ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component nos"), body="{}"),
    Row("POST /v1.0-alpha2/conversation/nos/converse", 400, simple("ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component nos"), body="{}"),
    *(Row(request, 400, simple("ERR_ACTOR_NO_PLACEMENT", "placement service is not configured"), body="") for request in (
        "PUT /v1.0/actors/a/1/method/m", "GET /v1.0/actors/a/1/state/k", "POST /v1.0/actors/a/1/reminders/r", "DELETE /v1.0/actors/a/1/timers/t",
        "GET /v1.0/workflows/dapr/i", "POST /v1.0-beta1/workflows/dapr/w/start", "POST /v1.0-alpha1/workflows/dapr/i/terminate")),
    *(Row(f"{verb} /v1.0-alpha1/jobs/j1", 500,
          f'{{"errorCode":"DAPR_SCHEDULER_{reason}","message":"failed to {what} due to: scheduler clients are disabled","details":[{{any}}'
          f'"metadata":{{"appID":"appa","namespace":"default"}},"reason":"DAPR_SCHEDULER_{reason}"}}]}}', body=body)
      for verb, reason, what, body in (("POST", "SCHEDULE_JOB", "schedule job", '{"schedule":"@every 1h"}'),
                                       ("GET", "GET_JOB", "get job", None), ("DELETE", "DELETE_JOB", "delete job", None))),
]  # fmt: skip

INVOCATION = [
    Row("GET /v1.0/invoke/nosuch/method/m", 500, simple(INVOKE, "failed to invoke, id: nosuch, err: no host found with the given ID")),
    Row("GET /v1.0/invoke/a.b.c/method/m", 500, simple(INVOKE, "failed to invoke, id: a.b.c, err: invalid app id a.b.c")),
    Row("GET /v1.0/invoke/late/method/x", 500, '{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: late, err: Get \\"http://127.0.0.1:{number}/x\\": '
        'dial tcp 127.0.0.1:{number}: connect: connection refused"}', at="late"),
    Row("GET /v1.0/invoke/x/method/m", 500, simple(INVOKE, "failed to invoke, id: x, err: cannot invoke local endpoint: app channel not initialized"), at="bare"),
    Row("GET /v1.0/invoke/appa/method/echo/q%3Fx", 500, simple(INVOKE, "failed to invoke, id: appa, err: rpc error: code = InvalidArgument desc = "
        'invalid method: method contains forbidden character: "echo/q?x"')),
    Row("POST /v1.0/invoke/appa/method/noct", 500, '{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: appa, err: '
        'Post \\"http://127.0.0.1:{number}/noct\\": stream too large"}', body=TOO_LARGE),
]  # fmt: skip


@pytest.mark.parametrize(
    "row", [*FRONT, *STATE, *PUBLISH, *BINDINGS, *SECRETS, *ABSENT, *INVOCATION], ids=str
)
def test_an_answer_is_the_recorded_one(house: House, row: Row) -> None:
    heard = ask(house, row)
    assert (heard.status, heard.one("Content-Type")) == (row.status, row.kind), heard.text
    assert agrees(heard.text, row.text), f"\n{heard.text}\n{row.text}"
    for name, value in row.answered:
        assert (name, value) in heard.headers, heard.headers


def ask(house: House, row: Row) -> Heard:
    method, _, path = row.request.partition(" ")
    port = house.public if row.at == "public" else getattr(house, row.at).ports.http
    return send(port, method, path, row.body, row.headers)


def test_an_answer_carries_a_date_and_the_zero_trace_and_health_carries_none(house: House) -> None:
    heard = send(house.appa.ports.http, "GET", "/v1.0/state/mem/absent")
    assert [name for name, _ in heard.headers] == ["Date", "Traceparent"]
    assert heard.one("Traceparent") == "00-" + "0" * 32 + "-" + "0" * 16 + "-00"
    assert send(house.appa.ports.http, "GET", "/v1.0/healthz").one("Traceparent") is None


@pytest.mark.parametrize("store", ["mem", "sq"])
def test_a_value_with_a_ttl_tells_when_it_ends(house: House, store: str) -> None:
    body = '[{"key":"ttl","value":1,"metadata":{"ttlInSeconds":"100"}}]'
    assert send(house.appa.ports.http, "POST", f"/v1.0/state/{store}", body).status == 204
    heard = send(house.appa.ports.http, "GET", f"/v1.0/state/{store}/ttl")
    named = dict(heard.headers)
    assert agrees(named["Metadata.ttlexpiretime"], "{T}Z") and agrees(named["Etag"], "{uuid}")


EXTENDED = '"extended":{"daprRuntimeVersion":"{any}"{any}}'


def test_a_bare_sidecar_tells_of_itself(house: House) -> None:
    heard = send(house.bare.ports.http, "GET", "/v1.0/metadata")
    assert heard.one("Content-Type") == "application/json"
    # `extended` also holds pillionVersion.
    assert agrees(
        heard.text,
        '{"id":"x","runtimeVersion":"1.18.0",' + EXTENDED + ',"appConnectionProperties":{"protocol":"http","channelAddress":"127.0.0.1"},'
        '"actorRuntime":{"runtimeStatus":"DISABLED","hostReady":false,"placement":"placement: disconnected"},"workflows":{}}\n',
    ), heard.text  # fmt: skip


def test_a_sidecar_with_everything_tells_of_its_components_and_subscriptions(house: House) -> None:
    told = json.loads(send(house.appa.ports.http, "GET", "/v1.0/metadata").text)
    assert list(told) == [
        "id", "runtimeVersion", "components", "extended", "subscriptions", "appConnectionProperties", "actorRuntime", "workflows",
    ]  # fmt: skip
    components = {each["name"]: each for each in told["components"]}
    assert components["mem"] == {
        "name": "mem", "type": "state.in-memory", "version": "v1",
        "capabilities": ["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "ACTOR"],
    }  # fmt: skip
    assert components["sq"]["capabilities"] == ["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE", "ACTOR"]
    assert components["ps"]["capabilities"] == ["SUBSCRIBE_WILDCARDS"]
    assert components["cronroute"]["capabilities"] == ["INPUT_BINDING"]
    assert components["httpb"]["capabilities"] == components["files"]["capabilities"] == ["OUTPUT_BINDING"]
    assert "capabilities" not in components["sf"]
    assert told["appConnectionProperties"] == {
        "port": house.app.port,
        "protocol": "http",
        "channelAddress": "127.0.0.1",
    }
    first = next(each for each in told["subscriptions"] if each["topic"] == "t1")
    assert json.dumps(first, separators=(",", ":")) == (
        '{"pubsubname":"ps","topic":"t1","rules":[{"path":"/t1"}],"deadLetterTopic":"","type":"PROGRAMMATIC"}'
    )


def test_the_app_is_asked_for_its_wishes_as_dapr_asks(house: House) -> None:
    for path in ("/dapr/config", "/dapr/subscribe"):
        asked = next(each for each in house.app.seen if each.target == path)
        head = {(name.title(), value) for name, value in asked.headers}
        assert {
            ("User-Agent", "Go-http-client/1.1"), ("Content-Type", "application/json"),
            ("Dapr-App-Id", "appa"), ("Accept-Encoding", "gzip"),
        } <= head  # fmt: skip


def test_an_input_binding_is_probed_and_delivered(house: House) -> None:
    probe = until(
        lambda: next((e for e in house.app.seen if (e.method, e.target) == ("OPTIONS", "/cronroute")), None)
    )
    assert probe.all("Content-Type") == ["application/json"]
    tick = until(
        lambda: next((e for e in house.app.seen if (e.method, e.target) == ("POST", "/cronroute")), None)
    )
    assert (tick.body, tick.all("Content-Length"), tick.all("Timezone")) == (b"", ["0"], ["Local"])
    assert agrees(tick.all("Readtimeutc")[0], "{number}-{number}-{number} {number}:{number}:{number}.{number} +0000 UTC")  # fmt: skip


def test_the_http_binding_s_target_gets_sorted_json(house: House) -> None:
    port = house.appa.ports.http
    for data, arrives in (('{"b":1,"a":2}', b'{"a":2,"b":1}'), ('"str"', b'"str"'), (None, b"null")):
        path = f"/bound{len(arrives)}"
        given = f'"data":{data},' if data else ""
        body = f'{{{given}"operation":"create","metadata":{{"path":"{path}","X-Mine":"m"}}}}'
        assert send(port, "POST", "/v1.0/bindings/httpb", body).status == 200
        got = house.app.got("/target" + path)
        assert (got.method, got.body) == ("POST", arrives)
        assert got.all("Accept") == got.all("Content-Type") == ["application/json; charset=utf-8"]
        # The record has a traceparent too: it was made with tracing on.
        assert (got.all("X-Mine"), got.all("Traceparent")) == (["m"], [])


@pytest.mark.parametrize("origin, allowed", [("http://good", ["http://good"]), ("http://bad", [])])
def test_every_answer_varies_by_origin_once_origins_are_listed(
    house: House, origin: str, allowed: list[str]
) -> None:
    heard = send(house.guarded.ports.http, "GET", "/v1.0/healthz", headers=(("Origin", origin),))
    assert (heard.status, heard.all("Vary"), heard.all("Access-Control-Allow-Origin")) == (
        204,
        ["Origin"],
        allowed,
    )


def test_a_preflight_is_answered_before_the_token_is_asked_for(house: House) -> None:
    asked = (
        ("Origin", "http://good"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "X-A"),
    )
    heard = send(house.guarded.ports.http, "OPTIONS", "/v1.0/state/mem", headers=asked)
    assert heard.status == 200
    assert heard.all("Vary") == ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"]
    assert heard.all("Access-Control-Allow-Origin") == ["http://good"]
    assert (heard.all("Access-Control-Allow-Methods"), heard.all("Access-Control-Allow-Headers")) == (
        ["POST"],
        ["X-A"],
    )


def test_the_connection_upgrades_to_http2(house: House) -> None:
    with socket.create_connection(("127.0.0.1", house.appa.ports.http), timeout=5) as line:
        line.sendall(
            b"GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += line.recv(4096)
        head, _, rest = heard.partition(b"\r\n\r\n")
        assert head == b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c"
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
        while (
            rest.count(b"\x01\x05\x00\x00\x00\x01") == 0
        ):  # HEADERS with END_STREAM and END_HEADERS on stream 1
            rest += line.recv(4096)
        assert rest[3] == 4, "the server's first frame is SETTINGS"


PATHS = [
    ("echo/a%2Fb", "/echo/a/b"), ("echo/a%252Fb", "/echo/a%2Fb"), ("echo/a%20b+c", "/echo/a%20b+c"), ("echo/t/", "/echo/t"),
    ("echo//d", "/echo/d"), ("echo/../echo/up", "/echo/up"), ("echo/%E2%82%AC", "/echo/%E2%82%AC"),
    ("echo/a;b=c,d:e@f$g", "/echo/a;b=c,d:e@f$g"), ("a/method/b", "/a/method/b"),
    ("echo/q?x=1&y=a%20b+c&x=2", "/echo/q?x=1&y=a%20b+c&x=2"),
]  # fmt: skip


@pytest.mark.parametrize("target", ["appa", "appb"])
@pytest.mark.parametrize("method, arrives", PATHS)
def test_a_method_s_path_arrives_clean(house: House, target: str, method: str, arrives: str) -> None:
    app = house.app if target == "appa" else house.other_app
    before = len(app.seen)
    assert send(house.appa.ports.http, "GET", f"/v1.0/invoke/{target}/method/{method}").status == 200
    assert [each.target for each in app.seen[before:] if each.target.startswith(("/echo", "/a/"))] == [
        arrives
    ]


@pytest.mark.parametrize("target", ["appa", "appb"])
def test_a_trace_reaches_the_app_as_trace(house: House, target: str) -> None:
    app = house.app if target == "appa" else house.other_app
    send(house.appa.ports.http, "TRACE", f"/v1.0/invoke/{target}/method/echo/traced")
    assert app.got("/echo/traced").method == "TRACE"


CALLER_SENT = (
    ("User-Agent", "golden/1"), ("Accept", "a/b"), ("Accept-Encoding", "identity"), ("Authorization", "Bearer x"), ("Cookie", "c=1"),
    ("Range", "bytes=0-"), ("If-None-Match", '"e"'), ("dapr-caller-app-id", "spoof"), ("forwarded", "for=1"), ("x-forwarded-for", "9.9.9.9"),
    ("grpc-timeout", "5S"), ("te", "trailers"), ("keep-alive", "timeout=5"), ("proxy-authorization", "p"), ("x-bin-bin", "AQI"),
    ("destination-app-id", "d"), ("dapr-api-token", "given"), ("Content-Type", "text/x"),
)  # fmt: skip
KEPT = (
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Authorization",
    "Cookie",
    "Range",
    "If-None-Match",
    "Content-Type",
)
DROPPED = ("te", "keep-alive", "proxy-authorization", "upgrade", "x-bin-bin", "destination-app-id")


def test_a_remote_app_sees_the_caller_s_headers_and_who_forwarded_them(house: House) -> None:
    send(house.appa.ports.http, "POST", "/v1.0/invoke/appb/method/echo/r?q=1&q=2", "body", CALLER_SENT)
    seen = house.other_app.got("/echo/r?q=1&q=2")
    assert (seen.method, seen.body, seen.all("Content-Length")) == ("POST", b"body", ["4"])
    sent = dict(CALLER_SENT)
    assert {name: seen.all(name) for name in KEPT} == {name: [sent[name]] for name in KEPT}
    assert {name: seen.all(name) for name in DROPPED} == {name: [] for name in DROPPED}
    assert seen.all("Dapr-Callee-App-Id") == ["appb"]
    # Dapr 1.17 lets "spoof" through as a second value: here nobody speaks in a sidecar's name.
    assert seen.all("Dapr-Caller-App-Id") == ["appa"]
    assert seen.all("Dapr-Caller-Namespace") == ["default"]
    assert (seen.all("Dapr-Grpc-Timeout"), seen.all("Grpc-Timeout")) == (["5S"], [])
    forwarded, ours = seen.all("Forwarded")
    host = ours.split("host=")[1]
    address = ours.split("for=")[1].split(";")[0]
    assert (forwarded, ours) == ("for=1", f"for={address};by={address};host={host}")
    assert seen.all("X-Forwarded-For") == ["9.9.9.9", address] and seen.all("X-Forwarded-Host") == [host]


def test_the_own_app_sees_what_the_caller_sent_and_who_called(house: House) -> None:
    send(house.appa.ports.http, "POST", "/v1.0/invoke/appa/method/echo/self", "body", CALLER_SENT)
    seen = house.app.got("/echo/self")
    sent = dict(CALLER_SENT)
    kept = (*KEPT, "dapr-api-token", "forwarded", "x-forwarded-for")
    assert {name: seen.all(name) for name in kept} == {name: [sent[name]] for name in kept}
    assert {name: seen.all(name) for name in DROPPED} == {name: [] for name in DROPPED}
    names = {name.lower() for name, _ in seen.headers}
    # Dapr sends an all-zero traceparent along; nobody traces, so none is sent here.
    assert not names & {"x-forwarded-host", "traceparent"}
    # The record of 1.17 has no dapr-* header of the sidecar's own here; since then three are added, spoofed ones replaced.
    assert [seen.all(f"dapr-{name}") for name in ("caller-app-id", "caller-namespace", "callee-app-id")] == [
        ["appa"],
        ["default"],
        ["appa"],
    ]


SNIFFED = "text/plain; charset=utf-8"
# Dapr sends every body below 400 in chunks: here one that came whole goes whole, with its length.
APP_ANSWERS = [
    ("plain", 200, SNIFFED, "abc", {"Content-Length": "3"}),
    ("redir", 302, SNIFFED, "redir", {"Location": "/elsewhere", "Content-Length": "5"}),
    ("weird", 404, "text/weird", "nf", {"Content-Length": "2"}),
    ("boom500", 500, "application/json", "boom", {"Content-Length": "4"}),
    ("boom418", 418, "application/json", "boom", {"Content-Length": "4"}),
    ("none", 204, None, "", {}),
    ("same", 304, None, "", {"Etag": '"q"'}),
    ("gzip", 200, "text/plain", "plain", {"Content-Encoding": None}),
    ("traced", 200, None, "", {"Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01", "Tracestate": "a=b", "Baggage": "c=d"}),
]  # fmt: skip


@pytest.mark.parametrize("target", ["appa", "appb"])
@pytest.mark.parametrize("method, status, kind, text, headers", APP_ANSWERS)
def test_an_app_s_answer_comes_back_as_dapr_brings_it(
    house: House,
    target: str,
    method: str,
    status: int,
    kind: str | None,
    text: str,
    headers: dict[str, str | None],
) -> None:
    heard = send(house.appa.ports.http, "GET", f"/v1.0/invoke/{target}/method/{method}")
    assert (heard.status, heard.text) == (status, text)
    assert heard.one("Content-Type") == kind
    assert {name: heard.one(name) for name in headers} == headers
    assert heard.all("X-Multi") == (["a", "b"] if method == "weird" else [])


@pytest.mark.parametrize("target", ["appa", "appb"])
def test_events_come_back_as_a_stream(house: House, target: str) -> None:
    heard = send(
        house.appa.ports.http,
        "GET",
        f"/v1.0/invoke/{target}/method/sse",
        headers=(("Accept", "text/event-stream"),),
    )
    assert (heard.status, heard.text) == (200, "data: 0\n\ndata: 1\n\ndata: 2\n\n")
    assert heard.one("Content-Type") == "text/event-stream"
    assert target == "appa" or heard.one("Cache-Control") == "no-cache"


T1 = '"pubsubname":"ps","source":"appa","specversion":"1.0","time":"{T}Z","topic":"t1"'
UNTRACED = '"traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"}'


def event(data: str, kind: str, own: str = '"id":"{uuid}"') -> str:
    """The event a plain publish becomes, tracing off."""
    return f'{{{data},"datacontenttype":"{kind}",{own},{T1},{UNTRACED}'


CE = "application/cloudevents+json"
SOURCED = '"pubsubname":"ps","source":"Dapr","specversion":"1.0"'
EVENTS_DELIVERED = [
    ("", "application/json", b'{"b":1,"a":[12345678901234567890,"<&>"],"m":"@"}',
     event('"data":{"a":[12345678901234567890,"\\u003c\\u0026\\u003e"],"b":1,"m":"@"}', "application/json")),
    ("", "application/json", b'{bad json @', event('"data":"{bad json @"', "application/json")),
    ("", "text/plain", b"hello @", event('"data":"hello @"', "text/plain")),
    ("", None, b"hello @", event('"data":"hello @"', "text/plain")),
    ("", "application/xml", b"<a>@</a>", event('"data":"\\u003ca\\u003e@\\u003c/a\\u003e"', "application/xml")),
    ("", "application/json; charset=utf-8", b'"str @"', event('"data":"str @"', "application/json; charset=utf-8")),
    ("", "application/vnd.x+json", b'{"q":"@"}', event('"data":"{\\"q\\":\\"@\\"}"', "application/vnd.x+json")),
    ("", CE, b'{"id":"@","source":"/src","specversion":"1.0","type":"my.type","datacontenttype":"application/json","subject":"s","ext":5,'
     b'"topic":"no","pubsubname":"no","data":{"n":12345678901234567890}}',
     '{"data":{"n":12345678901234567890},"datacontenttype":"application/json","ext":5,"id":"@","pubsubname":"ps","source":"/src","specversion":"1.0",'
     '"subject":"s","time":"{T}Z","topic":"t1","traceid":"","traceparent":"","tracestate":"","type":"my.type"}'),
    ("", CE, b'{"data":"@"}', '{"data":"@",' + SOURCED + ',"time":"{T}Z","topic":"t1",' + UNTRACED),
    ("", CE, b'{"id":"@","data_base64":"AAE=","traceid":"mytid","time":"2020-01-01T00:00:00Z"}',
     '{"data_base64":"AAE=","id":"@",' + SOURCED + ',"time":"2020-01-01T00:00:00Z","topic":"t1","traceid":"mytid","tracestate":"","type":"com.dapr.event.sent"}'),
    ("?metadata.cloudevent.id=@&metadata.cloudevent.source=osrc&metadata.cloudevent.type=otype&metadata.cloudevent.subject=osub"
     "&metadata.cloudevent.traceid=otid&metadata.cloudevent.tracestate=ots", "application/json", b'{"a":1}',
     '{"data":{"a":1},"datacontenttype":"application/json","id":"@","pubsubname":"ps","source":"osrc","specversion":"1.0","subject":"osub",'
     '"time":"{T}Z","topic":"t1","traceid":"otid","traceparent":"otid","tracestate":"ots","type":"otype"}'),
    ("?metadata.ttlInSeconds=50", "application/json", b'"@"', event('"data":"@"', "application/json", '"expiration":"{T}Z","id":"{uuid}"')),
    ("?metadata.ttlInSeconds=abc", "application/json", b'"@"', event('"data":"@"', "application/json")),
    ("?metadata.ttlInSeconds=-5", "application/json", b'"@"', event('"data":"@"', "application/json")),
    ("?metadata.rawPayload=true", "application/json", b'{"raw":"@"}', '{"raw":"@"}'),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(EVENTS_DELIVERED)))
def test_an_event_is_delivered_as_recorded(house: House, number: int) -> None:
    query, kind, body, delivered = EVENTS_DELIVERED[number]
    marker = f"mark-{number}-"
    headers = (("Content-Type", kind),) if kind else ()
    sent = body.replace(b"@", marker.encode())
    path = f"/v1.0/publish/ps/t1{query.replace('@', marker)}"
    assert send(house.appa.ports.http, "POST", path, sent, headers).status == 204
    got = house.app.got(marker)
    assert agrees(got.body.decode(), delivered.replace("@", marker)), f"\n{got.body.decode()}\n{delivered}"
    assert (got.all("Content-Type"), got.all("Pubsubname")) == ([CE], ["ps"])


@pytest.mark.parametrize("kind, body, delivered", [
    ("application/octet-stream", b"\x00\x01\xff", '"data_base64":"AAH/"'),
    # Dapr escapes the two: the same JSON.
    ("image/png", b"\xff\xfe", '"data":"\ufffd\ufffd"'),
    ("application/json", b"null", '"data":null'),
    ("application/json", b"", '"data":""'),
])  # fmt: skip
def test_data_that_is_no_text_is_delivered_as_recorded(
    house: House, kind: str, body: bytes, delivered: str
) -> None:
    seen = len(house.app.seen)
    send(house.appa.ports.http, "POST", "/v1.0/publish/ps/t1", body, (("Content-Type", kind),))
    got = until(
        lambda: next((each for each in house.app.seen[seen:] if each.target == "/t1"), None), 5, "delivery"
    )
    assert agrees(got.body.decode(), event(delivered, kind)), got.body.decode()


def test_publish_metadata_travels_as_headers(house: House) -> None:
    query = "?metadata.ttlInSeconds=50&metadata.cloudevent.id=travels&metadata.mine=yes"
    send(house.appa.ports.http, "POST", f"/v1.0/publish/ps/t1{query}", b'"travels"', (JSON,))
    got = house.app.got('"travels"')
    assert ("Cloudevent.id", "travels") in got.headers
    assert ("Ttlinseconds", "50") in got.headers and ("Mine", "yes") in got.headers


def test_an_event_that_lives_no_time_is_not_delivered(house: House) -> None:
    port = house.appa.ports.http
    send(port, "POST", "/v1.0/publish/ps/t1?metadata.ttlInSeconds=0", b'"ends-at-once"', (JSON,))
    send(port, "POST", "/v1.0/publish/ps/t1", b'"comes-after"', (JSON,))
    house.app.got("comes-after")
    assert house.app.find("ends-at-once") is None


def test_raw_on_both_sides_is_delivered_as_base64(house: House) -> None:
    send(
        house.appa.ports.http, "POST", "/v1.0/publish/ps/raw?metadata.rawPayload=true", b'{"raw":1}', (JSON,)
    )
    got = house.app.got("eyJyYXciOjF9")
    assert agrees(got.body.decode(), '{"data_base64":"eyJyYXciOjF9","datacontenttype":"application/octet-stream","id":"{uuid}","pubsubname":"ps",'
                  '"source":"Dapr","specversion":"1.0","topic":"raw","type":"com.dapr.event.sent"}')  # fmt: skip


@pytest.mark.parametrize("topic", ["dropped", "gone"])
def test_what_the_app_drops_reaches_the_dead_letter_topic(house: House, topic: str) -> None:
    send(house.appa.ports.http, "POST", f"/v1.0/publish/ps/{topic}", f'"{topic}-to-die"'.encode(), (JSON,))
    dead = until(
        lambda: next(
            (each for each in house.app.seen if each.target == "/dead" and topic.encode() in each.body), None
        )
    )
    assert json.loads(dead.body)["topic"] == topic


def test_what_the_app_fails_reaches_the_dead_letter_topic(house: House) -> None:
    send(house.appa.ports.http, "POST", "/v1.0/publish/ps/failed", b'"failed-to-die"', (JSON,))
    until(
        lambda: next(
            (each for each in house.app.seen if each.target == "/dead" and b"failed-to-die" in each.body),
            None,
        )
    )


@pytest.mark.parametrize("answer", ["empty", "object", "nothing", "error"])
def test_a_batch_without_an_answer_for_an_entry_ends_as_dead_letters_one_by_one(
    house: House, answer: str
) -> None:
    port = house.appa.ports.http
    batch = json.dumps(
        [{"entryId": each, "event": f"{answer}-{each}", "contentType": "text/plain"} for each in "ab"]
    )
    assert send(port, "POST", f"/v1.0/publish/bulk/ps/bulk-{answer}", batch).status == 204
    for each in "ab":
        marker = f'"data":"{answer}-{each}"'.encode()
        dead = until(
            lambda marker=marker: next(
                (e for e in house.app.seen if e.target == "/dead" and marker in e.body), None
            )
        )
        assert json.loads(dead.body)["topic"] == f"bulk-{answer}"


def test_a_batch_nobody_serves_is_done_with(house: House) -> None:
    port = house.appa.ports.http
    for topic, text in (("bulk-weird", "to-nobody"), ("bulk-empty", "to-the-dead")):
        send(port, "POST", f"/v1.0/publish/ps/{topic}", f'"{text}"', (JSON,))
    until(
        lambda: next(
            (each for each in house.app.seen if each.target == "/dead" and b"to-the-dead" in each.body), None
        )
    )
    batch = next(each for each in house.app.seen if each.target == "/weird" and b"to-nobody" in each.body)
    assert agrees(batch.body.decode(), '{"entries":[{"entryId":"{uuid}","event":{{any}},"metadata":{},"contentType":"application/cloudevents+json"}],'
                  '"id":"{uuid}","metadata":{"pubsubName":"ps"},"pubsubname":"ps","topic":"bulk-weird","type":"com.dapr.event.sent.bulk"}'), batch.body  # fmt: skip
    assert not [each for each in house.app.seen if each.target == "/dead" and b"to-nobody" in each.body]


def basic(app_id: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"dapr-app-id:{app_id}".encode()).decode()


@pytest.mark.parametrize("path, headers, target, arrives", [
    ("/addressed/one", (("dapr-app-id", "appb"),), "appb", "/addressed/one"),
    ("/addressed/two", (basic("appb"),), "appb", "/addressed/two"),
    ("/addressed/three", (("dapr-app-id", "appb"), basic("appa")), "appb", "/addressed/three"),
    ("/v1.0/invoke/other/method/addressed/four", (("dapr-app-id", "appb"),), "appb", "/v1.0/invoke/other/method/addressed/four"),
    ("/v1.0/invoke/appb.default/method/addressed/five", (), "appb", "/addressed/five"),
    ("/v1.0/invoke/http:%2F%2F127.0.0.1:@/method/addressed/six", (), "appb", "/addressed/six"),
    ("/v1.0/invoke/http://127.0.0.1:@/method/addressed/seven", (), "appb", "/addressed/seven"),
])  # fmt: skip
def test_an_app_is_addressed_in_every_way(
    house: House, path: str, headers: tuple[tuple[str, str], ...], target: str, arrives: str
) -> None:
    asked = path.replace("@", str(house.other_app.port))
    assert send(house.appa.ports.http, "GET", asked, headers=headers).status == 200
    seen = (house.other_app if target == "appb" else house.app).got("addressed/" + arrives.rpartition("/")[2])
    assert seen.target == arrives
    assert not seen.all("dapr-app-id")


def test_a_valid_baggage_comes_back(house: House) -> None:
    heard = send(house.appa.ports.http, "GET", "/v1.0/state/mem/k1", headers=(("baggage", "a=1,b=2"),))
    assert (heard.status, heard.all("Baggage")) == (200, ["a=1,b=2"])


NO_TRACE = f"00-{'0' * 32}-{'0' * 16}-00"
TRACE = f"-{'1' * 32}-{'2' * 16}-01"


@pytest.mark.parametrize("sent, back, state", [
    ("00" + TRACE, "00" + TRACE, "a=b"), ("01" + TRACE + "-more", "01" + TRACE + "-more", "a=b"),
    ("00" + TRACE + "-more", NO_TRACE, None), ("ff" + TRACE, NO_TRACE, None), ("odd", NO_TRACE, None),
    (f"00-{'0' * 32}-{'2' * 16}-01", NO_TRACE, None), (f"00-{'1' * 32}-{'0' * 16}-01", NO_TRACE, None),
])  # fmt: skip
def test_a_valid_trace_comes_back_with_its_state_and_anything_else_is_none(
    house: House, sent: str, back: str, state: str | None
) -> None:
    headers = (("traceparent", sent), ("tracestate", "a=b"))
    heard = send(house.appa.ports.http, "GET", "/v1.0/state/mem/k1", headers=headers)
    assert (heard.one("Traceparent"), heard.one("Tracestate")) == (back, state)


def test_an_event_belongs_to_no_trace_that_is_none(house: House) -> None:
    headers = (("traceparent", "odd"), ("tracestate", "a=b"))
    assert send(house.appa.ports.http, "POST", "/v1.0/publish/ps/t1", "untraced-odd", headers).status == 204
    event = json.loads(house.app.got("untraced-odd").body)
    assert (event["traceid"], event["traceparent"], event["tracestate"]) == ("", "", "")


def test_a_body_of_exactly_the_limit_passes(house: House) -> None:
    whole = b'[{"key":"big","value":"' + b"x" * (4 * 1024 * 1024 - 26) + b'"}]'
    assert len(whole) == 4 * 1024 * 1024
    assert send(house.appa.ports.http, "POST", "/v1.0/state/mem", whole).status == 204
