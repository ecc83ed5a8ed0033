"""What processes write, as a person sees it."""

import json
import sys
from pathlib import Path

import pytest

from pillion.cli.launch.output import LONGEST_LINE, Lines, Sink, Voice


def cut(*chunks: bytes) -> list[bytes]:
    found: list[bytes] = []
    lines = Lines(found.append)
    for chunk in chunks:
        lines.data_received(chunk)
    lines.connection_lost(None)
    return found


async def test_lines_are_whole_whatever_the_pieces() -> None:
    assert cut(b"on", b"e\ntw", b"o\n", b"\nlast") == [b"one", b"two", b"", b"last"]


async def test_a_line_without_end_is_cut() -> None:
    assert [len(each) for each in cut(b"x" * (LONGEST_LINE + 5))] == [LONGEST_LINE, 5]


def test_a_line_goes_to_the_console_with_prefix_and_to_the_file_without(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sink = Sink("== APP - a == ", file=tmp_path / "logs" / "a.log")
    sink.open()
    sink.line(b"caf\xc3\xa9 \xff\r")
    sink.close()
    assert capfdbinary.readouterr().out == b"== APP - a == caf\xc3\xa9 \xff\n"
    assert (tmp_path / "logs" / "a.log").read_bytes() == b"caf\xc3\xa9 \xff\n"


def test_a_sink_for_a_file_alone_says_nothing(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    sink = Sink(console=False, file=tmp_path / "a.log")
    sink.open()
    sink.line(b"x")
    sink.close()
    assert capfdbinary.readouterr().out == b""


def test_the_runs_own_sentences_carry_no_colour_where_nobody_sees_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    voice = Voice()
    voice.good("up")
    voice.bad("down")
    assert capfd.readouterr().out == "up\nerror: down\n"
    assert voice.colour(1) == ""


def test_the_runs_own_sentences_can_be_json(capfd: pytest.CaptureFixture[str]) -> None:
    Voice(as_json=True).warn("odd")
    told = json.loads(capfd.readouterr().out)
    assert (told["level"], told["msg"]) == ("warning", "odd")


def test_on_a_terminal_each_app_has_its_colour_unless_nobody_wants_any(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    voice = Voice(environ={})
    assert len({voice.colour(number) for number in range(5)}) == 5
    Sink("== APP == ", voice.colour(0)).line(b"hello")
    assert capfd.readouterr().out == "\x1b[34m== APP == hello\x1b[0m\n"
    assert Voice(environ={"NO_COLOR": "1"}).colour(0) == ""
