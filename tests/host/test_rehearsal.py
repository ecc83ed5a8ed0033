"""What the rehearsal leaves behind: nothing."""

import os
import sys
import threading

import pytest

from pillion.host import rehearsal


def files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts files in /proc")
def test_nothing_outlives_a_rehearsal() -> None:
    before = files(), threading.active_count()
    rehearsal.rehearse()
    assert (files(), threading.active_count()) == before


def test_a_thread_that_is_left_forbids_forking() -> None:
    go = threading.Event()
    left = threading.Thread(target=go.wait)
    left.start()
    try:
        with pytest.raises(rehearsal.Unsafe):
            rehearsal.rehearse()
    finally:
        go.set()
        left.join()
