"""The sidecar's own metadata."""

from collections.abc import Callable
from typing import Final

from pillion.model.errors import METADATA_FULL, ApiError
from pillion.model.metadata import Sidecar


class MetadataService:
    """Answers what this sidecar is; apps and the CLI may add words of their own (`extended`).

    The words are bounded in number and in bytes, keys and values together: whoever asks what this sidecar is gets them all.
    """

    MOST_WORDS: Final = 1000
    MOST_BYTES: Final = 256 * 1024

    def __init__(self, snapshot: Callable[[dict[str, str]], Sidecar], extended: dict[str, str]) -> None:
        self._snapshot = snapshot
        self._extended = dict(extended)
        self._bytes = sum(_size(key, value) for key, value in extended.items())

    def get(self) -> Sidecar:
        """The sidecar as it is now."""
        return self._snapshot(self._extended)

    def put(self, key: str, value: str) -> None:
        """Add or replace one extended word; one without a key is passed over, one that does not fit is refused."""
        if not key:
            return
        before = self._extended.get(key)
        size = self._bytes + _size(key, value) - (0 if before is None else _size(key, before))
        if size > self.MOST_BYTES or (before is None and len(self._extended) >= self.MOST_WORDS):
            raise ApiError(METADATA_FULL, words=self.MOST_WORDS, bytes=self.MOST_BYTES)
        self._extended[key] = value
        self._bytes = size


def _size(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode())
