"""Apps made with the official Python SDK: its gRPC app, and its extensions of FastAPI and Flask; today's and those of before 1.19."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from dapr.clients import DaprClient
from dapr.clients.grpc.interceptors import DaprClientInterceptor
from support.sdk import APPS, SDK_118, Seen
from support.sidecar import Process, Sidecar, Stage, component, free_port, until


def bulk(route: str) -> str:
    made = {
        "apiVersion": "dapr.io/v2alpha1",
        "kind": "Subscription",
        "metadata": {"name": "bulk"},
        "spec": {
            "pubsubname": "bus",
            "topic": "grpc-bulk-declared",
            "routes": {"default": route},
            "bulkSubscribe": {"enabled": True, "maxMessagesCount": 10, "maxAwaitDurationMs": 50},
        },
        "scopes": ["grpc"],
    }
    return json.dumps(made)


@dataclass(frozen=True)
class Sdk:
    """One version of the SDK: its Python, the app of its gRPC extension, and the path by which that takes batches."""

    python: str
    grpc_app: str
    bulk_route: str


SDKS = {
    "1.19": Sdk(sys.executable, "grpc_app.py", "grpc-bulk"),
    "1.18": Sdk(str(SDK_118 / ".venv" / "bin" / "python"), "grpc_app_118.py", "bulk"),
}


class Cast:
    """The three apps beside their sidecars, and one sidecar without an app to call them from."""

    def __init__(self, stage: Stage, sdk: Sdk) -> None:
        self.sdk = sdk
        folder = stage.resources(
            component("bus", "pubsub.sqlite"),
            component("tick", "bindings.cron", schedule="@every 1s"),
            bulk(sdk.bulk_route),
        )
        self.seen = {name: Seen(stage.folder / f"{name}.jsonl") for name in ("grpc", "fastapi", "flask")}
        self.stage = stage
        self.ports = ports = {name: free_port() for name in self.seen}
        self.apps = {name: self.started(name) for name in self.seen}
        well = ("--app-protocol=grpc", "--enable-app-health-check", "--app-health-probe-interval=1")
        self.sidecars = {
            name: stage.sidecar(
                name, *(well if name == "grpc" else ()), app_port=ports[name], resources=folder
            )
            for name in self.seen
        }
        self.caller = stage.sidecar("caller", resources=folder)
        for sidecar in (*self.sidecars.values(), self.caller):
            sidecar.ready()

    def started(self, name: str) -> Process:
        file = self.sdk.grpc_app if name == "grpc" else f"{name}_app.py"
        arguments = (str(self.ports[name]), str(self.seen[name].path))
        return self.stage.app(name, [self.sdk.python, "-u", str(APPS / file), *arguments])

    def publish(self, topic: str, data: str, **metadata: str) -> None:
        kind = "application/json" if data[0] in "{[" else "text/plain"
        query = "&".join(f"metadata.{name}={value}" for name, value in metadata.items())
        answer = self.caller.ask("POST", f"/v1.0/publish/bus/{topic}?{query}", data, content_type=kind)
        assert answer.status == 204, answer.body

    def told(self, app: str, what: str, count: int = 1) -> list[Any]:
        return until(lambda: len(notes := self.seen[app].all(what)) >= count and notes, why=f"{app}: {what}")


@pytest.fixture(scope="module", params=["1.19", pytest.param("1.18", marks=pytest.mark.needs("sdk-1.18"))])
def cast(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """The same apps, on the SDK that is installed here and on the last whose extensions were packages of their own."""
    with Stage(tmp_path_factory.mktemp("apps")) as stage:
        yield Cast(stage, SDKS[request.param])


@pytest.fixture
def client(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Iterator[DaprClient]:
    monkeypatch.setenv("DAPR_HTTP_PORT", str(cast.caller.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(cast.caller.ports.grpc))
    monkeypatch.setenv("DAPR_API_METHOD_INVOCATION_PROTOCOL", "grpc")
    with DaprClient() as made:
        yield made


@pytest.mark.filterwarnings("ignore:invoke_method with protocol gRPC:DeprecationWarning")
def test_the_grpc_app_answers_a_method(cast: Cast, client: DaprClient) -> None:
    answer = client.invoke_method("grpc", "greet", b"you", "text/plain")
    assert (answer.text(), answer.content_type) == ("hello you", "text/plain")
    over_http = cast.caller.ask("POST", "/v1.0/invoke/grpc/method/greet", "you", content_type="text/plain")
    assert (over_http.status, over_http.body) == (200, b"hello you")


def test_a_service_of_the_apps_own_is_called_through_both_sidecars(cast: Cast) -> None:
    with grpc.insecure_channel(cast.caller.grpc) as plain:
        channel = grpc.intercept_channel(plain, DaprClientInterceptor([("dapr-app-id", "grpc")]))
        assert channel.unary_unary("/own.Own/Shout")(b"hey") == b"HEY"
        counted = channel.stream_stream("/own.Own/Count")(iter([b"a", b"b"]))
        assert list(counted) == [b"0 a", b"1 b"]
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/own.Own/Nosuch")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_the_grpc_app_hears_events(cast: Cast) -> None:
    cast.publish("grpc-plain", '{"n": 1}', **{"cloudevent.type": "mine"})
    (note,) = cast.told("grpc", "plain")
    assert (note["data"], note["source"], note["type"]) == ({"n": 1}, "caller", "mine")


def test_the_grpc_app_hears_events_of_the_old_kind(cast: Cast) -> None:
    cast.publish("grpc-old", '{"n": 2}', **{"cloudevent.id": "id2"})
    (note,) = cast.told("grpc", "old")
    assert (note["data"], note["id"], note["subject"]) == ({"n": 2}, "id2", "grpc-old")


def test_what_the_grpc_app_drops_or_sends_back_goes_to_its_dead_letters(cast: Cast) -> None:
    for answer in ("success", "drop", "retry"):
        cast.publish("grpc-answers", answer)
    assert sorted(note["data"] for note in cast.told("grpc", "dead", 2)) == ["drop", "retry"]


def test_the_grpc_apps_rules_route_events(cast: Cast) -> None:
    cast.publish("grpc-routed", '{"price": 200}')
    cast.publish("grpc-routed", '{"price": 10}', **{"cloudevent.type": "cheap"})
    assert cast.told("grpc", "dear")[0]["data"] == {"price": 200}
    assert cast.told("grpc", "cheap")[0]["data"] == {"price": 10}


def test_the_grpc_app_takes_batches_and_gets_again_what_it_sends_back(cast: Cast) -> None:
    for number in range(5):
        cast.publish("grpc-bulk-declared", json.dumps({"n": number}))
    notes = cast.told("grpc", "bulk", 6)
    assert sorted(note["data"]["n"] for note in notes) == [0, 0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["grpc", "fastapi", "flask"])
def test_a_schedule_reaches_the_app(cast: Cast, name: str) -> None:
    what = {"grpc": "tick", "fastapi": "fast-tick", "flask": "flask-tick"}[name]
    note = cast.told(name, what)[0]
    assert name != "grpc" or note["metadata"] == ["readTimeUTC", "timeZone"]


def test_the_grpc_apps_health_is_asked_for(cast: Cast) -> None:
    cast.told("grpc", "health", 2)


def test_the_web_apps_hear_events(cast: Cast) -> None:
    cast.publish("web-plain", '{"n": 1}')
    (fast,), (flask,) = cast.told("fastapi", "fast-plain"), cast.told("flask", "flask-plain")
    assert (fast["data"], fast["topic"]) == (flask["data"], flask["topic"]) == ({"n": 1}, "web-plain")
    assert flask["kind"] == "application/cloudevents+json"


def test_what_a_web_app_drops_or_sends_back_goes_to_its_dead_letters(cast: Cast) -> None:
    for answer in ("SUCCESS", "DROP", "RETRY"):
        cast.publish("web-answers", answer)
    for app, dead in (("fastapi", "fast-dead"), ("flask", "flask-dead")):
        assert sorted(note["data"] for note in cast.told(app, dead, 2)) == ["DROP", "RETRY"]


def test_the_fastapi_app_hears_raw_payloads_in_an_envelope(cast: Cast) -> None:
    cast.publish("web-raw", "raw", rawPayload="true")
    event = cast.told("fastapi", "fast-raw")[0]["event"]
    assert (event["data_base64"], event["topic"]) == ("cmF3", "web-raw")


def test_the_web_apps_answer_methods(cast: Cast) -> None:
    greeted = cast.caller.ask("GET", "/v1.0/invoke/fastapi/method/greet/you")
    assert (greeted.status, greeted.json()) == (200, "hello you")
    assert cast.caller.ask("PUT", "/v1.0/invoke/flask/method/greet", "me").body == b"hello me"
    assert cast.caller.ask("GET", "/v1.0/invoke/flask/method/nosuch").status == 404


def test_the_metadata_lists_what_the_apps_subscribed_to(cast: Cast) -> None:
    listed: dict[str, Sidecar] = cast.sidecars
    told = listed["flask"].ask("GET", "/v1.0/metadata").json()["subscriptions"]
    assert {each["topic"]: each["deadLetterTopic"] for each in told} == {
        "web-plain": "",
        "web-answers": "flask-dead",
        "flask-dead": "",
    }
    assert listed["grpc"].ask("GET", "/v1.0/metadata").json()["appConnectionProperties"]["protocol"] == "grpc"


@pytest.mark.parametrize(
    ("name", "topic", "what"), [("grpc", "grpc-late", "late"), ("fastapi", "web-late", "fast-late")]
)
def test_an_app_that_died_hears_what_came_meanwhile(cast: Cast, name: str, topic: str, what: str) -> None:
    cast.apps[name].kill()
    cast.publish(topic, "meanwhile")
    cast.apps[name] = cast.started(name)
    assert cast.told(name, what)[0]["data"] == "meanwhile"
    cast.publish(topic, "after")
    assert [note["data"] for note in cast.told(name, what, 2)] == ["meanwhile", "after"]
