"""Secrets over gRPC."""

from pathlib import Path

import pytest
from support.api import GrpcCaller
from support.stores import Noted

from pillion.drivers.secrets.file import FileSecrets
from pillion.edge.grpc.secrets import SecretRpcs
from pillion.net.rpc import Code, RpcError
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.rules.secrets import Scope
from pillion.services.mount import Mount
from pillion.services.secrets import SecretsService
from pillion.wire.proto import runtime


@pytest.fixture
async def api(tmp_path: Path) -> GrpcCaller:
    file = tmp_path / "secrets.json"
    file.write_text('{"a":"va","db":{"user":"u1","pw":"hush"}}')
    store = FileSecrets(read(FileSecrets.spec.settings, {"secretsFile": str(file)}), Context(name="sec"))
    await store.open()
    mounts = {"sec": Mount("sec", "secretstores.local.file", "v1", store, Noted())}
    return GrpcCaller(SecretRpcs(SecretsService(mounts, {"sec": Scope(denied=frozenset({"db:pw"}))})).unary())


async def test_a_secret_is_a_map(api: GrpcCaller) -> None:
    got = await api.ask("GetSecret", runtime.GetSecretRequest(store_name="sec", key="a"))
    assert dict(runtime.GetSecretResponse.FromString(got).data) == {"a": "va"}


async def test_all_are_a_map_of_maps_without_those_that_are_denied(api: GrpcCaller) -> None:
    got = await api.ask("GetBulkSecret", runtime.GetBulkSecretRequest(store_name="sec"))
    found = runtime.GetBulkSecretResponse.FromString(got).data
    assert {name: dict(found[name].secrets) for name in found} == {
        "a": {"a": "va"},
        "db:user": {"db:user": "u1"},
    }


@pytest.mark.parametrize(
    ("store", "key", "code", "message"),
    [
        (
            "sec", "nope", Code.INTERNAL,
            "failed getting secret with key nope from secret store sec: secret nope not found",
        ),
        ("sec", "db:pw", Code.PERMISSION_DENIED, 'access denied by policy to get "db:pw" from "sec"'),
        ("zz", "a", Code.INVALID_ARGUMENT, "failed finding secret store with key zz"),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_says_why(
    api: GrpcCaller, store: str, key: str, code: Code, message: str
) -> None:
    with pytest.raises(RpcError) as failed:
        await api.ask("GetSecret", runtime.GetSecretRequest(store_name=store, key=key))
    assert (failed.value.code, failed.value.message, failed.value.details) == (code, message, b"")


@pytest.mark.parametrize("method", ["GetSecret", "GetBulkSecret"])
async def test_without_any_store_all_are_not_configured(method: str) -> None:
    api = GrpcCaller(SecretRpcs(SecretsService({}, {})).unary())
    with pytest.raises(RpcError) as failed:
        await api.ask(method, runtime.GetSecretRequest(store_name="x"))
    assert (failed.value.code, failed.value.message) == (
        Code.FAILED_PRECONDITION,
        "secret store is not configured",
    )
