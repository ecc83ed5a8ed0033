"""JSON as the services need it; `pillion.wire.json` is the one there is."""

from typing import Any, Protocol


class Json(Protocol):
    """Reading and writing. Texts that are not JSON raise a ValueError whose sentence may be shown to a client."""

    def loads(self, body: bytes, /) -> Any:
        """The value of a body that holds nothing else."""
        ...

    def glance(self, body: bytes, /) -> Any:
        """As `loads`, but numbers may come out rounded: for what is looked at and not written again."""
        ...

    def loads_first(self, body: bytes, /) -> Any:
        """The first value of a body."""
        ...

    def encode_exact(self, value: object, /) -> bytes:
        """Sorted keys, markup escaped, every number as it was read."""
        ...

    def rewritten(self, body: bytes, /) -> bytes:
        """The first value of a body as `encode_exact` writes it."""
        ...
