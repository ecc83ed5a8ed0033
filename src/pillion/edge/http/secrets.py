"""Secrets over HTTP."""

from collections.abc import Sequence

from pillion.edge.http.api import Ask, Reply, Route, json_reply
from pillion.services.secrets import SecretsService
from pillion.wire import secrets as wire

_STORE = "/v1.0/secrets/{store}"
_GROUP = "secrets.v1"


class SecretRoutes:
    """One secret, or all. The path of all stands first: a secret named `bulk` cannot be read by itself."""

    def __init__(self, service: SecretsService) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Where they live."""
        return [
            Route("GET", _STORE + "/bulk", self.all, _GROUP, _label),
            Route("GET", _STORE + "/{key}", self.get, _GROUP, _label),
        ]

    async def get(self, ask: Ask) -> Reply:
        """The secret's keys and values; 204 when it has none."""
        store, name = ask.params
        found = await self._service.get(ask.call, store, name, ask.metadata())
        return json_reply(wire.body(found)) if found else Reply()

    async def all(self, ask: Ask) -> Reply:
        """Every secret the app may read, by name."""
        return json_reply(wire.body(await self._service.all(ask.call, ask.params[0], ask.metadata())))


def _label(params: Sequence[str]) -> str:
    return "/v1.0/secrets/" + params[0]
