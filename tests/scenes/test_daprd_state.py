"""A `pilliond` and a daprd of one app share their stores: what one writes the other reads, and neither tramples on the other."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from dapr.proto.common.v1 import common_pb2
from dapr.proto.runtime.v1 import dapr_pb2_grpc, state_pb2
from scenes.golden_apps.client import Heard, send
from support.daprd import BOTH, neighbour
from support.sidecar import Sidecar, Stage, component, free_port, until

pytestmark = pytest.mark.needs("daprd", "redis-server")

# No float of more than six places: to Redis Dapr writes no more.
VALUES = [
    {"b": [1, 2.5], "a": {"ü": "<&>"}}, [], "text", "", 0, 1.5, True, None, "x" * 100_000,
]  # fmt: skip


@dataclass
class Side:
    """One of the two, as its app sees it."""

    sidecar: Sidecar
    channel: grpc.Channel

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Heard:
        text = None if body is None else json.dumps(body)
        return send(self.sidecar.ports.http, method, f"/v1.0/state/{path}", text, [*headers.items()])

    def save(self, store: str, key: str, value: Any, **more: Any) -> int:
        return self.ask("POST", store, [{"key": key, "value": value, **more}]).status

    def load(self, store: str, key: str) -> Heard:
        return self.ask("GET", f"{store}/{key}")

    def etag(self, store: str, key: str) -> str:
        found = self.load(store, key).one("Etag")
        assert found
        return found

    def rpc(self, method: str, request: Any) -> Any:
        return getattr(dapr_pb2_grpc.DaprStub(self.channel), method)(request, timeout=10)


@dataclass
class Shared:
    """`one` and `other` stand beside replicas of one app."""

    one: Side
    other: Side


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, str]]:
    with Stage(tmp_path_factory.mktemp("stores")) as stage:
        port = free_port()
        stage.app("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""])
        yield stage, f"127.0.0.1:{port}"


@pytest.fixture(scope="module", params=BOTH)
def shared(request: pytest.FixtureRequest, stores: tuple[Stage, str]) -> Iterator[Shared]:
    stage, redis = stores
    folder = f"resources-{request.param_index}"
    file = str(stage.folder / "state.db")
    manifests = [
        component("sq", "state.sqlite", connectionString=file),
        component("rd", "state.redis", redisHost=redis),
    ]
    for prefix in ("name", "none", "namespace", "MyOwn"):
        manifests.append(component(f"sq-{prefix}", "state.sqlite", connectionString=file, keyPrefix=prefix))
        manifests.append(component(f"rd-{prefix}", "state.redis", redisHost=redis, keyPrefix=prefix))
    resources = stage.resources(*manifests, folder=folder)

    def side(program: Sequence[str]) -> Side:
        sidecar = neighbour(stage, "app", program, resources=resources)
        return Side(sidecar, grpc.insecure_channel(sidecar.grpc))

    made = Shared(*(side(program) for program in request.param))
    yield made
    for each in (made.one, made.other):
        each.channel.close()
        each.sidecar.stop()


@pytest.fixture(params=["sq", "rd"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_value_is_read_as_it_was_written(shared: Shared, store: str) -> None:
    for number, value in enumerate(VALUES):
        assert shared.one.save(store, f"v{number}", value) == 204
        heard = shared.other.load(store, f"v{number}")
        assert (heard.status, json.loads(heard.text)) == (200, value)
        assert heard.text == shared.one.load(store, f"v{number}").text


@pytest.mark.parametrize("content_type", ["", "application/json", "application/octet-stream"])
@pytest.mark.parametrize("data", [b"\x00\xff\xfe binary", b'{"a":1}', b"plain", b'"quoted"', b"7"])
def test_bytes_saved_over_grpc_are_the_same_bytes(
    shared: Shared, store: str, data: bytes, content_type: str
) -> None:
    metadata = {"contentType": content_type} if content_type else {}
    item = common_pb2.StateItem(key="bytes", value=data, metadata=metadata)
    request = state_pb2.SaveStateRequest(store_name=store, states=[item])
    asked = state_pb2.GetStateRequest(store_name=store, key="bytes")
    try:
        shared.one.rpc("SaveState", request)
    except grpc.RpcError:
        with pytest.raises(grpc.RpcError):
            shared.other.rpc("SaveState", request)
        return
    found = shared.other.rpc("GetState", asked)
    assert found == shared.one.rpc("GetState", asked)
    assert found.data == data


def test_an_etag_of_one_is_good_for_the_other_and_an_old_one_for_neither(shared: Shared, store: str) -> None:
    assert shared.one.save(store, "tagged", 1) == 204
    first = shared.one.etag(store, "tagged")
    assert shared.other.etag(store, "tagged") == first
    assert shared.other.save(store, "tagged", 2, etag=first) == 204
    assert shared.one.save(store, "tagged", 3, etag=first) == 409
    assert shared.other.save(store, "tagged", 3, etag=first) == 409
    assert shared.one.load(store, "tagged").text == "2"


def test_the_first_writer_wins_whoever_it_is(shared: Shared, store: str) -> None:
    first = {"options": {"concurrency": "first-write"}}
    shared.one.ask("DELETE", f"{store}/first")
    assert shared.one.save(store, "first", 1, **first) == 204
    assert shared.other.save(store, "first", 2, **first) >= 400
    assert shared.one.load(store, "first").text == "1"


def test_a_deleted_key_is_gone_for_both(shared: Shared, store: str) -> None:
    shared.one.save(store, "gone", 1)
    assert shared.other.ask("DELETE", f"{store}/gone", **{"If-Match": "999"}).status == 409
    assert (
        shared.other.ask("DELETE", f"{store}/gone", **{"If-Match": shared.one.etag(store, "gone")}).status
        == 204
    )
    assert shared.one.load(store, "gone").status == 204
    assert shared.one.save(store, "gone", 2) == 204
    assert shared.other.load(store, "gone").text == "2"


def test_a_time_to_live_is_kept_by_both(shared: Shared, store: str) -> None:
    assert shared.one.save(store, "lives", 1, metadata={"ttlInSeconds": "2"}) == 204
    assert shared.one.save(store, "stays", 1, metadata={"ttlInSeconds": "2"}) == 204
    mine, others = shared.one.load(store, "lives"), shared.other.load(store, "lives")
    assert others.one("Metadata.ttlexpiretime") == mine.one("Metadata.ttlexpiretime")
    assert (others.one("Metadata.ttlexpiretime") is not None) == (store == "sq")
    assert shared.one.save(store, "stays", 2, metadata={"ttlInSeconds": "-1"}) == 204
    until(lambda: shared.other.load(store, "lives").status == 204, 5)
    assert shared.one.load(store, "lives").status == 204
    assert shared.other.load(store, "stays").text == "2"
    assert shared.one.save(store, "lives", 3) == 204, "what has expired is not in the way"
    assert shared.other.load(store, "lives").text == "3"


def test_a_transaction_is_seen_whole_or_not_at_all(shared: Shared, store: str) -> None:
    for key in ("t1", "t2", "t3"):
        shared.one.save(store, key, "before")

    def transact(side: Side, etag: str) -> int:
        operations = [
            {"operation": "upsert", "request": {"key": "t1", "value": {"after": 1}}},
            {"operation": "delete", "request": {"key": "t2"}},
            {"operation": "upsert", "request": {"key": "t3", "value": "after", "etag": etag}},
        ]
        return side.ask("POST", f"{store}/transaction", {"operations": operations}).status

    if store == "sq":  # on Redis Dapr's own transactions are not all or nothing
        assert transact(shared.one, "999") == 500
        assert [shared.other.load(store, key).text for key in ("t1", "t2", "t3")] == ['"before"'] * 3
    assert transact(shared.one, shared.other.etag(store, "t3")) == 204
    assert [shared.other.load(store, key).text for key in ("t1", "t2", "t3")] == [
        '{"after":1}',
        "",
        '"after"',
    ]


def test_many_at_once_are_the_same_to_both(shared: Shared, store: str) -> None:
    items = [{"key": f"m{number}", "value": {"n": number}} for number in range(20)]
    assert shared.one.ask("POST", store, items).status == 204
    asked = {"keys": [f"m{number}" for number in range(21)]}
    found = [json.loads(side.ask("POST", f"{store}/bulk", asked).text) for side in (shared.one, shared.other)]
    both = [sorted(each, key=lambda item: item["key"]) for each in found]
    assert both[0] == both[1] and sum("data" in item for item in both[0]) == 20


@pytest.mark.parametrize("prefix", ["name", "none", "namespace", "MyOwn"])
def test_a_key_is_found_where_the_other_put_it(shared: Shared, store: str, prefix: str) -> None:
    place = f"{store}-{prefix}"
    assert shared.one.save(place, "k", {"in": place}) == 204
    assert json.loads(shared.other.load(place, "k").text) == {"in": place}
    found = json.loads(shared.other.ask("POST", f"{place}/bulk", {"keys": ["k"]}).text)
    assert found[0]["key"] == "k" and found[0]["data"] == {"in": place}


def test_both_add_up_without_losing_one(shared: Shared, store: str) -> None:
    """Each adds 30 times by etag, both at once: nobody's addition is lost."""
    shared.one.save(store, "sum", 0)

    def add(side: Side) -> None:
        heard = side.load(store, "sum")
        while side.save(store, "sum", int(heard.text) + 1, etag=heard.one("Etag")) != 204:
            heard = side.load(store, "sum")

    with ThreadPoolExecutor(4) as crowd:
        list(crowd.map(add, [shared.one, shared.other] * 30))
    assert shared.one.load(store, "sum").text == shared.other.load(store, "sum").text == "60"
