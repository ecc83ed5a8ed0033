"""What protects an app and its sidecar: tokens, API lists, scopes. Set, it holds on both transports."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.sidecar import Sidecar, Stage, component, free_port, http, until

APPS = Path(__file__).parent / "ops_apps"
DAPR = "/dapr.proto.runtime.v1.Dapr/"
IN_MEMORY = component("mem", "state.in-memory")


def rpc(
    sidecar: Sidecar, method: str, message: bytes = b"", metadata: Sequence[tuple[str, str]] = ()
) -> grpc.StatusCode:
    """How a call with these bytes ends."""
    with grpc.insecure_channel(sidecar.grpc) as channel:
        call = channel.unary_unary(method)
        try:
            call(message, metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            assert isinstance(error, grpc.Call)
            return error.code()
    return grpc.StatusCode.OK


def text(number: int, value: str) -> bytes:
    """A text field of a message."""
    return bytes((number << 3 | 2, len(value))) + value.encode()


def configuration(stage: Stage, **spec: Any) -> str:
    """A Configuration file."""
    path = stage.folder / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "dapr.io/v1alpha1",
                "kind": "Configuration",
                "metadata": {"name": "scene"},
                "spec": spec,
            }
        )
    )
    return str(path)


def test_without_the_api_token_nobody_is_served_but_health(stage: Stage) -> None:
    sidecar = stage.sidecar(
        "a", resources=stage.resources(IN_MEMORY), env={"DAPR_API_TOKEN": "sesame"}
    ).ready()
    for path in ("/v1.0/state/mem/k", "/v1.0/metadata", "/nosuch", "/v1.0/invoke/b/method/m"):
        answer = sidecar.ask("GET", path)
        assert (answer.status, answer.body) == (401, b"invalid api token\n"), path
        assert sidecar.ask("GET", path, dapr_api_token="wrong").status == 401
    assert sidecar.ask("GET", "/v1.0/state/mem/k", dapr_api_token="sesame").status == 204
    assert sidecar.ask("POST", "/v1.0/shutdown").status == 401


def test_the_api_token_guards_grpc_as_well(stage: Stage) -> None:
    sidecar = stage.sidecar("a", env={"DAPR_API_TOKEN": "sesame"}).ready()
    for metadata in ([], [("dapr-api-token", "wrong")]):
        assert rpc(sidecar, DAPR + "GetMetadata", metadata=metadata) is grpc.StatusCode.UNAUTHENTICATED
        assert rpc(sidecar, "/some.App/Method", metadata=metadata) is grpc.StatusCode.UNAUTHENTICATED
    right = [("dapr-api-token", "sesame")]
    assert rpc(sidecar, DAPR + "GetMetadata", metadata=right) is grpc.StatusCode.OK


def test_the_app_is_shown_its_token_and_never_the_api_token(stage: Stage) -> None:
    port = free_port()
    stage.python("open", APPS / "open_app.py", str(port), "open")
    tokens = {"DAPR_API_TOKEN": "sesame", "APP_API_TOKEN": "for the app"}
    sidecar = stage.sidecar("a", app_port=port, env=tokens).ready()
    seen = sidecar.ask("GET", "/v1.0/invoke/a/method/see", dapr_api_token="sesame").json()
    assert [value for name, value in seen["headers"] if name == "dapr-api-token"] == ["for the app"]


def test_a_denied_api_is_not_there(stage: Stage) -> None:
    denied = [
        {"name": name, "version": version, "protocol": protocol}
        for name in ("state", "metadata")
        for version, protocol in (("v1.0", "http"), ("v1", "grpc"))
    ]
    config = configuration(stage, api={"denied": denied})
    sidecar = stage.sidecar("a", "--config", config, resources=stage.resources(IN_MEMORY)).ready()
    for path in ("/v1.0/state/mem/k", "/v1.0/metadata"):
        assert sidecar.ask("GET", path).json()["errorCode"] == "ERR_DIRECT_INVOKE"
    assert rpc(sidecar, DAPR + "GetMetadata") is grpc.StatusCode.UNIMPLEMENTED
    assert rpc(sidecar, DAPR + "GetState", text(1, "mem") + text(2, "k")) is grpc.StatusCode.UNIMPLEMENTED
    assert rpc(sidecar, DAPR + "GetSecret", text(1, "none")) is not grpc.StatusCode.UNIMPLEMENTED


def test_only_allowed_apis_are_there(stage: Stage) -> None:
    allowed = [{"name": "state", "version": "v1.0", "protocol": "http"}]
    config = configuration(stage, api={"allowed": allowed})
    sidecar = stage.sidecar("a", "--config", config, resources=stage.resources(IN_MEMORY)).ready()
    assert sidecar.ask("GET", "/v1.0/state/mem/k").status == 204
    assert sidecar.ask("GET", "/v1.0/metadata").json()["errorCode"] == "ERR_DIRECT_INVOKE"
    assert sidecar.ask("GET", "/v1.0/healthz").status == 204


def test_secret_scopes_hide_what_they_name(stage: Stage) -> None:
    secrets = stage.folder / "secrets.json"
    secrets.write_text(json.dumps({"open": "1", "closed": "2"}))
    store = component("vault", "secretstores.local.file", secretsFile=str(secrets))
    scopes = [{"storeName": "vault", "defaultAccess": "deny", "allowedSecrets": ["open"]}]
    config = configuration(stage, secrets={"scopes": scopes})
    sidecar = stage.sidecar("a", "--config", config, resources=stage.resources(store)).ready()
    assert sidecar.ask("GET", "/v1.0/secrets/vault/open").json() == {"open": "1"}
    answer = sidecar.ask("GET", "/v1.0/secrets/vault/closed")
    assert answer.status == 403 and answer.json()["errorCode"] == "ERR_PERMISSION_DENIED"
    assert sidecar.ask("GET", "/v1.0/secrets/vault/bulk").json() == {"open": {"open": "1"}}
    named = text(1, "vault") + text(2, "closed")
    assert rpc(sidecar, DAPR + "GetSecret", named) is grpc.StatusCode.PERMISSION_DENIED


def test_topic_scopes_bar_publishers_and_subscribers(stage: Stage) -> None:
    broker = component(
        "pubsub", "pubsub.sqlite", publishingScopes="a=mine;b=mine,safe", subscriptionScopes="a=mine",
        protectedTopics="safe",
    )  # fmt: skip
    port, resources = free_port(), stage.resources(broker)
    wanted = [{"pubsubname": "pubsub", "topic": topic, "route": "/take"} for topic in ("mine", "safe")]
    stage.python("open", APPS / "open_app.py", str(port), "open", json.dumps(wanted))
    bound = stage.sidecar("a", app_port=port, resources=resources).ready()
    free = stage.sidecar("b", resources=resources).ready()
    for topic in ("safe", "other"):
        answer = bound.ask("POST", f"/v1.0/publish/pubsub/{topic}", {"n": 1})
        assert answer.status == 403 and answer.json()["errorCode"] == "ERR_PUBSUB_FORBIDDEN"
    message = text(1, "pubsub") + text(2, "safe")
    assert rpc(bound, DAPR + "PublishEvent", message) is grpc.StatusCode.PERMISSION_DENIED
    for topic in ("safe", "mine"):
        assert free.ask("POST", f"/v1.0/publish/pubsub/{topic}", {"of": topic}).status == 204
    until(lambda: http("GET", f"http://127.0.0.1:{port}/taken").json() == [{"of": "mine"}])


def test_component_scopes_show_a_component_only_to_its_apps(stage: Stage) -> None:
    scoped = json.loads(IN_MEMORY) | {"scopes": ["a"]}
    resources = stage.resources(json.dumps(scoped))
    inside = stage.sidecar("a", resources=resources).ready()
    outside = stage.sidecar("b", resources=resources).ready()
    assert inside.ask("GET", "/v1.0/state/mem/k").status == 204
    assert outside.ask("GET", "/v1.0/state/mem/k").json()["errorCode"] == "ERR_STATE_STORE_NOT_CONFIGURED"
    assert outside.ask("GET", "/v1.0/metadata").json().get("components", []) == []


def test_a_component_of_a_denied_type_is_left_out(stage: Stage) -> None:
    config = configuration(stage, components={"deny": ["state.in-memory"]})
    sidecar = stage.sidecar("a", "--config", config, resources=stage.resources(IN_MEMORY)).outbound()
    assert sidecar.ask("GET", "/v1.0/state/mem/k").json()["errorCode"] == "ERR_STATE_STORE_NOT_CONFIGURED"


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_without_identities_the_default_action_decides_who_may_call(stage: Stage, action: str) -> None:
    port = free_port()
    stage.python("open", APPS / "open_app.py", str(port), "open")
    config = configuration(stage, accessControl={"defaultAction": action})
    stage.sidecar("b", "--config", config, app_port=port).ready()
    caller = stage.sidecar("a").ready()
    answer = caller.ask("GET", "/v1.0/invoke/b/method/who")
    assert (answer.status, answer.status == 200) == ({"allow": 200, "deny": 403}[action], action == "allow")
