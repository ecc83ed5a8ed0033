"""`make bench-check`: has a request become dearer? CPU ratios to the floor of the same run, against bench/limits.toml."""

import sys
import tempfile
import tomllib
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from . import load
from .contenders import Contender, Floor, Sidecar
from .rounds import Plan, Record, Sample, run_round
from .works import GRPC_TOPIC, PUBSUB, TOPIC, listed

_LIMITS = Path(__file__).parent / "limits.toml"
_ROUNDS = 3
_PRESSURE = load.Pressure(callers=16, warm_up=0.3, seconds=1.0, procs=1, rate=0.0)
_YARDSTICK = "invoke-http"


def run(command: str) -> int:
    """The exit status: 1 if a limit is passed, with a sentence for each."""
    limits: dict[str, float] = tomllib.loads(_LIMITS.read_text())["cpu-to-floor"]
    record = _measured(command, [*limits])
    dearer = 0
    for name, limit in limits.items():
        ratio = _ratio(record, name)
        print(f"{name:<20}{ratio:6.2f} of {limit:.2f}")
        if ratio > limit:
            dearer += 1
            print(_sentence(name, ratio, limit), file=sys.stderr)
    return 1 if dearer else 0


def _sentence(name: str, ratio: float, limit: float) -> str:
    return (
        f"bench-check: {name} costs {ratio:.2f} times the floor's invocation, more than the {limit:.2f} allowed. "
        f"Find out what it does more with `python -m bench.ops {name} --files`, or set the limit in bench/limits.toml."
    )


def _measured(command: str, names: list[str]) -> Record:
    record = Record()
    load.build()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        app = load.start_app(place, [f"{PUBSUB}/{TOPIC}"], [f"{PUBSUB}/{GRPC_TOPIC}"])
        stack.callback(app.process.stop)
        contenders: list[Contender] = [Sidecar("pilliond", command), Floor()]
        plan = Plan(contenders, listed([_YARDSTICK, *names]), _PRESSURE, app, None, place)
        for number in range(_ROUNDS):
            run_round(number, plan, record)
    return record


def _ratio(record: Record, work: str) -> float:
    """Round by round, then the median: what disturbed a round disturbed both."""
    ours = _samples(record, "pilliond", work)
    floor = _samples(record, "floor", _YARDSTICK)
    return median(mine.cpu_us / yard.cpu_us for mine, yard in zip(ours, floor, strict=True))


def _samples(record: Record, contender: str, work: str) -> list[Sample]:
    return [s for s in record.samples if (s.contender, s.work) == (contender, work)]
