"""`python -m bench`: measure one sidecar, beside a second and beside the floor when asked."""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from . import check, load, page, report
from .brokers import Redis, start_redis
from .contenders import Contender, Floor, Sidecar
from .growth import grow
from .process import BenchError
from .rounds import Plan, Record, run_round
from .works import GRPC_TOPIC, MAIN, PUBSUB, REDIS_PUBSUB, TOPIC, WORKS, Work, chosen, listed

_ROOT = Path(__file__).parent.parent
_OURS = _ROOT / ".venv" / "bin" / "pilliond"
_PEER = Path(__file__).parent / "bin" / "daprd"
_DOCS = _ROOT / "docs"
_FEW_ROUNDS = 3


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add(
        "--sidecar",
        default=str(_OURS),
        help="path or command of the sidecar to measure (default: %(default)s)",
    )
    add(
        "--peer",
        nargs="?",
        const=str(_PEER),
        help="a second sidecar beside it; without a value the one of bench/peer",
    )
    add("--floor", action="store_true", help="measure the two-hop stub of bench/floor beside it")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=3.0, help="span of one measurement (default: %(default)s)")
    add(
        "--work",
        type=chosen,
        default=listed(MAIN),
        help="comma-separated names of works, or of their groups: invoke, state, events, rest, rates, all; see --list",
    )
    add("--callers", type=int, default=16)
    add(
        "--rate",
        type=float,
        default=0.0,
        help="calls a second at a fixed rate, which shows stalls (default: flat out)",
    )
    add("--procs", type=int, default=1, help="cores for the load generator (default: %(default)s)")
    add("--mixture", action="store_true", help="also small calls beside 256 slow streams and an upload")
    add("--growth", action="store_true", help="also start and memory by number of components and topics")
    add("--list", action="store_true", help="the works, and no measuring")
    add("--json", type=Path, help="write every sample to this file")
    add("--markdown", type=Path, help="write the tables to this file too")
    add(
        "--page",
        type=Path,
        nargs="?",
        const=_DOCS,
        help="write performance.md and its plots into this folder (default: docs)",
    )
    add(
        "--check",
        action="store_true",
        help="compare CPU to the floor's with bench/limits.toml, and nothing else",
    )
    return parser.parse_args(arguments)


def _check_built(options: argparse.Namespace) -> None:
    if options.peer == str(_PEER) and not _PEER.exists():
        raise BenchError("the peer is not built: run `make -C bench/peer`, or give --peer a path")


def _sidecars(options: argparse.Namespace) -> list[Sidecar]:
    measured = [Sidecar(Path(options.sidecar.split()[0]).name, options.sidecar)]
    if options.peer:
        name = Path(options.peer.split()[0]).name
        measured.append(Sidecar(name if name != measured[0].name else f"{name}-peer", options.peer))
    return measured


def _measure(options: argparse.Namespace, sidecars: list[Sidecar]) -> Record:
    record = Record()
    contenders: list[Contender] = [*sidecars, *([Floor()] if options.floor else [])]
    pressure = load.Pressure(options.callers, 0.3, options.seconds, options.procs, options.rate)
    load.build()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        place = Path(folder)
        redis = start_redis(place)
        if redis is not None:
            stack.callback(redis.process.stop)
        brokers = (PUBSUB, *((REDIS_PUBSUB,) if redis else ()))
        topics = ([f"{broker}/{topic}" for broker in brokers] for topic in (TOPIC, GRPC_TOPIC))
        app = load.start_app(place, *topics)
        stack.callback(app.process.stop)
        works = _possible(options.work, redis)
        plan = Plan(contenders, works, pressure, app, redis, place, _FEW_ROUNDS if options.mixture else 0)
        for number in range(options.rounds):
            run_round(number, plan, record)
        if options.growth:
            for number in range(min(options.rounds, _FEW_ROUNDS)):
                grow(number, sidecars, pressure, place, record)
    return record


def _possible(works: tuple[Work, ...], redis: Redis | None) -> tuple[Work, ...]:
    kept = tuple(work for work in works if redis or not work.needs_redis)
    if len(kept) < len(works):
        print("bench: no redis-server on PATH, so the works on Redis are left out", file=sys.stderr)
    return kept


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    if options.list:
        print(*(f"{work.group:<8}{work.name:<22}{work.title}" for work in WORKS), sep="\n")
        return 0
    began = time.monotonic()
    try:
        _check_built(options)
        if options.check:
            return check.run(options.sidecar)
        record = _measure(options, _sidecars(options))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _write(options, record, time.monotonic() - began)
    return 0


def _write(options: argparse.Namespace, record: Record, seconds: float) -> None:
    settings = {name: getattr(options, name) for name in ("rounds", "seconds", "callers", "rate", "procs")}
    names = [sidecar.name for sidecar in _sidecars(options)] + (["floor"] if options.floor else [])
    tables = report.as_markdown(record, names, options.work, settings)
    print(tables)
    if options.markdown:
        options.markdown.write_text(tables)
    if options.json:
        options.json.write_text(report.as_json(record, settings) + "\n")
    if options.page:
        page.write(options.page, record, names, settings, seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
