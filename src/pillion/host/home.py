"""The folder for what Pillion keeps on this machine: embedded stores, broker, registry."""

import logging
from collections.abc import Mapping
from pathlib import Path

from pillion.toolbox import home as places

log = logging.getLogger("dapr.runtime.home")


def find(asked: str, environ: Mapping[str, str]) -> Path | None:
    """The first of the places of `toolbox.home` that is ours and writable.

    None where nothing is writable; the sidecar then runs without embedded files, and says so once.
    """
    for place in places.candidates(asked, environ):
        problem = places.prepare(place)
        if not problem:
            return place
        log.warning("%s cannot hold Pillion's files: %s", place, problem)
    log.warning("no writable folder: the registry and embedded components are off")
    return None
