"""The embedded defaults: manifests for an app that brings none."""

import os
import tempfile
from pathlib import Path
from typing import Final

_MANIFEST: Final = """\
# Written by `pillion run`; used by apps that bring no resources of their own.
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {type}
  version: v1
"""
COMPONENTS: Final = {
    "statestore": "state.sqlite",
    "pubsub": "pubsub.sqlite",
    "secretstore": "secretstores.local.env",
}
"""Names that samples use, and the engine behind each."""


def folder(home: Path) -> Path:
    """The folder of the manifests, written where they are absent or of another version."""
    place = home / "defaults"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, kind in COMPONENTS.items():
        text = _MANIFEST.format(name=name, type=kind)
        file = place / f"{name}.yaml"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            _replace(file, text)
    return place


def _replace(file: Path, text: str) -> None:
    """Whole or not at all: another run may be reading it."""
    number, name = tempfile.mkstemp(dir=file.parent, suffix=".new")
    with os.fdopen(number, "w", encoding="utf-8") as made:
        made.write(text)
    os.replace(name, file)
