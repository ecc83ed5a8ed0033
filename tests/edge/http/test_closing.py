"""What a server that closes does with operations that still wait."""

import asyncio

import pytest

from pillion.edge.http.api import Ask, Front, HttpApi, Reply, Route
from pillion.net.listen import HttpServer


class Slow:
    """An operation that waits until it is let go, and says how it ended."""

    def __init__(self) -> None:
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.told: list[str] = []

    async def __call__(self, ask: Ask) -> Reply:
        self.began.set()
        try:
            await self.go.wait()
            self.told.append("done")
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.told.append("cancelled")
            raise
        return Reply(200, [], b"late")


async def nobody(ask: Ask) -> Reply:
    return Reply(404)


@pytest.mark.parametrize("grace", [0.0, 5.0])
async def test_an_operation_is_let_end_in_time_and_cancelled_otherwise(grace: float) -> None:
    slow, unseen = Slow(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    api = HttpApi([Route("GET", "/v1.0/slow", slow, "")], nobody, Front(served=lambda *_: None))
    server = HttpServer(api.handle)
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /v1.0/slow HTTP/1.1\r\nhost: a\r\n\r\n")
    await slow.began.wait()
    closing = asyncio.create_task(server.close(grace))
    await asyncio.sleep(0)
    if grace:
        slow.go.set()
        assert (await reader.read()).endswith(b"late")
    await closing
    writer.close()
    assert slow.told == ["done" if grace else "cancelled"]
    assert unseen == []
