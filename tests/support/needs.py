"""A pytest plugin: what a test needs beside Python, and what happens when it is not there.

`@pytest.mark.needs("redis-server")` (or `pytestmark = pytest.mark.needs(...)`, or `pytest.param(..., marks=...)`) names
tools of the table below. A test whose tool is absent is skipped visibly, and the summary counts the tests by tool. Where
`CI` is set, a tool that `tools/needs.py` can bring must be there: its absence fails the test instead.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

PROJECT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a test may need: how to see that it is here, and whether CI brings it."""

    here: Callable[[], bool]
    brought: bool = True
    hint: str = "`make servers` brings it"


def _command(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _file(path: str) -> Callable[[], bool]:
    return lambda: (PROJECT / path).exists()


def daprd() -> Path:
    """The Go sidecar: where `PILLION_DAPRD` says, else where bench/peer puts it."""
    return Path(os.environ.get("PILLION_DAPRD") or PROJECT / "bench/bin/daprd")


TOOLS: Final = {
    "redis-server": Tool(_command("redis-server")),
    "promtool": Tool(_command("promtool")),
    "node": Tool(_command("node")),
    "go": Tool(_command("go")),
    "js-sdk": Tool(_file("tests/scenes/js/node_modules/dapr-3.6")),
    "sdk-1.18": Tool(_file("tests/scenes/sdk118/.venv/.pillion")),
    "h2spec": Tool(_file("tests/h2spec/bin/h2spec")),
    "daprd": Tool(
        lambda: daprd().exists(),
        brought=False,
        hint="`make -C bench/peer` builds it, PILLION_DAPRD names another",
    ),
}


def missing(names: Iterable[str]) -> list[str]:
    """The tools that are not here, in the order asked for."""
    return [name for name in names if not TOOLS[name].here()]


def verdict(names: Iterable[str], *, in_ci: bool) -> tuple[str, str] | None:
    """What to do about a test that needs these: None to run it, else "skip" or "fail" and the sentence why."""
    absent = missing(names)
    if not absent:
        return None
    why = "; ".join(f"{name} is not here ({TOOLS[name].hint})" for name in absent)
    return ("fail" if in_ci and any(TOOLS[name].brought for name in absent) else "skip"), why


class Needs:
    """Decides before each test, and keeps the count for the summary."""

    def __init__(self, *, in_ci: bool) -> None:
        self._in_ci = in_ci
        self._absent: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        names = [name for mark in item.iter_markers("needs") for name in mark.args]
        match verdict(names, in_ci=self._in_ci):
            case ("fail", why):
                pytest.fail(why, pytrace=False)
            case ("skip", why):
                self._absent.update(missing(names))
                pytest.skip(why)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            for mark in item.iter_markers("needs"):
                if unknown := set(mark.args) - TOOLS.keys():
                    raise pytest.UsageError(f"{item.nodeid} needs {unknown}: not in tests/support/needs.py")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._absent:
            terminalreporter.section("not here")
        for name, count in sorted(self._absent.items()):
            terminalreporter.line(f"{name}: {count} tests skipped; {TOOLS[name].hint}")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known and start counting."""
    config.addinivalue_line("markers", "needs(*tools): what must be on the machine beside Python")
    config.pluginmanager.register(Needs(in_ci=bool(os.environ.get("CI"))), "house-needs")
