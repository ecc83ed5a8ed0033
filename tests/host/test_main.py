"""The process around the runtimes."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from pillion.host import main


class Runtime:
    """Stands for what a runtime leaves behind: a circle."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_the_runtime_before_a_restart_is_collected() -> None:
    runtime = Runtime()
    gone = weakref.ref(runtime)
    main._settle(again=False)
    del runtime
    main._settle(again=True)
    assert gone() is None


def test_a_log_file_that_cannot_be_written_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    status = main.run(["--app-id", "shop", "--log-file", str(tmp_path / "file" / "log")], {})
    assert status == 1 and "cannot be written: " in capsys.readouterr().out
