"""Scenes: short stories of whole processes on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sidecar import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Stage(tmp_path) as made:
        yield made
