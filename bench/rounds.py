"""The measuring itself: every round starts all contenders afresh and lets them take turns, work by work."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .contenders import Contender, Pair
from .load import App, Outcome, Pressure, press
from .process import BenchError, Load, machine_load
from .works import Work

_SETTLE = 1.0
_WARM_UP = 0.7


@dataclass(frozen=True, slots=True)
class Sample:
    """One work on one contender in one round.

    `others` is the share of the machine that went to processes outside the bench, or was taken by the host of
    a virtual machine: above a few hundredths the absolute figures of the sample say little.
    """

    round: int
    contender: str
    work: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    generator_was_the_limit: bool
    others: float


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one sidecar of a pair cost in one round beside its requests: time to start, and memory in MiB."""

    round: int
    contender: str
    start_ms: float
    idle_pss: float
    idle_anonymous: float
    loaded_pss: float
    loaded_anonymous: float


@dataclass(slots=True)
class Record:
    """Everything a run measured."""

    samples: list[Sample] = field(default_factory=list)
    upkeep: list[Upkeep] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every round does alike."""

    contenders: Sequence[Contender]
    works: Sequence[Work]
    pressure: Pressure
    app: App
    directory: Path


def run_round(number: int, plan: Plan, record: Record) -> None:
    """One round. The order of the contenders turns from round to round, so that none is always the first."""
    turn = number % len(plan.contenders)
    with ExitStack() as stack:
        pairs = []
        for contender in (*plan.contenders[turn:], *plan.contenders[:turn]):
            place = plan.directory / f"{number}-{contender.name}"
            place.mkdir()
            pair = contender.start(place, plan.app.port)
            stack.callback(pair.stop)
            pairs.append((contender, pair))
        time.sleep(_SETTLE)
        idle = {pair.name: _memory(pair) for _, pair in pairs}
        for work in plan.works:
            for contender, pair in pairs:
                if contender.serves(work):
                    record.samples.append(_measure(number, pair, work, plan))
        for _, pair in pairs:
            record.upkeep.append(_upkeep(number, pair, idle[pair.name]))


def _measure(number: int, pair: Pair, work: Work, plan: Plan) -> Sample:
    pressure = plan.pressure
    warm_up = Pressure(pressure.callers, _WARM_UP, pressure.procs, 0)
    try:
        press(work.call, warm_up, http=pair.http, grpc=pair.grpc)
        before = _Reading.now(pair, work, plan.app)
        outcome = press(work.call, pressure, http=pair.http, grpc=pair.grpc)
        after = _Reading.now(pair, work, plan.app)
    except BenchError as error:
        raise BenchError(f"{work.name} on {pair.name}: {error}\n{pair.front.log_tail()}") from error
    sample = _sample(number, pair, work, outcome, before, after)
    _say(sample)
    return sample


@dataclass(frozen=True, slots=True)
class _Reading:
    """CPU seconds spent up to one instant: by those that serve the work, by all the bench runs, by all."""

    serving: float
    bench: float
    machine: Load

    @classmethod
    def now(cls, pair: Pair, work: Work, app: App) -> "_Reading":
        serving = sum(process.cpu_seconds() for process in pair.taking_part(work))
        return cls(serving, serving + app.process.cpu_seconds(), machine_load())


def _sample(
    number: int, pair: Pair, work: Work, outcome: Outcome, before: _Reading, after: _Reading
) -> Sample:
    ours = after.bench - before.bench + outcome.generator_seconds
    busy = after.machine.busy - before.machine.busy
    total = after.machine.total - before.machine.total
    return Sample(
        round=number,
        contender=pair.name,
        work=work.name,
        requests_per_second=outcome.requests / outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        cpu_us=(after.serving - before.serving) / outcome.requests * 1e6,
        generator_was_the_limit=outcome.generator_was_the_limit,
        others=max(0.0, (busy - ours) / total),
    )


def _memory(pair: Pair) -> tuple[float, float]:
    """PSS and anonymous memory of one sidecar, the mean of the two, in MiB."""
    held = [process.memory() for process in (pair.front, pair.back)]
    mib = len(held) * 2**20
    return sum(m.pss for m in held) / mib, sum(m.anonymous for m in held) / mib


def _upkeep(number: int, pair: Pair, idle: tuple[float, float]) -> Upkeep:
    loaded = _memory(pair)
    start_ms = sum(pair.start_ms) / len(pair.start_ms)
    return Upkeep(number, pair.name, start_ms, *idle, *loaded)


def _say(sample: Sample) -> None:
    print(
        f"round {sample.round + 1}  {sample.contender:<10} {sample.work:<16}"
        f"{sample.requests_per_second:>9,.0f}/s  p99 {sample.p99_ms:6.2f} ms  {sample.cpu_us:6.1f} µs"
        f"  (others {sample.others:.0%})",
        file=sys.stderr,
    )
