"""The measuring itself: every round starts all contenders afresh and lets them take turns, work by work."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .contenders import Contender, Pair
from .load import Outcome, Pressure, press
from .process import BenchError
from .works import Work

_SETTLE = 1.0
_WARM_UP = 0.7


@dataclass(frozen=True, slots=True)
class Sample:
    """One work on one contender in one round."""

    round: int
    contender: str
    work: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    generator_was_the_limit: bool


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


def run_round(
    number: int,
    contenders: Sequence[Contender],
    works: Sequence[Work],
    pressure: Pressure,
    *,
    app_port: int,
    directory: Path,
    record: Record,
) -> None:
    """One round. The order of the contenders turns from round to round, so that none is always the first."""
    turn = number % len(contenders)
    with ExitStack() as stack:
        pairs = []
        for contender in (*contenders[turn:], *contenders[:turn]):
            place = directory / f"{number}-{contender.name}"
            place.mkdir()
            pair = contender.start(place, app_port)
            stack.callback(pair.stop)
            pairs.append((contender, pair))
        time.sleep(_SETTLE)
        idle = {pair.name: _memory(pair) for _, pair in pairs}
        for work in works:
            for contender, pair in pairs:
                if contender.serves(work):
                    record.samples.append(_measure(number, pair, work, pressure))
        for _, pair in pairs:
            record.upkeep.append(_upkeep(number, pair, idle[pair.name]))


def _measure(number: int, pair: Pair, work: Work, pressure: Pressure) -> Sample:
    warm_up = Pressure(pressure.callers, _WARM_UP, pressure.procs, 0)
    try:
        press(work.call, warm_up, http=pair.http, grpc=pair.grpc)
        before = _cpu(pair, work)
        outcome = press(work.call, pressure, http=pair.http, grpc=pair.grpc)
    except BenchError as error:
        raise BenchError(f"{work.name} on {pair.name}: {error}\n{pair.front.log_tail()}") from error
    sample = _sample(number, pair, work, outcome, _cpu(pair, work) - before)
    _say(sample)
    return sample


def _sample(number: int, pair: Pair, work: Work, outcome: Outcome, cpu: float) -> Sample:
    return Sample(
        round=number,
        contender=pair.name,
        work=work.name,
        requests_per_second=outcome.requests / outcome.seconds,
        p50_ms=outcome.p50_ms,
        p99_ms=outcome.p99_ms,
        cpu_us=cpu / outcome.requests * 1e6,
        generator_was_the_limit=outcome.generator_was_the_limit,
    )


def _cpu(pair: Pair, work: Work) -> float:
    return sum(process.cpu_seconds() for process in pair.taking_part(work))


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
        f"{sample.requests_per_second:>9,.0f}/s  p99 {sample.p99_ms:6.2f} ms  {sample.cpu_us:6.1f} µs",
        file=sys.stderr,
    )
