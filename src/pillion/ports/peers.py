"""Other sidecars, as the invocation service sees them."""

from typing import Protocol

from pillion.model.invoke import Invocation, Outcome


class PeerUnreachable(ConnectionError):
    """The sidecar at an address did not take the call at all (refused, reset before an answer): another may be tried."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Peers(Protocol):
    """Calls to sidecars by address."""

    async def invoke(self, address: str, invocation: Invocation) -> Outcome:
        """Carry a call to the sidecar at `host:port`. Raises PeerUnreachable; every answer of the peer is an Outcome."""
        ...

    async def close(self) -> None:
        """Let connections go."""
