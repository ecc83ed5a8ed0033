"""The process around the runtimes."""

import gc
import weakref
from collections.abc import Iterator

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
    main._settle()
    del runtime
    main._settle()
    assert gone() is None
