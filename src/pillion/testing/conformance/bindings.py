"""What any binding must do, as named coroutines: usable from outside this repository, with any test runner."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any

from pillion.contracts.bindings import Binding, NotDelivered
from pillion.contracts.words import DriverError
from pillion.model.bindings import Reply, Trigger
from pillion.model.state import NOTHING
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

PATIENCE = 10.0
"""Seconds to wait for something that must come."""
QUIET = 0.1
"""Seconds to listen for something that must not come."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An invocation that works."""

    operation: str
    data: bytes = b""
    metadata: Mapping[str, str] = field(default=NOTHING)


@dataclass(frozen=True, slots=True)
class Bench:
    """An open binding. An output comes with a sample of each operation, in an order that works, and any of them may be
    repeated; an input with a way to make one event happen."""

    binding: Binding[Any]
    samples: tuple[Sample, ...] = ()
    provoke: Callable[[], Awaitable[None]] | None = None

    async def do(self, sample: Sample) -> Reply | None:
        return await self.binding.invoke(sample.operation, sample.data, sample.metadata)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; `of` is output, input or both."""

    name: str
    of: str
    run: Callable[[Bench], Awaitable[None]]

    def applies_to(self, binding: type[Binding[Any]]) -> bool:
        return self.of == "both" or (binding.is_input if self.of == "input" else bool(binding.operations))


CHECKS: list[Check] = []

Run = Callable[[Bench], Awaitable[None]]


def check(of: str) -> Callable[[Run], Run]:
    """List a check."""

    def keep(run: Run) -> Run:
        CHECKS.append(Check(getattr(run, "__name__", "check"), of, run))
        return run

    return keep


@dataclass(slots=True)
class Inbox:
    """An app: keeps what it is brought, and takes it or not."""

    takes: bool = True
    got: list[Trigger] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared, events wait."""
    done: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.held.set()

    async def __call__(self, trigger: Trigger) -> Reply:
        self.got.append(trigger)
        self._news.set()
        await self.held.wait()
        self.done += 1
        if not self.takes:
            raise NotDelivered("not now")
        return Reply()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()


async def _event(b: Bench) -> None:
    assert b.provoke is not None
    await b.provoke()


@check("output")
async def every_operation_works_or_is_refused_in_the_contracts_words(b: Bench) -> None:
    assert {sample.operation for sample in b.samples} == set(b.binding.operations)
    for sample in b.samples:
        reply = await b.do(sample)
        assert reply is None or isinstance(reply, Reply)
        try:
            await b.binding.invoke(sample.operation, b"\x00\xff", NOTHING)
        except DriverError as error:
            assert str(error)


@check("output")
async def answers_are_bytes_and_metadata_is_text(b: Bench) -> None:
    for sample in b.samples:
        reply = await b.do(sample)
        if reply is not None:
            assert reply.data is None or isinstance(reply.data, bytes)
            assert all(isinstance(part, str) for pair in reply.metadata.items() for part in pair)


@check("output")
async def an_output_serves_many_at_once(b: Bench) -> None:
    first = b.samples[0]
    await asyncio.gather(*(b.do(first) for _ in range(50)))


@check("output")
async def an_output_changes_nothing_it_was_given(b: Bench) -> None:
    for sample in b.samples:
        given = dict(sample.metadata)
        await b.binding.invoke(sample.operation, sample.data, given)
        assert given == dict(sample.metadata)


@check("input")
async def an_input_brings_its_events(b: Bench) -> None:
    inbox = Inbox()
    listening = await b.binding.listen(inbox)
    await _event(b)
    await inbox.has(1)
    await _event(b)
    await inbox.has(2)
    await listening.close()
    assert all(isinstance(trigger.data, bytes) for trigger in inbox.got)


@check("input")
async def an_event_that_was_not_taken_does_not_end_the_input(b: Bench) -> None:
    inbox = Inbox(takes=False)
    listening = await b.binding.listen(inbox)
    await _event(b)
    await inbox.has(1)
    await _event(b)
    await inbox.has(2)
    await listening.close()


@check("input")
async def a_closed_input_brings_no_more(b: Bench) -> None:
    inbox = Inbox()
    listening = await b.binding.listen(inbox)
    await _event(b)
    await inbox.has(1)
    await listening.close()
    await listening.close()
    await _event(b)
    await asyncio.sleep(QUIET)
    assert len(inbox.got) == 1


@check("input")
async def closing_waits_for_the_event_under_way(b: Bench) -> None:
    inbox, crew = Inbox(), Crew("bench")
    inbox.held.clear()
    listening = await b.binding.listen(inbox)
    await _event(b)
    await inbox.has(1)
    closing = crew.start(listening.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    inbox.held.set()
    await closing
    assert inbox.done == 1


@check("input")
async def an_input_can_be_listened_to_again(b: Bench) -> None:
    first, second = Inbox(), Inbox()
    await (await b.binding.listen(first)).close()
    listening = await b.binding.listen(second)
    await _event(b)
    await second.has(1)
    await listening.close()
    assert not first.got


@check("both")
async def a_binding_closes_twice(b: Bench) -> None:
    await b.binding.close()
    await b.binding.close()
