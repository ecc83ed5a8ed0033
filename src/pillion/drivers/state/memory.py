"""state.in-memory: a dict. Gone when the process goes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import DriverError, EtagMismatch
from pillion.model.state import NOTHING, Consistency, Delete, Entry, Guard, Put, Write
from pillion.plug.component import driver
from pillion.toolbox.ids import uuid4
from pillion.toolbox.lazily import dataclass

SWEEP_EVERY = 1.0
"""Seconds between two looks for values that ended unread."""


_NONE = Guard.NONE  # a member of an enumeration costs ten times a global
FORGOTTEN = 1000
"""Ends of values that were written over, kept before they are cleared away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """Nothing to set."""


@driver("state.in-memory", settings=MemorySettings, title="In-memory", status="stable")
class MemoryStore(StateStore[MemorySettings]):
    """Keeps values in the sidecar's own memory.

    For development and tests: nothing is shared with another sidecar, and nothing outlives this one.
    """

    features = (
        Feature.ETAG | Feature.TRANSACTIONAL | Feature.TTL | Feature.DELETE_WITH_PREFIX | Feature.KEYS_LIKE
    )
    immediate = True
    canonical_json = True

    async def open(self) -> None:
        self._rows: dict[str, Entry] = {}
        self._ends: list[tuple[float, str]] = []
        self._etags = uuid4()[:-12]
        """How this life's etags begin; a serial number ends them, which costs no call of the kernel per write."""
        self._serial = 0
        self.context.start(self._sweep(), "sweep")

    async def close(self) -> None:
        self._rows, self._ends = {}, []

    async def get(
        self, key: str, *, consistency: Consistency = Consistency.ANY, metadata: Mapping[str, str] = NOTHING
    ) -> Entry | None:
        entry = self._rows.get(key)
        if entry is None or entry.expires_at is None or entry.expires_at > self.context.clock.now():
            return entry
        return None

    async def get_many(
        self,
        keys: Sequence[str],
        *,
        consistency: Consistency = Consistency.ANY,
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Entry | None | DriverError]:
        entries = map(self._rows.get, keys)
        if not self._ends:
            return list(entries)
        return [
            entry if entry is None or entry.expires_at is None else self._live(key)
            for key, entry in zip(keys, entries, strict=True)
        ]

    async def put(self, put: Put) -> None:
        key, value, expect, ends, kind, _, _ = put
        if expect is not _NONE:
            _check(put, self._live(key))
        self._serial += 1
        entry = Entry(value, f"{self._etags}{self._serial:012x}", ends, kind)
        if ends is None:
            self._rows[key] = entry
        else:
            self._keep(key, entry)

    async def delete(self, delete: Delete) -> None:
        if delete.expect is not _NONE:
            _check(delete, self._live(delete.key))
        self._rows.pop(delete.key, None)

    async def transact(self, writes: Sequence[Write]) -> None:
        changed: dict[str, Entry | None] = {}
        for write in writes:
            held = changed[write.key] if write.key in changed else self._live(write.key)
            _check(write, held)
            changed[write.key] = self._entry(write) if isinstance(write, Put) else None
        for key, entry in changed.items():
            if entry is None:
                self._rows.pop(key, None)
            else:
                self._keep(key, entry)

    async def delete_prefix(self, prefix: str) -> int:
        doomed = [key for key in self._rows if key.startswith(prefix)]
        live = sum(self._live(key) is not None for key in doomed)
        for key in doomed:
            del self._rows[key]
        return live

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        for key in [key for key in self._rows if key.startswith(prefix)]:
            if self._live(key) is not None:
                yield key

    def _live(self, key: str) -> Entry | None:
        entry = self._rows.get(key)
        if (
            entry is not None
            and entry.expires_at is not None
            and entry.expires_at <= self.context.clock.now()
        ):
            return None
        return entry

    def _entry(self, put: Put) -> Entry:
        self._serial += 1
        return Entry(put.value, f"{self._etags}{self._serial:012x}", put.expires_at, put.content_type)

    def _keep(self, key: str, entry: Entry) -> None:
        self._rows[key] = entry
        if entry.expires_at is not None:
            heappush(self._ends, (entry.expires_at, key))
            if len(self._ends) > 2 * len(self._rows) + FORGOTTEN:
                self._forget_ends()

    def _forget_ends(self) -> None:
        """Keys written again and again before they end would fill the memory with ends that count no more."""
        self._ends = [
            (entry.expires_at, key) for key, entry in self._rows.items() if entry.expires_at is not None
        ]
        heapify(self._ends)

    async def _sweep(self) -> None:
        while True:
            await self.context.clock.sleep(SWEEP_EVERY)
            now = self.context.clock.now()
            while self._ends and self._ends[0][0] <= now:
                _, key = heappop(self._ends)
                if self._live(key) is None:  # it may have been written again since
                    self._rows.pop(key, None)


def _check(write: Write, held: Entry | None) -> None:
    expect = write.expect
    if expect is _NONE:
        return
    if expect is Guard.ABSENT:
        if held is not None:
            raise EtagMismatch("item already exists and no etag was passed")
        return
    if held is None:
        raise EtagMismatch(f"state not exist or expired for key={write.key}")
    if held.etag != expect:
        raise EtagMismatch(f"state etag not match for key={write.key}: current={held.etag}, expect={expect}")
