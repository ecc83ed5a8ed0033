"""Secrets: what an app may read of the mounted stores."""

from collections.abc import Mapping
from typing import Any

from pillion.contracts.secrets import SecretStore
from pillion.contracts.words import DriverError
from pillion.model import errors as faults
from pillion.model.call import Call
from pillion.model.errors import ApiError
from pillion.model.state import NOTHING
from pillion.rules.secrets import Scope, is_allowed
from pillion.services.mount import Mount

SecretMount = Mount[SecretStore[Any]]


class SecretsService:
    """Reads of the mounted stores, each within its scope.

    Both mappings go by the store's name and are the host's own: what it replaces there counts from the next request on.
    A name that the scope hides is refused before the store is asked, so that an app cannot learn whether it exists.
    """

    def __init__(self, mounts: Mapping[str, SecretMount], scopes: Mapping[str, Scope]) -> None:
        self._mounts = mounts
        self._scopes = scopes

    async def get(
        self, call: Call, store: str, name: str, metadata: Mapping[str, str] = NOTHING
    ) -> Mapping[str, str]:
        """The keys and values of one secret."""
        mount = self._find(store)
        if not is_allowed(self._scopes.get(store), name):
            raise ApiError(faults.SECRET_DENIED, key=name, store=store)
        try:
            return await mount.run(call, "get", lambda: mount.driver.get(name, metadata))
        except DriverError as error:
            raise ApiError(faults.SECRET_GET, key=name, store=store, why=error) from error

    async def all(
        self, call: Call, store: str, metadata: Mapping[str, str] = NOTHING
    ) -> dict[str, Mapping[str, str]]:
        """Every secret of a store that the app may read."""
        mount = self._find(store)
        try:
            found = await mount.run(call, "bulk_get", lambda: mount.driver.all(metadata))
        except DriverError as error:
            raise ApiError(faults.BULK_SECRET_GET, store=store, why=error) from error
        scope = self._scopes.get(store)
        return {name: secret for name, secret in found.items() if is_allowed(scope, name)}

    def _find(self, store: str) -> SecretMount:
        mount = self._mounts.get(store)
        if mount is None:
            fault = faults.SECRET_STORE_NOT_FOUND if self._mounts else faults.SECRET_STORES_NOT_CONFIGURED
            raise ApiError(fault, store=store)
        return mount
