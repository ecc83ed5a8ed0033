"""One life of a sidecar, played through in the zygote before anything is forked from it.

What runs for the first time is written to: methods are made, code is specialised to what it meets, caches are filled.
Done here, that is shared by all children instead of being done in each. Nothing outlives it: ports are the kernel's
choice and closed again, there is no home, so no file and no thread; the loop is gone before the first fork.
"""

import asyncio
import threading
from typing import Final

from pillion.host.flags import parse
from pillion.host.runtime import Runtime
from pillion.host.setup import Fatal, LoadError, Setup
from pillion.resources.configuration import Configuration
from pillion.resources.folder import Resources

LONGEST = 5.0
_ARGS: Final = (
    "--app-id=rehearsal", "--no-multicast", "--dapr-graceful-shutdown-seconds=0", "--dapr-http-port=0",
    "--dapr-grpc-port=0", "--dapr-internal-grpc-port=0", "--metrics-port=0", "--dapr-listen-addresses=127.0.0.1",
    "--metrics-listen-address=127.0.0.1", "--dapr-internal-grpc-listen-address=127.0.0.1",
)  # fmt: skip
_CALLS: Final = (b"GET /v1.0/metadata", b"GET /v1.0/healthz/outbound", b"GET /v1.0/healthz")


class Unsafe(Exception):
    """Something is left that does not survive a fork."""


def rehearse() -> None:
    """Play it through. Trouble on the way is no matter; `Unsafe` is, and nothing may then be forked.

    In the standard library's loop: after a rehearsal in uvloop, forked children crashed when they ended.
    """
    try:
        asyncio.run(_life())
    except (OSError, TimeoutError, Fatal, LoadError):
        pass
    if threading.active_count() != 1:
        raise Unsafe("a thread was left by the rehearsal")


async def _life() -> None:
    setup = Setup(parse(_ARGS, {}), {}, Configuration(), Resources(), None)
    async with asyncio.timeout(LONGEST):
        runtime = Runtime(setup, lambda _: None)
        try:
            await runtime.start()
            await _ask(int(runtime.http_address.rpartition(":")[2]))
        finally:
            await runtime.stop()


async def _ask(port: int) -> None:
    """The first questions that every sidecar is asked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for call in _CALLS:
        writer.write(call + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
