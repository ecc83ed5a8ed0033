"""Where a person's own files of Pillion are kept on this machine."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path


def candidates(asked: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """The places to try: `asked` or `$PILLION_HOME` alone, else `.pillion` of the user id's home, then a temporary one.

    The environment's HOME is not asked: a sidecar started with an empty environment must find the same place.
    """
    named = asked or environ.get("PILLION_HOME", "")
    if named:
        yield Path(named)
        return
    if home := home_of_user():
        yield Path(home) / ".pillion"
    import tempfile

    yield Path(tempfile.gettempdir()) / f"pillion-{_user()}"


def prepare(place: Path) -> str:
    """Make the folder, for us alone; what is wrong with it, "" when it can be used.

    One of ours in which others may write is closed to them: what lies in it is trusted.
    """
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
        if stat.S_ISDIR(found.st_mode) and _is_ours(found) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            place.chmod(stat.S_IMODE(found.st_mode) & 0o755)
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(found.st_mode):
        return "not a folder"
    if not _is_ours(found):
        return "it belongs to another user"
    return "" if os.access(place, os.W_OK | os.X_OK) else "not writable"


def _is_ours(found: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or found.st_uid == os.getuid()


def home_of_user() -> str:
    """The home folder the user database names for our user id, "" where there is none."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError):
        return str(Path.home()) if os.name == "nt" else ""


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
