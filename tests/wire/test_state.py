"""State messages spelled by hand are the ones protobuf reads."""

import random
from typing import Any

import pytest

from pillion.model.state import Entry, Found
from pillion.wire.proto import runtime
from pillion.wire.state import bulk_answer, get_answer, plain_get, plain_save


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


def save_message(store: str, key: str, value: bytes) -> bytes:
    message = runtime.SaveStateRequest(store_name=store)
    message.states.add(key=key, value=value)
    return message.SerializeToString()


@pytest.mark.parametrize("size", [1, 127, 128, 16_383, 16_384, 70_000])
@pytest.mark.parametrize("key", ["k", "é" * 60, "k" * 127])
def test_a_save_of_one_plain_item_is_read_by_hand(key: str, size: int) -> None:
    assert plain_save(save_message("mem", key, b"\x12" * size)) == ("mem", key, b"\x12" * size)


def unplain_saves() -> list[bytes]:
    several = runtime.SaveStateRequest(store_name="mem")
    several.states.add(key="a", value=b"1")
    several.states.add(key="b", value=b"2")
    etagged = runtime.SaveStateRequest(store_name="mem")
    etagged.states.add(key="a", value=b"1").etag.value = "7"
    described = runtime.SaveStateRequest(store_name="mem")
    described.states.add(key="a", value=b"1").metadata["ttlInSeconds"] = "5"
    optional = runtime.SaveStateRequest(store_name="mem")
    optional.states.add(key="a", value=b"1").options.concurrency = 1
    return [each.SerializeToString() for each in (several, etagged, described, optional)]


@pytest.mark.parametrize("message", [*unplain_saves(), b"", b"\x0a", save_message("mem", "k", b"")])
def test_any_other_save_is_left_to_protobuf(message: bytes) -> None:
    assert plain_save(message) is None


def test_what_is_read_by_hand_of_spoiled_messages_is_what_protobuf_reads() -> None:
    chance = random.Random(7)
    whole = save_message("mem", "key", b"v" * 130)
    for _ in range(4000):
        spoiled = bytearray(whole)
        for _ in range(chance.choice((1, 2))):
            spoiled[chance.randrange(12)] = chance.randrange(256)
        found = plain_save(bytes(spoiled))
        if found is not None:
            message = runtime.SaveStateRequest.FromString(bytes(spoiled))
            assert found == (message.store_name, message.states[0].key, message.states[0].value)


@pytest.mark.parametrize("key", ["k", "é" * 63, "k" * 127])
def test_a_read_of_one_key_is_read_by_hand(key: str) -> None:
    message = runtime.GetStateRequest(store_name="mem", key=key).SerializeToString()
    assert plain_get(message) == ("mem", key)


@pytest.mark.parametrize(
    "request_",
    [
        runtime.GetStateRequest(store_name="mem", key="k" * 128),
        runtime.GetStateRequest(store_name="mem", key="k", consistency=2),
        runtime.GetStateRequest(store_name="mem", key="k", metadata={"a": "b"}),
        runtime.GetStateRequest(store_name="mem"),
        runtime.GetStateRequest(key="k"),
    ],
)
def test_any_other_read_is_left_to_protobuf(request_: Any) -> None:
    assert plain_get(request_.SerializeToString()) is None
    assert plain_get(request_.SerializeToString()[:-1]) is None


def test_the_items_of_a_bulk_read_are_those_protobuf_reads() -> None:
    entries = [None, Entry(b""), Entry(b"v"), Entry(b"v", "1"), Entry(b"v", "1", 1_700_000_000.0)]
    entries += [Entry(b"v" * size, "e" * 36) for size in (1, 79, 80, 81, 84, 85, 86, 127, 128, 20_000)]
    found = [Found(key, entry) for key in ("", "k", "key", "\u00e9" * 30, "k" * 200) for entry in entries]
    found.append(Found("k", None, "broken"))
    items = runtime.GetBulkStateResponse.FromString(bulk_answer(found)).items
    assert len(items) == len(found)
    for item, (key, entry, error) in zip(items, found, strict=True):
        ends = "ttlExpireTime" in item.metadata
        told = (
            (b"", "", False)
            if entry is None
            else (entry.value, entry.etag or "", entry.expires_at is not None)
        )
        assert (item.key, item.error, (item.data, item.etag, ends)) == (key, error, told)
