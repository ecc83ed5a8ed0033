"""Apps made with the official JavaScript SDK's server, over HTTP and over gRPC, by today's SDK and by one over grpc-js."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.sdk import JS, JS_SDKS, Seen
from support.sidecar import Sidecar, Stage, component, free_port, until

pytestmark = [pytest.mark.needs("node", "js-sdk"), pytest.mark.timeout(60)]


@dataclass(frozen=True)
class Server:
    """One app beside its sidecar, and the sidecar from which it is called."""

    protocol: str
    sdk: str
    seen: Seen
    sidecar: Sidecar
    caller: Sidecar

    def publish(self, topic: str, data: str, **metadata: str) -> None:
        kind = "application/json" if data[0] in "{[" else "text/plain"
        query = "&".join(f"metadata.{name}={value}" for name, value in metadata.items())
        path = f"/v1.0/publish/bus/{self.protocol}-{topic}?{query}"
        assert self.caller.ask("POST", path, data, content_type=kind).status == 204

    def told(self, what: str, count: int = 1) -> list[Any]:
        notes = until(lambda: len(found := self.seen.all(what)) >= count and found, why=what)
        return [note["data"] for note in notes]


@pytest.fixture(scope="module", params=JS_SDKS)
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    with Stage(tmp_path_factory.mktemp("js-apps")) as stage:
        folder = stage.resources(
            component("store", "state.in-memory"),
            component("bus", "pubsub.sqlite"),
            component("tick", "bindings.cron", schedule="@every 1s"),
        )
        caller = stage.sidecar("caller", resources=folder)
        made = {
            protocol: started(stage, protocol, caller, JS_SDKS[request.param])
            for protocol in ("http", "grpc")
        }
        for server in made.values():
            server.sidecar.ready()
        caller.ready()
        yield made


def started(stage: Stage, protocol: str, caller: Sidecar, sdk: str) -> Server:
    seen, port = Seen(stage.folder / f"{protocol}.jsonl"), free_port()
    sidecar = stage.sidecar(
        f"js-{protocol}", f"--app-protocol={protocol}", app_port=port, resources=stage.folder / "resources"
    )
    own = sidecar.ports.http if protocol == "http" else sidecar.ports.grpc
    command = ["node", str(JS / "server.js"), protocol, str(port), str(own), str(seen.path)]
    stage.app(protocol, command, env={"DAPR_SDK": sdk})
    return Server(protocol, sdk, seen, sidecar, caller)


@pytest.fixture(params=["http", "grpc"])
def server(request: pytest.FixtureRequest, servers: dict[str, Server]) -> Server:
    return servers[request.param]


def test_the_app_hears_events(server: Server) -> None:
    server.publish("plain", '{"n": 1}')
    server.publish("plain", "words")
    told = server.told("plain", 2)
    assert {"n": 1} in told and "words" in told


def test_the_app_hears_raw_payloads(server: Server) -> None:
    server.publish("raw", '{"n": 2}', rawPayload="true")
    assert server.told("raw") == [{"n": 2}]


def test_what_the_app_drops_or_sends_back_goes_to_its_dead_letters(server: Server) -> None:
    for answer in ("SUCCESS", "DROP", "RETRY"):
        server.publish("answers", answer)
    assert sorted(server.told("dead", 2)) == ["DROP", "RETRY"]


def test_the_apps_rules_route_events(server: Server) -> None:
    server.publish("routed", '{"n": 3}', **{"cloudevent.type": "dear"})
    server.publish("routed", '{"n": 4}')
    assert server.told("dear") == [{"n": 3}]
    assert server.told("other") == [{"n": 4}]


def test_the_app_takes_batches_and_gets_again_what_it_sends_back(server: Server) -> None:
    entries = [
        {"entryId": str(number), "event": {"n": number}, "contentType": "application/json"}
        for number in range(5)
    ]
    path = f"/v1.0/publish/bulk/bus/{server.protocol}-bulk"
    assert server.caller.ask("POST", path, entries).status == 204
    assert sorted(data["n"] for data in server.told("bulk", 6)) == [0, 0, 1, 2, 3, 4]


def test_a_schedule_reaches_the_app(server: Server) -> None:
    server.told("tick", 1)


def test_the_app_answers_methods(server: Server) -> None:
    path = f"/v1.0/invoke/js-{server.protocol}/method/greet"
    answer = server.caller.ask("POST", path, {"name": "you"})
    assert (answer.status, answer.json()) == (200, {"hello": {"name": "you"}})
    if (server.protocol, server.sdk) == ("grpc", "dapr-3.6"):
        return  # to a method it does not know it never answers at all
    missing = server.caller.ask("GET", f"/v1.0/invoke/js-{server.protocol}/method/nosuch")
    assert missing.status == {"http": 404, "grpc": 200}[server.protocol], "over gRPC the SDK answers nothing"


def test_the_servers_own_client_reaches_its_sidecar(server: Server) -> None:
    answer = server.caller.ask("GET", f"/v1.0/invoke/js-{server.protocol}/method/relay")
    assert answer.json() == {"kept": "through the server's own client"}


def test_the_metadata_tells_what_the_app_subscribed_to(server: Server) -> None:
    told = server.sidecar.ask("GET", "/v1.0/metadata").json()["subscriptions"]
    topics = ("plain", "raw", "answers", "dead", "routed", "bulk")
    assert {each["topic"] for each in told} == {f"{server.protocol}-{topic}" for topic in topics}
