"""A kernel's lock on a file: held for a process's life, freed by the kernel however that life ends."""

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _seize(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _seize(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class FileLock:
    """One lock, taken without waiting. It belongs to this object: a second one on the same file is refused, in this process too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    @property
    def held(self) -> bool:
        return self._fd is not None

    def take(self) -> bool:
        """Whether the lock is ours now. The file is made where it is missing."""
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _seize(fd):
            os.close(fd)
            return False
        self._fd = fd
        return True

    def free(self, *, remove: bool = False) -> None:
        """Let go, and take the file away if asked. Safe when not held."""
        if self._fd is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._fd)
        self._fd = None


def is_locked(path: Path) -> bool:
    """Whether somebody lives who holds this lock. A file that is not there is not held."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _seize(fd)
    finally:
        os.close(fd)
