"""What requests of whole sidecars may cost: counted, not timed, so that it fails for a reason and on any machine.

Sidecars, app and one caller share a loop; the caller's deadline (gRPC) changes with every call. Reads, writes, tasks, timers and
hops between threads are exact: who makes them fewer lowers the budget. Turns of the loop are an upper bound.
"""

from pathlib import Path

import pytest
from support.costs import Costs
from support.redis_server import RedisServer

from bench.ops.apps import Delivered
from bench.ops.callers import Callers, GrpcCallers, HttpCallers
from bench.ops.hosting import Hosted, hosted
from bench.works import GrpcCall, Work, listed

Cost = dict[str, float]


def budget(
    *, reads: int = 1, writes: int = 1, tasks: int = 0, timers: int = 0, hops: int = 0, turns: float = 0
) -> Cost:
    return {
        "reads": reads, "writes": writes, "tasks": tasks, "timers": timers, "hops": hops, "turns": turns,
    }  # fmt: skip


INVOKE = {
    "invoke-http": budget(reads=4, writes=4, turns=4),
    "invoke-grpc": budget(reads=4, writes=4, timers=3, turns=5),
    "invoke-http-to-grpc": budget(reads=4, writes=4, turns=6),
    "invoke-proxied": budget(reads=4, writes=4, timers=4, turns=7),
}
"""Front and back together: each reads a request and an answer, and writes them on. A timer is a deadline watched."""
MEMORY = {
    f"state-{what}": budget()
    for what in (
        "get-http",
        "get-grpc",
        "save-http",
        "save-grpc",
        "bulk-http",
        "bulk-grpc",
        "tx-http",
        "tx-grpc",
    )
}
SQLITE = {
    "sqlite-get-http": budget(hops=1, turns=1),
    "sqlite-save-http": budget(hops=1, turns=1),
    "sqlite-get-grpc": budget(timers=1, hops=1, turns=2),
    "sqlite-save-grpc": budget(timers=1, hops=1, turns=2),
    "sqlite-tx-grpc": budget(timers=1, hops=1, turns=2),
}
"""The hop is the way back from the file's thread; calls that come together share one."""
REDIS = {
    "redis-get-http": budget(reads=2, writes=2, turns=2),
    "redis-save-http": budget(reads=2, writes=2, turns=2),
    "redis-get-grpc": budget(reads=2, writes=2, timers=1, turns=3),
    "redis-save-grpc": budget(reads=2, writes=2, timers=1, turns=3),
    "redispublish-http": budget(reads=2, writes=2, turns=2),
    "redispublish-grpc": budget(reads=2, writes=2, timers=1, turns=3),
}
EVENTS = {
    "publish-http": budget(),
    "publish-grpc": budget(),
    "deliver-http": budget(reads=2, writes=2, tasks=1, turns=3),
    "deliver-grpc": budget(reads=2, writes=2, tasks=1, turns=5),
}


async def cost_of(work: Work, ports: dict[str, Hosted], costs: Costs, delivered: Delivered) -> Cost:
    """What one call costs, made by one caller after the other's answer."""
    at = ports[work.at]
    callers: Callers
    if isinstance(work.call, GrpcCall):
        callers = await GrpcCallers.connect(work.call, at.grpc, 1)
    else:
        callers = await HttpCallers.connect(work.call, at.http, 1)

    async def make(calls: int) -> None:
        came = delivered.expect(calls) if work.delivered else None
        await callers.make(calls)
        if came is not None:
            await came

    try:
        return await costs.each(make)
    finally:
        callers.close()


async def kept(
    budgets: dict[str, Cost], folder: Path, monkeypatch: pytest.MonkeyPatch, redis_port: int | None = None
) -> None:
    """Every work of the table costs what the table says."""
    costs, delivered = Costs(monkeypatch), Delivered()
    differs = {}
    async with hosted(folder, delivered, redis_port) as ports:
        for work in listed(budgets):
            allowed = budgets[work.name]
            cost = dict.fromkeys(allowed, 0) | await cost_of(work, ports, costs, delivered)
            if cost["turns"] > allowed["turns"] or cost | {"turns": 0} != allowed | {"turns": 0}:
                differs[work.name] = {what: f"{cost[what]:g} of {allowed[what]:g}" for what in cost}
    assert differs == {}


async def test_an_invocation_costs_one_read_and_one_write_a_leg_and_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(INVOKE, tmp_path, monkeypatch)


async def test_state_in_memory_costs_one_read_and_one_write_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(MEMORY, tmp_path, monkeypatch)


async def test_state_in_sqlite_costs_one_hop_back_from_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(SQLITE, tmp_path, monkeypatch)


@pytest.mark.needs("redis-server")
async def test_redis_costs_one_round_trip_and_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RedisServer(tmp_path) as server:
        await kept(REDIS, tmp_path, monkeypatch, server.port)


async def test_a_publish_costs_no_task_and_a_delivery_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept(EVENTS, tmp_path, monkeypatch)
