"""The state-store contract: three operations everyone has, and the features some have."""

import enum
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

from pillion.contracts.words import DriverError, Unsupported
from pillion.model.state import NOTHING, Consistency, Delete, Entry, Put, Write
from pillion.plug.component import Component, S


class Feature(enum.Flag):
    """Abilities a store may claim; the names are those of the metadata API's `capabilities`."""

    NONE = 0
    ETAG = enum.auto()
    TRANSACTIONAL = enum.auto()
    TTL = enum.auto()
    QUERY_API = enum.auto()
    DELETE_WITH_PREFIX = enum.auto()
    KEYS_LIKE = enum.auto()
    PARTITION_KEY = enum.auto()


_METHODS = {
    Feature.TRANSACTIONAL: "transact",
    Feature.DELETE_WITH_PREFIX: "delete_prefix",
    Feature.KEYS_LIKE: "keys",
}


class StateStore(Component[S]):
    """Keys to bytes. What arrives is already decided: final key, precondition, expiry instant.

    `features` is the most the driver can do; `open` may narrow it on the instance. A method runs to its end or raises a word of
    `contracts.words`; after an error nothing of that write is visible.
    """

    features: Feature = Feature.NONE
    max_operations: int | None = None
    """The most writes one transaction takes; None where the store sets no bound."""
    lifetime: int | None = None
    """Seconds a value lives when its request does not say (a setting of some stores)."""
    query_lacks: str = ""
    """Why there is no QUERY_API here where the store's type has one: what the server lacks."""
    canonical_json: ClassVar[bool] = False
    """JSON values are kept with sorted keys and HTML characters escaped, as Dapr's driver of this type does."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for feature, method in _METHODS.items():
            claimed = feature in cls.features
            written = getattr(cls, method) is not getattr(StateStore, method)
            if claimed != written:
                raise TypeError(
                    f"{cls.__name__}: {feature.name} claimed={claimed}, `{method}` written={written}"
                )

    async def get(
        self, key: str, *, consistency: Consistency = Consistency.ANY, metadata: Mapping[str, str] = NOTHING
    ) -> Entry | None:
        """The live entry, None when absent or expired."""
        raise NotImplementedError

    async def put(self, put: Put) -> None:
        """Write if the precondition holds, else EtagMismatch; EtagInvalid for an etag this store could not have made."""
        raise NotImplementedError

    async def delete(self, delete: Delete) -> None:
        """Remove if the precondition holds. Removing what is not there succeeds, unless an etag was expected."""
        raise NotImplementedError

    async def get_many(
        self,
        keys: Sequence[str],
        *,
        consistency: Consistency = Consistency.ANY,
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Entry | None | DriverError]:
        """One outcome per key in the order asked. Override when the store has a cheaper way."""
        outcomes: list[Entry | None | DriverError] = []
        for key in keys:
            try:
                outcomes.append(await self.get(key, consistency=consistency, metadata=metadata))
            except DriverError as error:
                outcomes.append(error)
        return outcomes

    async def write_many(self, writes: Sequence[Write]) -> list[DriverError | None]:
        """One outcome per write in the order given; each stands alone. Override when the store has a cheaper way."""
        outcomes: list[DriverError | None] = []
        for write in writes:
            try:
                await (self.put(write) if isinstance(write, Put) else self.delete(write))
            except DriverError as error:
                outcomes.append(error)
            else:
                outcomes.append(None)
        return outcomes

    async def transact(self, writes: Sequence[Write]) -> None:
        """All, in order, or none. Each write's own precondition holds or all is refused."""
        raise Unsupported("transactions")

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every key that starts so; how many there were."""
        raise Unsupported("deleting by prefix")

    def keys(self, prefix: str) -> AsyncIterator[str]:
        """Live keys that start so, in no order."""
        raise Unsupported("listing keys")
