"""State: entries, and the writes that change them with their preconditions already decided."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NOTHING: Mapping[str, str] = MappingProxyType({})


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


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as stored. `expires_at` in epoch seconds; None where it lives on or the store cannot tell."""

    value: bytes
    etag: str | None = None
    expires_at: float | None = None
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Put:
    """Write one key. `expires_at` None clears an expiry. `metadata` is what the request carried beyond the known words."""

    key: str
    value: bytes
    expect: Expect = Guard.NONE
    expires_at: float | None = None
    content_type: str = ""
    consistency: Consistency = Consistency.ANY
    metadata: Mapping[str, str] = field(default=NOTHING)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove one key if its precondition holds; removing what is not there succeeds without one."""

    key: str
    expect: Expect = Guard.NONE
    consistency: Consistency = Consistency.ANY
    metadata: Mapping[str, str] = field(default=NOTHING)


Write = Put | Delete
