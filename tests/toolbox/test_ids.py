"""Fresh identifiers."""

import uuid
from collections.abc import Callable

import pytest

from pillion.toolbox.ids import Uuids, uuid4


@pytest.mark.parametrize("made", [uuid4, Uuids().next], ids=["one", "many"])
def test_an_id_is_a_version_4_uuid(made: Callable[[], str]) -> None:
    for _ in range(200):
        text = made()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


@pytest.mark.parametrize("made", [uuid4, Uuids().next], ids=["one", "many"])
def test_ids_do_not_repeat(made: Callable[[], str]) -> None:
    assert len({made() for _ in range(10_000)}) == 10_000
