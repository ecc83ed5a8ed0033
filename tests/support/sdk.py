"""What the scenes of the official SDKs share: a stage per module, what apps saw, asynchronous clients in plain tests."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

APPS = Path(__file__).parents[1] / "scenes" / "apps"
SDK_118 = Path(__file__).parents[1] / "scenes" / "sdk118"
JS = Path(__file__).parents[1] / "scenes" / "js"
JS_SDKS = {"3-18": "@dapr/dapr", "3-6": "dapr-3.6"}
"""Versions of the JavaScript SDK, by the name under which they are installed. 3.6 is the last over grpc-js."""


class Seen:
    """A file in which an app notes what reached it, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def all(self, what: str | None = None) -> list[Any]:
        """Everything noted so far, or what was noted under one name."""
        lines = self.path.read_text().split("\n")[:-1]
        notes = [json.loads(line) for line in lines]
        return [note for note in notes if what is None or note["what"] == what]


class Awaited:
    """An asynchronous client as plain calls, so that one story serves both forms of an SDK."""

    def __init__(self, runner: asyncio.Runner, client: Any) -> None:
        self._runner = runner
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found = getattr(self._client, name)

        def call(*args: Any, **options: Any) -> Any:
            async def calling() -> Any:
                return await found(*args, **options)

            return self._runner.run(calling())

        return call


@contextmanager
def awaited(client: Callable[[], Any]) -> Iterator[Awaited]:
    """Make an asynchronous client on a loop of its own."""

    async def make() -> Any:
        return client()

    with asyncio.Runner() as runner:
        made = Awaited(runner, runner.run(make()))
        yield made
        made.close()
