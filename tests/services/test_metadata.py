"""The words that apps add to their sidecar's metadata."""

from typing import Any

import pytest

from pillion.model.errors import METADATA_FULL, ApiError
from pillion.services.metadata import MetadataService


def service() -> MetadataService:
    def snapshot(extended: dict[str, str]) -> Any:
        return dict(extended)

    return MetadataService(snapshot, {"own": "1"})


def refused(metadata: MetadataService, key: str, value: str) -> bool:
    with pytest.raises(ApiError) as caught:
        metadata.put(key, value)
    return caught.value.fault is METADATA_FULL


def test_a_word_is_added_and_replaced() -> None:
    metadata = service()
    for value in ("a", "b"):
        metadata.put("word", value)
    assert metadata.get() == {"own": "1", "word": "b"}  # type: ignore[comparison-overlap]


def test_a_word_without_a_key_is_passed_over() -> None:
    metadata = service()
    metadata.put("", "x")
    assert metadata.get() == {"own": "1"}  # type: ignore[comparison-overlap]


def test_one_word_too_many_is_refused_and_an_old_one_may_still_change() -> None:
    metadata = service()
    for number in range(MetadataService.MOST_WORDS - 1):
        metadata.put(f"k{number}", "")
    assert refused(metadata, "more", "")
    metadata.put("k0", "changed")


def test_the_bytes_of_all_words_together_are_bounded() -> None:
    metadata = service()
    half = "x" * (MetadataService.MOST_BYTES // 2 - 2)
    metadata.put("a", half)
    assert refused(metadata, "b", half)
    metadata.put("b", half[4:])
    assert refused(metadata, "a", half + "xxx")
    metadata.put("a", "")
    metadata.put("c", half)


def test_letters_count_as_the_bytes_they_are_sent_in() -> None:
    assert refused(service(), "a", "é" * (MetadataService.MOST_BYTES // 2))
