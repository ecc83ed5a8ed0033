"""Families of processes."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pillion.cli import processes

FAMILY = """
import os, subprocess, sys
asleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
inside = subprocess.Popen(asleep)
outside = subprocess.Popen(asleep, start_new_session=True)
print(inside.pid, outside.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as made:  # fmt: skip
        yield made
        assert made.stdin is not None
        made.stdin.close()


def test_a_tree_holds_children_in_other_sessions_too(parent: "subprocess.Popen[str]") -> None:
    assert parent.stdout is not None
    children = {int(word) for word in parent.stdout.readline().split()}
    assert {each.pid for each in processes.tree([parent.pid])} == {parent.pid, *children}


def test_we_are_alive_and_nobody_has_our_number_from_before() -> None:
    me = processes.find(os.getpid())
    assert me is not None
    assert processes.is_alive(me.pid, me.started)
    assert not processes.is_alive(me.pid, "1")


def test_one_that_ended_and_was_not_waited_for_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_alive(ended.pid)
    ended.wait()


def test_a_command_line_is_seen() -> None:
    assert processes.command_line(os.getpid())[0]
    assert processes.command_line(2**22 + 1) == []
