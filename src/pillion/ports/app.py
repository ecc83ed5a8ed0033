"""The app beside this sidecar, as the services see it: one face over HTTP and gRPC."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from pillion.model.bindings import Reply, Trigger
from pillion.model.invoke import Invocation, Outcome
from pillion.model.pubsub import Answer, Batch, Event, Interest


class AppUnreachable(ConnectionError):
    """No answer came from the app: refused, cut off, timed out."""


class AppFailed(Exception):
    """The app answered a callback with a failure; the text says which."""


class App(Protocol):
    """Callbacks into the app. Every call waits for a free slot where `app-max-concurrency` is set.

    Cancellation of a call reaches the app as a closed connection or a reset stream.
    """

    async def invoke(self, invocation: Invocation) -> Outcome:
        """Call a method; any answer of the app is an Outcome. Raises AppUnreachable."""
        ...

    async def settings(self) -> Mapping[str, object] | None:
        """What the app says of its actors (`/dapr/config`); None when it says nothing."""
        ...

    async def interests(self) -> Sequence[Interest]:
        """The topics the app wants. Raises AppUnreachable on transport trouble (the caller tries again), AppFailed on an answer
        that cannot be used."""
        ...

    async def deliver(self, event: Event) -> Answer:
        """Hand over one event. Raises AppUnreachable, AppFailed: both mean RETRY."""
        ...

    async def deliver_batch(self, batch: Batch) -> Mapping[str, Answer]:
        """Hand over a batch; an answer per entry id, a missing one means RETRY. Raises as `deliver`."""
        ...

    async def inputs(self, names: Mapping[str, str]) -> frozenset[str]:
        """Which of these input bindings (name to route) the app takes."""
        ...

    async def bring(self, name: str, route: str, trigger: Trigger, trace: str) -> Reply:
        """Hand over an input binding's event. Raises AppUnreachable, AppFailed when it was not accepted."""
        ...

    async def is_healthy(self, path: str, timeout: float) -> bool:
        """One health probe; never raises but for cancellation. Takes no concurrency slot."""
        ...

    async def close(self) -> None:
        """Let connections go."""
