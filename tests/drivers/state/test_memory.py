"""state.in-memory: the sentences its refusals are known by, and what it forgets."""

import pytest
from support.stores import Shelf

from pillion.contracts.words import EtagMismatch
from pillion.drivers.state.memory import FORGOTTEN, MemorySettings, MemoryStore
from pillion.model.state import Guard, Put
from pillion.plug.component import Context
from pillion.testing.clock import HandClock


@pytest.mark.parametrize(
    ("put", "sentence"),
    [
        (Put("k", b"", expect=Guard.ABSENT), "item already exists and no etag was passed"),
        (Put("x", b"", expect="9"), "state not exist or expired for key=x"),
        (Put("k", b"", expect="9"), r"state etag not match for key=k: current=[0-9a-f-]{36}, expect=9"),
    ],
)
async def test_a_refusal_says_what_is_wrong(put: Put, sentence: str) -> None:
    shelf = Shelf()
    store = await shelf.memory()
    await store.put(Put("k", b"1"))
    with pytest.raises(EtagMismatch, match=sentence):
        await store.put(put)
    await shelf.close()


async def test_what_ended_is_forgotten_though_nobody_asks() -> None:
    clock = HandClock()
    context = Context(name="mem", clock=clock)
    store = MemoryStore(MemorySettings(), context)
    await store.open()
    await store.put(Put("k", b"1", expires_at=clock.now() + 5))
    await store.put(Put("again", b"1", expires_at=clock.now() + 5))
    await store.put(Put("again", b"2", expires_at=clock.now() + 50))
    for _ in range(6):
        await clock.advance(1.0)
    assert list(store._rows) == ["again"]
    await context.crew.close()


async def test_a_key_written_again_and_again_does_not_fill_the_memory_with_ends() -> None:
    clock = HandClock()
    context = Context(name="mem", clock=clock)
    store = MemoryStore(MemorySettings(), context)
    await store.open()
    for _ in range(3 * FORGOTTEN):
        await store.put(Put("k", b"1", expires_at=clock.now() + 5))
    assert len(store._ends) <= FORGOTTEN + 2
    for _ in range(6):
        await clock.advance(1.0)
    assert await store.get("k") is None and not store._rows
    await context.crew.close()
