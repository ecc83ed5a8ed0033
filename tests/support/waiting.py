"""Waiting for a condition, which is what tests do instead of sleeping."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any


async def eventually(predicate: Callable[[], Any], timeout: float = 5.0) -> Any:
    """Try `predicate` (plain or async) until it is truthy, and return what it gave.

    A predicate that raises AssertionError is tried again too; at the deadline the last such error is the test's.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        value, error = await _attempt(predicate)
        if value:
            return value
        if asyncio.get_running_loop().time() >= deadline:
            raise AssertionError(f"not so within {timeout:g} s: the last answer was {value!r}") from error
        await asyncio.sleep(0.002)


async def _attempt(predicate: Callable[[], Any]) -> tuple[Any, AssertionError | None]:
    try:
        value = predicate()
        return (await value if inspect.isawaitable(value) else value), None
    except AssertionError as error:
        return None, error
