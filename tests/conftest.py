"""Runs `async def` tests and fixtures on uvloop, and holds every test to the house's manners.

A test and its fixtures share one loop, made when first needed and closed after the last fixture is torn down.
A test fails if it outlives its deadline (20 s, or `@pytest.mark.timeout(seconds)`), leaves tasks behind, or lets
an exception reach the loop instead of its owner. Warnings are errors, never-awaited coroutines among them.
"""

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest
import uvloop

sys.path.insert(
    0, str(Path(__file__).parent)
)  # so that `from support.waiting import eventually` works everywhere

DEADLINE = 20.0


class Stage:
    """The loop of one test: what runs on it, and what went wrong behind the test's back."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.troubles: list[str] = []
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._runner.get_loop().set_exception_handler(self._note)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(self._timed(work))

    def close(self) -> list[str]:
        """Close the loop; the sentences about what was left on it."""
        loop = self._runner.get_loop()
        try:
            self._runner.run(self._settle())
            left = [f"task left running: {task!r}" for task in asyncio.all_tasks(loop)]
        finally:
            self._runner.close()
        return left + self.troubles

    async def _timed(self, work: Coroutine[Any, Any, Any]) -> Any:
        timer = asyncio.timeout(self.deadline)
        try:
            async with timer:
                return await work
        except TimeoutError:
            if timer.expired():
                raise TimeoutError(f"not done within {self.deadline:g} s") from None
            raise

    async def _settle(self) -> None:
        # A cancelled task, a closed transport: each needs a few turns to be gone.
        current = asyncio.current_task()
        for _ in range(20):
            await asyncio.sleep(0)
        deadline = asyncio.get_running_loop().time() + 0.25
        # Whose tasks these are is unknown, so there is no event to wait for.
        while asyncio.all_tasks() - {current} and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.troubles.append(f"{context.get('message')}: {error!r}" if error else str(context.get("message")))


STAGE = pytest.StashKey[Stage]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "timeout(seconds): how long the test may take instead of 20 s.")
    config.addinivalue_line("filterwarnings", "error")


def stage_of(item: pytest.Item) -> Stage:
    stage = item.stash.get(STAGE, None)
    if stage is None:
        mark = item.get_closest_marker("timeout")
        stage = item.stash[STAGE] = Stage(float(mark.args[0]) if mark else DEADLINE)
    return stage


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    stage_of(pyfuncitem).run(pyfuncitem.obj(**arguments))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    made = fixturedef.func
    if inspect.isasyncgenfunction(made):
        plain: Callable[..., Any] = _yielding(made, request)
    elif inspect.iscoroutinefunction(made):
        plain = _returning(made, request)
    else:
        return (yield)
    if fixturedef.scope != "function":
        raise pytest.UsageError(
            f"async fixture {fixturedef.argname} must be function-scoped: a loop lives for one test"
        )
    fixturedef.func = plain
    try:
        return (yield)
    finally:
        fixturedef.func = made


def _returning(made: Callable[..., Coroutine[Any, Any, Any]], request: Any) -> Callable[..., Any]:
    def fixture(**arguments: Any) -> Any:
        return stage_of(request.node).run(made(**arguments))

    return fixture


def _yielding(made: Callable[..., AsyncIterator[Any]], request: Any) -> Callable[..., Any]:
    def fixture(**arguments: Any) -> Generator[Any, None, None]:
        stage = stage_of(request.node)
        steps = made(**arguments)
        yield stage.run(_next(steps))
        with pytest.raises(StopAsyncIteration):
            stage.run(_next(steps))

    return fixture


async def _next(steps: AsyncIterator[Any]) -> Any:
    return await anext(steps)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    try:
        result = yield
    finally:
        stage = item.stash.get(STAGE, None)
        troubles: list[str] = []
        if stage is not None:
            del item.stash[STAGE]
            troubles = stage.close()
    if troubles:
        pytest.fail("behind the test's back:\n" + "\n".join(troubles), pytrace=False)
    return result
