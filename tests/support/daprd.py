"""The Go sidecar beside ours: who calls whom, and the Configuration by which the two find each other."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from support.needs import daprd
from support.sidecar import PILLIOND, Sidecar, Stage

DAPRD = (str(daprd()),)
HOST = {"DAPR_HOST_IP": "127.0.0.1"}

BOTH = [pytest.param((PILLIOND, DAPRD), id="ours-first"), pytest.param((DAPRD, PILLIOND), id="daprs-first")]
"""For what one sidecar does and the other has to understand: each takes each part once."""

Programs = tuple[Sequence[str], Sequence[str]]


def configuration(stage: Stage, name: str = "names", **spec: Any) -> str:
    """A Configuration file; without a word in it the resolver is the SQLite file of the stage."""
    shared = {"connectionString": str(stage.folder / "names.db")}
    spec = spec or {"nameResolution": {"component": "sqlite", "version": "v1", "configuration": shared}}
    path = stage.folder / f"{name}.yaml"
    manifest = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": name},
        "spec": spec,
    }
    path.write_text(json.dumps(manifest))
    return str(path)


def neighbour(
    stage: Stage,
    app_id: str,
    program: Sequence[str],
    *flags: str,
    env: dict[str, str] | None = None,
    **options: Any,
) -> Sidecar:
    """A sidecar of that program, ready, that finds and is found through the stage's SQLite file."""
    env = {**HOST, **(env or {})}
    return stage.sidecar(
        app_id, "--config", configuration(stage), *flags, program=program, env=env, **options
    ).ready()
