"""Work that becomes a task only if it waits."""

import asyncio
from typing import Any

import pytest

from pillion.toolbox.tasks import eager, light, tasked


class Told:
    """What `done` was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, BaseException | None]] = []

    def __call__(self, result: Any, error: BaseException | None) -> None:
        self.calls.append((result, error))


async def at_once(value: int) -> int:
    return value


async def waits(times: int, value: int = 7) -> int:
    for _ in range(times):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future
    return value


async def fails(times: int) -> int:
    await waits(times)
    raise ValueError("no")


async def test_work_that_does_not_wait_is_done_without_a_task() -> None:
    told = Told()
    assert eager(at_once(3), told) is None
    assert told.calls == [(3, None)]
    assert eager(fails(0), told) is None
    assert isinstance(told.calls[1][1], ValueError)


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_work_that_waits_is_told_once_when_it_is_done(times: int) -> None:
    told = Told()
    task = eager(waits(times), told)
    assert task is not None and told.calls == []
    assert await task == 7
    assert told.calls == [(7, None)]


async def test_a_plain_yield_to_the_loop_is_a_wait_like_any_other() -> None:
    async def yields() -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 5

    told = Told()
    task = eager(yields(), told)
    assert task is not None
    await task
    assert told.calls == [(5, None)]


async def test_a_failure_after_waiting_is_told_and_not_raised_again() -> None:
    told = Told()
    task = eager(fails(2), told)
    assert task is not None
    assert await task is None
    assert [type(error) for _, error in told.calls] == [ValueError]


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_cancellation_reaches_the_work_and_is_told(turns: int) -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await waits(1)
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    told = Told()
    task = eager(work(), told)
    assert task is not None
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]
    assert [type(error) for _, error in told.calls] == [asyncio.CancelledError]


async def test_work_may_clean_up_by_waiting_when_cancelled() -> None:
    async def work() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await waits(2, 9)
        return 0

    told = Told()
    task = eager(work(), told)
    assert task is not None
    task.cancel()
    assert await task == 9
    assert told.calls == [(9, None)]


async def test_timeouts_work_once_the_work_has_waited() -> None:
    async def work() -> str:
        await waits(1)
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return ""

    told = Told()
    task = eager(work(), told)
    assert task is not None
    await task
    assert told.calls == [("late", None)]


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_light_work_that_never_waits_is_over_at_once() -> None:
    async def work() -> int:
        return 7

    told = Told()
    assert light(work(), told) is None
    assert told.calls == [(7, None)]


async def test_light_work_goes_on_behind_each_wait_without_a_task() -> None:
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    seen: list[object] = []

    async def work() -> str:
        seen.append(await first)
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())
        return str(await second)

    told = Told()
    assert light(work(), told) is not None
    first.set_result(1)
    await turns()
    assert seen == [1, None]
    assert told.calls == []
    second.set_result("end")
    await turns()
    assert told.calls == [("end", None)]


async def test_what_fails_behind_a_wait_is_told() -> None:
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        await waited

    told = Told()
    light(work(), told)
    waited.set_exception(OSError("gone"))
    await turns()
    [(result, error)] = told.calls
    assert result is None
    assert isinstance(error, OSError)


async def test_cancelled_light_work_sees_it_where_it_waits_and_may_clean_up() -> None:
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cleaned: list[bool] = []

    async def work() -> None:
        try:
            await waited
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    told = Told()
    going = light(work(), told)
    assert going is not None
    going.cancel()
    await turns()
    assert cleaned == [True]
    assert isinstance(told.calls[0][1], asyncio.CancelledError)
    going.cancel()
    await turns()
    assert len(told.calls) == 1


async def test_a_cancellation_that_comes_with_the_answer_is_not_lost() -> None:
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    reached: list[bool] = []

    async def work() -> None:
        await waited
        reached.append(True)

    told = Told()
    going = light(work(), told)
    assert going is not None
    waited.set_result(None)
    going.cancel()
    await turns()
    assert reached == []
    assert isinstance(told.calls[0][1], asyncio.CancelledError)


async def test_light_work_reaches_a_task_where_it_needs_one() -> None:
    async def timed() -> str:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        return "in time"

    async def work() -> str:
        await asyncio.sleep(0)
        return await tasked(timed())

    told = Told()
    light(work(), told)
    await turns(8)
    assert told.calls == [("in time", None)]


async def test_light_work_that_cancels_itself_waits_for_nothing_more() -> None:
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))

    async def work() -> None:
        await first
        assert going is not None
        going.cancel()
        await second

    told = Told()
    going = light(work(), told)
    first.set_result(None)
    await turns()
    assert second.cancelled()
    assert isinstance(told.calls[0][1], asyncio.CancelledError)
