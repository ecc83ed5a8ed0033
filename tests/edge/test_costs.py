"""What a small request may cost: counted, not timed, so that it fails for a reason and on any machine."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support.stores import Shelf

from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.grpc.state import StateRpcs
from pillion.edge.http.api import Ask, Front, HttpApi, Reply
from pillion.edge.http.state import StateRoutes
from pillion.net.grpc.server import GrpcServer
from pillion.net.grpc.words import prefixed
from pillion.net.http import HttpLimits
from pillion.net.http1.server import ServerConnection, Site
from pillion.net.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    frame,
    settings_frame,
)
from pillion.net.http2.hpack import encode
from pillion.net.wheel import Wheel
from pillion.services.state import StateService
from pillion.wire.proto import runtime


class Wire(asyncio.Transport):
    """A connection whose writes are kept."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.writes: list[bytes] = []

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the loop is asked for a task, a timer, or another turn, from now on."""
    loop, asked = asyncio.get_running_loop(), Counter[str]()

    def counted(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def act_counted(*args: Any, **named: Any) -> Any:
            asked[name] += 1
            return act(*args, **named)

        return act_counted

    for name in ("create_task", "create_future", "call_later", "call_at", "call_soon", "run_in_executor"):
        monkeypatch.setattr(loop, name, counted(name, getattr(loop, name)))
    return asked


def get_call(sid: int, timeout: bytes) -> bytes:
    """A unary get as a client with a deadline sends it."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", DAPR + b"GetState")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), (b"grpc-timeout", timeout)]
    message = runtime.GetStateRequest(store_name="mem", key="k").SerializeToString()
    head = frame(HEADERS, END_HEADERS, sid, encode(fields))
    return head + frame(DATA, END_STREAM, sid, prefixed(message))


async def nobody(_: Ask) -> Reply:
    return Reply(404)


async def test_unary_gets_of_one_read_cost_one_write_and_neither_task_nor_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, wire = Shelf(), Wire()
    await shelf.memory()
    api = GrpcApi(admission=None, over=lambda *_: None)
    api.serve(DAPR, StateRpcs(StateService(shelf.mounts, shelf.clock)).unary())
    server = GrpcServer(api)
    connection = server._connection()
    connection.connection_made(wire)
    connection.data_received(PREFACE + settings_frame({}) + get_call(1, b"9S"))
    wire.writes.clear()
    asked = counting(monkeypatch)
    connection.data_received(get_call(3, b"8S") + get_call(5, b"7S"))
    assert asked == {}
    assert len(wire.writes) == 1 and wire.writes[0].count(b"grpc-status") == 2
    monkeypatch.undo()
    connection.connection_lost(None)
    await server.close()
    await shelf.close()


async def test_a_get_over_http_costs_one_write_and_neither_task_nor_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shelf, wire, wheel = Shelf(), Wire(), Wheel()
    await shelf.memory()
    routes = StateRoutes(StateService(shelf.mounts, shelf.clock), "appa").routes()
    api = HttpApi(routes, nobody, Front(served=lambda *_: None))
    connection = ServerConnection(Site(api.handle, HttpLimits(), wheel))
    connection.connection_made(wire)
    request = b"GET /v1.0/state/mem/k HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.data_received(request)
    wire.writes.clear()
    asked = counting(monkeypatch)
    connection.data_received(request + request)
    assert asked == {}
    assert len(wire.writes) == 1 and wire.writes[0].count(b"204 No Content") == 2
    monkeypatch.undo()
    connection.connection_lost(None)
    wheel.close()
    await shelf.close()
