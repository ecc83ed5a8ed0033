"""The measuring itself: every round starts all contenders afresh and lets them take turns, work by work."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .brokers import Redis
from .contenders import Contender, Ground, Running, Sidecar, processes
from .load import App, Outcome, Pressure, mixed, press
from .process import BenchError, Load, Process, machine_load
from .works import CALLEE, Work

_SETTLE = 1.0
_WARM_UP = 0.3
STREAMS = 256
MIXTURES = {"a trickle": 0, "half of them unread": STREAMS // 2}
"""The slow streams: how many of them the app sends without end, faster than they are read."""
_SMALL_CALLS = 500.0
"""Small calls a second while their latency under mixed load is taken."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One work on one contender in one round.

    `busiest_us` is the CPU of the sidecar that spends most on a request, `busiest_share` how much of one core that
    is: near 1 a contender of one process per sidecar is at its ceiling. `others` is the share of the machine that
    went to processes outside the bench, or was taken by the host of a virtual machine: above a few hundredths the
    absolute figures of the sample say little.
    """

    round: int
    contender: str
    work: str
    requests_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    cpu_us: float
    busiest_us: float
    busiest_share: float
    generator_was_the_limit: bool
    kept_rate: bool
    others: float


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one sidecar of a contender cost in one round beside its requests: time to start, and memory in MiB."""

    round: int
    contender: str
    start_ms: float
    idle_pss: float
    idle_anonymous: float
    loaded_pss: float
    loaded_anonymous: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """Milliseconds of small calls in one round: alone, beside slow streams, beside these and an upload.

    `failed` says why there are none, or why the upload or a stream ended.
    """

    round: int
    contender: str
    kind: str
    failed: str
    p50_alone: float
    p99_alone: float
    p50_streams: float
    p99_streams: float
    p50_mixed: float
    p99_mixed: float
    streams: int
    uploaded_mb: float
    uploads: int
    """Uploads that were answered."""
    fill_seconds: float
    """Until small calls were quick again after the streams had begun."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One sidecar alone with a number of components, or with an app that wants a number of topics."""

    round: int
    contender: str
    of: str
    count: int
    start_ms: float
    pss: float
    anonymous: float
    delivered_per_second: float


@dataclass(slots=True)
class Record:
    """Everything a run measured."""

    samples: list[Sample] = field(default_factory=list)
    upkeep: list[Upkeep] = field(default_factory=list)
    mixtures: list[Mixture] = field(default_factory=list)
    growth: list[Growth] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """What every round does alike; the first `mixtures` also time small calls beside slow streams and an upload."""

    contenders: Sequence[Contender]
    works: Sequence[Work]
    pressure: Pressure
    app: App
    redis: Redis | None
    directory: Path
    mixtures: int = 0


def turned(contenders: Sequence[Contender], number: int) -> Iterator[tuple[int, Contender]]:
    """The order turns from round to round, so that none is always the first; each with its own number."""
    numbered = list(enumerate(contenders))
    turn = number % len(numbered)
    yield from (*numbered[turn:], *numbered[:turn])


def run_round(number: int, plan: Plan, record: Record) -> None:
    """One round, on an empty Redis."""
    if plan.redis is not None:
        plan.redis.empty()
    with ExitStack() as stack:
        at_work: list[tuple[Contender, Running]] = []
        for database, contender in turned(plan.contenders, number):
            place = plan.directory / f"{number}-{contender.name}"
            place.mkdir()
            running = contender.start(Ground(place, plan.app, plan.redis, database))
            stack.callback(running.stop)
            at_work.append((contender, running))
        _Round(number, plan, at_work, record).run()


class _Round:
    """One round with everything started."""

    def __init__(
        self, number: int, plan: Plan, at_work: Sequence[tuple[Contender, Running]], record: Record
    ) -> None:
        self._number = number
        self._plan = plan
        self._at_work = at_work
        self._record = record
        servers = [plan.app.process, *([plan.redis.process] if plan.redis else [])]
        self._all = [*processes(running for _, running in at_work), *servers]

    def run(self) -> None:
        time.sleep(_SETTLE)
        idle = {running.name: _memory(running) for _, running in self._at_work}
        for work in self._plan.works:
            for contender, running in self._at_work:
                if contender.serves(work):
                    self._record.samples.append(self._measure(running, work))
        for _, running in self._at_work:
            self._record.upkeep.append(_upkeep(self._number, running, idle[running.name]))
        if self._number < self._plan.mixtures:
            self._mix()

    def _measure(self, running: Running, work: Work) -> Sample:
        pressure, at = self._plan.pressure.on(work), running.parts[work.at]
        readings: list[_Reading] = []

        def warm() -> None:
            readings.append(_Reading.now(running, work, self._all))

        try:
            outcome = press(work, pressure, http=at.http, grpc=at.grpc, app=self._plan.app, warm=warm)
        except BenchError as error:
            said = at.process.log_tail()
            raise BenchError(f"{work.name} on {running.name}: {error}\n{said}") from error
        warm()
        sample = self._sample(running.name, work, pressure, outcome, *readings)
        _say(sample)
        return sample

    def _sample(
        self,
        name: str,
        work: Work,
        pressure: Pressure,
        outcome: Outcome,
        before: "_Reading",
        after: "_Reading",
    ) -> Sample:
        ours = after.bench - before.bench + outcome.generator_seconds
        busy = after.machine.busy - before.machine.busy
        total = after.machine.total - before.machine.total
        spent = [after.serving[part] - before.serving[part] for part in work.through]
        return Sample(
            round=self._number,
            contender=name,
            work=work.name,
            requests_per_second=outcome.requests / outcome.seconds,
            p50_ms=outcome.p50_ms,
            p90_ms=outcome.p90_ms,
            p99_ms=outcome.p99_ms,
            cpu_us=sum(spent) / outcome.requests * 1e6,
            busiest_us=max(spent) / outcome.requests * 1e6,
            busiest_share=max(spent) / outcome.seconds,
            generator_was_the_limit=outcome.generator_was_the_limit,
            kept_rate=outcome.requests >= 0.98 * pressure.rate * pressure.seconds
            and outcome.seconds <= 1.05 * pressure.seconds
            if pressure.rate
            else True,
            others=max(0.0, (busy - ours) / total) if total else 0.0,
        )

    def _mix(self) -> None:
        """Small calls under mixed load. A contender may be busy with it long after, so this comes last in a round, and
        the one that is measured goes first.
        """
        pressure = Pressure(16, _WARM_UP, 2 * self._plan.pressure.seconds, 2, _SMALL_CALLS)
        for kind, endless in MIXTURES.items():
            for running in self._in_order():
                http, path = running.parts["front"].http, f"/v1.0/invoke/{CALLEE}/method/"
                said = mixed(pressure, http=http, path=path, streams=STREAMS, endless=endless)
                made = _mixture(self._number, running.name, kind, said)
                self._record.mixtures.append(made)
                print(f"round {self._number + 1}  {made}", file=sys.stderr)

    def _in_order(self) -> list[Running]:
        names = [contender.name for contender in self._plan.contenders]
        sidecars = [running for contender, running in self._at_work if isinstance(contender, Sidecar)]
        return sorted(sidecars, key=lambda running: names.index(running.name))


def _mixture(number: int, name: str, kind: str, said: dict[str, Any]) -> Mixture:
    alone, streams, both = parts = [said.get(when, {}) for when in ("alone", "streams", "mixed")]
    errors = [part["first_error"] for part in parts if part.get("errors")]
    return Mixture(
        round=number,
        contender=name,
        kind=kind,
        failed=said["failed"] or next(iter(errors), ""),
        p50_alone=alone.get("p50_us", 0) / 1000,
        p99_alone=alone.get("p99_us", 0) / 1000,
        p50_streams=streams.get("p50_us", 0) / 1000,
        p99_streams=streams.get("p99_us", 0) / 1000,
        p50_mixed=both.get("p50_us", 0) / 1000,
        p99_mixed=both.get("p99_us", 0) / 1000,
        streams=said.get("open", 0),
        uploaded_mb=said.get("sent", 0) / 1e6,
        uploads=said.get("uploads", 0),
        fill_seconds=said.get("fill_seconds", 0),
    )


@dataclass(frozen=True, slots=True)
class _Reading:
    """CPU seconds spent up to one instant: by those that serve the work, by all the bench runs, by all."""

    serving: Mapping[str, float]
    bench: float
    machine: Load

    @classmethod
    def now(cls, running: Running, work: Work, everything: Sequence[Process]) -> "_Reading":
        serving = {part: running.parts[part].process.cpu_seconds() for part in work.through}
        return cls(serving, sum(process.cpu_seconds() for process in everything), machine_load())


def _memory(running: Running) -> tuple[float, float]:
    """PSS and anonymous memory of one sidecar, the mean of them, in MiB."""
    held = [process.memory() for process in processes([running])]
    mib = len(held) * 2**20
    return sum(m.pss for m in held) / mib, sum(m.anonymous for m in held) / mib


def _upkeep(number: int, running: Running, idle: tuple[float, float]) -> Upkeep:
    loaded = _memory(running)
    start_ms = sum(part.ms for part in running.parts.values()) / len(running.parts)
    return Upkeep(number, running.name, start_ms, *idle, *loaded)


def _say(sample: Sample) -> None:
    print(
        f"round {sample.round + 1}  {sample.contender:<10} {sample.work:<20}"
        f"{sample.requests_per_second:>9,.0f}/s  p99 {sample.p99_ms:6.2f} ms  {sample.cpu_us:6.1f} µs"
        f"  (others {sample.others:.0%})",
        file=sys.stderr,
    )
