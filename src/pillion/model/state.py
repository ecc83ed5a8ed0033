"""State: entries, and the writes that change them with their preconditions already decided.

What is made for every request is a NamedTuple: as unchangeable as a frozen dataclass, at a third of the price.
"""

import enum
from collections.abc import Iterator, Mapping
from typing import NamedTuple


class _Nothing(Mapping[str, str]):
    """No metadata. A class of its own because a dataclass takes only a hashable default."""

    __slots__ = ()

    def __getitem__(self, key: str) -> str:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"


NOTHING: Mapping[str, str] = _Nothing()


class Guard(enum.Enum):
    """A precondition other than a particular etag."""

    NONE = "none"
    ABSENT = "absent"


Expect = Guard | str
"""Nothing, that the key is absent, or that its etag is this one."""


class Consistency(enum.Enum):
    """How fresh a read or how safe a write must be; a store that knows one kind only ignores it."""

    ANY = ""
    EVENTUAL = "eventual"
    STRONG = "strong"


class Entry(NamedTuple):
    """A value as stored. `expires_at` in epoch seconds; None where it lives on or the store cannot tell."""

    value: bytes
    etag: str | None = None
    expires_at: float | None = None
    content_type: str = ""


class Put(NamedTuple):
    """Write one key. `expires_at` None clears an expiry. `metadata` is what the request carried beyond the known words."""

    key: str
    value: bytes
    expect: Expect = Guard.NONE
    expires_at: float | None = None
    content_type: str = ""
    consistency: Consistency = Consistency.ANY
    metadata: Mapping[str, str] = NOTHING


class Delete(NamedTuple):
    """Remove one key if its precondition holds; removing what is not there succeeds without one."""

    key: str
    expect: Expect = Guard.NONE
    consistency: Consistency = Consistency.ANY
    metadata: Mapping[str, str] = NOTHING


Write = Put | Delete


class Save(NamedTuple):
    """A write as an app asked for it: its own key, words not yet understood. `etag` None and "" are both none."""

    key: str
    value: bytes
    etag: str | None = None
    concurrency: str = ""
    consistency: str = ""
    metadata: Mapping[str, str] = NOTHING
    content_type: str = ""
    """`application/json` for a value that came as JSON: stores that tell text from bytes keep it as text."""


class Removal(NamedTuple):
    """A deletion as an app asked for it."""

    key: str
    etag: str | None = None
    concurrency: str = ""
    consistency: str = ""
    metadata: Mapping[str, str] = NOTHING


Wish = Save | Removal


class Found(NamedTuple):
    """One key of a bulk read: its entry, nothing, or why it could not be read."""

    key: str
    entry: Entry | None
    error: str = ""
