"""DNS messages as multicast DNS uses them (RFC 6762): the few record types service discovery needs."""

import socket
import struct
from typing import Final

from pillion.toolbox.lazily import dataclass

A, PTR, TXT, SRV, ANY = 1, 12, 16, 33, 255
IN: Final = 1
UNIQUE: Final = 0x8000
"""In a record's class: it replaces what was known. In a question's: the answer may come to the asker alone."""
_RESPONSE: Final = 0x8400
_MOST_RECORDS: Final = 256


class BadPacket(ValueError):
    """Bytes that are not a DNS message."""


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to know. Names are lower-case label tuples without the root."""

    name: tuple[str, ...]
    kind: int
    unicast: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What somebody says. `value` is a name for PTR, (port, name) for SRV, an address for A, texts for TXT."""

    name: tuple[str, ...]
    kind: int
    ttl: int
    value: object
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Packet:
    """One message: questions, or records."""

    questions: tuple[Question, ...] = ()
    records: tuple[Record, ...] = ()
    id: int = 0


def encode(packet: Packet) -> bytes:
    """A message's bytes, without compression."""
    flags = _RESPONSE if packet.records else 0
    out = [struct.pack("!6H", packet.id, flags, len(packet.questions), len(packet.records), 0, 0)]
    for question in packet.questions:
        asked = IN | (UNIQUE if question.unicast else 0)
        out.append(_name(question.name) + struct.pack("!2H", question.kind, asked))
    for record in packet.records:
        data = _data(record)
        said = IN | (UNIQUE if record.unique else 0)
        out.append(_name(record.name) + struct.pack("!2HIH", record.kind, said, record.ttl, len(data)) + data)
    return b"".join(out)


def decode(data: bytes) -> Packet:
    """A message read; records of kinds we do not know are left out. Raises BadPacket."""
    try:
        number, _, asked, answers, authority, extra = struct.unpack_from("!6H", data)
        pos = 12
        questions: list[Question] = []
        records: list[Record] = []
        for _ in range(min(asked, _MOST_RECORDS)):
            name, pos = _read_name(data, pos)
            kind, said = struct.unpack_from("!2H", data, pos)
            pos += 4
            questions.append(Question(_lower(name), kind, bool(said & UNIQUE)))
        for _ in range(min(answers + authority + extra, _MOST_RECORDS)):
            name, pos = _read_name(data, pos)
            kind, said, ttl, size = struct.unpack_from("!2HIH", data, pos)
            pos += 10
            value = _value(data, kind, pos, size)
            pos += size
            if value is not None:
                records.append(Record(_lower(name), kind, ttl, value, bool(said & UNIQUE)))
    except (struct.error, IndexError, OSError) as error:
        raise BadPacket(str(error)) from error
    return Packet(tuple(questions), tuple(records), number)


def _name(labels: tuple[str, ...]) -> bytes:
    parts = [label.encode()[:63] for label in labels]
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def _data(record: Record) -> bytes:
    match record.value:
        case (int(port), tuple(target)):
            return struct.pack("!3H", 0, 0, port) + _name(target)
        case str(address):
            return socket.inet_aton(address)
        case list(texts):
            return b"".join(bytes((len(text),)) + text for text in texts) or b"\0"
        case tuple(target):
            return _name(target)
    raise BadPacket(f"no such record: {record}")


def _value(data: bytes, kind: int, pos: int, size: int) -> object | None:
    if pos + size > len(data):
        raise BadPacket("a record is cut short")
    if kind == PTR:
        return _lower(_read_name(data, pos)[0])
    if kind == SRV:
        (port,) = struct.unpack_from("!H", data, pos + 4)
        return port, _lower(_read_name(data, pos + 6)[0])
    if kind == A and size == 4:
        return socket.inet_ntoa(data[pos : pos + 4])
    if kind == TXT:
        return _texts(data[pos : pos + size])
    return None


def _texts(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    pos = 0
    while pos < len(data):
        found.append(data[pos + 1 : pos + 1 + data[pos]])
        pos += 1 + data[pos]
    return found


def _read_name(data: bytes, pos: int) -> tuple[tuple[str, ...], int]:
    """Labels and the position behind them. Each pointer must go back, so no chain of them is endless."""
    labels: list[str] = []
    after = -1
    limit = pos
    while size := data[pos]:
        if size >= 0xC0:
            target = (size & 0x3F) << 8 | data[pos + 1]
            after = pos + 2 if after < 0 else after
            if target >= limit:
                raise BadPacket("a name points forward")
            pos = limit = target
        elif size > 63 or len(labels) >= 128:
            raise BadPacket("a name is too long")
        else:
            labels.append(data[pos + 1 : pos + 1 + size].decode("utf-8", "replace"))
            pos += 1 + size
    return tuple(labels), (pos + 1 if after < 0 else after)


def _lower(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(label.lower() for label in labels)
