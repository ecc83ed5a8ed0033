"""Recorded texts with placeholders for what varies from run to run."""

import re
from typing import Final

PLACEHOLDERS: Final = {
    "{uuid}": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "{etag}": r"[0-9a-zA-Z-]+",
    "{T}": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "{tp}": r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]",
    "{number}": r"\d+",
    "{any}": r"[\s\S]*",
}


def agrees(said: str, pattern: str) -> bool:
    """Whether a text is the recorded one, byte for byte outside the placeholders."""
    return re.fullmatch(expression(pattern), said) is not None


def expression(pattern: str) -> str:
    """The recorded text as a regular expression."""
    escaped = re.escape(pattern)
    for placeholder, meaning in PLACEHOLDERS.items():
        escaped = escaped.replace(re.escape(placeholder), meaning)
    return escaped
