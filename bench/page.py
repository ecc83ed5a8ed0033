"""`make bench-report`: docs/performance.md and its plots, from one run, with machine and date."""

import datetime
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from . import report
from .plots import Series, Spread, bars, lines
from .rounds import Growth, Record, Sample
from .works import MAIN, WORKS, Work, listed

_GROUPS = {
    "invoke": "Invocation",
    "state": "State",
    "events": "Publishing and delivery",
    "rest": "Bindings and secrets",
    "rates": "At a fixed rate",
}
_FIGURES: dict[str, tuple[str, str, Callable[[Sample], float]]] = {
    "throughput": ("Throughput", "requests a second, more is better", lambda s: s.requests_per_second),
    "cpu": ("CPU", "µs of the sidecars per request, less is better", lambda s: s.cpu_us),
    "p99": ("Latency, p99", "ms, less is better", lambda s: s.p99_ms),
}
_CALLERS = {"1": "invoke-http-1c", "16": "invoke-http", "256": "invoke-http-256c"}
_STATE_CALLERS = {"1": "state-get-grpc-1c", "16": "state-get-grpc", "256": "state-get-grpc-256c"}
_BODIES = {
    "0": "invoke-http",
    "1 KiB": "invoke-http-1k",
    "10 KiB": "invoke-http-10k",
    "100 KiB": "invoke-http-100k",
}

_HEAD = """\
# Performance

Written by `make bench-report`; a run writes all of it anew. Machine: {machine}. Date: {date}. {settings}.

What is compared: {what}. Both sides ran on this machine in the same run, with the same flags, components and
Configuration, taking turns: metrics on, access logging off, tracing at its default. Figures are medians over the rounds,
with the lowest and the highest behind them. Times differ from machine to machine: compare ratios.
[How it is done](../bench/README.md) says what each figure is and how it is taken.

"""
_COLUMNS = """\
*requests/core-second* is what one core's worth of CPU carries, over all sidecars that take part. *one core each* is the
ceiling when the sidecar that works hardest has one core, which is all one Pillion process can use; *busiest* is how much of
one core that sidecar used while this was measured: near 100 % the throughput beside it is that ceiling, measured.
"""
_MIXTURE = """\
Small invocations at 500 a second through both sidecars: alone; while 256 responses stream slowly through the same two
sidecars; and while a 50 MB upload runs besides, begun anew as soon as it ends, as fast as it goes. The p99 ratio is the last
over the first. *A trickle*: each stream carries 1 KiB a second. *Half of them unread*: 128 of the streams the app sends
without end, and 8 KiB/s of each are read, so that every buffer on the way is full; *fill s* is how long small calls were slow
until then. A call that is not answered within 5 s counts as 5 s.
"""


def write(
    docs: Path, record: Record, names: Sequence[str], settings: dict[str, object], seconds: float
) -> None:
    """The page and the plots, for what the run measured; plots of an earlier run go."""
    plots = docs / "performance"
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    parts = [_head(names, settings, seconds), *_summary(record, names)]
    for group, title in _GROUPS.items():
        parts += _group(plots, record, names, group, title)
    parts += [*_growth(plots, record, names), *_mixture(record, names), *_upkeep(record, names)]
    (docs / "performance.md").write_text("\n\n".join(part.strip("\n") for part in parts if part) + "\n")


def _head(names: Sequence[str], settings: dict[str, object], seconds: float) -> str:
    cores = report.machine()["cores"]
    said = f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}"
    said += f", CPython {platform.python_version()}"
    run = f"{settings['rounds']} rounds, {settings['seconds']:g} s each, the whole in {seconds / 60:.0f} minutes"
    what = " and ".join(f"`{name}`" for name in names[:2])
    if "floor" in names:
        what += ", and the [floor](../bench/README.md#the-floor) of what the design can reach"
    return _HEAD.format(machine=said, date=datetime.date.today().isoformat(), settings=run, what=what)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _summary(record: Record, names: Sequence[str]) -> list[str]:
    if len(names) < 2 or names[1] == "floor":
        return []
    rows = report.target_table(record, names[0], names[1], listed(MAIN))
    ratios = report.upkeep_ratios(record, names[0], names[1])
    said = f"Each figure is {names[0]}'s divided by {names[1]}'s; in **bold** what does not reach its aim."
    return [
        "## In short",
        said,
        rows,
        f"Per sidecar, three running side by side: {ratios}.",
        *report.notes(record),
    ]


def _group(plots: Path, record: Record, names: Sequence[str], group: str, title: str) -> list[str]:
    works = [
        work for work in WORKS if work.group == group and any(s.work == work.name for s in record.samples)
    ]
    if not works:
        return []
    parts = [f"## {title}"]
    shown = _FIGURES if group != "rates" else {"p99": _FIGURES["p99"]}
    for figure, (said, unit, value) in shown.items():
        name = f"{group}-{figure}.svg"
        drawn = bars(
            f"{title}: {said}", unit, [work.title for work in works], _series(record, names, works, value)
        )
        (plots / name).write_text(drawn)
        parts.append(f"![{title}: {said}](performance/{name})")
    parts.append(report.works_table(record, names, works))
    return [*parts, _COLUMNS] if group == "invoke" else parts


def _series(
    record: Record, names: Sequence[str], works: Sequence[Work], value: Callable[[Sample], float]
) -> list[Series]:
    """One for each contender that did any of these works."""
    made = []
    for name in names:
        found = {work.title: _spread(record, name, work.name, value) for work in works}
        if values := {title: spread for title, spread in found.items() if spread is not None}:
            made.append(Series(name, values))
    return made


def _spread(record: Record, name: str, work: str, value: Callable[[Sample], float]) -> Spread | None:
    found = [value(s) for s in record.samples if (s.contender, s.work) == (name, work)]
    return Spread(median(found), min(found), max(found)) if found else None


def _growth(plots: Path, record: Record, names: Sequence[str]) -> list[str]:
    names = [name for name in names if name != "floor"]
    parts = ["## How cost grows"]
    along = (
        ("callers", "HTTP invoke by callers", "callers", _CALLERS),
        ("state-callers", "gRPC get state, in memory, by callers", "callers", _STATE_CALLERS),
        ("payload", "HTTP invoke by size of body", "body, there and back", _BODIES),
    )
    for name, title, axis, rows in along:
        for figure in ("throughput", "cpu"):
            said, unit, value = _FIGURES[figure]
            series = [
                Series(
                    who,
                    {label: s for label, work in rows.items() if (s := _spread(record, who, work, value))},
                )
                for who in names
            ]
            if any(each.values for each in series):
                place = f"growth-{name}-{figure}.svg"
                (plots / place).write_text(lines(f"{title}: {said}", unit, axis, [*rows], series))
                parts.append(f"![{title}: {said}](performance/{place})")
    parts += _grown(plots, record, names)
    return parts if len(parts) > 1 else []


def _grown(plots: Path, record: Record, names: Sequence[str]) -> list[str]:
    if not record.growth:
        return []
    parts = []
    figures: tuple[tuple[str, str, Callable[[Growth], float]], ...] = (
        ("start", "ms to the first healthy answer", lambda g: g.start_ms),
        ("memory", "MiB of PSS, one sidecar alone", lambda g: g.pss),
    )
    for of in sorted({g.of for g in record.growth}):
        counts = sorted({g.count for g in record.growth if g.of == of})
        for figure, unit, value in figures:
            series = [
                Series(who, {str(n): _grown_spread(record, who, of, n, value) for n in counts})
                for who in names
            ]
            place, title = f"growth-{of}-{figure}.svg", f"{figure.capitalize()} by {of}"
            (plots / place).write_text(lines(title, unit, of, [str(n) for n in counts], series))
            parts.append(f"![{title}](performance/{place})")
    return [*parts, report.growth_table(record, names)]


def _grown_spread(record: Record, name: str, of: str, count: int, value: Callable[[Growth], float]) -> Spread:
    found = [value(g) for g in record.growth if (g.contender, g.of, g.count) == (name, of, count)]
    return Spread(median(found), min(found), max(found))


def _mixture(record: Record, names: Sequence[str]) -> list[str]:
    rows = report.mixture_table(record, names)
    return ["## Latency under mixed load", _MIXTURE, rows] if rows else []


def _upkeep(record: Record, names: Sequence[str]) -> list[str]:
    said = "Per sidecar, with three of them running (PSS shares the pages of one binary among them), all components loaded."
    return ["## Start and memory", said, report.upkeep_table(record, names)]
