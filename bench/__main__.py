"""`python -m bench`: measure one sidecar, beside a second and beside the floor when asked."""

import argparse
import sys
import tempfile
from pathlib import Path

from . import load, report
from .contenders import Contender, Floor, Sidecar
from .process import BenchError
from .rounds import Plan, Record, run_round
from .works import WORKS, chosen

_ROOT = Path(__file__).parent.parent
_OURS = _ROOT / ".venv" / "bin" / "pilliond"
_PEER = Path(__file__).parent / "bin" / "daprd"
_ALL = ",".join(work.name for work in WORKS)


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
    add("--work", type=chosen, default=_ALL, help=f"comma-separated, of {_ALL}")
    add("--callers", type=int, default=16)
    add(
        "--rate",
        type=float,
        default=0.0,
        help="calls a second at a fixed rate, which shows stalls (default: flat out)",
    )
    add("--procs", type=int, default=1, help="cores for the load generator (default: %(default)s)")
    add("--json", type=Path, help="write every sample to this file")
    add("--markdown", type=Path, help="write the tables to this file too")
    return parser.parse_args(arguments)


def _check_built(options: argparse.Namespace) -> None:
    if options.peer == str(_PEER) and not _PEER.exists():
        raise BenchError("the peer is not built: run `make -C bench/peer`, or give --peer a path")


def _contenders(options: argparse.Namespace) -> list[Contender]:
    measured = [Sidecar(Path(options.sidecar.split()[0]).name, options.sidecar)]
    if options.peer:
        name = Path(options.peer.split()[0]).name
        measured.append(Sidecar(name if name != measured[0].name else f"{name}-peer", options.peer))
    return [*measured, Floor()] if options.floor else [*measured]


def _measure(options: argparse.Namespace, contenders: list[Contender]) -> Record:
    record = Record()
    pressure = load.Pressure(options.callers, options.seconds, options.procs, options.rate)
    load.build()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        app = load.start_app(Path(folder))
        plan = Plan(contenders, options.work, pressure, app, Path(folder))
        try:
            for number in range(options.rounds):
                run_round(number, plan, record)
        finally:
            app.process.stop()
    return record


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    contenders = _contenders(options)
    settings = {name: getattr(options, name) for name in ("rounds", "seconds", "callers", "rate", "procs")}
    try:
        _check_built(options)
        record = _measure(options, contenders)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    tables = report.as_markdown(record, [c.name for c in contenders], options.work, settings)
    print(tables)
    if options.markdown:
        options.markdown.write_text(tables)
    if options.json:
        options.json.write_text(report.as_json(record, settings) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
