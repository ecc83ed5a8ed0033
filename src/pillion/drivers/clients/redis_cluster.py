"""The way to a Redis cluster: which server holds which key, and what to do when that changes."""

import asyncio
from binascii import crc_hqx
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.redis_dial import Address
from pillion.drivers.clients.redis_pipe import RedisPipe, Tries
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import (
    Answer,
    Asked,
    Owner,
    Wire,
    Word,
    fail,
    packed,
    unpacked,
)
from pillion.plug.component import Context
from pillion.toolbox.backoff import Backoff

SLOTS: Final = 16_384
_HOPS: Final = 16
"""How often one command may be sent on."""
_BACKOFF: Final = Backoff(timedelta(milliseconds=50), timedelta(seconds=1))
_ASKING: Final = packed("ASKING")
_PLACE: Final = {
    b"EVAL": 3,
    b"EVALSHA": 3,
    b"XGROUP": 2,
    b"XREADGROUP": -2,
    **dict.fromkeys((b"INFO", b"PING", b"SCAN", b"CLUSTER", b"CLIENT", b"WAIT"), 0),
}
"""Where the key stands, 0 for nowhere; it is the first word behind the command in all that are not here."""

DiallingAt = Callable[[Address, Owner], Awaitable[Wire]]


class ClusterLane:
    """A `Lane` to all servers of a cluster, one connection each, made when first needed.

    The map of slots is learnt from the first server that answers, and anew whenever a server is lost, refuses a connection, or
    says that a slot has moved. A command that is sent on is done by the server it reaches last, and by no other.
    """

    def __init__(self, settings: RedisSettings, context: Context, dial: DiallingAt, tries: Tries) -> None:
        self._settings = settings
        self._context = context
        self._dial = dial
        self._tries = tries
        self._hops = Tries(_HOPS, Backoff(timedelta(), timedelta()))
        self._nodes: dict[Address, ClusterNode] = {}
        self._slots: list[ClusterNode | None] = [None] * SLOTS
        self._learning: asyncio.Task[DriverError | None] | None = None
        self._mender: asyncio.Task[None] | None = None
        self._closed = False

    async def open(self) -> None:
        await self.learn()

    async def close(self) -> None:
        self._closed = True
        for task in (self._mender, self._learning):
            if task is not None and not task.done():
                task.cancel()
                await asyncio.wait((task,), timeout=1.0)
        for node in list(self._nodes.values()):
            await node.close()

    def call(self, *words: Word) -> Answer:
        node = self._node_for(words)
        if node is not None:
            return node.call(*words)
        answer = asyncio.get_running_loop().create_future()
        self.offer((answer, packed(*words)))
        return answer

    def at(self, key: str) -> "ClusterNode":
        node = self._slots[slot_of(key.encode())]
        if node is None:
            raise self._nobody()
        return node

    async def everywhere(self) -> "list[ClusterNode]":
        if None in self._slots:
            await self.learn()
        return list(dict.fromkeys(node for node in self._slots if node is not None))

    def offer(self, asked: Asked) -> None:
        """Send a packed command to whoever holds its key now."""
        node = self._node_for(unpacked(asked[1]))
        if node is not None:
            node.offer(asked)
            return
        late = self._context.crew.start(self._late(asked), f"{self._context.name}: late command")
        late.add_done_callback(lambda task: fail(asked[0], self._nobody()) if task.cancelled() else None)

    def redirected(self, node: "ClusterNode", asked: Asked, told: str) -> None:
        """A server has said who holds the slot: for good (MOVED), or for this key while the slot is on its way (ASK)."""
        kind, slot, where = told.split(" ")[:3]
        if self._hops.next(asked[0]) is None:
            fail(asked[0], Unavailable(f"{self._settings.redis_host}: sent on too often: {told}"))
            return
        host, _, port = where.rpartition(":")
        holder = self._node((host or node.address[0], int(port)))
        if kind == "MOVED":
            self._slots[int(slot)] = holder
            self.learn_soon()
            holder.offer(asked)
        else:
            self._context.crew.start(holder.ask(asked), f"{self._context.name}: asking")

    # The map.

    async def learn(self) -> None:
        """Learn who holds which slot; who asks while that is under way waits for it. Raises Unavailable or Refused."""
        learner = self._learner()
        try:
            error = await asyncio.shield(learner)
        except asyncio.CancelledError:
            if learner.cancelled():
                raise Unavailable("the connection was closed") from None
            raise
        if error is not None:
            raise type(error)(str(error))

    def learn_soon(self) -> None:
        self._learner()

    def mourn(self, where: str) -> None:
        """A server is lost: look for whoever takes its place until every slot is held by one that answers."""
        if self._closed:
            return
        self._context.health(False, f"{where}: the connection was lost")
        if self._mender is None or self._mender.done():
            self._mender = self._context.crew.start(self._mend(), f"{self._context.name}: reconnect")

    def _learner(self) -> "asyncio.Task[DriverError | None]":
        if self._learning is None or self._learning.done():
            self._learning = self._context.crew.start(self._learn(), f"{self._context.name}: slots")
        return self._learning

    async def _learn(self) -> DriverError | None:
        troubles: list[DriverError] = []
        known = sorted(self._nodes.values(), key=lambda node: not node.is_connected)
        for node in known + [
            self._node(seed) for seed in self._settings.addresses if seed not in self._nodes
        ]:
            try:
                wire = await node.connected()
                self._place(node, await wire.send(("CLUSTER", "SLOTS")))
            except DriverError as error:
                troubles.append(error)
            else:
                return None
        word = Refused if all(isinstance(each, Refused) for each in troubles) else Unavailable
        return word("no server of the cluster says who holds what: " + "; ".join(map(str, troubles)))

    def _place(self, informant: "ClusterNode", told: list[Any]) -> None:
        slots: list[ClusterNode | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_ in told:
            node = self._node((host.decode() if host else informant.address[0], int(port)))
            slots[first : last + 1] = [node] * (last + 1 - first)
        if not told:
            raise Unavailable(
                f"redis at {informant.address[0]}:{informant.address[1]}: its cluster has no slots"
            )
        self._slots = slots
        for node in set(self._nodes.values()) - set(slots):
            if not node.is_busy:
                del self._nodes[node.address]
                self._context.start(node.close(), "leave")

    async def _mend(self) -> None:
        tries = 0
        while not self._closed:
            try:
                await self.learn()
                for node in await self.everywhere():
                    await node.connected()
            except DriverError as error:
                if tries == 0:
                    self._context.log.warning("part of the cluster is lost and is looked for: %s", error)
                await asyncio.sleep(_BACKOFF.seconds(tries))
                tries += 1
            else:
                break
        if not self._closed:
            self._context.health(True, "")

    async def _late(self, asked: Asked) -> None:
        try:
            await self.learn()
            node = self._node_for(unpacked(asked[1]))
        except DriverError as error:
            fail(asked[0], error)
        else:
            node.offer(asked) if node is not None else fail(asked[0], self._nobody())

    def _node_for(self, words: Sequence[Word]) -> "ClusterNode | None":
        key = key_of(words)
        if key is not None:
            return self._slots[slot_of(key)]
        return next((node for node in self._slots if node is not None), None)

    def _node(self, address: Address) -> "ClusterNode":
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = ClusterNode(
                self, address, self._context, self._settings, self._dial
            )
        return node

    def tries(self) -> Tries:
        return self._tries

    def _nobody(self) -> Unavailable:
        return Unavailable(f"redis at {self._settings.redis_host}: nobody in the cluster holds this key now")


class ClusterNode(RedisPipe):
    """One server of a cluster. What it did not do is for the cluster to place anew."""

    def __init__(
        self,
        cluster: ClusterLane,
        address: Address,
        context: Context,
        settings: RedisSettings,
        dial: DiallingAt,
    ) -> None:
        super().__init__(settings, context, lambda owner: dial(address, owner), cluster.tries())
        self.address = address
        self._cluster = cluster

    async def ask(self, asked: Asked) -> None:
        """Send a command for a slot that is not yet this server's."""
        try:
            wire = await self.connected()
        except DriverError as error:
            self.again(asked, error)
            return
        nobody = asyncio.get_running_loop().create_future()
        nobody.cancel()  # the answer to this word is of no use
        wire.put(nobody, _ASKING)
        wire.put(*asked)

    def refused(self, wire: Wire, asked: Asked, error: Exception) -> None:
        told = str(error)
        if told.startswith(("MOVED ", "ASK ")):
            self._cluster.redirected(self, asked, told)
        else:
            super().refused(wire, asked, error)

    def reoffer(self, asked: Asked) -> None:
        if not asked[0].done():
            self._cluster.offer(asked)

    def undialled(self) -> None:
        self._cluster.learn_soon()

    def mourn(self, wire: Wire) -> None:
        self._cluster.mourn(wire.where)


def key_of(words: Sequence[Word]) -> bytes | None:
    """The key a command is about, None where it is about none."""
    command = words[0] if isinstance(words[0], bytes) else str(words[0]).encode()
    place = _PLACE.get(command, 1)
    if place == 0:
        return None
    key = words[place]
    return key if isinstance(key, bytes) else str(key).encode()


def slot_of(key: bytes) -> int:
    """The slot of a key; of one with a part in braces, that part's."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS
