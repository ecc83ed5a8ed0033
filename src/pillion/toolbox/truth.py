"""The words Dapr takes for yes, in headers, variables and component settings."""

from typing import Final

TRUE: Final = frozenset({"y", "yes", "true", "t", "on", "1"})
"""In lower case; everything else is no."""


def is_true(text: str) -> bool:
    """Whether a text says yes, in any case."""
    return text.strip().lower() in TRUE
