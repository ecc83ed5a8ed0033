"""State management over gRPC."""

from collections.abc import Mapping
from typing import Any

from pillion.edge.grpc.api import Unary
from pillion.model.call import Call
from pillion.model.errors import STATE_KEY_EMPTY, ApiError
from pillion.model.state import NOTHING
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.services.state import StateMount, StateService
from pillion.wire import state as wire
from pillion.wire.json import JsonError
from pillion.wire.proto import runtime

_EMPTY = b""


class StateRpcs:
    """The seven state methods of the runtime's service."""

    def __init__(self, service: StateService) -> None:
        self._service = service

    def unary(self) -> dict[str, Unary]:
        """The methods by name."""
        return {
            "GetState": self.get,
            "GetBulkState": self.bulk,
            "SaveState": self.save,
            "DeleteState": self.delete,
            "DeleteBulkState": self.delete_bulk,
            "ExecuteStateTransaction": self.transaction,
            "QueryStateAlpha1": self.query,
        }

    async def get(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """One key; absent is an empty answer."""
        if (plain := wire.plain_get(message)) is not None:
            store, key = plain
            return wire.get_answer(await self._service.get(call, self._service.find(store), key))
        request = runtime.GetStateRequest.FromString(message)
        mount = self._service.find(request.store_name)
        entry = await self._service.get(
            call, mount, request.key, wire.consistency_word(request.consistency), _map(request.metadata)
        )
        return wire.get_answer(entry)

    async def bulk(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """Many keys; a key that fails says so in its item."""
        request = runtime.GetBulkStateRequest.FromString(message)
        mount = self._service.find(request.store_name)
        found = await self._service.get_many(
            call, mount, list(request.keys), request.parallelism, _map(request.metadata)
        )
        return wire.bulk_answer(found)

    async def save(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """Items that stand alone."""
        if (plain := wire.plain_save(message)) is not None:
            store, key, value = plain
            if key:
                await self._service.save_one(call, self._service.find(store), key, value)
                return _EMPTY
        request = runtime.SaveStateRequest.FromString(message)
        mount = self._service.find(request.store_name)
        await self._service.save(call, mount, [_save(item, mount) for item in request.states])
        return _EMPTY

    async def delete(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """One key."""
        request = runtime.DeleteStateRequest.FromString(message)
        mount = self._service.find(request.store_name)
        await self._service.delete(call, mount, wire.removal_of(request))
        return _EMPTY

    async def delete_bulk(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """Keys that stand alone."""
        request = runtime.DeleteBulkStateRequest.FromString(message)
        mount = self._service.find(request.store_name)
        await self._service.delete_many(call, mount, [wire.removal_of(item) for item in request.states])
        return _EMPTY

    async def transaction(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """All operations or none."""
        request = runtime.ExecuteStateTransactionRequest.FromString(message)
        mount = self._service.find(request.storeName)
        await self._service.transact(call, mount, wire.wishes_of(request.operations))
        return _EMPTY

    async def query(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """The alpha query: refused, each store in its own words."""
        request = runtime.QueryStateRequest.FromString(message)
        self._service.query(self._service.find(request.store_name))
        return _EMPTY


def _map(metadata: Any) -> Mapping[str, str]:
    return dict(metadata) if metadata else NOTHING


def _save(item: Any, mount: StateMount) -> Any:
    if not item.key:
        raise ApiError(STATE_KEY_EMPTY)
    try:
        return wire.save_of(item, canonical=mount.driver.canonical_json, decode=True)
    except JsonError as error:
        raise RpcError(Code.UNKNOWN, str(error)) from error
