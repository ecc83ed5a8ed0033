"""Fresh identifiers."""

import uuid

from pillion.toolbox.ids import uuid4


def test_an_id_is_a_version_4_uuid() -> None:
    for _ in range(200):
        text = uuid4()
        parsed = uuid.UUID(text)
        assert str(parsed) == text
        assert parsed.version == 4
        assert parsed.variant == uuid.RFC_4122


def test_ids_do_not_repeat() -> None:
    assert len({uuid4() for _ in range(10_000)}) == 10_000
