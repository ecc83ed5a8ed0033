"""Whether the sidecar is ready, and what it waits for if not."""

from collections.abc import Iterable

from pillion.model.errors import (
    HEALTH_APPID_NOT_MATCH,
    HEALTH_NOT_READY,
    OUTBOUND_HEALTH_NOT_READY,
    ApiError,
)


class Readiness:
    """Which parts are not ready yet, by name. Inbound waits for everything, outbound only for what outgoing calls need."""

    def __init__(self, app_id: str, inbound: Iterable[str], outbound: Iterable[str]) -> None:
        self._app_id = app_id
        self._inbound = list(inbound)
        self._outbound = list(outbound)

    def ready(self, part: str) -> None:
        """A part is ready."""
        for waiting in (self._inbound, self._outbound):
            if part in waiting:
                waiting.remove(part)

    def unready(self, part: str) -> None:
        """A part is ready no more."""
        if part not in self._inbound:
            self._inbound.append(part)

    def check(self, app_id: str = "") -> None:
        """Raise unless everything is ready and, where one is named, the app id is ours."""
        if self._inbound:
            raise ApiError(HEALTH_NOT_READY, targets=f"[{' '.join(self._inbound)}]")
        if app_id and app_id != self._app_id:
            raise ApiError(HEALTH_APPID_NOT_MATCH)

    def check_outbound(self) -> None:
        """Raise unless outgoing calls can be served."""
        if self._outbound:
            raise ApiError(OUTBOUND_HEALTH_NOT_READY, targets=f"[{' '.join(self._outbound)}]")
