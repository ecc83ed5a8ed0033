"""Spans of time as people write them."""

from datetime import datetime, timedelta

import pytest

from pillion.toolbox.durations import DurationError, Period, parse, parse_iso, span, written

UTC_DAY = datetime(2024, 1, 31, 12)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("5s", 5),
        ("1h2m3.5s", 3723.5),
        ("-1.5h", -5400),
        ("+10ms", 0.01),
        (".5s", 0.5),
        ("1.s", 1),
        ("100µs", 0.0001),
        ("100us", 0.0001),
        ("2000000ns", 0.002),
        ("1m1m", 120),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_a_go_duration_is_read(text: str, seconds: float) -> None:
    assert parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a duration"),
        ("5", "write it like 5s"),
        ("1h5", "lacks a unit"),
        ("5x", 'unknown unit "x"'),
        ("s", "not a duration"),
        (".s", "not a duration"),
        ("1h -5m", "unknown unit"),
        ("--5s", "not a duration"),
        ("9999999h", "292 years"),
        ("5 s", "unknown unit"),
    ],
)
def test_what_is_no_go_duration_is_refused_with_a_reason(text: str, said: str) -> None:
    with pytest.raises(DurationError, match=said):
        parse(text)


def test_a_plain_number_counts_the_unit_that_the_caller_names() -> None:
    assert span("250", "ms") == timedelta(milliseconds=250)
    assert span(" 1.5 ", "s") == timedelta(seconds=1.5)
    assert span("2m", "ms") == timedelta(minutes=2)
    with pytest.raises(DurationError):
        span("250")


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("PT10S", Period(clock=timedelta(seconds=10))),
        (
            "P1Y2M3W4DT5H6M7S",
            Period(years=1, months=2, days=25, clock=timedelta(hours=5, minutes=6, seconds=7)),
        ),
        ("R5/PT10S", Period(clock=timedelta(seconds=10), repeats=5)),
        ("R0/P1D", Period(days=1, repeats=0)),
        ("R3", Period(repeats=3)),
        ("R3/", Period(repeats=3)),
    ],
)
def test_an_iso_duration_is_read(text: str, period: Period) -> None:
    assert parse_iso(text) == period


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1DT", "R", "R/PT1S", "Rx/PT1S", "P1S", "PT1D", "PT1.5S", "PP1D", "1D"]
)
def test_what_is_no_iso_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationError):
        parse_iso(text)


@pytest.mark.parametrize(
    ("period", "then"),
    [
        (Period(months=1), datetime(2024, 3, 2, 12)),
        (Period(years=1, months=1), datetime(2025, 3, 3, 12)),
        (Period(months=12), datetime(2025, 1, 31, 12)),
        (Period(days=1, clock=timedelta(hours=13)), datetime(2024, 2, 2, 1)),
    ],
)
def test_calendar_units_run_over_as_in_go(period: Period, then: datetime) -> None:
    assert period.after(UTC_DAY) == then


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5, "5s"),
        (1.5, "1.5s"),
        (60, "1m0s"),
        (3600, "1h0m0s"),
        (3723.000001, "1h2m3.000001s"),
        (0.25, "250ms"),
        (0.0015, "1.5ms"),
        (0.000015, "15µs"),
        (-2, "-2s"),
    ],
)
def test_a_span_is_written_as_go_writes_it(seconds: float, text: str) -> None:
    assert written(timedelta(seconds=seconds)) == text
    assert parse(text) == timedelta(seconds=seconds)
