"""bindings.localstorage: files below one folder."""

import asyncio
import base64
import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from pillion.contracts.bindings import Binding
from pillion.contracts.words import Refused, Unavailable
from pillion.model.bindings import Reply
from pillion.model.state import NOTHING
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.ids import uuid4
from pillion.toolbox.lazily import dataclass

FORBIDDEN = ("/proc", "/sys", "/boot", "/var/run/secrets")
"""No folder for files lies there."""
_LINKS = 255
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO})

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorageSettings:
    root_path: str = setting("The folder; it is made when it is not there.", example="files")


@driver("bindings.localstorage", settings=LocalStorageSettings, title="Local storage", status="stable")
class LocalStorageBinding(Binding[LocalStorageSettings]):
    """Writes, reads, lists and deletes files below one folder; the request's metadata names the file in `fileName`.

    A name cannot lead out of the folder: `..` and links end at it, as in a changed root. Data that is a JSON text is written
    without its quotes, and data that is base64 is decoded, as Dapr does; so a text of base64 letters alone does not stay as it is.
    """

    operations = ("create", "get", "list", "delete")

    async def open(self) -> None:
        self._root = await _told(lambda: _root(self.settings.root_path))

    async def invoke(
        self, operation: str, data: bytes, metadata: Mapping[str, str] = NOTHING
    ) -> Reply | None:
        name = metadata.get("fileName", "")
        match operation:
            case "create":
                return await _told(lambda: _create(self._root, name or uuid4(), plain(data)))
            case "get":
                return await _told(lambda: _get(inside(self._root, name)))
            case "list":
                return await _told(lambda: _list(inside(self._root, name)))
            case _:
                return await _told(lambda: _delete(inside(self._root, name)))


async def _told(work: Callable[[], T]) -> T:
    """Do it beside the loop; the system's refusals leave in our words."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        word = Unavailable if error.errno in _PASSING else Refused
        raise word(f"{error.filename or 'file'}: {error.strerror or error}") from error


def plain(data: bytes) -> bytes:
    """What is written of the data that came: a quoted text without quotes, base64 decoded."""
    data = _unquoted(data)
    try:
        return base64.b64decode(data.replace(b"\r", b"").replace(b"\n", b""), validate=True)
    except ValueError:
        return data


def _unquoted(data: bytes) -> bytes:
    if len(data) < 2 or data[:1] != data[-1:]:
        return data
    try:
        if data[:1] == b'"':
            return str(json.loads(data)).encode()
    except ValueError:
        return data
    if data[:1] == b"`" and b"`" not in data[1:-1]:
        return data[1:-1].replace(b"\r", b"")
    return data


def inside(root: Path, name: str) -> Path:
    """The place that a name has within the root, with links followed as if the root were the file system's own."""
    parts, place, links = _parts(name), root, 0
    while parts:
        part = parts.pop()
        if part == "..":
            place = place.parent if place != root else root
            continue
        step = place / part
        if not step.is_symlink():
            place = step
            continue
        links += 1
        if links > _LINKS:
            raise Refused(f"too many links on the way to {name}")
        target = os.readlink(step)
        parts += _parts(target)
        if os.path.isabs(target):
            place = root
    return place


def _parts(name: str) -> list[str]:
    """The steps of a path, last one first."""
    if "\0" in name:
        raise Refused("a file name cannot hold a zero byte")
    return [part for part in reversed(name.replace(os.sep, "/").split("/")) if part not in ("", ".")]


def _root(text: str) -> Path:
    root = Path(os.path.realpath(text))
    if any(root.is_relative_to(os.path.realpath(place)) or root.is_relative_to(place) for place in FORBIDDEN):
        raise Refused(f"rootPath {text} points to a disallowed location")
    if root.exists() and not root.is_dir():
        raise Refused(f"rootPath {text} represents a file and not a directory")
    root.mkdir(parents=True, exist_ok=True)
    return root


def _create(root: Path, name: str, data: bytes) -> Reply:
    place = inside(root, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return Reply(_json({"fileName": str(place.relative_to(root))}))


def _get(place: Path) -> Reply:
    try:
        return Reply(place.read_bytes())
    except FileNotFoundError:
        raise Refused(f"file not found: {place}") from None


def _list(place: Path) -> Reply:
    if not stat.S_ISDIR(place.stat().st_mode):
        raise Refused(f"unable to list files as the file specified is not a directory: {place}")
    return Reply(_json([str(found) for found in _walk(place)] or None))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below, in the order of names; what vanishes meanwhile is left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        else:
            yield Path(entry.path)


def _delete(place: Path) -> None:
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink()


def _json(value: object) -> bytes:
    """As Go writes it: markup escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text.encode("utf-8", "replace")
