"""What travels with every request through the services: its trace, its deadline, who asked."""

from typing import NamedTuple


class Call(NamedTuple):
    """The circumstances of one request (a tuple: made for every call with a deadline, and quicker made than a frozen dataclass).

    `deadline` is on the loop's clock; `trace` a W3C traceparent, "" when the caller sent none."""

    trace: str = ""
    trace_state: str = ""
    baggage: str = ""
    deadline: float | None = None
    caller: str = ""


PLAIN = Call()
"""No trace, no deadline, nobody in particular."""
