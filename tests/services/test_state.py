"""What the state service decides above its drivers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from support.stores import Shelf

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import DriverError, EtagInvalid, EtagMismatch, Refused, Unavailable
from pillion.drivers.state.memory import MemorySettings, MemoryStore
from pillion.model.call import PLAIN, Call
from pillion.model.errors import ApiError
from pillion.model.state import Delete, Entry, Put, Removal, Save, Write
from pillion.services.sealing import Sealer, SealKey
from pillion.services.state import StateMount, StateService, capabilities, unsupported_metadata
from pillion.toolbox.tasks import eager


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    made = Shelf()
    yield made
    await made.close()


def service(shelf: Shelf) -> StateService:
    return StateService(shelf.mounts, shelf.clock)


class Scripted(StateStore[None]):
    """A store whose outcomes are given beforehand, one list for each round of writes."""

    features = Feature.ETAG | Feature.TRANSACTIONAL

    def __init__(self, context: Any, *rounds: Sequence[DriverError | None]) -> None:
        super().__init__(None, context)
        self.rounds = list(rounds)
        self.seen: list[list[str]] = []
        self.puts: list[Put] = []

    async def write_many(self, writes: Sequence[Write]) -> list[DriverError | None]:
        self.seen.append([write.key for write in writes])
        return list(self.rounds.pop(0))

    async def put(self, put: Put) -> None:
        self.puts.append(put)

    async def delete(self, delete: Delete) -> None:
        raise Unavailable("down")

    async def transact(self, writes: Sequence[Write]) -> None:
        self.seen.append([write.key for write in writes])


async def failed(work: Awaitable[object]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await work
    return raised.value


def script(
    shelf: Shelf, *rounds: Sequence[DriverError | None], **options: Any
) -> tuple[Scripted, StateMount]:
    store = Scripted(shelf.context("s"), *rounds)
    shelf.mount("s", store, **options)
    return store, shelf.mounts["s"]


ITEMS = [Save("a", b"1"), Save("b", b"2"), Save("c", b"3")]
PHRASE = "possible etag mismatch. error from state store"


@pytest.mark.parametrize(
    ("outcomes", "status", "message"),
    [
        ([None, EtagMismatch(), None], 409, f"{PHRASE}: {PHRASE}"),
        ([EtagMismatch("x"), EtagMismatch("y"), None], 409, f"{PHRASE}: {PHRASE}: x\n{PHRASE}: y"),
        (
            [EtagInvalid("x"), EtagMismatch("y"), None],
            400,
            f"invalid etag value: invalid etag value: x\n{PHRASE}: y",
        ),
        ([Refused("no"), None, Unavailable("down")], 500, "no\ndown"),
        ([Unavailable("down"), EtagMismatch("x"), None], 409, f"down\n{PHRASE}: x"),
    ],
)
async def test_the_failures_of_several_are_told_together(
    shelf: Shelf, outcomes: list[DriverError | None], status: int, message: str
) -> None:
    _, mount = script(shelf, outcomes)
    error = await failed(service(shelf).save(PLAIN, mount, ITEMS))
    assert (error.fault.status, error.message) == (status, f"failed saving state in state store s: {message}")
    assert shelf.noted.told == [("set", False)]


class Twice:
    """A policy that tries again once."""

    def __init__(self) -> None:
        self.raised: list[type[BaseException]] = []

    async def run(self, call: Call, operation: str, work: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await work()
        except DriverError as error:
            self.raised.append(type(error))
            return await work()


async def test_a_policy_tries_again_only_what_may_succeed(shelf: Shelf) -> None:
    twice = Twice()
    store, mount = script(shelf, [EtagMismatch("x"), Unavailable("down"), None], [None], guard=twice)
    error = await failed(service(shelf).save(PLAIN, mount, ITEMS))
    assert store.seen == [["appa||a", "appa||b", "appa||c"], ["appa||b"]]
    assert twice.raised == [Unavailable]
    assert error.fault.status == 409 and error.message.endswith(f"{PHRASE}: x")


async def test_an_item_with_an_unknown_word_does_not_hold_up_the_others(shelf: Shelf) -> None:
    store, mount = script(shelf, [None])
    items = [Save("a", b"1", concurrency="weird"), Save("b", b"2")]
    error = await failed(service(shelf).save(PLAIN, mount, items))
    assert store.seen == [["appa||b"]]
    assert error.message.endswith("unrecognized concurrency model 'weird'")


async def test_an_illegal_key_stops_all_before_anything_is_written(shelf: Shelf) -> None:
    store, mount = script(shelf)
    error = await failed(service(shelf).save(PLAIN, mount, [Save("a", b"1"), Save("b||c", b"2")]))
    assert error.fault.code == "ERR_MALFORMED_REQUEST" and store.seen == []


async def test_a_store_that_is_down_says_so_on_delete(shelf: Shelf) -> None:
    _, mount = script(shelf)
    error = await failed(service(shelf).delete(PLAIN, mount, Removal("k")))
    assert (error.fault.status, error.message) == (500, "failed deleting state with key k: down")


async def test_a_transaction_is_bounded_by_what_the_store_takes(shelf: Shelf) -> None:
    store, mount = script(shelf)
    store.max_operations = 2
    error = await failed(service(shelf).transact(PLAIN, mount, ITEMS))
    assert error.fault.status == 400 and error.info == {
        "currentOpsTransaction": "3",
        "maxOpsPerTransaction": "2",
    }
    assert error.message.startswith(
        "the transaction contains 3 operations, which is more than what the state store"
    )
    await service(shelf).transact(PLAIN, mount, ITEMS[:2])
    assert store.seen == [["appa||a", "appa||b"]]


async def test_the_stores_own_lifetime_counts_where_a_request_is_silent(shelf: Shelf) -> None:
    store = await shelf.memory()
    store.lifetime = 60
    for key, metadata in (("a", {}), ("b", {"ttlInSeconds": "-1"}), ("c", {"ttlInSeconds": "5"})):
        await service(shelf).save(PLAIN, shelf.mounts["mem"], [Save(key, b"1", metadata=metadata)])
    ends = [store._rows[f"appa||{key}"].expires_at for key in "abc"]
    assert ends == [shelf.clock.now() + 60, None, shelf.clock.now() + 5]


async def test_a_store_that_cannot_let_values_end_refuses_a_lifetime(shelf: Shelf) -> None:
    store, mount = script(shelf)
    await failed(service(shelf).save(PLAIN, mount, [Save("a", b"1", metadata={"ttlInSeconds": "5"})]))
    assert store.puts == []


async def test_a_bulk_read_is_cut_to_the_parallelism_asked(shelf: Shelf) -> None:
    asked: list[int] = []

    class Slices(StateStore[None]):
        async def get_many(self, keys: Sequence[str], **_: Any) -> list[Entry | None | DriverError]:
            asked.append(len(keys))
            return [None] * len(keys)

    shelf.mount("s", Slices(None, shelf.context("s")))
    found = await service(shelf).get_many(PLAIN, shelf.mounts["s"], list("abcde"), parallelism=2)
    assert asked == [2, 2, 1] and [each.key for each in found] == list("abcde")


async def test_sealed_values_open_again_and_broken_ones_say_so(shelf: Shelf) -> None:
    store = await shelf.memory(sealer=Sealer("mem", SealKey("s", "00" * 16)))
    mount, state = shelf.mounts["mem"], service(shelf)
    await state.transact(PLAIN, mount, [Save("k", b"\x00value")])
    assert store._rows["appa||k"].value.endswith(b"||s")
    entry = await state.get(PLAIN, mount, "k")
    assert entry is not None and entry.value == b"\x00value"
    store._rows["appa||k"] = Entry(b"not sealed")
    error = await failed(state.get(PLAIN, mount, "k"))
    assert error.message == (
        "fail to get k from state store mem: "
        "could not decrypt data for state store mem: encryption key name not found on record"
    )
    (found,) = await state.get_many(PLAIN, mount, ["k"])
    assert found.entry is None and found.error.startswith("could not decrypt data")


async def test_every_operation_is_measured_once(shelf: Shelf) -> None:
    await shelf.memory()
    mount, state = shelf.mounts["mem"], service(shelf)
    await state.save(PLAIN, mount, ITEMS)
    await state.get(PLAIN, mount, "a")
    await state.get_many(PLAIN, mount, ["a"])
    await state.delete(PLAIN, mount, Removal("a"))
    await state.delete_many(PLAIN, mount, [Removal("a"), Removal("b")])
    await state.transact(PLAIN, mount, ITEMS)
    assert shelf.noted.told == [
        (name, True) for name in ("set", "get", "bulk_get", "delete", "bulk_delete", "transaction")
    ]


class Leisurely(MemoryStore):
    """Waits for a future before it answers, and notes in which task it was asked."""

    immediate = False

    async def get(self, key: str, **_: Any) -> Entry | None:
        self.asked_in = asyncio.current_task()
        told = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(told.set_result, None)
        await told
        return Entry(b"1")


@pytest.mark.parametrize("stepped", [True, False])
async def test_only_a_driver_that_needs_none_is_asked_without_a_task(shelf: Shelf, stepped: bool) -> None:
    store = Leisurely(MemorySettings(), shelf.context("slow"))
    await store.open()
    store.stepped = stepped
    shelf.mount("slow", store)
    service = StateService(shelf.mounts, shelf.clock)
    loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def ask() -> None:
        eager(service.get(PLAIN, shelf.mounts["slow"], "k"), lambda entry, _: answer.set_result(entry))

    loop.call_soon(ask)
    assert await answer == Entry(b"1")
    assert (store.asked_in is None) is stepped


async def test_a_reload_counts_from_the_next_request_on(shelf: Shelf) -> None:
    await shelf.memory("one")
    state = service(shelf)
    shelf.mounts["two"] = shelf.mounts.pop("one")
    assert state.find("two") is shelf.mounts["two"]
    with pytest.raises(ApiError):
        state.find("one")


async def test_capabilities_are_told_in_daprs_order(shelf: Shelf) -> None:
    assert capabilities(await shelf.memory()) == [
        "ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE", "ACTOR"
    ]  # fmt: skip


def test_an_outbox_is_told_to_be_not_built() -> None:
    assert unsupported_metadata(["keyPrefix", "OutboxPublishPubsub", "redisHost"]) == ["OutboxPublishPubsub"]
    assert unsupported_metadata(("keyPrefix", "actorStateStore", "primaryEncryptionKey")) == []
