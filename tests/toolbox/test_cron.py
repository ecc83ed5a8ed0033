"""When a cron expression fires."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pillion.toolbox.cron import CronError, Every, parse

NOON = datetime(2024, 1, 31, 12, 0, 0, 250_000, tzinfo=UTC)  # a Wednesday


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("* * * * * *", "2024-01-31T12:00:01"),
        ("*/15 * * * * *", "2024-01-31T12:00:15"),
        ("5/20 * * * * *", "2024-01-31T12:00:05"),
        ("0 30 * * * *", "2024-01-31T12:30:00"),
        ("0 0 12 * * *", "2024-02-01T12:00:00"),
        ("0 0 9-11 * * *", "2024-02-01T09:00:00"),
        ("0 0 0 1,15 * *", "2024-02-01T00:00:00"),
        ("0 0 0 31 * *", "2024-03-31T00:00:00"),
        ("0 0 0 29 feb ?", "2024-02-29T00:00:00"),
        ("0 0 0 * * mon", "2024-02-05T00:00:00"),
        ("0 0 0 * JAN-MAR Sun", "2024-02-04T00:00:00"),
        ("0 0 0 13 * fri", "2024-02-02T00:00:00"),
        ("0 0 0 */10 * fri", "2024-02-01T00:00:00"),
        ("0 0 0 1 1 *", "2025-01-01T00:00:00"),
        ("59 59 23 31 12 *", "2024-12-31T23:59:59"),
        ("@hourly", "2024-01-31T13:00:00"),
        ("@daily", "2024-02-01T00:00:00"),
        ("@midnight", "2024-02-01T00:00:00"),
        ("@weekly", "2024-02-04T00:00:00"),
        ("@monthly", "2024-02-01T00:00:00"),
        ("@yearly", "2025-01-01T00:00:00"),
        ("@annually", "2025-01-01T00:00:00"),
    ],
)
def test_the_next_instant_is_the_first_that_matches(text: str, due: str) -> None:
    assert parse(text).next(NOON) == at(due)


def test_an_instant_that_matches_exactly_is_not_its_own_next() -> None:
    assert parse("0 0 12 * * *").next(at("2024-01-31T12:00:00")) == at("2024-02-01T12:00:00")


def test_five_fields_fire_at_second_zero_where_they_are_allowed() -> None:
    assert parse("30 * * * *", fields=(5, 6)).next(NOON) == at("2024-01-31T12:30:00")
    with pytest.raises(CronError, match="has 5 fields where 6 are expected"):
        parse("30 * * * *")


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("@every 1s", 1000),
        ("@every 1h30m", 5_400_000),
        ("@every 1.5s", 1500),
        ("@every 10us", 1),
        ("@every 2ms900us", 2),
    ],
)
def test_every_counts_whole_milliseconds(text: str, milliseconds: int) -> None:
    assert parse(text) == Every(timedelta(milliseconds=milliseconds))


def test_every_fires_on_the_millisecond() -> None:
    start = NOON.replace(microsecond=250_700)
    assert parse("@every 1s").next(start) == NOON + timedelta(seconds=1)


def test_a_date_that_never_comes_has_no_next() -> None:
    assert parse("0 0 0 30 2 *").next(NOON) is None


def test_a_zone_in_the_expression_counts_there_and_answers_here() -> None:
    due = parse("TZ=America/New_York 0 0 6 * * *").next(NOON)
    assert due == at("2024-02-01T11:00:00")
    assert due is not None and due.tzinfo is UTC
    assert parse("CRON_TZ=Asia/Tokyo @daily").next(NOON) == at("2024-01-31T15:00:00")


PARIS = ZoneInfo("Europe/Paris")


def test_an_hour_that_a_clock_change_skips_is_passed_over() -> None:
    before = datetime(2024, 3, 31, 1, 0, tzinfo=PARIS)
    assert parse("0 30 2 * * *").next(before) == datetime(2024, 4, 1, 2, 30, tzinfo=PARIS)


def test_an_hour_that_comes_twice_fires_each_time_for_an_hourly_expression() -> None:
    schedule, moment = parse("0 30 * * * *"), datetime(2024, 10, 27, 1, 0, tzinfo=PARIS)
    seen = []
    for _ in range(3):
        due = schedule.next(moment)
        assert due is not None
        seen.append(due.astimezone(UTC).strftime("%H:%M"))
        moment = due
    assert seen == ["23:30", "00:30", "01:30"]


def test_a_day_without_midnight_starts_at_its_first_instant() -> None:
    sao_paulo = ZoneInfo("America/Sao_Paulo")
    before = datetime(2018, 11, 3, 12, tzinfo=sao_paulo)
    due = parse("0 0 1 * * *").next(before)
    assert due == datetime(2018, 11, 4, 1, tzinfo=sao_paulo)


def test_half_hour_clock_changes_do_not_hold_the_search_up() -> None:
    lord_howe = ZoneInfo("Australia/Lord_Howe")
    before = datetime(2024, 4, 7, 1, 45, fold=1, tzinfo=lord_howe)
    due = parse("0 0 3 * * *").next(before)
    assert due == datetime(2024, 4, 7, 3, tzinfo=lord_howe)


def test_an_instant_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        parse("@daily").next(datetime(2024, 1, 1))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 fields"),
        ("60 * * * * *", "outside 0-59 in the second field"),
        ("* * 24 * * *", "hour field"),
        ("* * * 0 * *", "day of month field"),
        ("* * * * 13 *", "month field"),
        ("* * * * * 7", "day of week field"),
        ("5-1 * * * * *", "second field"),
        ("*/0 * * * * *", "second field"),
        ("1-2-3 * * * * *", "not a number"),
        ("-1 * * * * *", "not a number"),
        ("x * * * * *", '"x" is not a number in the second field'),
        ("1/2/3 * * * * *", "not a number"),
        (", * * * * *", "empty"),
        ("@fortnightly", "none of"),
        ("@every", "none of"),
        ("@every soon", "not a duration"),
        ("@every 5", "not a duration"),
        ("TZ=Mars/Base * * * * * *", "time zone"),
        ("TZ=UTC", "0 fields"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(text: str, said: str) -> None:
    with pytest.raises(CronError, match=said):
        parse(text)
