"""State messages spelled by hand are the ones protobuf reads."""

import pytest

from pillion.model.state import Entry
from pillion.wire.proto import runtime
from pillion.wire.state import get_answer


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
@pytest.mark.parametrize("etag", [None, "", "1", "e" * 127, "é" * 64])
@pytest.mark.parametrize("expires_at", [None, 1_700_000_000.0])
def test_a_read_is_answered_with_value_etag_and_end(
    size: int, etag: str | None, expires_at: float | None
) -> None:
    got = runtime.GetStateResponse.FromString(get_answer(Entry(b"\x0a" * size, etag, expires_at)))
    ends = {} if expires_at is None else {"ttlExpireTime": "2023-11-14T22:13:20Z"}
    assert (got.data, got.etag, dict(got.metadata)) == (b"\x0a" * size, etag or "", ends)


def test_an_absent_key_is_an_empty_message() -> None:
    assert get_answer(None) == b""
