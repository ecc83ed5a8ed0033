"""`python -m bench.ops`: bytecodes and Python calls per request, sidecars and callers in one process."""

import argparse
import asyncio
import gc
import json
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from ..works import GrpcCall, Work, listed
from .apps import Delivered
from .callers import Callers, GrpcCallers, HttpCallers
from .counting import Steps, place
from .hosting import Hosted, hosted

_COUNTED = (
    "invoke-http invoke-grpc state-get-http state-save-http state-get-grpc state-save-grpc "
    "sqlite-get-grpc sqlite-save-grpc publish-http publish-grpc deliver-http deliver-grpc"
).split()
_ROUNDS = 7
_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """One work at one number of callers, per request."""

    ops: float
    calls: float
    files: dict[str, float]
    functions: dict[str, float]
    cpu_us: float


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.ops", description=__doc__)
    add = parser.add_argument
    add("work", nargs="*", help=f"of {' '.join(_COUNTED)} (default: all)")
    add("--callers", default="1,16", help="calls in flight (default: %(default)s)")
    add("--calls", type=int, default=160, help="calls counted per figure (default: %(default)s)")
    add("--files", action="store_true", help="also what each file costs")
    add("--top", type=int, default=0, help="also the functions that cost most")
    add("--cpu", action="store_true", help="also CPU of the whole process, callers and app too: noisy")
    add("--json", type=Path, help="keep the figures in this file")
    add("--against", type=Path, help="compare with figures kept before")
    return parser.parse_args()


async def _connected(work: Work, at: Hosted, callers: int) -> Callers:
    if isinstance(work.call, GrpcCall):
        return await GrpcCallers.connect(work.call, at.grpc, callers)
    return await HttpCallers.connect(work.call, at.http, callers)


class Run:
    """Makes the calls of one work after the other and keeps what they cost."""

    def __init__(
        self, options: argparse.Namespace, ports: dict[str, Hosted], delivered: Delivered, steps: Steps
    ) -> None:
        self._options = options
        self._ports = ports
        self._delivered = delivered
        self._steps = steps

    async def figures(self, work: Work, callers: int) -> Figures:
        calls = max(self._options.calls // callers, 1) * callers
        made = await _connected(work, self._ports[work.at], callers)
        try:
            await self._make(made, work, 3 * callers)
            await self._make(made, work, calls)
            self._steps.start()
            await self._make(made, work, calls)
            self._steps.stop()
            return self._summed(calls, await self._cpu(made, work, callers))
        finally:
            self._steps.stop()
            made.close()

    async def _make(self, made: Callers, work: Work, calls: int) -> None:
        done = self._delivered.expect(calls) if work.delivered else None
        async with asyncio.timeout(_DEADLINE):
            await made.make(calls)
            if done is not None:
                await done

    async def _cpu(self, made: Callers, work: Work, callers: int) -> float:
        if not self._options.cpu:
            return 0.0
        best, calls = float("inf"), 100 * callers
        for _ in range(_ROUNDS):
            before = time.process_time()
            await self._make(made, work, calls)
            best = min(best, time.process_time() - before)
        return best / calls * 1e6

    def _summed(self, calls: int, cpu_us: float) -> Figures:
        files, functions = Counter[str](), Counter[str]()
        for code, count in self._steps.ops.items():
            files[place(code)] += count
            functions[f"{place(code)}:{code.co_qualname}"] += count
        return Figures(
            self._steps.ops.total() / calls,
            self._steps.calls.total() / calls,
            {name: count / calls for name, count in files.most_common()},
            {name: count / calls for name, count in functions.most_common()},
            cpu_us,
        )


def _say(key: str, found: Figures, options: argparse.Namespace, before: Figures | None) -> None:
    line = f"{key:<24}{found.ops:8.0f} ops{found.calls:7.1f} calls"
    if options.cpu:
        line += f"{found.cpu_us:8.1f} µs"
    if before is not None:
        line += f"   {found.ops / before.ops - 1:+7.1%} of {before.ops:.0f}"
    print(line, flush=True)
    shown = [*found.files.items()] if options.files else []
    for name, count in [*shown, *[*found.functions.items()][: options.top]]:
        print(f"  {count:9.1f}  {name}")


async def _main(options: argparse.Namespace) -> None:
    delivered, steps, kept = Delivered(), Steps(), _kept(options.against)
    steps.install()
    found: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        async with hosted(Path(folder), delivered) as ports:
            run = Run(options, ports, delivered, steps)
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 20)
            for work in listed(options.work or _COUNTED):
                for callers in map(int, options.callers.split(",")):
                    key = f"{work.name} x{callers}"
                    found[key] = await run.figures(work, callers)
                    _say(key, found[key], options, kept.get(key))
            if options.json:
                options.json.write_text(json.dumps({k: asdict(f) for k, f in found.items()}, indent=1))


def _kept(path: Path | None) -> dict[str, Figures]:
    return {} if path is None else {k: Figures(**f) for k, f in json.loads(path.read_text()).items()}


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    uvloop.run(_main(_options()))
    sys.stdout.flush()
    os._exit(0)
