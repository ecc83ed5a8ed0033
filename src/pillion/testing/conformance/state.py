"""What any state store must do, as named coroutines: usable from outside this repository, with any test runner."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import EtagMismatch, Unsupported
from pillion.model.state import Consistency, Delete, Entry, Guard, Put
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass

PATIENCE = 10.0
"""Seconds to wait for something that must come."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A freshly opened, empty store.

    `clock` is the store's own, `turn` moves it on: a hand-turned one at once, the machine's by waiting that long.
    `short` is a lifetime that is not over at once and bearable to wait for. `join` opens another driver on the same data, for stores that
    outlive their driver; the bench closes what it opened.
    """

    store: StateStore[Any]
    clock: Clock
    turn: Callable[[float], Awaitable[None]]
    short: float
    join: Callable[[], Awaitable[StateStore[Any]]] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and which drivers it is asked of."""

    name: str
    needs: Feature
    lacks: Feature
    shared: bool
    run: Callable[[Bench], Awaitable[None]]

    def applies_to(self, features: Feature, *, shared: bool) -> bool:
        return self.needs in features and not (self.lacks & features) and (shared or not self.shared)


CHECKS: list[Check] = []

Run = Callable[[Bench], Awaitable[None]]


def check(
    *, needs: Feature = Feature.NONE, lacks: Feature = Feature.NONE, shared: bool = False
) -> Callable[[Run], Run]:
    """List a check; `shared` ones need data that several drivers can open."""

    def keep(run: Run) -> Run:
        CHECKS.append(Check(getattr(run, "__name__", "check"), needs, lacks, shared, run))
        return run

    return keep


@contextmanager
def refused(error: type[Exception]) -> Iterator[None]:
    """The body must raise `error`."""
    try:
        yield
    except error:
        return
    raise AssertionError(f"expected {error.__name__}")


async def value(store: StateStore[Any], key: str) -> bytes | None:
    """What a key holds."""
    entry = await store.get(key)
    return None if entry is None else entry.value


async def held(store: StateStore[Any], key: str) -> Entry:
    """The entry of a key that must be there, and have an etag."""
    entry = await store.get(key)
    assert entry is not None and entry.etag, f"{key}: {entry}"
    return entry


async def gone(b: Bench, key: str) -> None:
    """Let time pass until a key has ended."""
    for _ in range(20):
        await b.turn(b.short)
        if await b.store.get(key) is None:
            return
    raise AssertionError(f"{key} outlived its time")


# Reading and writing.


@check()
async def a_missing_key_reads_as_nothing(b: Bench) -> None:
    assert await b.store.get("nobody") is None


@check()
async def what_is_put_is_got_byte_for_byte(b: Bench) -> None:
    for at, given in enumerate((b"", b"\x00\xff\r\n", b'{"a":1}', "é".encode(), bytes(range(256)) * 400)):
        await b.store.put(Put(f"k{at}", given))
        assert await value(b.store, f"k{at}") == given


@check()
async def json_is_got_as_it_was_put(b: Bench) -> None:
    text = '{"a":[1,12345678901234567890,"\\u003cé\\u003e"]}'.encode()
    await b.store.put(Put("k", text, content_type="application/json"))
    assert await value(b.store, "k") == text


@check()
async def a_later_put_wins(b: Bench) -> None:
    await b.store.put(Put("k", b"1", content_type="application/json"))
    await b.store.put(Put("k", b"\xff"))
    assert await value(b.store, "k") == b"\xff"


@check()
async def keys_of_any_text_are_apart(b: Bench) -> None:
    keys = ["a", "A", "a ", "é", "a||b", "a'b", 'a"b', "%", "_", "*", "a\nb", "x" * 200]
    for key in keys:
        await b.store.put(Put(key, key.encode()))
    assert [await value(b.store, key) for key in keys] == [key.encode() for key in keys]


@check()
async def a_deleted_key_is_gone_and_deleting_twice_is_no_error(b: Bench) -> None:
    await b.store.put(Put("k", b"1"))
    await b.store.delete(Delete("k"))
    await b.store.delete(Delete("k"))
    assert await b.store.get("k") is None


@check()
async def get_many_keeps_the_order_asked(b: Bench) -> None:
    await b.store.put(Put("b", b"2"))
    await b.store.put(Put("a", b"1", content_type="application/json"))
    found = await b.store.get_many(["a", "x", "b", "a"])
    assert [each and isinstance(each, Entry) and each.value for each in found] == [b"1", None, b"2", b"1"]


@check()
async def write_many_does_all_and_tells_of_each(b: Bench) -> None:
    await b.store.put(Put("old", b"0"))
    outcomes = await b.store.write_many([Put("a", b"1"), Delete("old"), Put("a", b"2"), Put("b", b"3")])
    assert outcomes == [None] * 4
    assert [await value(b.store, key) for key in ("a", "b", "old")] == [b"2", b"3", None]


@check()
async def a_strong_write_is_a_write(b: Bench) -> None:
    await b.store.put(Put("k", b"1", consistency=Consistency.STRONG))
    await b.store.delete(Delete("k", consistency=Consistency.STRONG))
    assert await b.store.get("k", consistency=Consistency.STRONG) is None


# Preconditions.


@check(needs=Feature.ETAG)
async def every_write_changes_the_etag(b: Bench) -> None:
    await b.store.put(Put("k", b"1"))
    first = await held(b.store, "k")
    await b.store.put(Put("k", b"1"))
    assert (await held(b.store, "k")).etag != first.etag


@check(needs=Feature.ETAG)
async def a_current_etag_lets_a_write_through(b: Bench) -> None:
    await b.store.put(Put("k", b"1"))
    await b.store.put(Put("k", b"2", expect=(await held(b.store, "k")).etag or ""))
    assert await value(b.store, "k") == b"2"
    await b.store.delete(Delete("k", expect=(await held(b.store, "k")).etag or ""))
    assert await b.store.get("k") is None


@check(needs=Feature.ETAG)
async def a_stale_etag_is_refused_and_writes_nothing(b: Bench) -> None:
    await b.store.put(Put("k", b"1"))
    stale = (await held(b.store, "k")).etag or ""
    await b.store.put(Put("k", b"2", expect=stale))
    with refused(EtagMismatch):
        await b.store.put(Put("k", b"3", expect=stale))
    with refused(EtagMismatch):
        await b.store.delete(Delete("k", expect=stale))
    assert await value(b.store, "k") == b"2"


@check(needs=Feature.ETAG)
async def an_etag_of_a_missing_key_is_refused(b: Bench) -> None:
    with refused(EtagMismatch):
        await b.store.put(Put("k", b"1", expect="1"))
    with refused(EtagMismatch):
        await b.store.delete(Delete("k", expect="1"))
    assert await b.store.get("k") is None


@check(needs=Feature.ETAG)
async def a_first_write_wants_the_key_absent(b: Bench) -> None:
    await b.store.put(Put("k", b"1", expect=Guard.ABSENT))
    with refused(EtagMismatch):
        await b.store.put(Put("k", b"2", expect=Guard.ABSENT))
    assert await value(b.store, "k") == b"1"


@check(needs=Feature.ETAG)
async def a_write_without_a_precondition_passes_over_a_first_write(b: Bench) -> None:
    await b.store.put(Put("k", b"1", expect=Guard.ABSENT))
    await b.store.put(Put("k", b"2"))
    await b.store.put(Put("k", b"3", expect=(await held(b.store, "k")).etag or ""))
    assert await value(b.store, "k") == b"3"


@check(needs=Feature.ETAG)
async def write_many_refuses_alone_what_it_refuses(b: Bench) -> None:
    await b.store.put(Put("taken", b"1"))
    outcomes = await b.store.write_many(
        [Put("a", b"1"), Put("taken", b"2", expect=Guard.ABSENT), Put("b", b"3")]
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), EtagMismatch, type(None)]
    assert [await value(b.store, key) for key in ("a", "taken", "b")] == [b"1", b"1", b"3"]


@check(needs=Feature.ETAG)
async def of_many_writers_none_overwrites_another_unseen(b: Bench) -> None:
    await b.store.put(Put("count", b"0"))

    async def add_one() -> None:
        while True:
            entry = await held(b.store, "count")
            try:
                await b.store.put(Put("count", b"%d" % (int(entry.value) + 1), expect=entry.etag or ""))
                return
            except EtagMismatch:
                await asyncio.sleep(0)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*[add_one() for _ in range(20)])
    assert await value(b.store, "count") == b"20"


# Transactions.


@check(needs=Feature.TRANSACTIONAL)
async def a_transaction_does_all_in_order(b: Bench) -> None:
    await b.store.put(Put("old", b"0"))
    await b.store.transact(
        [Put("a", b"1"), Put("b", b"1"), Put("a", b"2"), Delete("old"), Delete("b"), Put("c", b"3")]
    )
    assert [await value(b.store, key) for key in ("a", "b", "c", "old")] == [b"2", None, b"3", None]
    await b.store.transact([])


@check(needs=Feature.TRANSACTIONAL | Feature.ETAG)
async def a_failed_transaction_leaves_no_trace(b: Bench) -> None:
    await b.store.put(Put("taken", b"1"))
    await b.store.put(Put("other", b"1"))
    before = await held(b.store, "other")
    for last in (
        Put("taken", b"2", expect=Guard.ABSENT),
        Put("taken", b"2", expect="999"),
        Delete("taken", expect="999"),
    ):
        with refused(EtagMismatch):
            await b.store.transact(
                [Put("new", b"1"), Put("other", b"2"), Delete("taken"), Put("taken", b"3"), last]
            )
    assert [await value(b.store, key) for key in ("new", "taken")] == [None, b"1"]
    assert await held(b.store, "other") == before


@check(needs=Feature.TRANSACTIONAL | Feature.ETAG)
async def a_transaction_takes_current_etags(b: Bench) -> None:
    await b.store.put(Put("k", b"1"))
    await b.store.put(Put("d", b"1"))
    first, second = await held(b.store, "k"), await held(b.store, "d")
    await b.store.transact(
        [
            Put("k", b"2", expect=first.etag or ""),
            Delete("d", expect=second.etag or ""),
            Put("d", b"3", expect=Guard.ABSENT),
        ]
    )
    assert [await value(b.store, key) for key in ("k", "d")] == [b"2", b"3"]


@check(needs=Feature.TRANSACTIONAL)
async def transactions_do_not_mix(b: Bench) -> None:
    async def both(given: bytes) -> None:
        await b.store.transact([Put("x", given), Put("y", given)])

    await asyncio.gather(*[both(b"%d" % at) for at in range(20)])
    assert await value(b.store, "x") == await value(b.store, "y")


@check(lacks=Feature.TRANSACTIONAL)
async def an_unclaimed_transaction_says_so(b: Bench) -> None:
    with refused(Unsupported):
        await b.store.transact([Put("k", b"1")])


# Lifetimes.


@check(needs=Feature.TTL)
async def a_value_ends_when_its_time_is_over(b: Bench) -> None:
    await b.store.put(Put("k", b"1", expires_at=b.clock.now() + b.short))
    await b.store.put(Put("stays", b"1"))
    assert await value(b.store, "k") == b"1"
    await gone(b, "k")
    assert await value(b.store, "stays") == b"1"
    assert await b.store.get_many(["k"]) == [None]


@check(needs=Feature.TTL | Feature.ETAG)
async def what_has_ended_counts_as_absent(b: Bench) -> None:
    await b.store.put(Put("k", b"1", expires_at=b.clock.now() + b.short))
    etag = (await held(b.store, "k")).etag or ""
    await gone(b, "k")
    with refused(EtagMismatch):
        await b.store.put(Put("k", b"2", expect=etag))
    await b.store.put(Put("k", b"2", expect=Guard.ABSENT))
    assert await value(b.store, "k") == b"2"


@check(needs=Feature.TTL)
async def a_write_without_an_end_lives_on(b: Bench) -> None:
    await b.store.put(Put("k", b"1", expires_at=b.clock.now() + b.short))
    await b.store.put(Put("k", b"2"))
    await b.turn(b.short * 2)
    assert await value(b.store, "k") == b"2"


@check(needs=Feature.TTL | Feature.TRANSACTIONAL)
async def values_end_that_a_transaction_wrote(b: Bench) -> None:
    await b.store.transact([Put("k", b"1", expires_at=b.clock.now() + b.short), Put("stays", b"1")])
    assert await value(b.store, "k") == b"1"
    await gone(b, "k")
    assert await value(b.store, "stays") == b"1"


# By prefix.


async def listed(store: StateStore[Any], prefix: str) -> list[str]:
    """The keys that start so, sorted."""
    return sorted([key async for key in store.keys(prefix)])


@check(needs=Feature.KEYS_LIKE)
async def keys_are_listed_by_prefix_and_no_pattern_is_seen_in_it(b: Bench) -> None:
    for key in ("a||1", "a||2", "ab", "b||1", "a*", "a_", "a[x]"):
        await b.store.put(Put(key, b"1"))
    assert await listed(b.store, "a||") == ["a||1", "a||2"]
    assert await listed(b.store, "a*") == ["a*"]
    assert await listed(b.store, "a_") == ["a_"]
    assert await listed(b.store, "a[") == ["a[x]"]
    assert len(await listed(b.store, "")) == 7


@check(needs=Feature.KEYS_LIKE)
async def many_keys_are_listed_once_each(b: Bench) -> None:
    await b.store.write_many([Put(f"many||{at}", b"1") for at in range(1200)])
    assert len(await listed(b.store, "many||")) == 1200


@check(needs=Feature.DELETE_WITH_PREFIX)
async def a_prefix_is_deleted_and_counted(b: Bench) -> None:
    for key in ("a||1", "a||2", "ab", "b||1"):
        await b.store.put(Put(key, b"1"))
    assert await b.store.delete_prefix("a||") == 2
    assert [await value(b.store, key) for key in ("a||1", "a||2", "ab", "b||1")] == [None, None, b"1", b"1"]


# The life of a driver.


@check(shared=True)
async def what_was_written_is_there_for_another(b: Bench) -> None:
    assert b.join is not None
    other = await b.join()
    await b.store.put(Put("k", b"\x001"))
    assert await value(other, "k") == b"\x001"
    await other.close()
    await b.store.close()
    again = await b.join()
    assert await value(again, "k") == b"\x001"


@check(needs=Feature.ETAG, shared=True)
async def of_two_drivers_none_overwrites_the_other_unseen(b: Bench) -> None:
    assert b.join is not None
    other = await b.join()
    await b.store.put(Put("k", b"1"))
    stale = (await held(other, "k")).etag or ""
    await other.put(Put("k", b"2", expect=stale))
    with refused(EtagMismatch):
        await b.store.put(Put("k", b"3", expect=stale))
    assert await value(b.store, "k") == b"2"


@check()
async def closing_twice_is_safe(b: Bench) -> None:
    await b.store.close()
    await b.store.close()
