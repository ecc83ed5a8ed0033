"""bindings.redis: single keys of a Redis server."""

from collections.abc import Mapping

from pillion.contracts.bindings import Binding
from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_lane import Lane, lane
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.model.bindings import Reply
from pillion.model.state import NOTHING
from pillion.plug.component import driver
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisBindingSettings(RedisSettings):
    """The server."""


@driver("bindings.redis", settings=RedisBindingSettings, title="Redis", status="stable")
class RedisBinding(Binding[RedisBindingSettings]):
    """Sets, reads, deletes and increments the key that the request's metadata names in `key`, as it is: no app id before it.

    `ttlInSeconds` gives a key that is set or incremented an end. `get` with `delete` set to `true` takes the key away in the same
    step; the value of a key that is not there is empty. A command is sent once: if the connection dies before its answer, the
    caller is told so.
    """

    operations = ("create", "delete", "get", "increment")
    _lane: Lane | None = None

    async def open(self) -> None:
        self._lane = lane(self.settings, self.context)
        await self._lane.open()

    async def close(self) -> None:
        opened, self._lane = self._lane, None
        if opened is not None:
            await opened.close()

    async def invoke(
        self, operation: str, data: bytes, metadata: Mapping[str, str] = NOTHING
    ) -> Reply | None:
        if self._lane is None:
            raise Unavailable("redis binding: not open")
        key = metadata.get("key", "")
        if not key:
            raise Refused("redis binding: missing key in request metadata")
        match operation:
            case "create":
                await self._set(self._lane, key, data, _lifetime(metadata))
            case "delete":
                await self._lane.call("DEL", key)
            case "get":
                command = "GETDEL" if metadata.get("delete") == "true" else "GET"
                return Reply(await self._lane.call(command, key) or b"")
            case _:
                await self._increment(self._lane, key, _lifetime(metadata))
        return None

    async def _set(self, opened: Lane, key: str, data: bytes, lifetime: int | None) -> None:
        if lifetime is None:
            await opened.call("SET", key, data)
        else:
            await opened.call("SET", key, data, "EX", lifetime)

    async def _increment(self, opened: Lane, key: str, lifetime: int | None) -> None:
        await opened.call("INCR", key)
        if lifetime is not None:
            await opened.call("EXPIRE", key, lifetime)


def _lifetime(metadata: Mapping[str, str]) -> int | None:
    """Seconds; looked at before anything is written."""
    text = metadata.get("ttlInSeconds") or metadata.get("ttl") or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Refused(f"ttlInSeconds must be a whole number of seconds above zero: {text}")
    return int(text)
