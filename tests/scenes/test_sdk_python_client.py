"""The official Python SDK as a client: each block through its synchronous and its asynchronous form."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dapr.aio.clients import DaprClient as AsyncClient
from dapr.clients import BulkPublishEntry, DaprClient, Job
from dapr.clients.exceptions import DaprGrpcError, DaprInternalError
from dapr.clients.grpc._crypto import EncryptOptions
from dapr.clients.grpc._request import TransactionalStateOperation, TransactionOperationType
from dapr.clients.grpc._state import Concurrency, Consistency, StateItem, StateOptions
from dapr.clients.grpc.conversation import ConversationInput
from grpc import RpcError, StatusCode
from support.sdk import APPS, Seen, awaited
from support.sidecar import Sidecar, Stage, component, free_port, until

FAULTS = (DaprGrpcError, DaprInternalError)


def code_of(error: Any) -> Any:
    """The gRPC status: the asynchronous client keeps it in the cause."""
    return (error if isinstance(error, DaprGrpcError) else error.__cause__).code()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("client")) as made:
        yield made


@pytest.fixture(scope="module")
def seen(stage: Stage) -> Seen:
    return Seen(stage.folder / "seen.jsonl")


@pytest.fixture(scope="module")
def app(stage: Stage, seen: Seen) -> Sidecar:
    """The sidecar of an app that speaks plain HTTP and says what came."""
    port = free_port()
    stage.python("plain", APPS / "plain.py", str(port), str(seen.path))
    return stage.sidecar("plain", app_port=port, resources=resources(stage))


@pytest.fixture(scope="module")
def grpc_app(stage: Stage, seen: Seen) -> Sidecar:
    port = free_port()
    stage.python("method", APPS / "grpc_method.py", str(port))
    return stage.sidecar("method", "--app-protocol=grpc", app_port=port)


@pytest.fixture(scope="module")
def sidecar(stage: Stage, app: Sidecar, grpc_app: Sidecar) -> Sidecar:
    """The sidecar that the SDK talks to, once the others are ready as well."""
    mine = stage.sidecar("client", resources=resources(stage))
    app.ready()
    grpc_app.ready()
    return mine.ready()


def resources(stage: Stage) -> Path:
    place = stage.folder / "resources"
    if place.exists():
        return place
    (stage.folder / "secrets.json").write_text('{"db": {"user": "u", "password": "p"}, "plain": "s3cret"}')
    return stage.resources(
        component("store", "state.in-memory"),
        component("bus", "pubsub.sqlite"),
        component("files", "bindings.localstorage", rootPath=str(stage.folder / "files")),
        component(
            "vault",
            "secretstores.local.file",
            secretsFile=str(stage.folder / "secrets.json"),
            nestedSeparator=":",
        ),
        component("env", "secretstores.local.env"),
    )


@pytest.fixture(params=["sync", "aio"])
def client(
    request: pytest.FixtureRequest, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """The client, made as an app beside its sidecar makes it: from the ports in the environment."""
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    with DaprClient() if request.param == "sync" else awaited(AsyncClient) as made:
        yield made


@pytest.fixture(autouse=True)
def loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The synchronous client makes a loop for each HTTP call and leaves it open: they are closed here."""
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", noted)
    yield
    for loop in made:
        loop.close()
    asyncio.set_event_loop(None)


def test_state_is_saved_read_and_deleted(client: Any) -> None:
    client.save_state("store", "k", '{"n": 1}', state_metadata={"contentType": "application/json"})
    assert client.get_state("store", "k").json() == {"n": 1}
    client.save_state("store", "raw", b"\x00\xff")
    assert client.get_state("store", "raw").data == b"\x00\xff"
    client.delete_state("store", "k")
    gone = client.get_state("store", "k")
    assert (gone.data, gone.etag) == (b"", "")


def test_an_etag_guards_what_another_changed(client: Any) -> None:
    careful = StateOptions(consistency=Consistency.strong, concurrency=Concurrency.first_write)
    client.save_state("store", "guarded", "1")
    etag = client.get_state("store", "guarded").etag
    client.save_state("store", "guarded", "2", etag=etag, options=careful)
    with pytest.raises(FAULTS) as saving:
        client.save_state("store", "guarded", "3", etag=etag, options=careful)
    with pytest.raises(FAULTS) as deleting:
        client.delete_state("store", "guarded", etag=etag, options=careful)
    assert code_of(saving.value) == code_of(deleting.value) == StatusCode.ABORTED
    assert client.get_state("store", "guarded").text() == "2"


def test_state_is_saved_and_read_in_bulk(client: Any) -> None:
    client.save_bulk_state(
        "store", [StateItem("a", "1"), StateItem("b", "2", metadata={"ttlInSeconds": "60"})]
    )
    items = client.get_bulk_state("store", ["a", "b", "none"], parallelism=2).items
    assert {item.key: item.text() for item in items} == {"a": "1", "b": "2", "none": ""}
    assert all(item.etag for item in items if item.key != "none")


def test_a_transaction_does_all_or_nothing(client: Any) -> None:
    client.save_state("store", "old", "x")
    etag = client.get_state("store", "old").etag
    client.execute_state_transaction(
        "store",
        [
            TransactionalStateOperation("new", "y"),
            TransactionalStateOperation("old", operation_type=TransactionOperationType.delete, etag=etag),
        ],
    )
    assert client.get_state("store", "new").text() == "y"
    assert client.get_state("store", "old").data == b""
    with pytest.raises(FAULTS):
        client.execute_state_transaction(
            "store",
            [TransactionalStateOperation("never", "y"), TransactionalStateOperation("new", "z", etag="999")],
        )
    assert client.get_state("store", "never").data == b""


def test_state_ends_with_its_time_to_live(client: Any) -> None:
    client.save_state("store", "brief", "x", state_metadata={"ttlInSeconds": "1"})
    assert client.get_state("store", "brief").text() == "x"
    until(lambda: client.get_state("store", "brief").data == b"")


def test_a_store_that_is_not_there_is_an_error_with_details(client: Any) -> None:
    with pytest.raises(FAULTS) as caught:
        client.get_state("nosuch", "k")
    assert "nosuch" in str(caught.value)
    if isinstance(caught.value, DaprGrpcError):
        assert caught.value.error_code() == "DAPR_STATE_NOT_FOUND"


def test_an_event_is_published_as_what_its_type_says(client: Any, seen: Seen) -> None:
    before = len(seen.all("event"))
    client.publish_event("bus", "orders", '{"n": 7}', data_content_type="application/json")
    client.publish_event("bus", "orders", "words", data_content_type="text/plain")
    client.publish_event("bus", "orders", b"\x00\xff", data_content_type="application/octet-stream")
    until(lambda: len(seen.all("event")) == before + 3)
    events = [note["event"] for note in seen.all("event")[before:]]
    by_type = {event["datacontenttype"]: event for event in events}
    assert by_type["application/json"]["data"] == {"n": 7}
    assert by_type["text/plain"]["data"] == "words"
    assert by_type["application/octet-stream"]["data_base64"] == "AP8="
    assert {event["topic"] for event in events} == {"orders"}


def test_events_are_published_in_bulk(client: Any, seen: Seen) -> None:
    before = len(seen.all("event"))
    answer = client.publish_events(
        "bus",
        "orders",
        ["one", BulkPublishEntry('{"n": 2}', content_type="application/json", entry_id="second"), b"three"],
        data_content_type="text/plain",
    )
    assert answer.failed_entries == []
    until(lambda: len(seen.all("event")) == before + 3)
    told = [note["event"]["data"] for note in seen.all("event")[before:]]
    assert sorted(map(str, told)) == ["one", "three", "{'n': 2}"]


def test_publishing_to_a_broker_that_is_not_there_fails(client: Any) -> None:
    with pytest.raises(FAULTS) as caught:
        client.publish_event("nosuch", "orders", "x")
    assert code_of(caught.value) == StatusCode.INVALID_ARGUMENT


def test_secrets_are_read_one_and_all(client: Any) -> None:
    assert client.get_secret("vault", "db:user").secret == {"db:user": "u"}
    assert client.get_bulk_secret("vault").secrets == {
        "db:user": {"db:user": "u"},
        "db:password": {"db:password": "p"},
        "plain": {"plain": "s3cret"},
    }
    assert client.get_secret("env", "PILLION_HOME").secret["PILLION_HOME"].endswith("home")


def test_an_output_binding_writes_and_reads_a_file(client: Any) -> None:
    name = {"fileName": "a.txt"}
    written = client.invoke_binding("files", "create", "hello", name)
    assert "fileName" in written.json()
    assert client.invoke_binding("files", "get", binding_metadata=name).text() == "hello"
    client.invoke_binding("files", "delete", binding_metadata=name)
    with pytest.raises(RpcError):
        client.invoke_binding("files", "get", binding_metadata=name)


def test_metadata_is_read_and_added_to(client: Any) -> None:
    client.set_metadata("colour", "green")
    told = client.get_metadata()
    assert told.application_id == "client"
    assert {"store", "bus", "files", "vault", "env"} <= {part.name for part in told.registered_components}
    (store,) = [part for part in told.registered_components if part.name == "store"]
    assert (store.type, store.version) == ("state.in-memory", "v1") and "ETAG" in store.capabilities
    assert told.extended_metadata["colour"] == "green"
    assert told.extended_metadata["daprRuntimeVersion"]


@pytest.mark.filterwarnings("ignore:The wait method is deprecated:DeprecationWarning")
def test_wait_returns_once_the_sidecar_listens(client: Any) -> None:
    client.wait(5)


def test_a_method_is_invoked_over_http(client: Any) -> None:
    answer = client.invoke_method(
        "plain",
        "echo/a b",
        '{"n": 1}',
        content_type="application/json",
        metadata=(("x-mine", "yes"),),
        http_verb="PUT",
        http_querystring=(("q", "1"), ("q", "ü")),
    )
    told = answer.json()
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert (told["verb"], told["body"], told["headers"]["x-mine"]) == ("PUT", '{"n": 1}', "yes")
    assert told["path"] == "/echo/a%20b?q=1&q=%C3%BC"
    assert {name.lower(): value for name, value in answer.headers.items()}["x-answer"] == ["42"]


@pytest.mark.filterwarnings("ignore:invoke_method with protocol gRPC:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:metadata argument is deprecated:DeprecationWarning")
@pytest.mark.parametrize("form", ["sync", "aio"])
def test_a_method_is_invoked_over_grpc(form: str, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    monkeypatch.setenv("DAPR_API_METHOD_INVOCATION_PROTOCOL", "grpc")
    with DaprClient() if form == "sync" else awaited(AsyncClient) as client:
        web = client.invoke_method(
            "plain", "echo", "hi", "text/plain", http_verb="POST", http_querystring=(("q", "1"),)
        )
        assert (web.json()["path"], web.json()["body"]) == ("/echo?q=1", "hi")
        rpc = client.invoke_method("method", "echo", b"hi", "text/plain", metadata=(("x-mine", "yes"),))
        assert (rpc.data, rpc.content_type) == (b"hi", "text/plain")
        assert dict(rpc.headers)["x-told"] in (["yes"], "yes")
        with pytest.raises(RpcError) as caught:
            client.invoke_method("method", "nosuch", b"")
        assert caught.value.code() == StatusCode.UNIMPLEMENTED


def test_an_app_that_is_not_there_is_an_error(client: Any) -> None:
    with pytest.raises(DaprInternalError, match="failed to invoke, id: nosuch"):
        client.invoke_method("nosuch", "m", "", http_verb="GET")


@pytest.mark.parametrize("form", ["sync", "aio"])
def test_a_client_shuts_its_sidecar_down(form: str, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = stage.sidecar(f"brief-{form}").ready()
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    with DaprClient() if form == "sync" else awaited(AsyncClient) as client:
        client.shutdown()
    assert sidecar.wait() == 0


def test_the_api_token_is_sent_with_every_call(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    sidecar = stage.sidecar("locked", resources=resources(stage), env={"DAPR_API_TOKEN": "t0ken"})
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    monkeypatch.setenv("DAPR_API_TOKEN", "t0ken")
    with DaprClient() as client:
        client.save_state("store", "k", json.dumps(1))
    monkeypatch.setenv("DAPR_API_TOKEN", "wrong")
    with DaprClient() as client, pytest.raises(FAULTS) as caught:
        client.get_state("store", "k")
    assert caught.value.code() == StatusCode.UNAUTHENTICATED
    assert sidecar.stop() == 0


def test_a_sidecar_may_be_named_by_its_endpoints(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_HTTP_ENDPOINT", sidecar.url)
    monkeypatch.setenv("DAPR_GRPC_ENDPOINT", f"{sidecar.grpc}?tls=false")
    with DaprClient() as client:
        assert client.get_metadata().application_id == "client"
        assert client.invoke_method("plain", "echo", "", http_verb="GET").status_code == 200


def test_values_of_many_megabytes_pass_where_the_limit_is_raised(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = stage.sidecar("large", "--max-body-size=16Mi", resources=resources(stage)).ready()
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    large = b"x" * 6_000_000
    with DaprClient(max_grpc_message_length=16 << 20) as client:
        client.save_state("store", "large", large)
        assert client.get_state("store", "large").data == large
    assert sidecar.stop() == 0


ABSENT = {
    "configuration": lambda it: it.get_configuration("none", ["k"]),
    "lock": lambda it: it.try_lock("none", "resource", "owner", 10),
    "crypto": lambda it: it.encrypt(b"x", EncryptOptions("none", "key", "RSA")).read(),
    "conversation": lambda it: it.converse_alpha1("none", [ConversationInput("hello")]),
    "scheduler": lambda it: it.schedule_job(Job(name="j", schedule="@every 1s")),
}


@pytest.mark.filterwarnings("ignore:The .*API is an Alpha version:UserWarning")
@pytest.mark.parametrize("what", ABSENT)
def test_a_block_that_is_not_configured_says_so(
    what: str, sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_HTTP_PORT", str(sidecar.ports.http))
    monkeypatch.setenv("DAPR_GRPC_PORT", str(sidecar.ports.grpc))
    with DaprClient() as client, pytest.raises(RpcError if what != "conversation" else FAULTS) as caught:
        ABSENT[what](client)
    assert what in str(caught.value)
