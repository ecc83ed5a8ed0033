"""state.redis: every key is a hash of a Redis server, as Dapr lays it out."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import DriverError, EtagInvalid, EtagMismatch, Refused, Unavailable
from pillion.drivers.clients.redis_lane import Lane, lane, outcome, side_lane
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import Answer, Word
from pillion.model.state import NOTHING, Consistency, Delete, Entry, Guard, Put, Write
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.lazily import dataclass

_WRITE: Final = """
local held, misfits = {}, {}
local function version(key)
  if held[key] == nil then
    local found = redis.pcall('HGET', key, 'version')
    if type(found) == 'table' then misfits[key], found = true, '' end
    held[key] = found
  end
  return held[key]
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  local now, expect = version(key), ARGV[at + 2]
  if (expect == 'absent' and now) or (expect == 'etag' and now ~= ARGV[at + 3]) then return i end
  held[key] = ARGV[at + 1] == 'put' and string.format('%d', (tonumber(now or '') or 0) + 1)
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  if ARGV[at + 1] == 'delete' or misfits[key] then
    redis.call('DEL', key)
    misfits[key] = nil
  end
  if ARGV[at + 1] == 'put' then
    redis.call('HSET', key, 'data', ARGV[at + 4])
    redis.call('HINCRBY', key, 'version', 1)
    if ARGV[at + 2] == 'absent' then redis.call('HSET', key, 'first-write', 0) end
    if ARGV[at + 5] == '' then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, ARGV[at + 5]) end
  end
end
return 0
"""
"""Five arguments for each key: put or delete, what is expected, the etag, the value, its milliseconds to live.
Nothing is written unless every expectation holds; the answer is the number of the first that does not, or 0."""
_SHA: Final = hashlib.sha1(_WRITE.encode(), usedforsecurity=False).hexdigest()
_WHOLE: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_GLOB: Final = re.compile(r"([\\*?\[\]^])")
_REPLICAS: Final = re.compile(rb"connected_slaves:(\d+)")
_AT_ONCE: Final = 1000
"""Keys on their way together."""
_WAIT: Final = 1000
"""Milliseconds a strong write waits for the replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisStateSettings(RedisSettings):
    """The server, and how long values live."""

    ttl_in_seconds: int | None = setting("Seconds a value lives when its request does not say.", default=None)
    query_indexes: str = setting("Refused when set: queries need RediSearch and are not built.", default="")


@driver("state.redis", settings=RedisStateSettings, title="Redis", status="stable")
class RedisStore(StateStore[RedisStateSettings]):
    """Keeps every key as a hash with the fields `data` and `version`, which Dapr's sidecars read and write too.

    Transactions are one script: all of it happens or nothing. A write is sent once only: if the connection dies before
    the answer, the caller is told so, and decides. With `appendfsync always` on the server an answered write survives the server's death.
    """

    features = Feature.ETAG | Feature.TRANSACTIONAL | Feature.TTL | Feature.KEYS_LIKE
    stepped = True
    query_lacks = "redis-json server support is required for query capability"
    _lane: Lane | None = None
    _strong: Lane | None = None

    async def open(self) -> None:
        if self.settings.query_indexes:
            raise Refused("queryIndexes: queries need RediSearch on the server and are not built")
        self.lifetime = self.settings.ttl_in_seconds
        self._replicas: int | None = None
        self._lane = lane(self.settings, self.context)
        await self._lane.open()

    async def close(self) -> None:
        for each in (self._lane, self._strong):
            if each is not None:
                await each.close()
        self._lane = self._strong = None

    async def get(
        self, key: str, *, consistency: Consistency = Consistency.ANY, metadata: Mapping[str, str] = NOTHING
    ) -> Entry | None:
        try:
            data, version = await self._call("HMGET", key, "data", "version")
        except Refused as error:
            if _is_no_hash(error):
                return await self._plain(key)
            raise
        return _entry(data, version)

    async def put(self, put: Put) -> None:
        if put.consistency is Consistency.STRONG:
            await self._put_widely(put)
        else:
            await self._write((put,), self._call)

    async def delete(self, delete: Delete) -> None:
        await self._write((delete,), self._call)

    async def get_many(
        self,
        keys: Sequence[str],
        *,
        consistency: Consistency = Consistency.ANY,
        metadata: Mapping[str, str] = NOTHING,
    ) -> list[Entry | None | DriverError]:
        found: list[Entry | None | DriverError] = []
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            calls = [self._call("HMGET", key, "data", "version") for key in some]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            for key, answer in zip(some, answers, strict=True):
                found.append(await self._found(key, answer))
        return found

    async def write_many(self, writes: Sequence[Write]) -> list[DriverError | None]:
        told: list[DriverError | None] = []
        for start in range(0, len(writes), _AT_ONCE):
            work = (self._one(write) for write in writes[start : start + _AT_ONCE])
            told += map(outcome, await asyncio.gather(*work, return_exceptions=True))
        return told

    async def transact(self, writes: Sequence[Write]) -> None:
        if writes:
            await self._write(writes, self._call)

    async def keys(self, prefix: str) -> AsyncIterator[str]:
        pattern = _GLOB.sub(r"\\\1", prefix) + "*"
        seen = set[bytes]()
        for server in await self._opened().everywhere():
            cursor = b"0"
            while True:
                cursor, found = await server.call("SCAN", cursor, "MATCH", pattern, "COUNT", _AT_ONCE)
                for key in found:
                    if key not in seen:
                        seen.add(key)
                        yield key.decode()
                if int(cursor) == 0:
                    break

    async def _found(self, key: str, answer: Any) -> Entry | None | DriverError:
        """One answer of many."""
        error = outcome(answer)
        try:
            if error is None:
                return _entry(*answer)
            return await self._plain(key) if _is_no_hash(error) else error
        except DriverError as trouble:
            return trouble

    async def _one(self, write: Write) -> None:
        await (self.put(write) if isinstance(write, Put) else self.delete(write))

    async def _plain(self, key: str) -> Entry | None:
        """A value that was not written by a state store: a plain string, without an etag."""
        data = await self._call("GET", key)
        return None if data is None else Entry(data)

    async def _put_widely(self, put: Put) -> None:
        """On a connection of its own, for waiting holds up every command behind it."""
        strong = self._strong
        if strong is None:
            strong = side_lane(self.settings, self.context, blocking=_WAIT / 1000)
            await strong.open()
            if self._strong is not None:  # another write was first
                await strong.close()
            strong = self._strong = self._strong or strong
        await self._write((put,), strong.call)
        server = strong.at(put.key)
        wanted = self._replicas
        if wanted is None:
            wanted = self._replicas = _replicas(await server.call("INFO", "replication"))
        if wanted and await server.call("WAIT", wanted, _WAIT) < wanted:
            self._replicas = None  # one is gone, or another server is the master now: count anew

    def _opened(self) -> Lane:
        if self._lane is None:
            raise Unavailable(f"{self.context.name} is not open")
        return self._lane

    def _call(self, *words: Word) -> Answer:
        return self._opened().call(*words)

    async def _write(self, writes: Sequence[Write], call: Callable[..., Answer]) -> None:
        words: list[Word] = [len(writes), *[write.key for write in writes]]
        for write in writes:
            words += self._arguments(write)
        try:
            failed = await call("EVALSHA", _SHA, *words)
        except Refused as error:
            if "No matching script" not in str(error):
                raise
            # The server has not seen the script since it started: nothing was run.
            failed = await call("EVAL", _WRITE, *words)
        if failed:
            write = writes[failed - 1]
            raise EtagMismatch(f"failed to {'set key' if isinstance(write, Put) else 'delete'} {write.key}")

    def _arguments(self, write: Write) -> tuple[Word, Word, Word, Word, Word]:
        if isinstance(write, Delete):
            return ("delete", *_expected(write.expect), b"", b"")
        expect = write.expect
        if isinstance(expect, str):
            expect = _number(expect)
        lives: Word = b""
        if write.expires_at is not None:
            lives = max(1, round((write.expires_at - self.context.clock.now()) * 1000))
        return ("put", *_expected(expect), write.value, lives)


def _expected(expect: Guard | str) -> tuple[str, str]:
    match expect:
        case Guard.NONE:
            return "", ""
        case Guard.ABSENT:
            return "absent", ""
        case etag:
            return "etag", etag


def _number(etag: str) -> str:
    if not _WHOLE.fullmatch(etag):
        raise EtagInvalid(f'strconv.Atoi: parsing "{etag}": invalid syntax')
    return str(int(etag))


def _entry(data: bytes | None, version: bytes | None) -> Entry | None:
    if data is None and version is None:
        return None
    if data is None or version is None:
        raise Refused("required hash field 'data' or 'version' was not found")
    return Entry(data, version.decode())


def _is_no_hash(error: DriverError) -> bool:
    return "wrong kind of value" in str(error)


def _replicas(told: bytes) -> int:
    found = _REPLICAS.search(told)
    return int(found[1]) if found else 0
