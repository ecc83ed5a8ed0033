"""The way to Redis that the settings describe: one server, the server the sentinels name, or a cluster."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from pillion.contracts.words import DriverError
from pillion.drivers.clients.redis_cluster import ClusterLane
from pillion.drivers.clients.redis_dial import Dial
from pillion.drivers.clients.redis_pipe import RedisPipe, Tries
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import Answer, Patience, Word
from pillion.plug.component import Context
from pillion.toolbox.backoff import Backoff

_NO_WAIT: Final = Backoff(timedelta(), timedelta())


class Lane(Protocol):
    """A way to a server or to a cluster of them. No call needs a task to be made from."""

    async def open(self) -> None:
        """Connect; raises Unavailable or Refused."""

    async def close(self) -> None:
        """Safe unopened and safe twice."""

    def call(self, *words: Word) -> Answer:
        """One command; a future of its answer, with Unavailable or Refused where there is none. What may have been
        done already is never sent again, unless it only reads."""

    def at(self, key: str) -> "Lane":
        """The one connection that serves a key now: for commands that mean a connection and not a key."""

    async def everywhere(self) -> "Sequence[Lane]":
        """One lane for each server that holds keys."""


def lane(settings: RedisSettings, context: Context) -> Lane:
    """The lane of a component. Says once which settings mean nothing on it."""
    if settings.without_effect:
        names = ", ".join(settings.without_effect)
        context.log.info("%s: one connection carries all commands: %s have no effect", context.name, names)
    return _lane(settings, context, settings.patience, Tries(settings.retries, settings.waits))


def side_lane(settings: RedisSettings, context: Context, *, blocking: float = 0.0) -> Lane:
    """One more way to the same place, for commands that hold up what comes behind them for up to `blocking` seconds.
    It repeats nothing, and the component's health is not its to tell."""
    read, write = settings.patience.read, settings.patience.write
    patience = Patience(None if read is None else read + blocking, write)
    quiet = replace(context, health=lambda well, reason: None)
    return _lane(settings, quiet, patience, Tries(0, _NO_WAIT))


def _lane(settings: RedisSettings, context: Context, patience: Patience, tries: Tries) -> Lane:
    settings.check()
    dial = Dial(settings)
    if settings.redis_type == "cluster" and not settings.failover:
        return ClusterLane(settings, context, lambda at, owner: dial.at(at, patience, owner), tries)
    return RedisPipe(settings, context, lambda owner: dial.server(patience, owner), tries)


def outcome(answer: object) -> DriverError | None:
    """What became of one of several calls that were gathered with their exceptions; what is no refusal is raised."""
    if isinstance(answer, BaseException):
        if isinstance(answer, DriverError):
            return answer
        raise answer
    return None
