"""Callers as most Python apps are: one grpcio channel, a deadline and a trace on each call.

Takes the flags of the load generator's `grpc` and says the same as it. Its own cost is what limits it.
"""

import argparse
import asyncio
import json
import sys
import time

import grpc  # type: ignore[import-untyped]

_OPTIONS = (("grpc.max_receive_message_length", 64 << 20),)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("target", "method", "deadline", "warm-up", "for", "procs"):
        parser.add_argument(f"-{name}")
    parser.add_argument("kind")
    parser.add_argument("-header", action="append", default=[])
    parser.add_argument("-callers", type=int)
    parser.add_argument("-rate", type=float)
    return parser.parse_args()


class Callers:
    """Some callers on one channel."""

    def __init__(self, channel: grpc.aio.Channel, flags: argparse.Namespace, body: bytes) -> None:
        self._ask = channel.unary_unary(flags.method)
        self._body = body
        self._metadata = [tuple(header.split(": ", 1)) for header in flags.header]
        self._count = flags.callers
        self.latencies: list[float] = []

    async def press(self, seconds: float) -> None:
        self.latencies.clear()
        until = time.perf_counter() + seconds
        await asyncio.gather(*(self._run(until) for _ in range(self._count)))

    async def _run(self, until: float) -> None:
        while (began := time.perf_counter()) < until:
            await self._ask(self._body, timeout=5, metadata=self._metadata)
            self.latencies.append(time.perf_counter() - began)


async def _main(flags: argparse.Namespace) -> None:
    body = sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(8), "big"))
    async with grpc.aio.insecure_channel(flags.target, options=_OPTIONS) as channel:
        callers = Callers(channel, flags, body)
        await callers.press(_seconds(flags.warm_up))
        print("warm", flush=True)
        sys.stdin.buffer.read(1)
        cpu, began = time.process_time(), time.perf_counter()
        await callers.press(_seconds(vars(flags)["for"]))
        spent = time.perf_counter() - began
        print(json.dumps(_summed(sorted(callers.latencies), spent, time.process_time() - cpu)), flush=True)


def _seconds(flag: str) -> float:
    return float(flag.removesuffix("s"))


def _summed(latencies: list[float], seconds: float, cpu: float) -> dict[str, object]:
    at = {f"p{share}_us": latencies[len(latencies) * share // 100] * 1e6 for share in (50, 90, 99)}
    counts = {"requests": len(latencies), "errors": 0, "first_error": ""}
    return counts | at | {"seconds": seconds, "cpu_seconds": cpu}


if __name__ == "__main__":
    asyncio.run(_main(_flags()))
