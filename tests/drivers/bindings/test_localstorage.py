"""Files below one folder."""

import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pillion.contracts.words import Refused
from pillion.drivers.bindings.localstorage import LocalStorageBinding, LocalStorageSettings
from pillion.plug.component import Context


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path)) / "root"


@pytest.fixture
async def files(root: Path) -> AsyncIterator[LocalStorageBinding]:
    binding = LocalStorageBinding(LocalStorageSettings(root_path=str(root)), Context(name="files"))
    await binding.open()
    yield binding


async def create(files: LocalStorageBinding, data: bytes, name: str = "f.txt") -> object:
    reply = await files.invoke("create", data, {"fileName": name})
    assert reply is not None and reply.data is not None
    return json.loads(reply.data)["fileName"]


async def test_a_file_is_written_read_and_deleted(files: LocalStorageBinding, root: Path) -> None:
    created = await files.invoke("create", b"hello", {"fileName": "f.txt"})
    got = await files.invoke("get", b"", {"fileName": "f.txt"})
    assert created and created.data == b'{"fileName":"f.txt"}'
    assert got and got.data == b"hello"
    assert await files.invoke("delete", b"", {"fileName": "f.txt"}) is None
    assert not (root / "f.txt").exists()


async def test_a_file_without_a_name_gets_a_fresh_one(files: LocalStorageBinding, root: Path) -> None:
    reply = await files.invoke("create", b"x!", {})
    assert reply and reply.data
    assert (root / json.loads(reply.data)["fileName"]).read_bytes() == b"x!"


@pytest.mark.parametrize(
    ("data", "written"),
    [
        (b'"text <\\u003e"', b"text <>"),
        (b'{"b":1}', b'{"b":1}'),
        (b'"', b'"'),
        (b'"broken" and "more"', b'"broken" and "more"'),
        (b"`raw`", b"raw"),
        (base64.b64encode(b"\x00\xff"), b"\x00\xff"),
        (b'"' + base64.b64encode(b"\x00\xff") + b'"', b"\x00\xff"),
        (b"null", base64.b64decode("null")),
        (b"", b""),
    ],
)
async def test_quotes_and_base64_are_taken_off(
    files: LocalStorageBinding, root: Path, data: bytes, written: bytes
) -> None:
    await create(files, data)
    assert (root / "f.txt").read_bytes() == written


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a/../../b", "b"),
        ("a/./b//c", "a/b/c"),
        ("up/x", "x"),
        ("abs/x", "x"),
        ("loose/passwd", "etc/passwd"),
    ],
)
async def test_no_name_leads_out_of_the_folder(
    files: LocalStorageBinding, root: Path, name: str, place: str
) -> None:
    (root / "up").symlink_to("../..")
    (root / "abs").symlink_to("/")
    (root / "loose").symlink_to("/etc")
    assert await create(files, b"mine!", name) == place
    assert (root / place).read_bytes() == b"mine!"


async def test_links_in_a_circle_end(files: LocalStorageBinding, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(Refused, match="too many links on the way to a"):
        await create(files, b"x", "a")


async def test_a_list_names_every_file_below_by_its_whole_path(
    files: LocalStorageBinding, root: Path
) -> None:
    for name in ("b.txt", "a/2", "a/1"):
        await create(files, b"x!", name)
    every = await files.invoke("list", b"", {})
    some = await files.invoke("list", b"", {"fileName": "a"})
    assert every and every.data
    assert json.loads(every.data) == [str(root / name) for name in ("a/1", "a/2", "b.txt")]
    assert some and some.data and len(json.loads(some.data)) == 2


async def test_an_empty_list_is_null(files: LocalStorageBinding) -> None:
    reply = await files.invoke("list", b"", {})
    assert reply and reply.data == b"null"


@pytest.mark.parametrize(
    ("operation", "name", "sentence"),
    [
        ("get", "nobody", "file not found: .*nobody"),
        ("delete", "nobody", "nobody: No such file or directory"),
        ("get", "", "Is a directory"),
        ("list", "file", "unable to list files as the file specified is not a directory"),
        ("create", "a\0b", "zero byte"),
        ("create", "file/below", "Not a directory|File exists"),
    ],
)
async def test_what_cannot_be_done_says_why(
    files: LocalStorageBinding, operation: str, name: str, sentence: str
) -> None:
    await create(files, b"x!", "file")
    with pytest.raises(Refused, match=sentence):
        await files.invoke(operation, b"", {"fileName": name})


@pytest.mark.parametrize("place", ["/proc/x", "/sys", "/boot/x", "/var/run/secrets/x"])
async def test_some_places_are_no_folder_for_files(place: str) -> None:
    binding = LocalStorageBinding(LocalStorageSettings(root_path=place), Context(name="files"))
    with pytest.raises(Refused, match="disallowed location"):
        await binding.open()


async def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    binding = LocalStorageBinding(
        LocalStorageSettings(root_path=str(tmp_path / "file")), Context(name="files")
    )
    with pytest.raises(Refused, match="represents a file and not a directory"):
        await binding.open()
