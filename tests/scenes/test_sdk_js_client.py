"""The official JavaScript SDK as a client, over HTTP and over gRPC: each block once, by today's SDK and by one over grpc-js."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from support.sdk import APPS, JS, JS_SDKS, Seen
from support.sidecar import Sidecar, Stage, component, free_port, until

pytestmark = [pytest.mark.needs("node", "js-sdk"), pytest.mark.timeout(60)]


@dataclass(frozen=True)
class Told:
    """What the client printed, by story, and what became of its sidecar."""

    protocol: str
    sdk: str
    stories: dict[str, Any]
    events: Seen
    sidecar: Sidecar

    def __getitem__(self, story: str) -> Any:
        line = self.stories[story]
        assert "error" not in line, line["error"]
        return line["told"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("js")) as made:
        (made.folder / "secrets.json").write_text('{"db": {"user": "u"}, "plain": "s3cret"}')
        made.resources(
            component("store", "state.in-memory"),
            component("bus", "pubsub.sqlite"),
            component("files", "bindings.localstorage", rootPath=str(made.folder / "files")),
            component("vault", "secretstores.local.file", secretsFile=str(made.folder / "secrets.json")),
        )
        yield made


@pytest.fixture(scope="module")
def seen(stage: Stage) -> Seen:
    seen = Seen(stage.folder / "seen.jsonl")
    port = free_port()
    stage.python("plain", APPS / "plain.py", str(port), str(seen.path), "seen")
    stage.sidecar("plain", app_port=port, resources=stage.folder / "resources").ready()
    return seen


@pytest.fixture(
    scope="module", params=[(sdk, protocol) for sdk in JS_SDKS for protocol in ("http", "grpc")], ids="-".join
)
def told(request: pytest.FixtureRequest, stage: Stage, seen: Seen) -> Told:
    sdk, protocol = request.param
    sidecar = stage.sidecar(f"client-{sdk}-{protocol}", resources=stage.folder / "resources").ready()
    seen.path.write_text("")
    name = JS_SDKS[sdk]
    return Told(protocol, name, stories(protocol, sidecar, DAPR_SDK=name), seen, sidecar)


def stories(protocol: str, sidecar: Sidecar, *only: str, **env: str) -> dict[str, Any]:
    """Run the client; the lines it printed, by story."""
    port = sidecar.ports.http if protocol == "http" else sidecar.ports.grpc
    ran = subprocess.run(
        ["node", str(JS / "client.js"), protocol, str(port), *only],
        capture_output=True, text=True, timeout=50, env={**os.environ, **env},
    )  # fmt: skip
    lines = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"what"')]
    assert lines, ran.stdout + ran.stderr
    return {line["what"]: line for line in lines}


def test_state_is_saved_read_and_deleted(told: Told) -> None:
    assert told["state"] == {"saved": {}, "read": {"n": 1}, "text": "text", "gone": ""}


def test_an_etag_guards_what_another_changed(told: Told) -> None:
    story = told["etag"]
    assert "possible etag mismatch" in story["late"] and "possible etag mismatch" in story["deleting"]
    assert story["kept"] in (2, "2")


def test_state_is_read_in_bulk(told: Told) -> None:
    assert [(key, data or None) for key, data in told["bulk"]] == [("x", 1), ("y", 2), ("none", None)]


def test_a_transaction_changes_all(told: Told) -> None:
    assert told["transaction"] == ["y", ""]


def test_events_are_published_as_what_they_are(told: Told) -> None:
    assert told["publish"] == [{}] * 5
    events = until(lambda: len(all_ := [note["event"] for note in told.events.all()]) >= 8 and all_)
    data = {json.dumps(event["data"]): event for event in events}
    assert data['{"n": 1}']["datacontenttype"].startswith("application/json")
    assert data['"words"']["datacontenttype"].startswith("text/plain")
    assert data['"<a/>"']["datacontenttype"].startswith("application/xml")
    assert (data['"enveloped"']["id"], data['"enveloped"']["source"]) == ("own", "me")
    assert data['"typed"']["type"] == "other"


def test_events_are_published_in_bulk(told: Told) -> None:
    assert told["publishBulk"] == {"failedMessages": []}
    events = until(lambda: len(all_ := [note["event"]["data"] for note in told.events.all()]) >= 8 and all_)
    assert {"n": 10} in events and "bulk words" in events and "<b/>" in events


def test_publishing_to_a_broker_that_is_not_there_fails(told: Told) -> None:
    assert "pubsub nosuch is not found" in told["publishFails"]


def test_secrets_are_read_one_and_all(told: Told) -> None:
    one, every = told["secret"]
    assert one == {"db:user": "u"}
    if (told.protocol, told.sdk) == ("grpc", "dapr-3.6"):
        assert every is None, "it looks for the answer where it is not"
        return
    assert every == {"db:user": {"db:user": "u"}, "plain": {"plain": "s3cret"}}


def test_an_output_binding_writes_and_reads_a_file(told: Told) -> None:
    assert told["binding"]["read"] == "hello"
    assert "error invoking output binding files" in told["binding"]["gone"]


def test_metadata_is_read_and_added_to(told: Told) -> None:
    story = told["metadata"]
    assert story["set"] is True
    assert story["got"]["id"] == told.sidecar.app_id
    assert story["got"]["extended"]["colour"] == "green"
    assert {"store", "bus", "files", "vault"} <= {part["name"] for part in story["got"]["components"]}


def test_the_sidecar_is_healthy(told: Told) -> None:
    assert told["health"] is True


def test_methods_are_invoked(told: Told) -> None:
    story = told["invoke"]
    assert (story["put"]["verb"], json.loads(story["put"]["body"])) == ("PUT", {"n": 1})
    assert story["put"]["headers"]["content-type"].startswith("application/json")
    path = "/echo?q=1" if told.protocol == "http" else "/echo/x"
    assert (story["get"]["verb"], story["get"]["path"]) == ("GET", path)
    assert story["missing"]
    assert told.protocol == "grpc" or story["put"]["headers"]["x-mine"] == "yes"


def test_an_app_that_is_not_there_is_an_error(told: Told) -> None:
    assert "failed to invoke, id: nosuch" in told["invokeNobody"]


def test_a_block_that_is_not_configured_says_so(told: Told) -> None:
    blocks = (
        ("configuration", "lock", "crypto") if told.protocol == "grpc" else ("lock",)
    )  # all that it has over HTTP
    said = told["absent"]
    assert [block for block in blocks if block not in said[block]] == []


def test_the_client_shuts_its_sidecar_down(told: Told) -> None:
    assert told["shutdown"] is True
    assert told.sidecar.wait() == 0


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_api_token_is_sent_with_every_call(stage: Stage, protocol: str) -> None:
    sidecar = stage.sidecar(
        f"locked-{protocol}", resources=stage.folder / "resources", env={"DAPR_API_TOKEN": "t0ken"}
    )
    until(lambda: sidecar.ask("GET", "/v1.0/metadata", dapr_api_token="t0ken").status == 200)
    assert sidecar.ask("GET", "/v1.0/metadata").status == 401
    line = stories(protocol, sidecar, "state", DAPR_API_TOKEN="t0ken")["state"]
    assert line.get("told", line)["read"] == {"n": 1}
