"""State management: what an app may ask, whichever transport it asked on."""

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import DriverError, EtagInvalid, EtagMismatch, Refused, Unavailable
from pillion.model import errors as faults
from pillion.model.call import Call
from pillion.model.errors import ApiError, Fault
from pillion.model.state import (
    NOTHING,
    Consistency,
    Delete,
    Entry,
    Found,
    Guard,
    Put,
    Removal,
    Save,
    Wish,
    Write,
)
from pillion.rules import keys as key_rules
from pillion.rules import state as rules
from pillion.services.mount import Mount
from pillion.services.sealing import SealBroken, Sealer
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass

OUTBOX = ("outboxPublishPubsub", "outboxPublishTopic", "outboxPubsub", "outboxDiscardWhenMissingState")

_JSON = "application/json"
_ANY, _NONE = Consistency.ANY, Guard.NONE  # a member costs ten times a global
_ACTOR = Feature.ETAG | Feature.TRANSACTIONAL


@dataclass(frozen=True, slots=True)
class StateMount(Mount[StateStore[Any]]):
    """A store as this service holds it: where the app's keys lie in it, and what seals their values."""

    prefix: str = ""
    sealer: Sealer | None = None

    @property
    def plain(self) -> bool:
        """What an app saves is what the driver is given: nothing is sealed, and nothing ends unasked."""
        return self.sealer is None and self.driver.lifetime is None

    @classmethod
    def of(cls, mount: Mount[StateStore[Any]], *, prefix: str, sealer: Sealer | None = None) -> "StateMount":
        """Complete a mount; the prefix comes from `rules.keys.prefix`."""
        return cls(
            mount.name,
            mount.type_name,
            mount.version,
            mount.driver,
            mount.instrument,
            mount.guard,
            prefix,
            sealer,
        )


def unsupported_metadata(metadata: Iterable[str]) -> list[str]:
    """The names among a component's metadata that ask for what is not built: it must not start as if it were."""
    known = {name.lower() for name in OUTBOX}
    return [name for name in metadata if name.lower() in known]


def capabilities(driver: StateStore[Any]) -> list[str]:
    """What the metadata API says of a store; a store fit for actors says so."""
    names = [feature.name or "" for feature in driver.features]
    return [*names, "ACTOR"] if _ACTOR in driver.features else names


class StateService:
    """Reads, writes and transactions on the mounted stores.

    `mounts` is the host's own mapping: what it replaces there on a reload counts from the next request on.
    Every method runs to its end or raises ApiError. Cancelled, a write may still happen; it is never half done.
    """

    def __init__(self, mounts: Mapping[str, StateMount], clock: Clock) -> None:
        self._mounts = mounts
        self._clock = clock

    def find(self, store: str) -> StateMount:
        """The store by that name; every request begins here."""
        mount = self._mounts.get(store)
        if mount is None:
            fault = faults.STATE_STORE_NOT_FOUND if self._mounts else faults.STATE_STORE_NOT_CONFIGURED
            raise ApiError(fault, store=store)
        return mount

    async def get(
        self,
        call: Call,
        mount: StateMount,
        key: str,
        consistency: str = "",
        metadata: Mapping[str, str] = NOTHING,
    ) -> Entry | None:
        """The live entry of a key, None when there is none."""
        place = _place(mount, key)
        fresh = rules.lenient_consistency(consistency) if consistency else _ANY
        driver, started, ok = mount.driver, perf_counter(), False
        try:
            if mount.direct:
                entry = await driver.get(place, consistency=fresh, metadata=metadata)
            else:
                entry = await mount.perform(
                    call, "get", lambda: driver.get(place, consistency=fresh, metadata=metadata)
                )
            ok = True
            return entry if entry is None or mount.sealer is None else _opened(mount.sealer, entry)
        except (DriverError, SealBroken) as error:
            raise ApiError(faults.STATE_GET, key=key, store=mount.name, why=_said(error)) from error
        finally:
            mount.instrument("get", ok, perf_counter() - started)

    async def get_many(
        self,
        call: Call,
        mount: StateMount,
        keys: Sequence[str],
        parallelism: int = 0,
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Found]:
        """One outcome per key in the order asked; a key that fails says so by itself."""
        places = [mount.prefix + key for key in keys if key_rules.SEPARATOR not in key]
        if len(places) < len(keys):
            places = [_place(mount, key) for key in keys]
        if not places:
            return []
        step = parallelism if parallelism > 0 else len(places)

        async def read() -> list[Entry | None | DriverError]:
            outcomes: list[Entry | None | DriverError] = []
            for start in range(0, len(places), step):
                outcomes += await mount.driver.get_many(places[start : start + step], metadata=metadata)
            return outcomes

        try:
            outcomes = await mount.run(call, "bulk_get", read)
        except DriverError as error:
            raise ApiError(faults.STATE_BULK_GET, why=_said(error)) from error
        if mount.sealer is None and _KNOWN.issuperset(map(type, outcomes)):
            return list(map(Found, keys, outcomes))  # type: ignore[arg-type]
        return [_found(mount.sealer, key, outcome) for key, outcome in zip(keys, outcomes, strict=True)]

    async def save(self, call: Call, mount: StateMount, items: Sequence[Save]) -> None:
        """Write one key, or several that stand alone: when some fail the others are written all the same."""
        if len(items) == 1:
            await self.save_one(call, mount, *items[0])
            return
        batch = self._batch(mount, items)
        if not items:
            return
        try:
            await mount.run(call, "set", batch.run)
        except DriverError as error:
            fault, why = batch.fault(_SAVE, error)
            raise ApiError(fault, store=mount.name, why=why) from error

    async def save_one(
        self, call: Call, mount: StateMount, key: str, value: bytes,
        etag: str | None = None, concurrency: str = "", consistency: str = "",
        metadata: Mapping[str, str] = NOTHING, content_type: str = "",
    ) -> None:  # fmt: skip
        """Write one key; the words are those of a `Save`."""
        place = _place(mount, key)
        driver, started, ok = mount.driver, perf_counter(), False
        try:
            if etag or concurrency or consistency or metadata is not NOTHING or not mount.plain:
                item = Save(key, value, etag, concurrency, consistency, metadata, content_type)
                put = self._put(mount, item, place)
            else:
                put = Put(place, value, _NONE, None, content_type)
            if mount.direct:
                await driver.put(put)
            else:
                await mount.perform(call, "set", lambda: driver.put(put))
            ok = True
        except DriverError as error:
            raise ApiError(_SAVE[_kind(error)], store=mount.name, why=_said(error)) from error
        finally:
            mount.instrument("set", ok, perf_counter() - started)

    async def delete(self, call: Call, mount: StateMount, item: Removal) -> None:
        """Remove one key; what is not there counts as removed unless an etag was expected."""
        batch = self._batch(mount, [item])
        try:
            await mount.run(call, "delete", batch.run)
        except DriverError as error:
            fault, why = batch.fault(_DELETE, error)
            raise ApiError(fault, key=item.key, why=why) from error

    async def delete_many(self, call: Call, mount: StateMount, items: Sequence[Removal]) -> None:
        """Remove several keys that stand alone."""
        batch = self._batch(mount, items)
        if not items:
            return
        try:
            await mount.run(call, "bulk_delete", batch.run)
        except DriverError as error:
            fault, why = batch.fault(_BULK_DELETE, error)
            raise ApiError(fault, store=mount.name, why=why) from error

    def check_transactions(self, mount: StateMount) -> None:
        """Raise where a store has none: told before the request is looked at."""
        if Feature.TRANSACTIONAL not in mount.driver.features:
            raise ApiError(faults.STATE_NO_TRANSACTIONS, resource=mount.name, store=mount.name)

    async def transact(self, call: Call, mount: StateMount, wishes: Iterable[Wish]) -> None:
        """All writes in their order, or none."""
        self.check_transactions(mount)
        wanted = [(wish, _place(mount, wish.key, named=False)) for wish in wishes]
        most = mount.driver.max_operations
        if most is not None and len(wanted) > most:
            raise _too_many(mount.name, len(wanted), most)
        if not wanted:
            return

        async def work() -> None:
            await mount.driver.transact([self._write(mount, wish, place) for wish, place in wanted])

        try:
            await mount.run(call, "transaction", work)
        except DriverError as error:
            raise ApiError(faults.STATE_TRANSACTION, why=_said(error)) from error

    def query(self, mount: StateMount) -> None:
        """No store of this version can be queried: always raises."""
        if mount.driver.query_lacks:
            raise ApiError(
                faults.STATE_QUERY, resource=mount.name, store=mount.name, why=mount.driver.query_lacks
            )
        raise ApiError(faults.STATE_NO_QUERY, resource=mount.name)

    def _batch(self, mount: StateMount, items: Sequence[Wish]) -> "_Batch":
        writes: list[Write | DriverError] = []
        for item in items:
            place = _place(mount, item.key)
            try:
                writes.append(self._write(mount, item, place))
            except DriverError as error:
                writes.append(error)
        return _Batch(mount.driver, writes)

    def _write(self, mount: StateMount, wish: Wish, place: str) -> Write:
        if isinstance(wish, Save):
            return self._put(mount, wish, place)
        try:
            consistency = rules.consistency(wish.consistency)
            expect = rules.expectation(wish.etag, wish.concurrency)
        except rules.UnknownWord as error:
            raise Refused(str(error)) from error
        return Delete(place, expect, consistency, wish.metadata)

    def _put(self, mount: StateMount, wish: Save, place: str) -> Put:
        if wish[2:6] == _UNSAID and mount.plain:
            return Put(place, wish.value, _NONE, None, wish.content_type)
        try:
            consistency = rules.consistency(wish.consistency)
            expect = rules.expectation(wish.etag, wish.concurrency)
            ends = self._ends(mount, wish.metadata)
        except rules.UnknownWord as error:
            raise Refused(str(error)) from error
        if mount.sealer is None:
            return Put(place, wish.value, expect, ends, wish.content_type, consistency, wish.metadata)
        return Put(place, mount.sealer.seal(wish.value), expect, ends, "", consistency, wish.metadata)

    def _ends(self, mount: StateMount, metadata: Mapping[str, str]) -> float | None:
        seconds = rules.lifetime(metadata) if metadata else None
        if seconds is None:
            seconds = mount.driver.lifetime
        if seconds is None:
            return None
        if Feature.TTL not in mount.driver.features:
            raise Refused(f"state store {mount.name} cannot let values expire")
        return rules.expiry(seconds, self._clock.now())


_UNSAID = (None, "", "", NOTHING)
"""Etag, concurrency, consistency and metadata of a save that says nothing of them."""


class _Batch:
    """Writes that stand alone. Run again by a policy, it tries only those that trying again may help."""

    __slots__ = ("_driver", "_writes", "_outcomes", "_pending")

    def __init__(self, driver: StateStore[Any], writes: Sequence[Write | DriverError]) -> None:
        self._driver = driver
        self._writes = writes
        self._outcomes = [write if isinstance(write, DriverError) else None for write in writes]
        self._pending = [at for at, outcome in enumerate(self._outcomes) if outcome is None]

    async def run(self) -> None:
        """Write; raises when one failed, after all were tried."""
        if len(self._writes) == 1:
            await self._single(self._writes[0])
        else:
            await self._several()

    def fault(self, row: "_Row", error: DriverError) -> tuple[Fault, str]:
        """The fault that tells of `error`, which `run` raised, and its sentence."""
        failures = [outcome for outcome in self._outcomes if outcome is not None] or [error]
        why = "\n".join(map(_said, failures))
        etags = [each for each in failures if isinstance(each, EtagMismatch | EtagInvalid)]
        if not etags:
            return row[0], why
        if len(self._writes) == 1 or len(etags) < len(failures):
            return row[_kind(etags[0])], why
        kind = max(map(_kind, etags))
        return row[kind], f"{_PHRASES[kind]}: {why}"

    async def _single(self, write: Write | DriverError) -> None:
        match write:
            case Put():
                await self._driver.put(write)
            case Delete():
                await self._driver.delete(write)
            case _:
                raise write

    async def _several(self) -> None:
        pending, writes = self._pending, self._writes
        outcomes = await self._driver.write_many([writes[at] for at in pending])  # type: ignore[misc]
        self._pending = []
        for at, outcome in zip(pending, outcomes, strict=True):
            self._outcomes[at] = outcome
            if isinstance(outcome, Unavailable):
                self._pending.append(at)
        failures = [outcome for outcome in self._outcomes if outcome is not None]
        for failure in sorted(failures, key=lambda each: not isinstance(each, Unavailable)):
            raise failure  # one that trying again may help goes first: a policy looks at what was raised


_Row = tuple[Fault, Fault, Fault]
"""The faults of one operation: at large, an etag that did not match, an etag that cannot be."""
_SAVE: _Row = (faults.STATE_SAVE, faults.STATE_SAVE_MISMATCH, faults.STATE_SAVE_ETAG)
_DELETE: _Row = (faults.STATE_DELETE, faults.STATE_DELETE_MISMATCH, faults.STATE_DELETE_ETAG)
_BULK_DELETE: _Row = (
    faults.STATE_BULK_DELETE,
    faults.STATE_BULK_DELETE_MISMATCH,
    faults.STATE_BULK_DELETE_ETAG,
)
_PHRASES = ("", "possible etag mismatch. error from state store", "invalid etag value")


def _kind(error: Exception) -> int:
    if isinstance(error, EtagInvalid):
        return 2
    return 1 if isinstance(error, EtagMismatch) else 0


def _said(error: Exception) -> str:
    """A driver's word as the app reads it."""
    phrase, text = _PHRASES[_kind(error)], str(error)
    return f"{phrase}: {text}" if phrase and text else phrase or text


def _place(mount: StateMount, key: str, *, named: bool = True) -> str:
    try:
        return key_rules.stored_key(mount.prefix, key)
    except key_rules.IllegalKey as error:
        refused = ApiError(faults.STATE_ILLEGAL_KEY, resource=mount.name, key=key)
        refused.violations = ((key if named else "", refused.message),)
        raise refused from error


def _opened(sealer: Sealer, entry: Entry) -> Entry:
    return entry._replace(value=sealer.open(entry.value))


_KNOWN = frozenset((Entry, type(None)))
"""What a bulk read brings of a key that could be read."""


def _found(sealer: Sealer | None, key: str, outcome: Entry | None | DriverError) -> Found:
    if isinstance(outcome, DriverError):
        return Found(key, None, _said(outcome))
    if sealer is None or outcome is None:
        return Found(key, outcome)
    try:
        return Found(key, _opened(sealer, outcome))
    except SealBroken as error:
        return Found(key, None, str(error))


def _too_many(store: str, count: int, most: int) -> ApiError:
    info = {"currentOpsTransaction": str(count), "maxOpsPerTransaction": str(most)}
    return ApiError(faults.STATE_TOO_MANY, resource=store, info=info, count=count, most=most)
