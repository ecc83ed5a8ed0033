"""What lies beyond this sidecar: other sidecars by address, and plain HTTP services outside."""

from typing import Protocol

from pillion.model.invoke import Invocation, Outcome, Pairs


class PeerUnreachable(ConnectionError):
    """The sidecar at an address gave no answer at all; another may be tried.

    `refused`: nobody listens there, so nothing was sent.
    """

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class PeerFailed(Exception):
    """The peer answered the call with a gRPC status of its own: its app was never reached."""

    def __init__(self, code: int, message: str, phrase: str) -> None:
        super().__init__(phrase)
        self.code = code
        self.message = message


class Peers(Protocol):
    """Calls to sidecars by address."""

    async def invoke(self, address: str, invocation: Invocation) -> Outcome:
        """Carry a call to the sidecar at `host:port`; whatever its app answered is an Outcome. Raises PeerUnreachable, PeerFailed."""
        ...

    async def close(self) -> None:
        """Let connections go."""


class Outside(Protocol):
    """HTTP services that have no sidecar."""

    async def invoke(self, url: str, headers: Pairs, invocation: Invocation, trust: str = "") -> Outcome:
        """Call below `url`; `headers` override the caller's. Raises ConnectionError.

        `trust` names whose certificates are shown and trusted: an endpoint that has its own, or "" for the system's.
        """
        ...

    async def close(self) -> None:
        """Let connections go."""
