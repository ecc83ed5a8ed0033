"""Where Pillion's files lie."""

import os
import stat
from pathlib import Path

import pytest

from pillion.toolbox import home


def test_a_named_place_is_the_only_one() -> None:
    assert [*home.candidates("/a", {"PILLION_HOME": "/b"})] == [Path("/a")]
    assert [*home.candidates("", {"PILLION_HOME": "/b"})] == [Path("/b")]


def test_the_users_home_is_that_of_the_user_id_whatever_the_environment_says() -> None:
    first, last = home.candidates("", {"HOME": "/elsewhere"})
    assert (first.name, first.parent) == (".pillion", Path(home.home_of_user()))
    assert last.name == f"pillion-{os.getuid()}"


def test_a_place_is_made_for_us_alone(tmp_path: Path) -> None:
    assert home.prepare(tmp_path / "a" / "b") == ""
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    assert home.prepare(tmp_path / "f") == "File exists"


@pytest.mark.skipif(os.name == "nt" or os.getuid() != 0, reason="only root gives folders away")
def test_a_place_of_another_user_is_not_taken(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    assert home.prepare(tmp_path) == "it belongs to another user"


@pytest.mark.skipif(os.name == "nt", reason="no such bits")
def test_a_place_of_ours_is_closed_to_others_who_could_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert home.prepare(tmp_path) == ""
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
