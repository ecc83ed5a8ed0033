"""One declaration is parser, validator and manual."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from pillion.plug import manual
from pillion.plug.settings import SettingProblem, SettingsError, read, setting, wire_names


@dataclass(frozen=True, slots=True, kw_only=True)
class ShopSettings:
    """One field of each type."""

    connection_string: str = setting("Path of the database file.", example="data.db")
    password: str = setting("The word.", default="", secret=True)
    port: int = setting("Where it listens.", default="6379")
    ratio: float = setting("How much.", default="0.5")
    enable_tls: bool = setting("Encrypt.", name="enableTLS", default="false", aliases=("tls",))
    busy_timeout: timedelta = setting("How long to wait.", default="2s")
    poll: timedelta = setting("How often to look.", default="100", unit="ms")
    strict_wait: timedelta | None = setting("Never a plain number.", default=None, unit=None)
    folder: Path | None = setting("Where files go.", default=None)
    mode: Literal["soft", "Hard"] = setting("How.", default="soft")
    hosts: tuple[str, ...] = setting("Who.", default="a,b")
    ports: list[int] = setting("Which.", default="")
    label: str | None = setting("A name.", default=None)


NEEDED = {"connectionString": "x.db"}


def problems(metadata: dict[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        read(ShopSettings, metadata)
    return {problem.name: problem.message for problem in caught.value.problems}


def remarks(metadata: dict[str, str], *, also: tuple[str, ...] = ()) -> list[SettingProblem]:
    heard: list[SettingProblem] = []
    read(ShopSettings, NEEDED | metadata, also=also, remark=heard.append)
    return heard


def test_what_is_not_given_takes_its_default() -> None:
    shop = read(ShopSettings, NEEDED)
    assert shop == ShopSettings(
        connection_string="x.db",
        password="",
        port=6379,
        ratio=0.5,
        enable_tls=False,
        busy_timeout=timedelta(seconds=2),
        poll=timedelta(milliseconds=100),
        strict_wait=None,
        folder=None,
        mode="soft",
        hosts=("a", "b"),
        ports=[],
        label=None,
    )


@pytest.mark.parametrize(
    ("name", "text", "attribute", "value"),
    [
        ("CONNECTIONSTRING", "y", "connection_string", "y"),
        ("port", " 1 ", "port", 1),
        ("port", "0x10", "port", 16),
        ("port", "", "port", 6379),
        ("ratio", "2", "ratio", 2.0),
        ("enableTLS", "Yes", "enable_tls", True),
        ("tls", "on", "enable_tls", True),
        ("TLS", "T", "enable_tls", True),
        ("enabletls", "off", "enable_tls", False),
        ("busyTimeout", "1m", "busy_timeout", timedelta(minutes=1)),
        ("busyTimeout", "3", "busy_timeout", timedelta(seconds=3)),
        ("poll", "5", "poll", timedelta(milliseconds=5)),
        ("strictWait", "5s", "strict_wait", timedelta(seconds=5)),
        ("folder", "/tmp/x", "folder", Path("/tmp/x")),
        ("mode", "hard", "mode", "Hard"),
        ("hosts", " c , d,", "hosts", ("c", "d")),
        ("ports", "1,2", "ports", [1, 2]),
        ("label", "", "label", ""),
    ],
)
def test_a_text_is_read_by_its_type(name: str, text: str, attribute: str, value: object) -> None:
    assert getattr(read(ShopSettings, NEEDED | {name: text}), attribute) == value


def test_all_problems_are_told_together_by_the_names_in_the_manifest() -> None:
    told = problems(
        {
            "PORT": "many",
            "busytimeout": "soon",
            "mode": "sotf",
            "strictWait": "5",
            "ratio": "x",
            "ports": "1,b",
        }
    )
    assert told == {
        "connectionString": "is required",
        "PORT": '"many" is not a whole number',
        "busytimeout": '"soon" is not a duration such as 1h30m, 10s or 500ms',
        "mode": '"sotf" is not one of soft, Hard; did you mean "soft"?',
        "strictWait": '"5" lacks a unit: write it like 5s or 5ms',
        "ratio": '"x" is not a number',
        "ports": '"b" is not a whole number',
    }


def test_an_empty_text_does_not_fill_a_required_setting() -> None:
    assert problems({"connectionString": ""}) == {"connectionString": "is required"}


def test_an_unknown_setting_is_told_once_with_the_nearest_name_and_is_not_fatal() -> None:
    assert [
        str(each) for each in remarks({"busyTimout": "1s", "keyPrefix": "none"}, also=("keyPrefix",))
    ] == ['busyTimout: is not a setting of this component; did you mean "busyTimeout"?']


def test_a_word_that_is_neither_true_nor_false_is_false_and_told() -> None:
    assert [each.name for each in remarks({"tls": "ture"})] == ["tls"]
    assert remarks({"tls": "No"}) == []


def test_a_secret_never_prints() -> None:
    assert "hunter2" not in repr(read(ShopSettings, NEEDED | {"password": "hunter2"}))


def test_a_secret_that_cannot_be_read_is_not_quoted() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class Pin:
        pin: int = setting("A number nobody may see.", secret=True)

    with pytest.raises(SettingsError) as caught:
        read(Pin, {"pin": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_field_without_its_declaration_is_a_mistake_of_the_driver() -> None:
    @dataclass(frozen=True, slots=True)
    class Bare:
        port: int = 1

    with pytest.raises(TypeError, match="port"):
        read(Bare, {})


def test_every_wire_name_is_listed_with_its_aliases() -> None:
    assert wire_names(ShopSettings)[:6] == (
        "connectionString",
        "password",
        "port",
        "ratio",
        "enableTLS",
        "tls",
    )


def test_the_manual_has_a_row_for_each_setting() -> None:
    rows = {row.name: row for row in manual.rows(ShopSettings)}
    assert rows["connectionString"] == manual.Row(
        name="connectionString",
        type="string",
        description="Path of the database file.",
        required=True,
        example="data.db",
    )
    assert rows["password"].sensitive
    assert rows["busyTimeout"].type == "duration"
    assert rows["hosts"].type == "list of string"
    assert rows["mode"].choices == ("soft", "Hard")


def test_the_schema_says_what_an_editor_needs() -> None:
    schema = manual.schema(ShopSettings)
    assert schema["required"] == ["connectionString"]
    assert schema["properties"]["mode"]["enum"] == ["soft", "Hard"]
    assert schema["properties"]["password"]["writeOnly"] is True
    assert schema["properties"]["port"]["default"] == "6379"
