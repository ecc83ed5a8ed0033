"""The trace a callback belongs to."""

from os import urandom

from pillion.model.pubsub import Event


def child(trace: str) -> bytes:
    """A traceparent of the same trace, for one step of it."""
    return f"{trace[:36]}{urandom(8).hex()}{trace[52:]}".encode()


def of_event(event: Event) -> list[tuple[bytes, bytes]]:
    """What a traced event's call says of its trace; nothing for an untraced one."""
    if not event.trace:
        return []
    found = [(b"traceparent", child(event.trace))]
    for name in ("tracestate", "baggage"):
        value = event.envelope.get(name)
        if isinstance(value, str) and value and value.isascii() and value.isprintable():
            found.append((name.encode(), value.encode()))
    return found
