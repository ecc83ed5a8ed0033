"""Every secret store against every promise its features call for."""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pillion.contracts.secrets import Feature, SecretStore
from pillion.drivers.index import INDEX
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.testing.conformance.secrets import CHECKS, Bench, Check

KINDS = sorted(kind for kind in INDEX if kind.startswith("secretstores."))
SINGLE = {"PILLION_TEST_ONE": "1", "PILLION_TEST_TWO": "zwei €"}
RIGS = {"secretstores.local.env/v1": [""], "secretstores.local.file/v1": ["", "multi"]}


def class_of(kind: str) -> type[SecretStore[Any]]:
    module, _, name = INDEX[kind]["at"].partition(":")
    found: type[SecretStore[Any]] = getattr(importlib.import_module(module), name)
    return found


def rigged(
    kind: str, rig: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, str], Mapping[str, Mapping[str, str]]]:
    """The component's metadata, and the secrets put into the store."""
    secrets: Mapping[str, Mapping[str, str]] = {name: {name: value} for name, value in SINGLE.items()}
    if kind == "secretstores.local.env/v1":
        for name, value in SINGLE.items():
            monkeypatch.setenv(name, value)
        return {}, secrets
    file = folder / "secrets.json"
    if rig != "multi":
        file.write_text(json.dumps(SINGLE), encoding="utf-8")
        return {"secretsFile": str(file)}, secrets
    secrets = {"db": {"user": "u", "pw": "p"}, "lone": {"lone": "l"}}
    file.write_text(json.dumps({"db": secrets["db"], "lone": "l"}), encoding="utf-8")
    return {"secretsFile": str(file), "multiValued": "true"}, secrets


def features(kind: str, rig: str) -> Feature:
    return class_of(kind).features if rig == "multi" else Feature.NONE


CASES = [
    pytest.param(kind, rig, check, id=f"{kind.removesuffix('/v1')}{'-' if rig else ''}{rig}-{check.name}")
    for kind in KINDS
    for rig in RIGS[kind]  # a kind without a rig fails here
    for check in CHECKS
    if check.applies_to(features(kind, rig))
]


@pytest.mark.parametrize(("kind", "rig", "check"), CASES)
async def test_a_secret_store_keeps_its_promise(
    kind: str, rig: str, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata, secrets = rigged(kind, rig, tmp_path, monkeypatch)
    cls = class_of(kind)
    store = cls(read(cls.spec.settings, metadata), Context(name="bench", metadata=metadata))
    await store.close()  # safe unopened
    await store.open()
    assert store.features == features(kind, rig)
    await check.run(Bench(store, secrets))
    await store.close()


@pytest.mark.parametrize("kind", KINDS)
def test_every_secret_store_is_what_the_index_says(kind: str) -> None:
    cls = class_of(kind)
    assert f"{cls.spec.type_name}/{cls.spec.version}" == kind
