"""The recorded answers that only a Redis gives, and those when it is down."""

# ruff: noqa: E501 -- recorded texts are as long as they are.

import json
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import dapr_pb2_grpc, state_pb2
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import HttpApp
from scenes.golden_apps.patterns import agrees
from support.sidecar import Process, Sidecar, Stage, component, free_port, until

pytestmark = pytest.mark.needs("redis-server")

JSON = ("Content-Type", "application/json")
SAVE = '{"errorCode":"ERR_STATE_SAVE","message":"failed saving state in state store rd: '
BULK = {"enabled": True, "maxMessagesCount": 2, "maxAwaitDurationMs": 2000}


@dataclass
class House:
    """A sidecar whose store and broker are in a Redis of its own."""

    app: HttpApp
    appa: Sidecar
    redis: Process
    port: int

    def command(self, *words: str) -> bytes:
        """The raw beginning of Redis's answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as line:
            line.sendall((" ".join(words) + "\r\n").encode())
            return line.recv(65536)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    subscriptions = [{"pubsubname": "psr", "topic": "rb1", "route": "/rb1", "bulkSubscribe": BULK}]
    with Stage(tmp_path_factory.mktemp("redis")) as stage, HttpApp(subscriptions) as app:
        port = free_port()
        command = [
            "redis-server",
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(stage.folder),
        ]
        redis = stage.app("redis", command)
        house = House(app, _sidecar(stage, app, port), redis, port)
        house.appa.ready()
        yield house


def _sidecar(stage: Stage, app: HttpApp, port: int) -> Sidecar:
    until(lambda: socket.create_connection(("127.0.0.1", port), timeout=1).close() or True)
    host = f"127.0.0.1:{port}"
    resources: Path = stage.resources(
        component("rd", "state.redis", redisHost=host, maxRetries="0", redisMaxRetries="0"),
        component("rdname", "state.redis", redisHost=host, keyPrefix="name"),
        component("rdnone", "state.redis", redisHost=host, keyPrefix="none"),
        component("rdmine", "state.redis", redisHost=host, keyPrefix="MyPrefix"),
        component("psr", "pubsub.redis", redisHost=host),
    )
    return stage.sidecar("appa", app_port=app.port, resources=resources)


def test_values_stay_as_they_were_written(house: House) -> None:
    port = house.appa.ports.http
    assert (
        send(
            port,
            "POST",
            "/v1.0/state/rd",
            '[{"key":"k1","value":{"b":1,"a":[1.0,12345678901234567890,"<x>"]}}]',
        ).status
        == 204
    )
    heard = send(port, "GET", "/v1.0/state/rd/k1")
    # Dapr answers 12345678901234567000: an integer of any size stays exact here.
    assert heard.text == '{"b":1,"a":[1,12345678901234567890,"<x>"]}'
    assert (heard.one("Etag"), heard.one("Content-Type")) == ("1", "application/json")


def test_a_ttl_is_not_told(house: House) -> None:
    port = house.appa.ports.http
    send(port, "POST", "/v1.0/state/rd", '[{"key":"ttl","value":1,"metadata":{"ttlInSeconds":"100"}}]')
    heard = send(port, "GET", "/v1.0/state/rd/ttl")
    assert (heard.status, heard.one("Metadata.ttlexpiretime")) == (200, None)
    assert house.command("TTL", "appa||ttl") in (b":100\r\n", b":99\r\n")


def test_values_lie_in_redis_as_dapr_lays_them(house: House) -> None:
    for store, key in (
        ("rd", "appa||pk"),
        ("rdname", "rdname||pk"),
        ("rdnone", "pk"),
        ("rdmine", "myprefix||pk"),
    ):
        assert (
            send(house.appa.ports.http, "POST", f"/v1.0/state/{store}", '[{"key":"pk","value":7}]').status
            == 204
        )
        assert house.command("HGET", key, "data") == b"$1\r\n7\r\n", key
        assert house.command("HGET", key, "version") == b"$1\r\n1\r\n", key


@pytest.mark.parametrize("etag, status, text", [
    # Dapr's goes on with its Lua script's words: "… ERR user_script:14: failed to set key appa||k1 …".
    ("9999", 409, SAVE + 'possible etag mismatch. error from state store{any}"}'),
    ("xyz", 400, SAVE + 'invalid etag value: strconv.Atoi: parsing \\"xyz\\": invalid syntax"}'),
])  # fmt: skip
def test_a_wrong_etag_is_refused(house: House, etag: str, status: int, text: str) -> None:
    heard = send(
        house.appa.ports.http, "POST", "/v1.0/state/rd", f'[{{"key":"k1","value":1,"etag":"{etag}"}}]'
    )
    assert heard.status == status and agrees(heard.text, text), heard.text


def test_grpc_refuses_in_the_same_words(house: House) -> None:
    with grpc.insecure_channel(house.appa.grpc) as channel:
        stub = dapr_pb2_grpc.DaprStub(channel)
        saved = common_pb2.StateItem(key="k1", value=b"1", etag=common_pb2.Etag(value="zz"))
        with pytest.raises(grpc.RpcError) as caught:
            stub.SaveState(state_pb2.SaveStateRequest(store_name="rd", states=[saved]), timeout=5)
        assert (caught.value.code().name, caught.value.details()) == (
            "INVALID_ARGUMENT", 'failed saving state in state store rd: invalid etag value: strconv.Atoi: parsing "zz": invalid syntax',
        )  # fmt: skip
        with pytest.raises(grpc.RpcError) as caught:
            stub.QueryStateAlpha1(state_pb2.QueryStateRequest(store_name="rd", query="{}"), timeout=5)
        assert (caught.value.code().name, caught.value.details()) == (
            "INTERNAL", "state store rd query failed: redis-json server support is required for query capability",
        )  # fmt: skip


def test_a_query_needs_redis_json(house: House) -> None:
    heard = send(house.appa.ports.http, "POST", "/v1.0-alpha1/state/rd/query", "{}")
    assert heard.status == 500
    assert agrees(heard.text, '{"errorCode":"ERR_STATE_QUERY","message":"state store rd query failed: redis-json server support is required for query capability",'
                  '"details":[{any}"resource_name":"rd","resource_type":"state"},{any}"metadata":null,"reason":"DAPR_STATE_QUERY_FAILED"}]}'), heard.text  # fmt: skip


def test_two_events_arrive_in_one_envelope(house: House) -> None:
    port = house.appa.ports.http
    for number in range(2):
        assert send(port, "POST", "/v1.0/publish/psr/rb1", f'{{"i":{number}}}', (JSON,)).status == 204
    got = until(lambda: next((each for each in house.app.seen if each.target == "/rb1"), None))
    entries = ",".join(
        f'{{"entryId":"{{uuid}}","event":{{"data":{{"i":{number}}},"datacontenttype":"application/json","id":"{{uuid}}","pubsubname":"psr","source":"appa",'
        '"specversion":"1.0","time":"{T}Z","topic":"rb1","traceid":"","traceparent":"","tracestate":"","type":"com.dapr.event.sent"},'
        '"metadata":{},"contentType":"application/cloudevents+json"}' for number in range(2)
    )  # fmt: skip
    envelope = f'{{"entries":[{entries}],"id":"{{uuid}}","metadata":{{"pubsubName":"psr"}},"pubsubname":"psr","topic":"rb1","type":"com.dapr.event.sent.bulk"}}'
    assert agrees(got.body.decode(), envelope), f"\n{got.body.decode()}\n{envelope}"
    assert (got.all("Content-Type"), got.all("Pubsubname")) == (["application/json"], ["psr"])


def test_what_answers_once_redis_is_gone(house: House) -> None:
    house.redis.signal(signal.SIGKILL)
    house.redis.wait()
    port = house.appa.ports.http
    got = send(port, "GET", "/v1.0/state/rd/x")
    assert got.status == 500 and agrees(
        got.text,
        '{"errorCode":"ERR_STATE_GET","message":"fail to get x from state store rd: dial tcp 127.0.0.1:{number}: connect: connection refused"}',
    ), got.text
    bulk = send(port, "POST", "/v1.0/state/rd/bulk", '{"keys":["x"]}')
    assert bulk.status == 200 and agrees(
        bulk.text, '[{"key":"x","error":"dial tcp 127.0.0.1:{number}: connect: connection refused"}]\n'
    ), bulk.text
    deleted = send(port, "DELETE", "/v1.0/state/rd/x")
    # Dapr answers 409 for any error of a delete on Redis.
    assert deleted.status == 500 and json.loads(deleted.text)["errorCode"] == "ERR_STATE_DELETE", deleted.text
    sent = send(port, "POST", "/v1.0/publish/psr/r1", "x")
    fault = json.loads(sent.text)
    why = fault["message"].removeprefix("error when publishing to topic r1 in pubsub psr: ")
    assert (sent.status, fault["errorCode"]) == (500, "ERR_PUBSUB_PUBLISH_MESSAGE")
    assert why.startswith("redis streams: error from publish: ") and why.endswith(
        ": connect: connection refused"
    ), why
    assert fault["details"][0] == {
        "@type": "type.googleapis.com/google.rpc.ResourceInfo", "description": fault["message"], "owner": "",
        "resource_name": "psr", "resource_type": "pubsub",
    }  # fmt: skip
    assert fault["details"][1]["metadata"] == {"error": why, "topic": "r1"}
    assert fault["details"][1]["reason"] == "DAPR_PUBSUB_PUBLISH_MESSAGE"
    batch = '[{"entryId":"a","event":"x","contentType":"text/plain"},{"entryId":"b","event":"y","contentType":"text/plain"}]'
    many = send(port, "POST", "/v1.0/publish/bulk/psr/r1", batch)
    failed = json.loads(many.text)
    assert (many.status, list(failed), failed["errorCode"]) == (
        500,
        ["failedEntries", "errorCode"],
        "ERR_PUBSUB_PUBLISH_MESSAGE",
    )
    assert sorted(each["entryId"] for each in failed["failedEntries"]) == ["a", "b"]
    assert many.one("Metadata.responsedata") == many.text
    assert (many.one("Metadata.error") or "").startswith(
        "api error: code = Internal desc = error when publishing to topic r1 in pubsub psr: "
    )
