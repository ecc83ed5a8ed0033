"""Secrets over gRPC."""

from pillion.edge.grpc.api import Unary
from pillion.model.call import Call
from pillion.net.rpc import ServerCall
from pillion.services.secrets import SecretsService
from pillion.wire import secrets as wire
from pillion.wire.proto import runtime


class SecretRpcs:
    """The two methods: one secret, or all."""

    def __init__(self, service: SecretsService) -> None:
        self._service = service

    def unary(self) -> dict[str, Unary]:
        """The methods by name."""
        return {"GetSecret": self.get, "GetBulkSecret": self.all}

    async def get(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """The secret's keys and values."""
        request = runtime.GetSecretRequest.FromString(message)
        return wire.answer(
            await self._service.get(call, request.store_name, request.key, dict(request.metadata))
        )

    async def all(self, call: Call, _: ServerCall, message: bytes) -> bytes:
        """Every secret the app may read, by name."""
        request = runtime.GetBulkSecretRequest.FromString(message)
        return wire.bulk_answer(await self._service.all(call, request.store_name, dict(request.metadata)))
