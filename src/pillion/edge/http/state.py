"""State management over HTTP."""

from collections.abc import Sequence

from pillion.edge.http.api import Ask, Reply, Route, json_reply
from pillion.edge.render import JSON_TYPE
from pillion.model.errors import BODY_READ, MALFORMED_REQUEST, ApiError, Fault
from pillion.model.state import NOTHING, Removal
from pillion.net.http import Headers
from pillion.services.state import StateMount, StateService
from pillion.toolbox.stream import BodyTooLarge
from pillion.wire import state as wire

_STORE = "/v1.0/state/{store}"
_WRITE = "POST,PUT"
_GROUP = "state.v1"
_DESERIALIZING = "failed deserializing HTTP body: "


class StateRoutes:
    """The six operations on stores, and the query that none of them serves."""

    def __init__(self, service: StateService, app_id: str) -> None:
        self._service = service
        self._app_id = app_id

    def routes(self) -> list[Route]:
        """Where the operations live."""
        return [
            Route("GET", _STORE + "/{key}", self.get, _GROUP, _label),
            Route(_WRITE, _STORE, self.save, _GROUP, _label),
            Route("DELETE", _STORE + "/{key}", self.delete, _GROUP, _label),
            Route(_WRITE, _STORE + "/bulk", self.bulk, _GROUP, _label),
            Route(_WRITE, _STORE + "/transaction", self.transaction, _GROUP, _label),
            Route(_WRITE, "/v1.0-alpha1/state/{store}/query", self.query, "state.v1alpha1", _alpha_label),
        ]

    async def get(self, ask: Ask) -> Reply:
        """The value as it was stored, and always called JSON; 204 when there is none."""
        store, key = ask.params
        mount = self._find(store)
        consistency, metadata = "", NOTHING
        if ask.query:
            consistency, metadata = _word(ask, "consistency"), ask.metadata()
        entry = await self._service.get(ask.call, mount, key, consistency, metadata)
        if entry is None:
            return Reply()
        headers: Headers = [JSON_TYPE]
        if entry.etag is not None:
            headers.append((b"etag", entry.etag.encode()))
        if entry.expires_at is not None:
            headers.append((b"metadata.ttlexpiretime", wire.expire_time(entry).encode()))
        return Reply(200, headers, entry.value)

    async def save(self, ask: Ask) -> Reply:
        """An array of items; 204."""
        mount = self._find(ask.params[0])
        body = await _body(ask, MALFORMED_REQUEST)
        items = wire.saves(body, ask.metadata(), canonical=mount.driver.canonical_json)
        await self._service.save(ask.call, mount, items)
        return Reply()

    async def delete(self, ask: Ask) -> Reply:
        """One key; the etag comes in `If-Match`, or in `ETag` as it did in 2020. 204."""
        store, key = ask.params
        mount = self._find(store)
        etag = ask.header(b"if-match") or ask.header(b"etag")
        item = Removal(key, etag, _word(ask, "concurrency"), _word(ask, "consistency"), ask.metadata())
        await self._service.delete(ask.call, mount, item)
        return Reply()

    async def bulk(self, ask: Ask) -> Reply:
        """Many keys in one answer; a key that fails says so in its item."""
        mount = self._find(ask.params[0])
        wanted = wire.bulk_read(await _body(ask, MALFORMED_REQUEST, _DESERIALIZING), ask.metadata())
        found = await self._service.get_many(
            ask.call, mount, wanted.keys, wanted.parallelism, wanted.metadata
        )
        return json_reply(wire.bulk_body(found))

    async def transaction(self, ask: Ask) -> Reply:
        """All operations or none; 204."""
        mount = self._find(ask.params[0])
        self._service.check_transactions(mount)
        body = await _body(ask, MALFORMED_REQUEST, _DESERIALIZING)
        wishes = wire.wishes(body, ask.metadata(), canonical=mount.driver.canonical_json)
        await self._service.transact(ask.call, mount, wishes)
        return Reply()

    async def query(self, ask: Ask) -> Reply:
        """The alpha query: refused, each store in its own words."""
        await _body(ask, BODY_READ)
        mount = self._service.find(ask.params[0])
        self._service.query(mount)
        return Reply()

    def _find(self, store: str) -> StateMount:
        try:
            return self._service.find(store)
        except ApiError as error:
            error.info = {"appID": self._app_id}
            raise


def _label(params: Sequence[str]) -> str:
    return "/v1.0/state/" + params[0]


def _alpha_label(params: Sequence[str]) -> str:
    return "/v1.0-alpha1/state/" + params[0]


def _word(ask: Ask, name: str) -> str:
    return next((value for key, value in ask.values() if key == name), "")


async def _body(ask: Ask, fault: Fault, phrase: str = "") -> bytes:
    try:
        return await ask.body()
    except BodyTooLarge as error:
        raise ApiError(fault, why=f"{phrase}{error}") from error
    except ConnectionError as error:
        raise ApiError(fault, why=f"{phrase}unexpected EOF") from error
