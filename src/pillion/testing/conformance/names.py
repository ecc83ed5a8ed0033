"""What any name resolver must do, as named coroutines: usable from outside this repository, with any test runner."""

from collections.abc import Awaitable, Callable
from typing import Any

from pillion.contracts.names import Announcement, Names
from pillion.toolbox.lazily import dataclass

UNKNOWN = "pillion-nobody-is-this"


@dataclass(frozen=True, slots=True)
class Bench:
    """Two open resolvers of the same world, as two sidecars have them. `listed` is an app both know without any announcement."""

    mine: Names[Any]
    theirs: Names[Any]
    announces: bool = True
    listed: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and whether it is asked only of resolvers that announce."""

    name: str
    announcing: bool
    run: Callable[[Bench], Awaitable[None]]

    def applies_to(self, *, announces: bool) -> bool:
        return announces or not self.announcing


CHECKS: list[Check] = []

Run = Callable[[Bench], Awaitable[None]]


def check(*, announcing: bool) -> Callable[[Run], Run]:
    """List a check."""

    def keep(run: Run) -> Run:
        CHECKS.append(Check(getattr(run, "__name__", "check"), announcing, run))
        return run

    return keep


def _who(app_id: str, port: int) -> Announcement:
    return Announcement(app_id, "", "127.0.0.1", port)


@check(announcing=False)
async def nobody_is_an_empty_answer(b: Bench) -> None:
    assert list(await b.mine.resolve(UNKNOWN, "")) == []


@check(announcing=False)
async def an_announcement_can_be_taken_back_twice(b: Bench) -> None:
    announced = await b.mine.announce(_who("pillion-twice", 7001))
    await announced.close()
    await announced.close()


@check(announcing=False)
async def who_is_listed_is_found(b: Bench) -> None:
    if b.listed is not None:
        app_id, address = b.listed
        assert list(await b.mine.resolve(app_id, "")) == [address]


@check(announcing=False)
async def dropping_a_stranger_is_nothing(b: Bench) -> None:
    b.mine.drop(UNKNOWN, "127.0.0.1:9")


@check(announcing=True)
async def a_sidecar_that_announced_itself_is_found_by_another(b: Bench) -> None:
    await b.theirs.announce(_who("pillion-found", 7002))
    assert list(await b.mine.resolve("pillion-found", "")) == ["127.0.0.1:7002"]


@check(announcing=True)
async def one_of_several_replicas_is_found(b: Bench) -> None:
    await b.mine.announce(_who("pillion-many", 7003))
    await b.theirs.announce(_who("pillion-many", 7004))
    found = set(await b.mine.resolve("pillion-many", ""))
    assert found and found <= {"127.0.0.1:7003", "127.0.0.1:7004"}


@check(announcing=True)
async def a_dropped_address_is_not_offered(b: Bench) -> None:
    await b.theirs.announce(_who("pillion-dropped", 7005))
    await b.mine.resolve("pillion-dropped", "")
    b.mine.drop("pillion-dropped", "127.0.0.1:7005")
    assert list(await b.mine.resolve("pillion-dropped", "")) == []


@check(announcing=False)
async def closing_twice_is_safe(b: Bench) -> None:
    await b.theirs.close()
    await b.theirs.close()
