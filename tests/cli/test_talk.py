"""What is said to sidecars, and what a list looks like."""

import json
from typing import Any

import pytest
import yaml

from pillion.cli import instances, invoke, publish
from pillion.cli import list as listing
from pillion.cli.command import Refusal
from pillion.cli.instances import Instance
from pillion.cli.options import Given, read
from pillion.cli.payload import payload
from pillion.cli.processes import Process
from pillion.cli.records import Record

PUBLISH = publish.COMMANDS[0].options
KEYS = (
    "appId httpPort grpcPort appPort metricsEnabled command age created daprdPid cliPid appPid maxRequestBodySize "
    "httpReadBufferSize runTemplatePath appLogPath daprdLogPath runTemplateName"
).split()


def published(*words: str) -> Given:
    return read(["-i", "a", "-p", "pub/sub", "-t", "a/b c", *words], PUBLISH)


def instance(app_id: str = "a", **more: Any) -> Instance:
    return Instance(Record(**{"app_id": app_id, "pid": 7, "started": "", "created": 0.0, **more}))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"id":"1","source":"s","specversion":"1.0","type":"t","data":1}', "application/cloudevents+json"),
        (b'{"id":"1","source":"s","specversion":"1.0","type":"t"}', "application/json"),
        (b"[1]", "application/json"),
        (b"not json", "application/json"),
        (b"", "application/json"),
    ],
)
def test_an_envelope_is_known_by_its_five_fields(body: bytes, kind: str) -> None:
    assert publish.content_type(body) == kind


def test_metadata_becomes_the_query() -> None:
    given = published("-m", '{"ttlInSeconds":"60","rawPayload":true}')
    assert (
        publish.target(given)
        == "/v1.0/publish/pub%2Fsub/a/b%20c?metadata.ttlInSeconds=60&metadata.rawPayload=true"
    )


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_metadata_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="--metadata"):
        publish.target(published("-m", text))


def test_data_comes_from_one_place(tmp_path: Any) -> None:
    (tmp_path / "d").write_bytes(b"\xff")
    assert payload(published("-d", "x")) == b"x"
    assert payload(published("-f", str(tmp_path / "d"))) == b"\xff"
    with pytest.raises(Refusal, match="both"):
        payload(published("-d", "x", "-f", "y"))
    with pytest.raises(Refusal, match="cannot be read"):
        payload(published("-f", str(tmp_path / "none")))


def test_what_must_be_said_is_asked_for() -> None:
    with pytest.raises(Refusal) as told:
        invoke.run(read([], invoke.COMMANDS[0].options))
    assert str(told.value) == "required flag(s) --app-id, --method not set"


def test_an_app_that_is_not_there_is_refused_with_the_closest() -> None:
    running = [instance("orders"), instance("stock")]
    assert instances.named(running, "stock") is running[1]
    with pytest.raises(Refusal, match='no app "order" is running; did you mean "orders"'):
        instances.named(running, "order")


def test_of_two_apps_with_one_name_ours_is_meant() -> None:
    ours = instance(pid=8)
    assert instances.named([Instance(instance().record, is_ours=False), ours], "a") is ours


def test_a_row_has_daprs_keys_in_daprs_order() -> None:
    row = listing.row(instance(max_body_size="1Mi", read_buffer_size="8Ki"))
    assert [*row] == KEYS
    assert (row["maxRequestBodySize"], row["httpReadBufferSize"]) == (1 << 20, 8 << 10)


def test_nothing_running_is_said_in_every_shape(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "by_hand", list)
    assert say("list")[1] == "No Dapr instances found.\n"
    assert json.loads(say("list", "-o", "json")[1]) == []
    assert say("list", "-o", "yaml")[1] == "[]\n"


def test_a_list_as_yaml_says_the_same_as_json() -> None:
    rows = [listing.row(instance(command='say "a: b"', http_port=1)), listing.row(instance("b"))]
    assert yaml.safe_load(listing._yaml(rows)) == json.loads(listing._json(rows)) == rows


def test_a_long_path_in_a_table_keeps_its_end() -> None:
    shown = listing._table([listing.row(instance(app_log_path="/very" * 20 + "/a.log"))])
    assert "..." in shown
    assert "/a.log" in shown


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["/venv/bin/python", "/venv/bin/pilliond", "--app-id", "a"], ["--app-id", "a"]),
        (["/venv/bin/pilliond"], []),
        (["python3", "-m", "pillion.host.main", "-app-id=a"], ["-app-id=a"]),
        (["grep", "pillion.host.main"], None),
        (["daprd", "--app-id", "a"], None),
    ],
)
def test_a_sidecar_started_by_hand_is_known_by_its_command_line(
    words: list[str], found: list[str] | None
) -> None:
    assert instances._sidecar_args(words) == found


def test_a_sidecar_without_metrics_is_listed_so() -> None:
    process = Process(pid=1, parent=0, group=1, session=1, started="")
    record = instances._from_flags(process, {"app-id": "a", "enable-metrics": "false"})
    assert listing.row(Instance(record))["metricsEnabled"] is False


def test_flags_of_a_command_line_are_read_at_a_glance() -> None:
    words = ["--app-id", "a", "-dapr-http-port=1", "--enable-mtls", "--app-port", "8", "--log-as-json"]
    found = instances._flags(words)
    assert found == {
        "app-id": "a", "dapr-http-port": "1", "enable-mtls": "", "app-port": "8", "log-as-json": "",
    }  # fmt: skip
