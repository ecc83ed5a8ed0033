"""The resolver over multicast DNS, in the layout Dapr's uses, so that either finds the other."""

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Final

from pillion.contracts.names import Announced, Announcement, Names
from pillion.drivers.names.mdns.air import Air
from pillion.drivers.names.mdns.packets import (
    ANY,
    PTR,
    SRV,
    TXT,
    A,
    BadPacket,
    Packet,
    Question,
    Record,
    decode,
    encode,
)
from pillion.plug.component import driver
from pillion.toolbox.lazily import dataclass

TTL: Final = 60.0
"""Seconds a sidecar that was heard of is believed in."""
REFRESH: Final = 30.0
BROWSE: Final = 1.0
"""How long an answer to the first question is waited for."""
UNHEARD: Final = 3.0
"""Seconds in which nobody is asked again for an app that did not answer."""
_MOST_APPS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MdnsNamesSettings:
    """Nothing to set."""


@dataclass(slots=True)
class _Known:
    """What was heard of one app: when each address is forgotten, when it was last asked for, who waits for an answer."""

    until: dict[str, float]
    asked: float = -1e9
    waiter: "asyncio.Future[None] | None" = None


@driver("nameresolution.mdns", settings=MdnsNamesSettings, title="mDNS", status="beta")
class MdnsNames(Names[MdnsNamesSettings]):
    """Finds the sidecars of one network segment by multicast DNS, Dapr's among them.

    Namespaces are not looked at, as there. On a host without multicast it finds nobody and says nothing.
    """

    async def open(self) -> None:
        self._known: dict[str, _Known] = {}
        self._ours: list[_Sign] = []
        self._air = self.air()
        await self._air.open()

    def air(self) -> Air:
        """What to speak over."""
        return Air(self.heard, self.context.log)

    async def close(self) -> None:
        if hasattr(self, "_air"):
            for sign in list(self._ours):
                await sign.close()
            self._air.close()
        await self.context.crew.close()

    async def resolve(self, app_id: str, namespace: str) -> Sequence[str]:
        """What is known; somebody unknown is asked for and waited for a moment."""
        if len(self._known) > _MOST_APPS:
            self._known.clear()
        known = self._known.setdefault(app_id, _Known({}))
        now = self.context.clock.monotonic()
        if found := _fresh(known, now):
            if now - known.asked > REFRESH:
                self._ask(app_id, known, now)
            return found
        if known.waiter is None:
            if now - known.asked < UNHEARD or not self._ask(app_id, known, now):
                return []
            known.waiter = asyncio.get_running_loop().create_future()
        await asyncio.wait([known.waiter], timeout=BROWSE)
        known.waiter = None
        return _fresh(known, self.context.clock.monotonic())

    async def announce(self, who: Announcement) -> Announced:
        """Say it now and once more, and answer whoever asks."""
        sign = _Sign(self, who)
        self._ours.append(sign)
        self.context.start(sign.say_twice(), "announce")
        return sign

    def drop(self, app_id: str, address: str) -> None:
        known = self._known.get(app_id)
        if known is not None:
            known.until.pop(address, None)

    def say(self, records: Sequence[Record], to: tuple[str, int] | None = None, number: int = 0) -> None:
        """Tell the group, or one listener."""
        self._air.say(encode(Packet(records=tuple(records), id=number)), to)

    def withdraw(self, sign: "_Sign") -> None:
        """Answer no more for this one."""
        if sign in self._ours:
            self._ours.remove(sign)

    def heard(self, data: bytes, source: tuple[str, int]) -> None:
        """A datagram came: a question to us, or news."""
        try:
            packet = decode(data)
        except BadPacket as error:
            self.context.log.debug("multicast DNS from %s cannot be read: %s", source[0], error)
            return
        if packet.records:
            self._learn(packet.records)
        for question in packet.questions:
            for sign in self._ours:
                if sign.is_meant(question):
                    alone = question.unicast or source[1] != 5353
                    self.say(sign.records(), source if alone else None, packet.id if alone else 0)

    def _ask(self, app_id: str, known: _Known, now: float) -> bool:
        known.asked = now
        return self._air.say(encode(Packet((Question((app_id, "local"), PTR),))))

    def _learn(self, records: Sequence[Record]) -> None:
        now = self.context.clock.monotonic()
        servers = {record.name: record for record in records if record.kind == SRV}
        texts = {record.name: record.value for record in records if record.kind == TXT}
        hosts = {record.name: record.value for record in records if record.kind == A}
        for record in records:
            if record.kind != PTR or len(record.name) != 2 or not isinstance(record.value, tuple):
                continue
            server = servers.get(record.value)
            if server is None or not isinstance(server.value, tuple):
                continue
            port, target = server.value
            for app_id in _app_ids(texts.get(record.value), record.name[0]):
                host = hosts.get(target)
                if isinstance(host, str) and app_id in self._known:
                    self._note(self._known[app_id], f"{host}:{port}", min(record.ttl, TTL), now)

    def _note(self, known: _Known, address: str, ttl: float, now: float) -> None:
        if ttl <= 0:
            known.until.pop(address, None)
            return
        known.until[address] = now + ttl
        if known.waiter is not None and not known.waiter.done():
            known.waiter.set_result(None)


class _Sign:
    """One sidecar's announcement: service type = app id, instance = host:pid, text = app id."""

    def __init__(self, names: MdnsNames, who: Announcement) -> None:
        self._names = names
        self._who = who
        host = socket.gethostname().partition(".")[0] or "localhost"
        self._type = (who.app_id, "local")
        self._instance = (f"{host}:{os.getpid()}", *self._type)
        self._host = (host, "local")
        self._closed = False

    def is_meant(self, question: Question) -> bool:
        """Whether the question is about us."""
        kind, name = question.kind, question.name
        if name == _lower(self._type):
            return kind in (PTR, ANY)
        return name == _lower(self._instance) and kind in (SRV, TXT, ANY)

    def records(self, ttl: int = 120) -> list[Record]:
        """Everything about us; with `ttl` 0 it says goodbye."""
        who = self._who
        said = [
            Record(self._type, PTR, ttl, self._instance),
            Record(self._instance, SRV, ttl, (who.port, self._host), unique=True),
            Record(self._instance, TXT, ttl, [who.app_id.encode()], unique=True),
        ]
        if _is_v4(who.host):
            said.append(Record(self._host, A, ttl, who.host))
        return said

    async def say_twice(self) -> None:
        """Unasked, for whoever has been waiting; twice, since datagrams get lost."""
        self._names.say(self.records())
        await self._names.context.clock.sleep(1)
        if not self._closed:
            self._names.say(self.records())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._names.withdraw(self)
        self._names.say(self.records(ttl=0))


def _fresh(known: _Known, now: float) -> list[str]:
    for address, until in list(known.until.items()):
        if until < now:
            del known.until[address]
    return list(known.until)


def _app_ids(texts: object, service: str) -> list[str]:
    """Dapr's sidecars repeat their app id, in its own spelling, as a text; any other service is none."""
    if not isinstance(texts, list):
        return []
    return [app_id for text in texts if (app_id := text.decode("utf-8", "replace")).lower() == service]


def _is_v4(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return host.count(".") == 3


def _lower(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label.lower() for label in labels)
