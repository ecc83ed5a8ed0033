"""What a run says: medians with their spread, ratios taken round by round, as Markdown and as JSON."""

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import TypeVar

from .rounds import Growth, Mixture, Record, Sample, Upkeep
from .works import Target, Work, target

_Row = TypeVar("_Row", Sample, Upkeep, Mixture, Growth)
_Figure = Callable[[_Row], float]

_WORK_FIGURES: dict[str, tuple[_Figure[Sample], str]] = {
    "requests/s": (lambda s: s.requests_per_second, ",.0f"),
    "p50 ms": (lambda s: s.p50_ms, ".2f"),
    "p90 ms": (lambda s: s.p90_ms, ".2f"),
    "p99 ms": (lambda s: s.p99_ms, ".2f"),
    "CPU µs/request": (lambda s: s.cpu_us, ".1f"),
    "requests/core-second": (lambda s: 1e6 / s.cpu_us if s.cpu_us else 0.0, ",.0f"),
    "one core each": (lambda s: 1e6 / s.busiest_us if s.busiest_us else 0.0, ",.0f"),
    "busiest": (lambda s: s.busiest_share, ".0%"),
}
_UPKEEP_FIGURES: dict[str, tuple[_Figure[Upkeep], str]] = {
    "start ms": (lambda u: u.start_ms, ".0f"),
    "PSS idle MiB": (lambda u: u.idle_pss, ".1f"),
    "of it anonymous": (lambda u: u.idle_anonymous, ".1f"),
    "PSS loaded MiB": (lambda u: u.loaded_pss, ".1f"),
    "anonymous, loaded": (lambda u: u.loaded_anonymous, ".1f"),
}
_MIXTURE_FIGURES: dict[str, tuple[_Figure[Mixture], str]] = {
    "p50 alone": (lambda m: m.p50_alone, ".2f"),
    "p99 alone": (lambda m: m.p99_alone, ".2f"),
    "p50 with streams": (lambda m: m.p50_streams, ".2f"),
    "p99 with streams": (lambda m: m.p99_streams, ".2f"),
    "p50 and upload": (lambda m: m.p50_mixed, ".2f"),
    "p99 and upload": (lambda m: m.p99_mixed, ".2f"),
    "p99 ratio": (lambda m: m.p99_mixed / m.p99_alone, ".1f"),
    "fill s": (lambda m: m.fill_seconds, ".1f"),
    "streams begun": (lambda m: m.streams, ".0f"),
    "MB uploaded": (lambda m: m.uploaded_mb, ",.0f"),
    "uploads answered": (lambda m: m.uploads, ".0f"),
}
_GROWTH_FIGURES: dict[str, tuple[_Figure[Growth], str]] = {
    "start ms": (lambda g: g.start_ms, ".0f"),
    "PSS MiB": (lambda g: g.pss, ".1f"),
    "of it anonymous": (lambda g: g.anonymous, ".1f"),
    "delivered/s": (lambda g: g.delivered_per_second, ",.0f"),
}
_NO_TARGET = Target(0.0, 0.0, 0.0)
_WORK_RATIOS = ("requests/s", "p50 ms", "p90 ms", "p99 ms", "CPU µs/request")


def as_json(record: Record, settings: dict[str, object]) -> str:
    whole = {"machine": machine(), "settings": settings, **asdict(record)}
    return json.dumps(whole, indent=1)


def as_markdown(
    record: Record, names: Sequence[str], works: Sequence[Work], settings: dict[str, object]
) -> str:
    """The first name is the one measured; every other is something it is compared with."""
    said = ", ".join(f"{key} {value}" for key, value in (machine() | settings).items())
    parts = [
        f"{said}. Median (lowest–highest) of the rounds.",
        works_table(record, names, works),
        *notes(record),
    ]
    parts.append(upkeep_table(record, names))
    for other in names[1:]:
        parts += [ratio_table(record, names[0], other, works), upkeep_ratios(record, names[0], other)]
    parts += [mixture_table(record, names), growth_table(record, names)]
    return "\n\n".join(part for part in parts if part) + "\n"


def notes(record: Record) -> list[str]:
    """What has to be known to read the figures."""
    said = []
    if any(s.generator_was_the_limit for s in record.samples):
        said.append(
            "† In some round the load generator itself was the limit: the throughput is a lower bound."
        )
    if not all(s.kept_rate for s in record.samples):
        said.append("‡ In some round the rate was not kept up with, so that calls waited for their turn.")
    if record.samples:
        others = median(s.others for s in record.samples)
        said.append(f"Other processes took {others:.0%} of the machine (median of the measurements).")
    return said


def machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}


def works_table(record: Record, names: Sequence[str], works: Sequence[Work]) -> str:
    rows = []
    for work in works:
        for name in names:
            samples = _samples(record, name, work.name)
            if samples:
                rows.append([work.title, name + _marks(samples), *_cells(samples, _WORK_FIGURES)])
    return table(["Work", "Sidecar", *_WORK_FIGURES], rows) if rows else ""


def _marks(samples: Sequence[Sample]) -> str:
    limit = " †" if any(s.generator_was_the_limit for s in samples) else ""
    return limit + ("" if all(s.kept_rate for s in samples) else " ‡")


def upkeep_table(record: Record, names: Sequence[str]) -> str:
    rows = [
        [name, *_cells([u for u in record.upkeep if u.contender == name], _UPKEEP_FIGURES)] for name in names
    ]
    return table(["Each sidecar", *_UPKEEP_FIGURES], rows)


def ratio_table(record: Record, name: str, other: str, works: Sequence[Work]) -> str:
    rows = []
    for work in works:
        pairs = list(zip(_samples(record, name, work.name), _samples(record, other, work.name), strict=False))
        if pairs:
            rows.append([work.title, *(_ratio(pairs, _WORK_FIGURES[f][0]) for f in _WORK_RATIOS)])
    return table([f"{name} ÷ {other}", *_WORK_RATIOS], rows) if rows else ""


def target_table(record: Record, name: str, other: str, works: Sequence[Work]) -> str:
    """The ratios that targets stand against: in bold what misses its target."""
    rows = []
    for work in works:
        pairs = list(zip(_samples(record, name, work.name), _samples(record, other, work.name), strict=False))
        if pairs:
            aim = target(work) or _NO_TARGET
            rows.append(
                [
                    work.title,
                    _aimed(pairs, lambda s: s.requests_per_second, aim.throughput, at_least=True),
                    _aimed(pairs, lambda s: s.cpu_us, aim.cpu),
                    _aimed(pairs, lambda s: s.p99_ms, aim.p99),
                    _ratio(pairs, lambda s: s.p50_ms),
                ]
            )
    head = [f"{name} ÷ {other}", "requests/s", "CPU µs/request", "p99 ms", "p50 ms"]
    return table(head, rows) if rows else ""


def _aimed(
    pairs: Sequence[tuple[Sample, Sample]],
    figure: _Figure[Sample],
    aim: float | None,
    *,
    at_least: bool = False,
) -> str:
    said = _ratio(pairs, figure)
    if not aim:
        return said
    found = median(figure(ours) / figure(theirs) for ours, theirs in pairs)
    met = found >= aim if at_least else found <= aim
    aimed = f"aim {'≥' if at_least else '≤'} {aim:g}"
    return f"{said}, {aimed}" if met else f"**{said}**, {aimed}"


def upkeep_ratios(record: Record, name: str, other: str) -> str:
    upkeep = [[u for u in record.upkeep if u.contender == who] for who in (name, other)]
    pairs = list(zip(*upkeep, strict=False))
    return ", ".join(f"{title} {_ratio(pairs, figure)}" for title, (figure, _) in _UPKEEP_FIGURES.items())


def mixture_table(record: Record, names: Sequence[str]) -> str:
    """Small calls alone, beside slow streams, beside these and an upload; the ratio is the last to the first."""
    rows = []
    for kind in dict.fromkeys(m.kind for m in record.mixtures):
        for name in names:
            found = [m for m in record.mixtures if (m.contender, m.kind) == (name, kind)]
            if found:
                well = [m for m in found if m.p99_mixed]
                failed = next((m.failed for m in found if m.failed), "")
                rows.append([kind, name, *_cells(well, _MIXTURE_FIGURES), failed.partition("\n")[0]])
    return table(["Streams", "Sidecar", *_MIXTURE_FIGURES, "failed"], rows) if rows else ""


def growth_table(record: Record, names: Sequence[str]) -> str:
    rows = []
    for of, count in sorted({(g.of, g.count) for g in record.growth}):
        for name in names:
            found = [g for g in record.growth if (g.of, g.count, g.contender) == (of, count, name)]
            if found:
                cells = _cells(found, _GROWTH_FIGURES)
                if of == "components":
                    cells[-1] = "–"
                rows.append([f"{count} {of}", name, *cells])
    return table(["One sidecar with", "Sidecar", *_GROWTH_FIGURES], rows) if rows else ""


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


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
