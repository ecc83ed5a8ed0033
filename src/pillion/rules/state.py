"""State decisions that no driver should have to make twice."""

import re
from collections.abc import Mapping

from pillion.model.state import Consistency, Expect, Guard

TTL = "ttlInSeconds"
_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
_CONCURRENCY = frozenset({"", "first-write", "last-write"})
_CONSISTENCY = {"": Consistency.ANY, "eventual": Consistency.EVENTUAL, "strong": Consistency.STRONG}


class UnknownWord(ValueError):
    """An option or a number the request spelled in a way nobody defined."""


def expectation(etag: str | None, concurrency: str) -> Expect:
    """Fold the two request options into the one precondition a driver sees; raises UnknownWord.

    | etag  | concurrency | precondition  |
    |-------|-------------|---------------|
    | given | any         | that etag     |
    | none  | first-write | key is absent |
    | none  | otherwise   | nothing       |

    An empty etag is none.
    """
    if concurrency not in _CONCURRENCY:
        raise UnknownWord(f"unrecognized concurrency model '{concurrency}'")
    if etag:
        return etag
    return Guard.ABSENT if concurrency == "first-write" else Guard.NONE


def consistency(word: str) -> Consistency:
    """The consistency a write asks for; raises UnknownWord."""
    found = _CONSISTENCY.get(word)
    if found is None:
        raise UnknownWord(f"unrecognized consistency model '{word}'")
    return found


def lenient_consistency(word: str) -> Consistency:
    """The consistency a read asks for: an unknown word asks for nothing."""
    return _CONSISTENCY.get(word, Consistency.ANY)


def lifetime(metadata: Mapping[str, str]) -> int | None:
    """The seconds a request wants its value kept, None where it does not say; raises UnknownWord."""
    text = metadata.get(TTL, "")
    if not text:
        return None
    if not _WHOLE.fullmatch(text):
        raise UnknownWord(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if not -(2**63) <= int(text) < 2**63:
        raise UnknownWord(f'strconv.Atoi: parsing "{text}": value out of range')
    return int(text)


def expiry(seconds: int | None, now: float) -> float | None:
    """The instant a value ends. -1, and anything not above zero, means that it lives on."""
    if seconds is None or seconds <= 0:
        return None
    return now + seconds
