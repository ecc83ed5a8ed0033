"""Counters and histograms as plain integers, written as Prometheus text when somebody asks.

A request costs one look-up by its labels and one append to a `Tally`, which does the adding for many at once. The number of
series of a family is capped; what comes past the cap is counted under `other`, so that a client that invents paths cannot
fill the memory.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Generic, TypeVar

MOST_SERIES = 2000
"""Series one family keeps before the rest is folded into `other`."""

OTHER = "other"

KEPT_SAMPLES = 64
"""Samples a tally keeps before it adds them up."""

LATENCY_MS = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500, 650, 800,
    1000, 2000, 5000, 10000, 20000, 50000, 100000,
)  # fmt: skip
"""Upper bounds of the latency buckets, milliseconds (Dapr's default)."""

SIZE_BYTES = (
    1024, 2048, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864, 268435456, 1073741824, 4294967296,
)  # fmt: skip
"""Upper bounds of the size buckets, bytes."""


class Cell:
    """One counter or gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The sample as text."""
        yield f"{name}{{{labels}}} {self.value}"


class Histogram:
    """One distribution over fixed buckets."""

    __slots__ = ("_bounds", "_counts", "_first", "_sum")

    def __init__(self, bounds: Sequence[int]) -> None:
        self._bounds = bounds
        self._first = bounds[0]
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one sample."""
        self._counts[0 if value <= self._first else bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Sequence[float]) -> None:
        """Count samples, which costs each a tenth of `observe`."""
        ordered = sorted(values)
        self._sum += sum(ordered)
        if ordered[-1] <= self._first:
            self._counts[0] += len(ordered)
            return
        below = 0
        for place, bound in enumerate(self._bounds):
            upto = bisect_right(ordered, bound, below)
            self._counts[place] += upto - below
            below = upto
        self._counts[-1] += len(ordered) - below

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """The samples as text: cumulative buckets, sum and count."""
        before = 0
        comma = "," if labels else ""
        for bound, count in zip(self._bounds, self._counts, strict=False):
            before += count
            yield f'{name}_bucket{{{labels}{comma}le="{_bound(bound)}"}} {before}'
        before += self._counts[-1]
        yield f'{name}_bucket{{{labels}{comma}le="+Inf"}} {before}'
        yield f"{name}_sum{{{labels}}} {_number(self._sum)}"
        yield f"{name}_count{{{labels}}} {before}"


class Tally:
    """What one kind of request adds to: each sample is kept as it comes, and added up with others.

    A sample has one value for each of the `distributions`, in their order; the `counters` grow by one with each.
    """

    __slots__ = ("_counters", "_distributions", "_kept")

    def __init__(self, counters: Sequence[Cell], distributions: Sequence[Histogram]) -> None:
        self._counters = counters
        self._distributions = distributions
        self._kept: list[tuple[float, ...]] = []

    def add(self, sample: tuple[float, ...]) -> None:
        """Keep one sample."""
        kept = self._kept
        kept.append(sample)
        if len(kept) >= KEPT_SAMPLES:
            self.settle()

    def settle(self) -> None:
        """Add up what was kept."""
        kept, self._kept = self._kept, []
        for counter in self._counters:
            counter.value += len(kept)
        for distribution, values in zip(self._distributions, zip(*kept, strict=True), strict=False):
            distribution.observe_all(values)


C = TypeVar("C", Cell, Histogram)


class Family(Generic[C]):
    """All series of one metric. `labels` name what a key tuple holds; `fixed` are label values every series has."""

    def __init__(
        self,
        name: str,
        kind: str,
        text: str,
        labels: Sequence[str],
        make: "Callable[[], C]",
        fixed: Sequence[tuple[str, str]],
    ) -> None:
        self.name = name
        self._kind = kind
        self._text = text
        self._labels = tuple(labels)
        self._make: Callable[[], C] = make
        self._fixed = tuple(fixed)
        self._series: dict[tuple[str, ...], C] = {}

    def at(self, *key: str) -> C:
        """The series of these label values, made when first asked for."""
        series = self._series.get(key)
        return series if series is not None else self._new(key)

    def series(self) -> Collection[C]:
        """Every series there is so far."""
        return self._series.values()

    def lines(self) -> Iterator[str]:
        """The family as text; nothing while it has no series."""
        if not self._series:
            return
        yield f"# HELP {self.name} {self._text}"
        yield f"# TYPE {self.name} {self._kind}"
        key: tuple[str, ...]
        for key, series in list(self._series.items()):
            pairs = sorted((*self._fixed, *zip(self._labels, key, strict=True)))
            yield from series.lines(
                self.name, ",".join(f'{label}="{_escape(value)}"' for label, value in pairs)
            )

    def _new(self, key: tuple[str, ...]) -> C:
        if len(self._series) >= MOST_SERIES:
            key = tuple(OTHER for _ in key)
            if (series := self._series.get(key)) is not None:
                return series
        made = self._series[key] = self._make()
        return made


class Registry:
    """The metrics of one runtime."""

    def __init__(self, app_id: str, latency_ms: Sequence[int] = LATENCY_MS) -> None:
        self._fixed = (("app_id", app_id),)
        self._latency = tuple(latency_ms)
        self._families: list[Family[Cell] | Family[Histogram]] = []
        self._tallies: list[Tally] = []

    def tally(self, counters: Sequence[Cell], *distributions: Histogram) -> Tally:
        """A tally that is settled before anything is written."""
        made = Tally(counters, distributions)
        self._tallies.append(made)
        return made

    def counter(self, name: str, text: str, *labels: str, nameless: bool = False) -> Family[Cell]:
        """A number that only grows; `nameless` leaves the value of `app_id` empty, as Dapr does in places."""
        fixed = (("app_id", ""),) if nameless else self._fixed
        return self._keep(Family(f"dapr_{name}", "counter", text, labels, Cell, fixed))

    def gauge(self, name: str, text: str, *labels: str) -> Family[Cell]:
        """A number that comes and goes."""
        return self._keep(Family(f"dapr_{name}", "gauge", text, labels, Cell, self._fixed))

    def latency(self, name: str, text: str, *labels: str) -> "Family[Histogram]":
        """A distribution of milliseconds."""
        return self._histogram(name, text, labels, self._latency)

    def size(self, name: str, text: str, *labels: str) -> "Family[Histogram]":
        """A distribution of bytes."""
        return self._histogram(name, text, labels, SIZE_BYTES)

    def text(self) -> str:
        """Everything, in Prometheus' text format."""
        for tally in self._tallies:
            tally.settle()
        lines = [line for family in self._families for line in family.lines()]
        return "\n".join(lines) + "\n" if lines else ""

    def _histogram(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[int]
    ) -> "Family[Histogram]":
        family: Family[Histogram] = Family(
            f"dapr_{name}", "histogram", text, labels, lambda: Histogram(bounds), self._fixed
        )
        self._families.append(family)
        return family

    def _keep(self, family: Family[Cell]) -> Family[Cell]:
        self._families.append(family)
        return family


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _bound(bound: int) -> str:
    """As Go prints a float: scientific from a million up (`1.048576e+06`), for the byte buckets only."""
    if bound < 1_000_000:
        return str(bound)
    digits = f"{bound:.15e}".split("e")
    return f"{digits[0].rstrip('0').rstrip('.')}e+{int(digits[1]):02d}"
