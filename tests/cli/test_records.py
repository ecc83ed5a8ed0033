"""The small files that say what runs."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from pillion.cli import processes, records
from pillion.cli.command import Refusal
from pillion.cli.records import Record


def mine(**more: object) -> Record:
    me = processes.find(os.getpid())
    assert me is not None
    return replace(Record(app_id="a", pid=os.getpid(), started=me.started, created=1.0), **more)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    record = mine(http_port=3500, command="python app.py", run_template_path="/x/dapr.yaml")
    records.write(tmp_path, record)
    assert records.alive(tmp_path) == [record]


def test_the_oldest_comes_first(tmp_path: Path) -> None:
    for app_id, created in (("young", 9.0), ("old", 2.0)):
        records.write(tmp_path, mine(app_id=app_id, created=created))
    assert [each.app_id for each in records.alive(tmp_path)] == ["old", "young"]


def test_another_process_with_the_same_number_is_not_it(tmp_path: Path) -> None:
    records.write(tmp_path, mine(started="1"))
    assert records.alive(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"app_id": "a"}', "null"])
def test_a_file_that_is_no_record_is_cleared_away(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "a-1.json").write_text(text)
    assert records.alive(tmp_path) == []
    assert list((tmp_path / "run").iterdir()) == []


def test_a_record_of_a_later_version_is_read(tmp_path: Path) -> None:
    records.write(tmp_path, mine())
    file = next((tmp_path / "run").iterdir())
    file.write_text(file.read_text().replace("{", '{"new": 1, ', 1))
    assert len(records.alive(tmp_path)) == 1


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    records.write(tmp_path, mine())
    records.forget(tmp_path, mine())
    records.forget(tmp_path, mine())
    assert records.alive(tmp_path) == []


def test_the_home_is_made_for_us_alone(tmp_path: Path) -> None:
    home = records.home({"PILLION_HOME": str(tmp_path / "new")})
    assert (home, stat.S_IMODE(home.stat().st_mode)) == (tmp_path / "new", 0o700)


def test_a_home_that_cannot_be_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal) as told:
        records.home({"PILLION_HOME": str(tmp_path / "file")})
    assert told.value.sentences[-1] == "set PILLION_HOME to a folder that you may write to"
