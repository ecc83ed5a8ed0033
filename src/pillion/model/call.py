"""What travels with every request through the services: its trace, its deadline, who asked."""

import re
from typing import Final, NamedTuple

_PARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
).fullmatch


class Call(NamedTuple):
    """The circumstances of one request (a tuple: made for every call with a deadline, and quicker made than a frozen dataclass).

    `deadline` is on the loop's clock; `trace` a valid W3C traceparent, "" when the caller sent none."""

    trace: str = ""
    trace_state: str = ""
    baggage: str = ""
    deadline: float | None = None
    caller: str = ""


PLAIN = Call()
"""No trace, no deadline, nobody in particular."""


def until(deadline: float) -> Call:
    """Nothing but a deadline, which most calls of some clients have: made without the detour of a named tuple's own way."""
    return tuple.__new__(Call, ("", "", "", deadline, ""))


def traceparent(text: str) -> str:
    """The text if it is a W3C traceparent that names a trace, else ""; versions after 00 may say more than it does."""
    found = _PARENT(text)
    return text if found is not None and (found[1] != "00" or found[2] is None) else ""
