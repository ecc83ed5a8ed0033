"""What a run says: medians with their spread, ratios taken round by round, as Markdown and as JSON."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import TypeVar

from .rounds import Record, Sample, Upkeep
from .works import Work

_Row = TypeVar("_Row", Sample, Upkeep)
_Figure = Callable[[_Row], float]

_WORK_FIGURES: dict[str, tuple[_Figure[Sample], str]] = {
    "requests/s": (lambda s: s.requests_per_second, ",.0f"),
    "p50 ms": (lambda s: s.p50_ms, ".2f"),
    "p99 ms": (lambda s: s.p99_ms, ".1f"),
    "CPU µs/request": (lambda s: s.cpu_us, ".1f"),
    "requests/core-second": (lambda s: 1e6 / s.cpu_us if s.cpu_us else 0.0, ",.0f"),
}
_UPKEEP_FIGURES: dict[str, tuple[_Figure[Upkeep], str]] = {
    "start ms": (lambda u: u.start_ms, ".0f"),
    "PSS idle MiB": (lambda u: u.idle_pss, ".1f"),
    "of it anonymous": (lambda u: u.idle_anonymous, ".1f"),
    "PSS loaded MiB": (lambda u: u.loaded_pss, ".1f"),
    "anonymous, loaded": (lambda u: u.loaded_anonymous, ".1f"),
}
_WORK_RATIOS = ("requests/s", "p50 ms", "p99 ms", "CPU µs/request")


def as_json(record: Record, settings: dict[str, object]) -> str:
    whole = {"machine": _machine(), "settings": settings, **asdict(record)}
    return json.dumps(whole, indent=1)


def as_markdown(
    record: Record, names: Sequence[str], works: Sequence[Work], settings: dict[str, object]
) -> str:
    """The first name is the one measured; every other is something it is compared with."""
    said = ", ".join(f"{key} {value}" for key, value in (_machine() | settings).items())
    parts = [f"{said}. Median (lowest–highest) of the rounds.", _works_table(record, names, works)]
    if any(s.generator_was_the_limit for s in record.samples):
        parts.append(
            "† In some round the load generator itself was the limit: the throughput is a lower bound."
        )
    others = median(s.others for s in record.samples)
    parts.append(f"Other processes took {others:.0%} of the machine (median of the measurements).")
    parts.append(_upkeep_table(record, names))
    parts += [_ratio_table(record, names[0], other, works) for other in names[1:]]
    return "\n\n".join(parts) + "\n"


def _machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def _works_table(record: Record, names: Sequence[str], works: Sequence[Work]) -> str:
    rows = []
    for work in works:
        for name in names:
            samples = _samples(record, name, work.name)
            if samples:
                mark = " †" if any(s.generator_was_the_limit for s in samples) else ""
                rows.append([work.title, name + mark, *_cells(samples, _WORK_FIGURES)])
    return _table(["Work", "Sidecar", *_WORK_FIGURES], rows)


def _upkeep_table(record: Record, names: Sequence[str]) -> str:
    rows = [
        [name, *_cells([u for u in record.upkeep if u.contender == name], _UPKEEP_FIGURES)] for name in names
    ]
    return _table(["Each sidecar", *_UPKEEP_FIGURES], rows)


def _ratio_table(record: Record, name: str, other: str, works: Sequence[Work]) -> str:
    rows = []
    for work in works:
        pairs = list(zip(_samples(record, name, work.name), _samples(record, other, work.name), strict=False))
        if pairs:
            rows.append([work.title, *(_ratio(pairs, _WORK_FIGURES[f][0]) for f in _WORK_RATIOS)])
    upkeep = [[u for u in record.upkeep if u.contender == who] for who in (name, other)]
    pairs_of_upkeep = list(zip(*upkeep, strict=True))
    memory = [f"{title} {_ratio(pairs_of_upkeep, figure)}" for title, (figure, _) in _UPKEEP_FIGURES.items()]
    return _table([f"{name} ÷ {other}", *_WORK_RATIOS], rows) + "\n\n" + ", ".join(memory)


def _samples(record: Record, name: str, work: str) -> list[Sample]:
    return [s for s in record.samples if s.contender == name and s.work == work]


def _cells(rows: Sequence[_Row], figures: dict[str, tuple[_Figure[_Row], str]]) -> list[str]:
    return [_spread([figure(row) for row in rows], form) for figure, form in figures.values()]


def _ratio(pairs: Sequence[tuple[_Row, _Row]], figure: _Figure[_Row]) -> str:
    return _spread([figure(ours) / figure(theirs) for ours, theirs in pairs if figure(theirs)], ".2f")


def _spread(values: Sequence[float], form: str) -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return format(values[0], form)
    return f"{median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
