"""The process that sidecars are forked from, spoken to as `pillion run -f` does."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pillion.host import title

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks and adopts as Linux does")
COMMAND = [sys.executable, "-P", "-m", "pillion.host.main", "--zygote", "." * 4096]


class Zygote:
    """A zygote and our end of its socket."""

    def __init__(self) -> None:
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.link.settimeout(20)
        with theirs:
            self.process = subprocess.Popen(COMMAND, stdin=theirs.fileno())

    def ask(self, args: list[str], folder: Path, output: int, env: dict[str, str] | None = None) -> Any:
        words = ["pilliond", *args]
        order = {"words": words, "args": args, "env": env or {}, "folder": str(folder)}
        nothing = os.open(os.devnull, os.O_RDWR)
        socket.send_fds(self.link, [json.dumps(order).encode()], [nothing, output, output])
        os.close(nothing)
        return json.loads(self.link.recv(65536))


@pytest.fixture
def zygote() -> Iterator[Zygote]:
    """One whose orphans come to us."""
    prctl = title.ctypes.CDLL(None).prctl
    prctl(36, 1, 0, 0, 0)
    made = Zygote()
    yield made
    made.link.close()
    made.process.kill()
    made.process.wait()
    prctl(36, 0, 0, 0, 0)


def told(pid: int, reads: int) -> tuple[int, str]:
    """The status and the output of a child that ends by itself."""
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reads, "rb") as output:
        return status, output.read().decode()


def test_a_child_is_ours_and_does_what_it_was_asked(zygote: Zygote, tmp_path: Path) -> None:
    for args, status, said in ((["--version"], 0, "1."), (["--app-id", "a.b"], 1, "cannot contain dots")):
        reads, writes = os.pipe()
        answer = zygote.ask(args, tmp_path, writes)
        os.close(writes)
        ended, output = told(answer["pid"], reads)
        assert (ended, said in output) == (status, True)


def test_a_child_has_its_own_folder_environment_and_files(zygote: Zygote, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    env = {
        "APP_ID": "",
        "DAPR_HTTP_PORT": "1",
        "PILLION_HOME": str(tmp_path),
        "NAMESPACE": "a place of its own",
    }
    answer = zygote.ask(
        ["--app-id", "desk", "--log-file", "here.log", "--log-level", "loud"], tmp_path, writes, env
    )
    os.close(writes)
    status, output = told(answer["pid"], reads)
    assert status == 1
    assert "loud" in output
    answer = zygote.ask(
        ["--app-id", "desk", "--mode", "kubernetes", "--log-file", "here.log"], tmp_path, 2, env
    )
    os.waitpid(answer["pid"], 0)
    assert (tmp_path / "here.log").exists()


def test_a_folder_that_is_not_there_is_told(zygote: Zygote, tmp_path: Path) -> None:
    answer = zygote.ask(["--version"], tmp_path / "nowhere", 2)
    assert "nowhere" in answer["error"]


def test_it_ends_when_nobody_holds_the_other_end(zygote: Zygote, tmp_path: Path) -> None:
    zygote.ask(["--version"], tmp_path / "nowhere", 2)
    zygote.link.close()
    assert zygote.process.wait(20) == 0


def test_it_does_not_hold_what_it_was_handed(zygote: Zygote, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    pid = zygote.ask(["--app-id", "desk", "--dapr-listen-addresses", "127.0.0.1"], tmp_path, writes)["pid"]
    os.close(writes)
    os.kill(pid, signal.SIGKILL)
    assert told(pid, reads)[0] == -signal.SIGKILL


def test_without_a_socket_it_says_what_it_is_for() -> None:
    ended = subprocess.run(COMMAND, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "--zygote is for `pillion run -f`" in ended.stdout


@pytest.mark.parametrize(
    ("words", "room", "line"),
    [
        (["a", "bc"], 5, b"a\0bc\0"),
        (["a", "bc"], 8, b"a\0bc\0\0\0\0"),
        (["a", "bc", "d"], 6, b"a\0bc\0\0"),
        (["abc"], 2, b"\0\0"),
    ],
)
def test_a_command_line_is_written_in_whole_words(words: list[str], room: int, line: bytes) -> None:
    assert title.fitting(words, room) == line
