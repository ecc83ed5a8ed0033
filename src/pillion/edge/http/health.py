"""The two health checks over HTTP."""

from collections.abc import Callable

from pillion.edge.http.api import Ask, Reply, Route
from pillion.services.readiness import Readiness


class HealthRoutes:
    """Whether everything is ready, and whether calls of the app can be served."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    def routes(self) -> list[Route]:
        """Both checks."""
        return [
            Route("GET", "/v1.0/healthz", self.healthz, "healthz.v1", plain("/v1.0/healthz"), open=True),
            Route(
                "GET", "/v1.0/healthz/outbound", self.outbound, "healthz.v1",
                plain("/v1.0/healthz/outbound"), open=True,
            ),
        ]  # fmt: skip

    async def healthz(self, ask: Ask) -> Reply:
        self._readiness.check(next((value for key, value in ask.values() if key == "appid"), ""))
        return Reply()

    async def outbound(self, ask: Ask) -> Reply:
        self._readiness.check_outbound()
        return Reply()


def plain(path: str) -> Callable[..., str]:
    """A label that is the same for every request."""
    return lambda params: path
