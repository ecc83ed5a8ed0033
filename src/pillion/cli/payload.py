"""What a person hands over on the command line to send: text, or a file."""

from pathlib import Path

from pillion.cli.command import Refusal
from pillion.cli.options import Given


def payload(given: Given) -> bytes:
    """The bytes of `--data` or `--data-file`."""
    if "data" in given and "data-file" in given:
        raise Refusal("--data and --data-file both say what to send: give one of them")
    if "data-file" not in given:
        return given.text("data").encode()
    path = given.text("data-file")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Refusal(f"--data-file {path} cannot be read: {error.strerror}") from error


def needed(given: Given, *names: str) -> None:
    """Refuse a command line without these flags."""
    absent = [f"--{name}" for name in names if not given.text(name)]
    if absent:
        raise Refusal(f"required flag(s) {', '.join(absent)} not set")
