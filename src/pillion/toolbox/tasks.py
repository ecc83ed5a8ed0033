"""Owned tasks: a crew that names its children, and coroutines that become tasks only if they wait."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger("pillion.tasks")


class Crew:
    """Tasks with one owner. A child's failure is told to the owner and does not cancel its siblings.

    `close` cancels what still runs, waits to a deadline and names stragglers in the log. Safe to close twice.
    """

    def __init__(self, name: str, failed: Callable[[str, BaseException], None] | None = None) -> None:
        self.name = name
        self._failed = failed or self._log_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        """Run `work` as a child. After `close` it is refused: cancelled before its first step."""
        task = asyncio.get_running_loop().create_task(work, name=name or self.name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Own a task started elsewhere."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self, deadline: float = 5.0) -> None:
        """Cancel all and wait up to `deadline` seconds."""
        self._closed = True
        await self._settle(cancel=True, deadline=deadline)

    async def drain(self, deadline: float) -> None:
        """Wait for all to finish by themselves; whoever is not done by the deadline is cancelled."""
        self._closed = True
        await self._settle(cancel=False, deadline=deadline)
        await self._settle(cancel=True, deadline=1.0)

    async def _settle(self, *, cancel: bool, deadline: float) -> None:
        current = asyncio.current_task()
        tasks = {task for task in self._tasks if task is not current}
        if not tasks:
            return
        if cancel:
            for task in tasks:
                task.cancel()
        _, late = await asyncio.wait(tasks, timeout=deadline)
        if cancel:
            for task in late:
                log.warning("%s: task %s did not stop within %.1f s", self.name, task.get_name(), deadline)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failed(task.get_name(), error)

    def _log_failure(self, name: str, error: BaseException) -> None:
        log.error("%s: task %s failed: %s", self.name, name, error, exc_info=error)


def eager(
    work: Coroutine[Any, Any, T], done: "Callable[[T | None, BaseException | None], None]"
) -> "asyncio.Task[T] | None":
    """Step `work` now; if it completes without waiting, `done` is called before this returns and no task is made.

    Otherwise the rest runs as a task, which is returned. Until its first wait the work has no current task: it
    must not use `asyncio.timeout` and the like before it has waited once. `done(result, error)` is called exactly once;
    cancellation arrives there as `CancelledError`.
    """
    try:
        waited = work.send(None)
    except StopIteration as stop:
        done(stop.value, None)
        return None
    except BaseException as error:  # a task's root: whatever it is, it is told
        done(None, error)
        return None
    rest = _finish(work, waited, done)
    rest.send(None)  # it is told of a cancellation before its first step as well
    task: asyncio.Task[T] = asyncio.get_running_loop().create_task(rest)  # type: ignore[arg-type]
    return task


def light(
    work: Coroutine[Any, Any, T], done: "Callable[[T | None, BaseException | None], None]"
) -> "Light | None":
    """As `eager`, but what is left goes on without a task, at half the cost.

    It has no current task to its end: all of it that may use `asyncio.timeout` and the like goes through `tasked`.
    """
    try:
        waited = work.send(None)
    except StopIteration as stop:
        done(stop.value, None)
        return None
    except BaseException as error:  # the root of the work: whatever it is, it is told
        done(None, error)
        return None
    return Light(work, waited, done)


class Light:
    """A coroutine that waits on futures, stepped by their callbacks: one turn of the loop for each wait, and nothing else."""

    __slots__ = ("_work", "_waited", "_done", "_cancelled")

    def __init__(
        self,
        work: Coroutine[Any, Any, Any],
        waited: "asyncio.Future[Any] | None",
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._work: Coroutine[Any, Any, Any] | None = work
        self._done = done
        self._cancelled = False
        self._wait(waited)

    def cancel(self) -> None:
        """Have `CancelledError` raised where it waits. Nothing happens to what is over."""
        if self._work is None:
            return
        waited = self._waited
        if waited is None or not waited.cancel():
            self._cancelled = True  # it is about to be stepped, or asks for it itself

    def _wait(self, waited: "asyncio.Future[Any] | None") -> None:
        self._waited = waited
        if waited is None:  # it gives the others a turn
            asyncio.get_running_loop().call_soon(self._step)
            return
        waited.add_done_callback(self._step)
        if self._cancelled and waited.cancel():
            self._cancelled = False

    def _step(self, _: object = None) -> None:
        work = self._work
        if work is None:
            return
        try:
            if self._cancelled:
                self._cancelled = False
                waited = work.throw(asyncio.CancelledError())
            else:
                waited = work.send(None)
        except StopIteration as stop:
            self._work = self._waited = None
            self._done(stop.value, None)
        except BaseException as error:  # the root of the work: whatever it is, it is told
            self._work = self._waited = None
            self._done(None, error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        else:
            self._wait(waited)


async def _finish(
    work: Coroutine[Any, Any, T],
    waited: Any,
    done: "Callable[[T | None, BaseException | None], None]",
) -> T | None:
    try:
        result: T = await _Rest(work, waited)
    except BaseException as error:  # a task's root: whatever it is, it is told
        done(None, error)
        if not isinstance(error, Exception):
            raise
        return None
    done(result, None)
    return result


async def tasked(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` as part of a task: the running one, else one of its own.

    Code stepped by `eager` has no current task; whatever may use `asyncio.timeout` and the like is called through here.
    Cancellation reaches the work either way.
    """
    if asyncio.current_task() is not None:
        return await work
    return await asyncio.get_running_loop().create_task(work)


class _Rest:
    """Awaits a coroutine that has already yielded once. Yields once for nothing itself, before its task exists."""

    __slots__ = ("work", "waited")

    def __init__(self, work: Coroutine[Any, Any, Any], waited: Any) -> None:
        self.work = work
        self.waited = waited

    def __await__(self) -> Generator[Any, Any, Any]:
        work, waited = self.work, self.waited
        try:
            yield
            yield _asked_for(waited)
        except BaseException as error:  # whatever is thrown in is handed on to the work
            return (yield from _thrown_into(work, error))
        return (yield from work.__await__())


def _thrown_into(work: Coroutine[Any, Any, Any], error: BaseException) -> Generator[Any, Any, Any]:
    try:
        waited = work.throw(error)
    except StopIteration as stop:
        return stop.value
    try:
        yield _asked_for(waited)
    except BaseException as again:  # as above
        return (yield from _thrown_into(work, again))
    return (yield from work.__await__())


def _asked_for(waited: Any) -> Any:
    """A future as a task expects it to be yielded."""
    if waited is not None:
        waited._asyncio_future_blocking = True
    return waited
