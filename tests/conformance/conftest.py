"""What the conformance tests share: the fleets of Redis servers, each started once."""

from collections.abc import Iterator

import pytest
from support.redis_fleet import Harbour


@pytest.fixture(scope="session")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbour]:
    with Harbour(tmp_path_factory.mktemp("redis")) as made:
        yield made
