"""The private descriptor pool: every message of the wire, apart from the ones an app may define.

Nothing of protobuf is imported and no descriptor is read before the first message is asked for, so a
process that never speaks protobuf does not pay for it. The pool is built once and never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.message import Message

_SET = Path(__file__).with_name("pillion.binpb")
_BUILDING = Lock()


def exporter(package: str, space: dict[str, Any]) -> Callable[[str], Any]:
    """Make a module's `__getattr__`: names of `package` appear in `space` when first asked for."""

    def find(name: str) -> Any:
        # Python itself probes modules for dunder names; none is worth building the pool.
        found = None if name.startswith("__") else _member(package, name)
        if found is None:
            raise AttributeError(f"module {space['__name__']!r} has no attribute {name!r}")
        space[name] = found
        return found

    return find


def message_class(full_name: str) -> type[Message]:
    """The class of the message with that full name; KeyError if there is none."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(pool().FindMessageTypeByName(full_name))


def warm() -> None:
    """Do now what the first message would have to wait for."""
    message_class("google.protobuf.Empty")


def files() -> tuple[FileDescriptor, ...]:
    """Every shipped file, after those it imports."""
    # Two threads may ask first at once; with two pools their messages would not mix.
    with _BUILDING:
        return _built()


def pool() -> DescriptorPool:
    """The pool itself; nothing outside this package adds to it."""
    return files()[0].pool


@cache
def _built() -> tuple[FileDescriptor, ...]:
    from google.protobuf.descriptor_pool import DescriptorPool

    made = DescriptorPool()
    return tuple(made.AddSerializedFile(file) for file in _cut(_SET.read_bytes()))


def _cut(descriptor_set: bytes) -> Iterator[bytes]:
    """Cut a FileDescriptorSet into its files.

    The set is one repeated field of number 1, so each file is a tag byte, its length as a varint, its
    bytes. Parsing it as a message would need Google's descriptor.proto, in a pool, first.
    """
    at = 0
    while at < len(descriptor_set):
        length, shift, at = 0, 0, at + 1
        while True:
            byte = descriptor_set[at]
            length |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                break
        yield descriptor_set[at : at + length]
        at += length


def _member(package: str, name: str) -> Any:
    """The message class, enum or enum value of that name, or None."""
    try:
        return message_class(f"{package}.{name}")
    except KeyError:
        return _enum_member(package, name)


def _enum_member(package: str, name: str) -> Any:
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    for file in files():
        for enum in file.enum_types_by_name.values() if file.package == package else ():
            if enum.name == name:
                return EnumTypeWrapper(enum)
            if name in enum.values_by_name:
                return enum.values_by_name[name].number
    return None
