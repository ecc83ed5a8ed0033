"""How long to wait before the next try."""

from datetime import timedelta

import pytest

from pillion.toolbox.backoff import Backoff

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(("attempt", "wait"), [(0, 1), (1, 2), (2, 4), (5, 30), (10_000, 30)])
def test_waits_double_up_to_the_most(attempt: int, wait: float) -> None:
    assert Backoff(SECOND, 30 * SECOND, jitter=0).seconds(attempt) == wait


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 2.0), (0.5, 4.0), (1.0, 6.0)])
def test_jitter_makes_a_wait_shorter_or_longer(drawn: float, wait: float) -> None:
    assert Backoff(SECOND, 30 * SECOND, random=lambda: drawn).seconds(2) == wait


def test_jitter_never_passes_the_most() -> None:
    assert Backoff(SECOND, 4 * SECOND, random=lambda: 1.0).seconds(2) == 4


def test_a_multiplier_of_one_is_constant() -> None:
    steady = Backoff(SECOND, SECOND, multiplier=1, jitter=0)
    assert [steady.seconds(attempt) for attempt in range(3)] == [1, 1, 1]
