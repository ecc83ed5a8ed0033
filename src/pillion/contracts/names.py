"""The name-resolution contract: app ids to the addresses of their sidecars."""

from collections.abc import Sequence
from typing import Protocol

from pillion.plug.component import Component, S
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Announcement:
    """Where this sidecar can be called."""

    app_id: str
    namespace: str
    host: str
    port: int


class Announced(Protocol):
    """A registration in force."""

    async def close(self) -> None:
        """Take it back. Safe twice."""


class Names(Component[S]):
    """Finds sidecars. An empty answer means "nobody of that name is known here"; trouble raises a word of `contracts.words`."""

    async def resolve(self, app_id: str, namespace: str) -> Sequence[str]:
        """`host:port` of every live sidecar of that app, best first."""
        raise NotImplementedError

    async def announce(self, who: Announcement) -> Announced:
        """Make this sidecar known until closed."""
        raise NotImplementedError

    def drop(self, app_id: str, address: str) -> None:
        """A connection to this address was refused: do not offer it again until it shows a new sign of life."""
