"""Secrets over HTTP, byte for byte as Dapr answers."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.api import HttpCaller
from support.stores import Noted

from pillion.contracts.secrets import SecretStore
from pillion.drivers.secrets.env import EnvSecrets, EnvSecretsSettings
from pillion.drivers.secrets.file import FileSecrets
from pillion.edge.http.secrets import SecretRoutes
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.rules.secrets import Scope
from pillion.services.mount import Mount
from pillion.services.secrets import SecretsService

JSON = {"content-type": "application/json"}


@pytest.fixture
async def api(tmp_path: Path) -> HttpCaller:
    file = tmp_path / "secrets.json"
    file.write_text('{"plain":"p1","num":5,"nest":{"b":{"c":"<y>"}},"enckey":"00","bulk":"shadowed"}')
    store = FileSecrets(read(FileSecrets.spec.settings, {"secretsFile": str(file)}), Context(name="sf"))
    await store.open()
    env = EnvSecrets(EnvSecretsSettings(prefix=""), Context(name="env"))
    return caller({"sf": store, "env": env}, sf=Scope(denied=frozenset({"enckey"})))


def caller(stores: dict[str, SecretStore[Any]], **scopes: Scope) -> HttpCaller:
    mounts = {name: Mount(name, "secretstores.test", "v1", store, Noted()) for name, store in stores.items()}
    return HttpCaller(SecretRoutes(SecretsService(mounts, scopes)).routes())


def error(code: str, message: str) -> bytes:
    return json.dumps({"errorCode": code, "message": message}, separators=(",", ":")).encode()


async def test_a_secret_is_an_object_with_a_line_end(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/secrets/sf/plain?metadata.version_id=1")
    assert (got.status, got.headers, got.body) == (200, JSON, b'{"plain":"p1"}\n')


async def test_markup_is_escaped(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/secrets/sf/nest:b:c")
    assert got.body == rb'{"nest:b:c":"\u003cy\u003e"}' + b"\n"


async def test_all_come_sorted_without_those_that_are_denied(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/secrets/sf/bulk")
    assert (got.status, got.headers) == (200, JSON)
    assert got.body == (
        b'{"bulk":{"bulk":"shadowed"},"nest:b:c":{"nest:b:c":"\\u003cy\\u003e"},"num":{"num":"5"},"plain":{"plain":"p1"}}\n'
    )


async def test_a_variable_that_is_not_set_is_an_empty_text(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/secrets/env/PILLION_NOT_SET")
    assert (got.status, got.body) == (200, b'{"PILLION_NOT_SET":""}\n')


async def test_a_store_with_nothing_to_show_is_an_empty_object(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text("{}")
    store = FileSecrets(read(FileSecrets.spec.settings, {"secretsFile": str(file)}), Context(name="sf"))
    await store.open()
    assert (await caller({"sf": store}).ask("GET", "/v1.0/secrets/sf/bulk")).body == b"{}\n"


async def test_a_secret_without_a_key_is_204(tmp_path: Path) -> None:
    file = tmp_path / "secrets.json"
    file.write_text('{"empty":{}}')
    metadata = {"secretsFile": str(file), "multiValued": "true"}
    store = FileSecrets(read(FileSecrets.spec.settings, metadata), Context(name="sf"))
    await store.open()
    got = await caller({"sf": store}).ask("GET", "/v1.0/secrets/sf/empty")
    assert (got.status, got.headers, got.body) == (204, {}, b"")


@pytest.mark.parametrize(
    ("target", "status", "code", "message"),
    [
        ("nos/k", 401, "ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nos"),
        ("nos/bulk", 401, "ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key nos"),
        (
            "sf/missing", 500, "ERR_SECRET_GET",
            "failed getting secret with key missing from secret store sf: secret missing not found",
        ),
        ("sf/enckey", 403, "ERR_PERMISSION_DENIED", 'access denied by policy to get "enckey" from "sf"'),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_says_why(
    api: HttpCaller, target: str, status: int, code: str, message: str
) -> None:
    got = await api.ask("GET", f"/v1.0/secrets/{target}")
    assert (got.status, got.headers, got.body) == (status, JSON, error(code, message))


@pytest.mark.parametrize("key", ["k", "bulk"])
async def test_without_any_store_all_are_not_configured(key: str) -> None:
    got = await caller({}).ask("GET", f"/v1.0/secrets/sf/{key}")
    assert (got.status, got.body) == (
        500,
        error("ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured"),
    )


async def test_every_path_has_one_metrics_label_per_store(api: HttpCaller) -> None:
    await api.ask("GET", "/v1.0/secrets/sf/plain")
    await api.ask("GET", "/v1.0/secrets/sf/bulk")
    assert [path for _, path, _ in api.served] == ["/v1.0/secrets/sf", "/v1.0/secrets/sf"]
