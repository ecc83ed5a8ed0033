"""A `pilliond` and a daprd share a broker in Redis: what one publishes the other's app gets, and replicas of both share the work."""

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import Answer, HttpApp, Seen
from support.daprd import BOTH, DAPRD, neighbour
from support.sidecar import PILLIOND, Sidecar, Stage, component, free_port, until

pytestmark = pytest.mark.needs("daprd", "redis-server")

TRACE = f"00-{'1' * 32}-{'2' * 16}-01"
TOPICS = [
    {"pubsubname": "ps", "topic": "plain", "route": "/plain"},
    {"pubsubname": "ps", "topic": "raw", "route": "/raw", "metadata": {"rawPayload": "true"}},
    {"pubsubname": "ps", "topic": "batch", "route": "/batch",
     "bulkSubscribe": {"enabled": True, "maxMessagesCount": 10, "maxAwaitDurationMs": 500}},
    {"pubsubname": "ps", "topic": "fails", "route": "/status/500", "deadLetterTopic": "dead"},
    {"pubsubname": "ps", "topic": "dead", "route": "/dead"},
]  # fmt: skip


def broker(stage: Stage, **metadata: str) -> Path:
    """A Redis of the stage's own, as a folder of resources."""
    port = free_port()
    stage.app("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""])
    return stage.resources(component("ps", "pubsub.redis", redisHost=f"127.0.0.1:{port}", **metadata))


@dataclass
class Line:
    """`publisher` publishes; its neighbour brings the events to `app`."""

    publisher: Sidecar
    app: HttpApp

    def publish(
        self, topic: str, body: bytes, content_type: str = "", query: str = "", **headers: str
    ) -> None:
        told = [*headers.items(), *([("Content-Type", content_type)] if content_type else [])]
        heard = send(self.publisher.ports.http, "POST", f"/v1.0/publish/ps/{topic}{query}", body, told)
        assert heard.status == 204, heard.text

    def got(self, marker: str) -> Seen:
        return self.app.got(marker)


@pytest.fixture(scope="module", params=BOTH)
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with Stage(tmp_path_factory.mktemp("line")) as stage, HttpApp(TOPICS) as app:
        place = broker(stage)
        publisher = neighbour(stage, "publisher", request.param[0], resources=place)
        neighbour(stage, "subscriber", request.param[1], resources=place, app_port=app.port)
        yield Line(publisher, app)


@pytest.mark.parametrize("body, content_type, data", [
    (b'{"mark":"json","n":[1,2.5]}', "application/json", {"data": {"mark": "json", "n": [1, 2.5]}}),
    (b"mark text \xc3\xbc", "text/plain", {"data": "mark text ü"}),
    (b"mark untold", "", {"data": "mark untold", "datacontenttype": "text/plain"}),
    (b"mark\x00\xff", "application/octet-stream", {"data_base64": base64.b64encode(b"mark\x00\xff").decode()}),
    (b"<mark/>", "application/xml", {"data": "<mark/>"}),
])  # fmt: skip
def test_an_event_arrives_in_its_envelope(
    line: Line, body: bytes, content_type: str, data: dict[str, Any]
) -> None:
    line.app.seen.clear()
    line.publish("plain", body, content_type, traceparent=TRACE, tracestate="a=b")
    seen = line.got("/plain")
    event = json.loads(seen.body)
    assert event.pop("id") and event.pop("time")
    assert event == {
        "datacontenttype": content_type, "pubsubname": "ps", "source": "publisher", "specversion": "1.0",
        "topic": "plain", "traceid": TRACE, "traceparent": TRACE, "tracestate": "a=b", "type": "com.dapr.event.sent",
    } | data  # fmt: skip
    assert (seen.all("content-type"), seen.all("pubsubname")) == (["application/cloudevents+json"], ["ps"])
    assert seen.all("traceparent")[0].startswith(TRACE[:35]), "the trace goes on"


def test_an_untraced_event_has_the_same_fields(line: Line) -> None:
    line.publish("plain", b'"untraced"', "application/json")
    event = json.loads(line.got("untraced").body)
    assert sorted(event) == [
        "data", "datacontenttype", "id", "pubsubname", "source", "specversion", "time", "topic", "traceid",
        "traceparent", "tracestate", "type",
    ]  # fmt: skip


def test_what_a_publisher_says_of_the_event_stays(line: Line) -> None:
    query = "?metadata.cloudevent.id=own-id&metadata.cloudevent.type=own.type&metadata.cloudevent.source=me"
    line.publish("plain", b"x", query=query)
    event = json.loads(line.got("own-id").body)
    assert (event["id"], event["type"], event["source"]) == ("own-id", "own.type", "me")


def test_a_ready_made_event_arrives_as_it_is(line: Line) -> None:
    made = {
        "id": "made-1",
        "source": "here",
        "type": "t",
        "specversion": "1.0",
        "data": {"a": [1]},
        "extra": "kept",
    }
    line.publish("plain", json.dumps(made).encode(), "application/cloudevents+json")
    event = json.loads(line.got("made-1").body)
    assert event.items() >= made.items()
    assert (event["topic"], event["pubsubname"]) == ("plain", "ps")


def test_raw_bytes_arrive_raw(line: Line) -> None:
    line.publish("raw", b'{"bare":1}', "application/json", "?metadata.rawPayload=true")
    event = json.loads(line.got("/raw").body)
    assert base64.b64decode(event["data_base64"]) == b'{"bare":1}'
    assert (event["datacontenttype"], event["source"], event["topic"]) == (
        "application/octet-stream",
        "Dapr",
        "raw",
    )


def test_metadata_of_the_publisher_arrives_as_headers(line: Line) -> None:
    line.publish("plain", b"with metadata", query="?metadata.shelf=7&metadata.ttlInSeconds=60")
    seen = line.got("with metadata")
    assert (seen.all("shelf"), seen.all("ttlinseconds")) == (["7"], ["60"])
    assert "expiration" in json.loads(seen.body)


def test_an_event_past_its_time_is_not_brought(line: Line) -> None:
    line.publish("plain", b"too late", query="?metadata.ttlInSeconds=0")
    line.publish("plain", b"in time", query="?metadata.ttlInSeconds=60")
    line.got("in time")
    assert line.app.find("too late") is None


def test_a_batch_arrives_one_by_one_where_nobody_asked_for_batches(line: Line) -> None:
    batch = [{"entryId": str(n), "event": f"entry {n}", "contentType": "text/plain"} for n in range(5)]
    heard = send(line.publisher.ports.http, "POST", "/v1.0-alpha1/publish/bulk/ps/plain", json.dumps(batch))
    assert heard.status == 204
    events = [json.loads(line.got(f"entry {n}").body) for n in range(5)]
    assert len({event["id"] for event in events}) == 5
    assert {event["datacontenttype"] for event in events} == {"text/plain"}


def test_single_events_arrive_as_a_batch_where_one_is_asked_for(line: Line) -> None:
    for number in range(4):
        line.publish("batch", b"%d" % number, "text/plain")

    def entries() -> list[Any]:
        batches = [json.loads(seen.body) for seen in line.app.seen if seen.target == "/batch"]
        return [entry for each in batches for entry in each["entries"]]

    until(lambda: len(entries()) >= 4)
    assert sorted(entry["event"]["data"] for entry in entries()) == ["0", "1", "2", "3"]
    assert {entry["contentType"] for entry in entries()} == {"application/cloudevents+json"}


def test_what_an_app_cannot_take_goes_to_the_dead_letters(line: Line) -> None:
    line.publish("fails", b"bitter")
    seen = until(
        lambda: next((s for s in line.app.seen if s.target == "/dead" and b"bitter" in s.body), None)
    )
    assert json.loads(seen.body)["topic"] == "fails"


class Worker(HttpApp):
    """An app that takes numbers, and may be told to sit on them: what it sits on is never answered."""

    def __init__(self, name: str) -> None:
        super().__init__([{"pubsubname": "ps", "topic": "numbers", "route": "/numbers"}])
        self.name = name
        self.taken: list[int] = []
        self.held: list[int] = []
        self.sits = False
        self.gate = threading.Event()

    def answer(self, seen: Seen) -> Answer:
        if seen.target != "/numbers":
            return super().answer(seen)
        number = json.loads(seen.body)["data"]
        if self.sits:
            self.held.append(number)
            self.gate.wait(60)
            return 500, [], b""
        self.taken.append(number)
        return 200, [], b""


@dataclass
class Team:
    """Two replicas of one app, one beside each kind of sidecar, and somebody who gives them work."""

    workers: Sequence[Worker]
    sidecars: Sequence[Sidecar]
    publisher: Sidecar

    def give(self, numbers: range) -> None:
        for number in numbers:
            heard = send(
                self.publisher.ports.http,
                "POST",
                "/v1.0/publish/ps/numbers",
                str(number),
                [("Content-Type", "application/json")],
            )
            assert heard.status == 204

    def taken(self) -> list[int]:
        return sorted(number for worker in self.workers for number in worker.taken)


@pytest.fixture
def team(stage: Stage) -> Iterator[Team]:
    # Plain milliseconds: Dapr 1.14 takes no units here.
    place = broker(stage, processingTimeout="2000", redeliverInterval="500", concurrency="10")
    with Worker("ours") as ours, Worker("daprs") as daprs:
        sidecars = [
            neighbour(stage, "worker", program, resources=place, app_port=worker.port)
            for program, worker in ((PILLIOND, ours), (DAPRD, daprs))
        ]
        yield Team((ours, daprs), sidecars, neighbour(stage, "publisher", PILLIOND, resources=place))
        for worker in (ours, daprs):
            worker.gate.set()


def test_replicas_of_both_kinds_share_the_work_and_nothing_is_done_twice(team: Team) -> None:
    team.give(range(200))
    until(lambda: len(team.taken()) >= 200)
    assert team.taken() == [*range(200)]
    assert all(worker.taken for worker in team.workers), [len(worker.taken) for worker in team.workers]


@pytest.mark.parametrize("dead, heir", [(0, 1), (1, 0)], ids=["daprs-inherits", "ours-inherits"])
def test_what_a_killed_replica_held_is_done_by_the_other(team: Team, dead: int, heir: int) -> None:
    team.workers[dead].sits = True
    team.give(range(50))
    until(lambda: team.workers[dead].held and team.workers[heir].taken)  # both got some
    team.sidecars[dead].kill()
    until(lambda: set(team.workers[heir].taken) == set(range(50)), 40)
    assert sorted(team.workers[heir].taken) == [*range(50)], "the heir did everything once"
