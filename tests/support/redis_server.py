"""A real redis-server for a test: on a free port, with its own folder, that can be stopped, killed, frozen and started again."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

DEADLINE = 10.0


class RedisServer:
    """One server on loopback. It keeps its port and data over `stop`, `kill` and `start`.

    `durable` writes every command to disk before it answers (`appendfsync always`); otherwise nothing is saved.
    """

    def __init__(self, folder: Path, *, durable: bool = False, options: tuple[str, ...] = ()) -> None:
        self.folder = folder / "redis"
        self.port = free_port()
        self._durable = durable
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        append = (
            ["--appendonly", "yes", "--appendfsync", "always"] if self._durable else ["--appendonly", "no"]
        )
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)],
                *["--save", "", *append, *self._options],
                stdout=log,
                stderr=log,
            )
        async with asyncio.timeout(DEADLINE):
            while not await self._answers():
                assert self._process.returncode is None, (self.folder / "log").read_text()
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """End it in good order."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it without warning. Safe when it is not running."""
        await self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Keep it from running, its connections open."""
        assert self._process
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process
        os.kill(self._process.pid, signal.SIGCONT)

    async def command(self, *words: str) -> bytes:
        """Send one command and return the raw beginning of its answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write((" ".join(words) + "\r\n").encode())
            async with asyncio.timeout(1):
                return await reader.read(4096)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answers(self) -> bool:
        try:
            return (await self.command("PING")).startswith(b"+PONG")
        except (OSError, TimeoutError):
            return False

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
        async with asyncio.timeout(DEADLINE):
            await process.wait()


def free_port() -> int:
    """A loopback port nobody holds at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
