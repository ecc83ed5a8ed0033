"""How start and memory grow with components and with topics: one sidecar alone, started afresh each time."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .contenders import Launched, Sidecar, wait_until_answered
from .load import App, Pressure, press, start_app
from .resources import Component
from .rounds import Growth, Record, turned
from .works import PUBSUB, HttpCall, Work, listed

COUNTS = (1, 10, 50)
_SETTLE = 1.0
_HEALTHY = HttpCall("GET", "/v1.0/healthz")


def grow(
    number: int, contenders: Sequence[Sidecar], pressure: Pressure, directory: Path, record: Record
) -> None:
    """One round of it."""
    for count in COUNTS:
        for _, contender in turned(contenders, number):
            assert isinstance(contender, Sidecar)
            place = directory / f"growth-{number}-{contender.name}-{count}"
            found = [
                _components(number, contender, count, place),
                _topics(number, contender, count, place, pressure),
            ]
            record.growth += found
            for row in found:
                print(f"round {number + 1}  {row}", file=sys.stderr)


def _components(number: int, contender: Sidecar, count: int, place: Path) -> Growth:
    """Every second component a state store, every other a broker."""
    here = _made(place.with_name(f"{place.name}-components"))
    types = ("state.in-memory", "pubsub.in-memory")
    wanted = [Component(f"component{n}", types[n % 2]) for n in range(count)]
    part = contender.alone(here, wanted, None)
    try:
        return _grown(number, contender, "components", count, part, 0.0)
    finally:
        part.process.stop()


def _topics(number: int, contender: Sidecar, count: int, place: Path, pressure: Pressure) -> Growth:
    here = _made(place.with_name(f"{place.name}-topics"))
    app = start_app(here, [f"{PUBSUB}/topic{n}" for n in range(count)])
    try:
        part = contender.alone(here, [Component(PUBSUB, "pubsub.in-memory")], (app.http, "http"))
        try:
            wait_until_answered(part, _HEALTHY)
            grown = _grown(number, contender, "topics", count, part, 0.0)
            return replace(grown, delivered_per_second=_delivered(part, app, pressure))
        finally:
            part.process.stop()
    finally:
        app.process.stop()


def _delivered(part: Launched, app: App, pressure: Pressure) -> float:
    (work,) = listed(["deliver-http"])
    call = HttpCall("POST", f"/v1.0/publish/{PUBSUB}/topic0", work.call.bytes.decode())
    outcome = press(_with(work, call), pressure, http=part.http, grpc=part.grpc, app=app, warm=lambda: None)
    return outcome.requests / outcome.seconds


def _with(work: Work, call: HttpCall) -> Work:
    return replace(work, call=call)


def _grown(number: int, contender: Sidecar, of: str, count: int, part: Launched, delivered: float) -> Growth:
    time.sleep(_SETTLE)
    held = part.process.memory()
    return Growth(
        number, contender.name, of, count, part.ms, held.pss / 2**20, held.anonymous / 2**20, delivered
    )


def _made(place: Path) -> Path:
    place.mkdir()
    return place
