"""State requests and answers: JSON and protobuf to the model's nouns and back."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from pillion.model.errors import MALFORMED_REQUEST, STATE_OPERATION, ApiError
from pillion.model.state import NOTHING, Entry, Found, Removal, Save, Wish
from pillion.toolbox.lazily import dataclass
from pillion.wire import json
from pillion.wire.json import Big, JsonError, Number
from pillion.wire.proto import runtime
from pillion.wire.scan import prefixed, read_varint
from pillion.wire.shapes import GoShape, MapShape

JSON = "application/json"
_DESERIALIZING = "failed deserializing HTTP body: "


@dataclass(frozen=True, slots=True)
class BulkRead:
    """The body of a bulk read."""

    keys: list[str]
    parallelism: int
    metadata: Mapping[str, str]


def saves(body: bytes, query: Mapping[str, str], *, canonical: bool) -> list[Save]:
    """The items of a save; raises ApiError. `query` is the metadata of the URL, which wins over an item's own.

    `canonical` is the store's habit: JSON kept with sorted keys and escaped markup, else as it came, without spaces.
    """
    try:
        given = json.loads_first(body)
        if not query and (plain := _plain(given, canonical)) is not None:
            return [plain]
        items = _SET.array(given)
        made = [_save(item, query, canonical) for item in items]
    except JsonError as error:
        raise ApiError(MALFORMED_REQUEST, why=str(error)) from error
    if not all(save.key for save in made):
        raise ApiError(MALFORMED_REQUEST, why='"key" is a required field')
    return made


def _plain(given: Any, canonical: bool) -> Save | None:
    """The item of nearly every save: alone, a key and a value, and nothing else."""
    if type(given) is not list or len(given) != 1 or type(given[0]) is not dict or len(given[0]) != 2:
        return None
    item = given[0]
    key = item.get("key")
    if not key or type(key) is not str or "value" not in item:
        return None
    return Save(key, _stored(item["value"], canonical), content_type=JSON)


def bulk_read(body: bytes, query: Mapping[str, str]) -> BulkRead:
    """The body of a bulk read; raises ApiError."""
    try:
        given = _BULK.object(json.loads_first(body))
        keys = _BULK.strings(given, "keys")
        parallelism = _BULK.integer(given, "parallelism")
        return BulkRead(keys, parallelism, {**_BULK.texts(given, "metadata"), **query})
    except JsonError as error:
        raise ApiError(MALFORMED_REQUEST, why=_DESERIALIZING + str(error)) from error


def wishes(body: bytes, query: Mapping[str, str], *, canonical: bool) -> Iterator[Wish]:
    """The operations of a transaction, one after the other: a wrong one raises ApiError when its turn comes."""
    try:
        given = _TRANSACTION.object(json.loads_first(body))
        shared = {**_TRANSACTION.texts(given, "metadata")}
        kind = "[]http.stateTransactionRequestBodyOperation"
        operations = [
            (_OPERATION.text(each, "operation"), each.get("request"))
            for each in _TRANSACTION.objects(given, "operations", kind, _OPERATION)
        ]
    except JsonError as error:
        raise ApiError(MALFORMED_REQUEST, why=_DESERIALIZING + str(error)) from error
    return _wishes(operations, shared, query, canonical)


def _wishes(
    operations: list[tuple[str, Any]], shared: Mapping[str, str], query: Mapping[str, str], canonical: bool
) -> Iterator[Wish]:
    for operation, request in operations:
        if operation not in ("upsert", "delete"):
            raise ApiError(STATE_OPERATION, operation=operation)
        if not shared and not query and (plain := _plain_wish(operation, request, canonical)) is not None:
            yield plain
            continue
        try:
            yield _wish(MapShape(request), operation, shared, query, canonical)
        except JsonError as error:
            raise ApiError(MALFORMED_REQUEST, why=_DESERIALIZING + str(error)) from error


def _plain_wish(operation: str, request: Any, canonical: bool) -> Wish | None:
    """The request of nearly every operation: the key and, of an upsert, the value, and nothing else."""
    key = request.get("key") if type(request) is dict else None
    if type(key) is not str:
        return None
    if operation == "delete":
        return Removal(key) if len(request) == 1 else None
    if len(request) != 2 or "value" not in request:
        return None
    return Save(key, _stored(request["value"], canonical), content_type=JSON)


def _wish(
    given: MapShape, operation: str, shared: Mapping[str, str], query: Mapping[str, str], canonical: bool
) -> Wish:
    key, etag = given.text("key", "Key"), given.text("etag", "ETag")
    metadata = {**shared, **given.texts("metadata", "Metadata"), **query}
    options = given.inner("options", "Options")
    concurrency = options.text("concurrency", "Options.Concurrency")
    consistency = options.text("consistency", "Options.Consistency")
    given.settle(options)
    if operation == "delete":
        return Removal(key, etag, concurrency, consistency, metadata)
    value = _stored(given.member("value"), canonical)
    return Save(key, value, etag, concurrency, consistency, metadata, JSON)


def stored(text: bytes, *, canonical: bool) -> bytes:
    """JSON that came as bytes, as a store keeps it; raises JsonError."""
    return _stored(json.loads(text), canonical)


def bulk_body(found: Iterable[Found]) -> bytes:
    """The answer to a bulk read, its line end included. A value that is not JSON goes as a JSON string: its text, or
    base64 where it is no text."""
    items = []
    for each in found:
        key, entry, _ = each
        if entry is None or entry.content_type != JSON or entry.etag is None or entry.expires_at is not None:
            items.append(orjson.dumps(_bulk_item(each)))
        else:  # as `_bulk_item`; what was kept as JSON is no longer looked at
            items.append(
                b'{"key":%b,"data":%b,"etag":%b}' % (orjson.dumps(key), entry.value, orjson.dumps(entry.etag))
            )
    return json.escaped(b"[%b]\n" % b",".join(items))


def expire_time(entry: Entry) -> str:
    """When an entry ends, in RFC 3339 by UTC, to the second; "" where it lives on."""
    if entry.expires_at is None:
        return ""
    return datetime.fromtimestamp(int(entry.expires_at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def entry_metadata(entry: Entry) -> Mapping[str, str]:
    """What is told of an entry beside its value and etag."""
    return {"ttlExpireTime": expire_time(entry)} if entry.expires_at is not None else NOTHING


_CONCURRENCY = {1: "first-write", 2: "last-write"}
_CONSISTENCY = {1: "eventual", 2: "strong"}


def concurrency_word(number: int) -> str:
    """The enum's number as HTTP spells it; "" for unspecified and unknown."""
    return _CONCURRENCY.get(number, "")


def consistency_word(number: int) -> str:
    """The enum's number as HTTP spells it; "" for unspecified and unknown."""
    return _CONSISTENCY.get(number, "")


def plain_save(message: bytes) -> tuple[str, str, bytes] | None:
    """Store, key and value of a SaveStateRequest of one item that holds nothing else; None for any other, and for what
    is no message: those are for the class.

    Nearly every save is one. Read by hand it costs a quarter of the objects that the class makes.
    """
    try:
        end, at = len(message), 2 + message[1]
        size, item = message[at + 1], at + 2
        if size > 127:
            size, item = read_varint(message, at + 1, end)
        if message[0] != _FIELD_1 or message[at] != _FIELD_2 or at > 129 or item + size != end:
            return None
        split = item + 2 + message[item + 1]
        size, value = message[split + 1], split + 2
        if size > 127:
            size, value = read_varint(message, split + 1, end)
        if (
            message[item] != _FIELD_1
            or message[split] != _FIELD_2
            or split - item > 129
            or value + size != end
        ):
            return None
        return message[2:at].decode(), message[item + 2 : split].decode(), message[value:]
    except (IndexError, ValueError):
        return None


def plain_get(message: bytes) -> tuple[str, str] | None:
    """Store and key of a GetStateRequest of these two alone; None as for `plain_save`."""
    try:
        at = 2 + message[1]
        size, key = message[at + 1], at + 2
        if message[0] != _FIELD_1 or message[at] != _FIELD_2 or at > 129 or size > 127:
            return None
        if key + size != len(message):
            return None
        return message[2:at].decode(), message[key:].decode()
    except (IndexError, UnicodeDecodeError):
        return None


_FIELD_1, _FIELD_2 = 0x0A, 0x12
"""The keys of fields 1 and 2 where they hold bytes."""


def save_of(item: Any, *, canonical: bool, decode: bool) -> Save:
    """A StateItem as a write. With `decode`, a value whose metadata calls it JSON is kept as JSON; raises JsonError."""
    options, value, kind = item.options, item.value, ""
    metadata = dict(item.metadata) if item.metadata else NOTHING
    if decode and metadata.get("contentType") == JSON:
        value, kind = stored(value, canonical=canonical), JSON
    return Save(
        item.key, value, _etag(item), concurrency_word(options.concurrency),
        consistency_word(options.consistency), metadata, kind,
    )  # fmt: skip


def removal_of(item: Any) -> Removal:
    """A StateItem, or a DeleteStateRequest, as a removal."""
    options = item.options
    return Removal(
        item.key, _etag(item), concurrency_word(options.concurrency),
        consistency_word(options.consistency), dict(item.metadata) if item.metadata else NOTHING,
    )  # fmt: skip


def wishes_of(operations: Iterable[Any]) -> Iterator[Wish]:
    """The operations of a gRPC transaction, one after the other: a wrong one raises ApiError when its turn comes."""
    for operation in operations:
        item = operation.request
        match operation.operationType:
            case "upsert":
                yield save_of(item, canonical=False, decode=False)
            case "delete":
                yield removal_of(item)
            case other:
                raise ApiError(STATE_OPERATION, operation=other)


def get_answer(entry: Entry | None) -> bytes:
    """A GetStateResponse."""
    if entry is None:
        return b""
    data, etag = entry.value, (entry.etag or "").encode()
    if entry.expires_at is None and 0 < len(data) < 128 and 0 < len(etag) < 128:
        # The message of nearly every read, spelled out: fields 1 and 2, lengths of one byte each.
        return b"\x0a%c%b\x12%c%b" % (len(data), data, len(etag), etag)
    return runtime.GetStateResponse(
        data=data, etag=entry.etag or "", metadata=entry_metadata(entry)
    ).SerializeToString()


def bulk_answer(found: Iterable[Found]) -> bytes:
    """A GetBulkStateResponse."""
    items = []
    for key, entry, error in found:
        if entry is not None and entry.expires_at is None:
            name, data, etag = key.encode(), entry.value, (entry.etag or "").encode()
            n, d, e = len(name), len(data), len(etag)
            if n and d and e and n + d + e < 122:
                # A usual item, spelled out: fields 1 to 3 in field 1 of the answer, lengths of one byte each.
                words = (n + d + e + 6, n, name, d, data, e, etag)
                items.append(b"\x0a%c\x0a%c%b\x12%c%b\x1a%c%b" % words)
                continue
        items.append(prefixed(b"\x0a", _bulk_message(key, entry, error)))
    return b"".join(items)


def _bulk_message(key: str, entry: Entry | None, error: str) -> bytes:
    item = runtime.BulkStateItem(key=key, error=error)
    if entry is not None:
        item.data, item.etag = entry.value, entry.etag or ""
        item.metadata.update(entry_metadata(entry))
    return item.SerializeToString()


def _etag(item: Any) -> str | None:
    return item.etag.value if item.HasField("etag") else None


def _save(item: dict[str, Any], query: Mapping[str, str], canonical: bool) -> Save:
    concurrency = consistency = ""
    if options := _SET.inner(item, "options", "state.SetStateOption", _OPTIONS):
        concurrency, consistency = (
            _OPTIONS.text(options, "concurrency"),
            _OPTIONS.text(options, "consistency"),
        )
    metadata = _SET.texts(item, "metadata")
    return Save(
        _SET.text(item, "key"), _stored(item.get("value"), canonical), _SET.text(item, "etag"),
        concurrency, consistency, {**metadata, **query} if query else metadata, JSON,
    )  # fmt: skip


def _stored(value: Any, canonical: bool) -> bytes:
    if canonical:
        return json.encode_canonical(value)
    return orjson.dumps(value, default=_spelled, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def _spelled(value: object) -> Any:
    match value:
        case Number():
            return orjson.Fragment(json.go_float(value) if abs(value) < float("inf") else value.text)
        case Big():
            return orjson.Fragment(int.__str__(value))
        case _:
            raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _bulk_item(found: Found) -> dict[str, Any]:
    item: dict[str, Any] = {"key": found.key}
    if found.entry is not None:
        if found.entry.value:
            item["data"] = _as_json(found.entry.value)
        if found.entry.etag is not None:
            item["etag"] = found.entry.etag
        if found.entry.expires_at is not None:
            item["metadata"] = dict(entry_metadata(found.entry))
    if found.error:
        item["error"] = found.error
    return item


_TOKENS = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')


def _as_json(value: bytes) -> Any:
    try:
        orjson.loads(value)
        return orjson.Fragment(value if _SPACE(value) is None else _compact(value))
    except orjson.JSONDecodeError:
        return _as_lenient_json(value)


_SPACE = re.compile(rb"[ \t\r\n]").search


def _compact(value: bytes) -> bytes:
    return _TOKENS.sub(lambda token: token[1] or b"", value)


def _as_lenient_json(value: bytes) -> Any:
    """What only Go takes for JSON: broken UTF-8, numbers and depths beyond the parser's."""
    try:
        json.loads(value)
        value.decode()
    except JsonError:
        return _as_text(value)
    except UnicodeDecodeError:
        return orjson.Fragment(value.decode("utf-8", "replace").encode())
    return orjson.Fragment(_compact(value))


def _as_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


_SET = GoShape(
    "SetRequest",
    "key value etag metadata options contentType",
    whole="[]state.SetRequest",
    item="state.SetRequest",
)
_OPTIONS = GoShape("SetRequest", "concurrency consistency", path="options.")
_BULK = GoShape("BulkGetRequest", "keys parallelism metadata", whole="http.BulkGetRequest")
_TRANSACTION = GoShape(
    "stateTransactionRequestBody", "operations metadata", whole="http.stateTransactionRequestBody"
)
_OPERATION = GoShape("stateTransactionRequestBody", "operation request", path="operations.")
