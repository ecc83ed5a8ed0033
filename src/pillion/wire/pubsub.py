"""Publish/subscribe as it travels: bulk requests, the app's lists of topics, events for an app, its answers."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pillion.model.pubsub import Answer, Batch, Bulk, Event, Interest, Rule
from pillion.toolbox.lazily import pattern
from pillion.wire.json import (
    JsonError,
    encode_canonical,
    encode_exact,
    encode_ordered,
    field,
    is_delicate,
    loads,
    loads_first,
)
from pillion.wire.scan import read_varint

CLOUD_EVENT = "application/cloudevents+json"
BULK_TYPE = "com.dapr.event.sent.bulk"
_TOKEN = pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = pattern(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
_KEY = re.compile(rb"[0-9a-z_.\-]+")
_OURS = frozenset(
    {
        "connection", "content-length", "content-type", "dapr-api-token", "host", "keep-alive", "proxy-connection", "pubsubname",
        "te", "trailer", "traceparent", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Fields of a delivery that no publisher may set."""


# What an app asks for


def interests(body: bytes) -> tuple[list[Interest], list[str]]:
    """The answer to `/dapr/subscribe`, and the topics that were left out for want of a route. Raises JsonError.

    Items may be bare topic names, and need not name a broker: so it was in 2020.
    """
    items = loads_first(body) if body.strip() else None
    if items is None:
        return [], []
    if not isinstance(items, list):
        raise JsonError(
            f"json: cannot unmarshal {_kind(items)} into Go value of type []pubsub.SubscriptionJSON"
        )
    found, left_out = [], []
    for item in items:
        interest = _interest(item)
        if interest.rules:
            found.append(interest)
        else:
            left_out.append(interest.topic)
    return found, left_out


def _interest(item: Any) -> Interest:
    if isinstance(item, str):
        return Interest("", item, (Rule("", item),))
    if not isinstance(item, dict):
        raise JsonError(f"json: cannot unmarshal {_kind(item)} into Go value of type pubsub.SubscriptionJSON")
    return Interest(
        pubsub=_text(item, "pubsubname"),
        topic=_text(item, "topic"),
        rules=_rules(item),
        metadata=_table(item, "metadata"),
        dead_letter=_text(item, "deadLetterTopic"),
        bulk=_bulk(_section(item, "bulkSubscribe")),
    )


def _rules(item: Mapping[str, Any]) -> tuple[Rule, ...]:
    routes = _section(item, "routes")
    given = field(routes, "rules")
    given = [] if given is None else given
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise JsonError("json: cannot unmarshal routes.rules into Go value of type []pubsub.RuleJSON")
    rules = [Rule(_text(each, "match"), path) for each in given if (path := _text(each, "path"))]
    default = _text(routes, "default") or _text(item, "route")
    return (*rules, Rule("", default)) if default else tuple(rules)


def _bulk(section: Mapping[str, Any]) -> Bulk:
    return bulk(
        field(section, "enabled") is True,
        _count(section, "maxMessagesCount"),
        _count(section, "maxAwaitDurationMs"),
    )


def bulk(enabled: bool, most: int, milliseconds: int) -> Bulk:
    """A bulk subscription's limits; 0 or less is the default."""
    plain = Bulk()
    return Bulk(
        enabled,
        int(most) if most > 0 else plain.max_messages,
        milliseconds / 1000 if milliseconds > 0 else plain.max_await,
    )


def interests_of(answer: Any) -> list[Interest]:
    """The answer to ListTopicSubscriptions. A topic without routes has one, of no name."""
    found = []
    for item in answer.subscriptions:
        rules = tuple(Rule(rule.match, rule.path) for rule in item.routes.rules)
        if item.routes.default or not rules:
            rules = (*rules, Rule("", item.routes.default))
        config = item.bulk_subscribe
        found.append(
            Interest(
                item.pubsub_name,
                item.topic,
                rules,
                dict(item.metadata),
                item.dead_letter_topic,
                bulk(config.enabled, config.max_messages_count, config.max_await_duration_ms),
            )
        )
    return found


# Events for an HTTP app


def http_fields(metadata: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Publish metadata as header fields; what could break a header, or belongs to the delivery itself, is left out."""
    for name, value in metadata.items():
        folded = name.lower()
        if folded not in _OURS and _TOKEN.fullmatch(name) and not _CONTROL.search(value):
            yield folded.encode(), value.encode()


def is_metadata_key(name: bytes) -> bool:
    """Whether gRPC can carry metadata of this name."""
    return _KEY.fullmatch(name) is not None


def batch_body(batch: Batch) -> bytes:
    """The envelope of a bulk delivery; each event's bytes go in as they are."""
    entries = b",".join(_entry(event) for event in batch.events)
    words = (batch.id, batch.metadata, batch.pubsub, batch.topic)
    id, metadata, pubsub, topic = (encode_exact(word) for word in words)
    return (
        b'{"entries":[%b],"id":%b,"metadata":%b,"pubsubname":%b,"topic":%b,"type":"com.dapr.event.sent.bulk"}'
        % (entries, id, metadata, pubsub, topic)
    )


def _entry(event: Event) -> bytes:
    raw = event.raw is not None
    content = b'"' + base64.b64encode(event.raw or b"") + b'"' if raw else event.body
    return b'{"entryId":%b,"event":%b,"metadata":%b,"contentType":"%b"}' % (
        encode_exact(event.entry_id),
        content,
        encode_exact(dict(event.headers)),
        b"application/octet-stream" if raw else CLOUD_EVENT.encode(),
    )


def http_answer(body: bytes) -> Answer | None:
    """What a 2xx answer says of an event; None for a status nobody knows, which means RETRY."""
    if not body:
        return Answer.SUCCESS
    try:
        said = loads_first(body)
    except JsonError:
        return Answer.SUCCESS
    return _answer(field(said, "status") or "") if isinstance(said, dict) else Answer.SUCCESS


def _answer(status: object) -> Answer | None:
    match status:
        case "SUCCESS" | "":
            return Answer.SUCCESS
        case "RETRY":
            return Answer.RETRY
        case "DROP":
            return Answer.DROP
        case str():
            return None
        case _:
            return Answer.SUCCESS


def http_answers(body: bytes) -> dict[str, Answer]:
    """What a 2xx answer says of a batch's entries. Raises JsonError when it cannot be read, `EOF` when it is empty."""
    said = loads_first(body)
    statuses = field(said, "statuses") if isinstance(said, dict) else None
    found = {}
    for each in statuses if isinstance(statuses, list) else ():
        if isinstance(each, dict):
            status = field(each, "status")
            found[_text(each, "entryId")] = (_answer(status) if status else None) or Answer.RETRY
    return found


# Events for a gRPC app


def fill_event(message: Any, event: Event) -> None:
    """Write an event's attributes into a TopicEventRequest or a TopicEventCERequest. Raises ValueError for data that cannot be sent."""
    envelope = event.envelope
    message.id = _attribute(envelope, "id")
    message.source = _attribute(envelope, "source")
    message.type = _attribute(envelope, "type")
    message.spec_version = _attribute(envelope, "specversion")
    message.data_content_type = _attribute(envelope, "datacontenttype")
    message.data = event_data(envelope, event.body)
    fields = message.extensions.fields
    for name, value in envelope.items():
        if name not in _OWN_FIELDS:
            _fill(fields[name], value)


def event_data(envelope: Mapping[str, object], body: bytes) -> bytes:
    """The bytes of an event's data: base64 undone, text as it is, JSON written anew (from the body, which has its numbers
    as they were); nothing for other types."""
    encoded = envelope.get("data_base64")
    if isinstance(encoded, str):
        return base64.b64decode(encoded)
    data = envelope.get("data")
    if data is None or isinstance(data, bytes):
        return data or b""
    kind = _attribute(envelope, "datacontenttype").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind == "application/xml":
        if not isinstance(data, str):
            raise ValueError(f"the data of a {kind} event is no text")
        return data.encode()
    if kind not in ("application/json", CLOUD_EVENT):
        return b""
    if not isinstance(data, str) and is_delicate(body):
        data = field(loads(body), "data", data)
    return encode_canonical(data)


def rpc_answer(status: int) -> Answer:
    """TopicEventResponseStatus; an unknown one means RETRY."""
    return {0: Answer.SUCCESS, 2: Answer.DROP}.get(status, Answer.RETRY)


_OWN_FIELDS = frozenset({"id", "source", "type", "specversion", "datacontenttype", "data", "data_base64"})


def _attribute(envelope: Mapping[str, object], name: str) -> str:
    value = envelope.get(name)
    return value if isinstance(value, str) else ""


def _fill(slot: Any, value: object) -> None:
    match value:
        case None:
            slot.null_value = 0
        case bool():
            slot.bool_value = value
        case str():
            slot.string_value = value
        case int() | float():
            slot.number_value = float(value)
        case Mapping():
            slot.struct_value.SetInParent()
            for name, member in value.items():
                _fill(slot.struct_value.fields[name], member)
        case list() | tuple():
            slot.list_value.SetInParent()
            for member in value:
                _fill(slot.list_value.values.add(), member)
        case _:
            slot.string_value = str(value)


# Publish


def plain_publish(message: bytes) -> tuple[str, str, bytes, str] | None:
    """Broker, topic, data and content type of a PublishEventRequest that says all four and has no metadata; None for any
    other, and for what is no message: those are for the class. Read by hand it costs a third of the class's object.
    """
    try:
        end, at = len(message), 2 + message[1]
        topic, data = at + 2, at + 2 + message[at + 1]
        size, start = message[data + 1], data + 2
        if size > 127:
            size, start = read_varint(message, data + 1, end)
        kind = start + size
        if (
            message[0] != 0x0A or message[at] != 0x12 or message[data] != 0x1A or message[kind] != 0x22
            or at > 129 or data - topic > 127 or message[kind + 1] > 127 or kind + 2 + message[kind + 1] != end
        ):  # fmt: skip
            return None
        return (
            message[2:at].decode(),
            message[topic:data].decode(),
            message[start:kind],
            message[kind + 2 :].decode(),
        )
    except (IndexError, ValueError):
        return None


# Bulk publish


class BadEntry(ValueError):
    """An entry of a bulk publish that cannot be sent."""


class DoubledEntry(BadEntry):
    """An entry without an id of its own."""


def bulk_entries(body: bytes) -> list[tuple[str, bytes, str, dict[str, str] | None]]:
    """Id, bytes, content type and metadata (None where there is none) of each entry. Raises JsonError, BadEntry."""
    items = loads(body)
    if items is None:
        return []
    if not isinstance(items, list):
        raise JsonError(
            f"json: cannot unmarshal {_kind(items)} into Go value of type []http.bulkPublishMessageEntry"
        )
    found, seen = [], set[str]()
    for item in items:
        if not isinstance(item, dict):
            raise JsonError(
                f"json: cannot unmarshal {_kind(item)} into Go value of type http.bulkPublishMessageEntry"
            )
        id, content_type = _text(item, "entryId"), _text(item, "contentType")
        if not id or id in seen:
            raise DoubledEntry("entryId is duplicated or not present for entry")
        seen.add(id)
        metadata = field(item, "metadata")
        found.append(
            (
                id,
                _event_bytes(field(item, "event"), content_type),
                content_type,
                None if metadata is None else _table(item, "metadata"),
            )
        )
    return found


def bulk_failure(failures: Sequence[tuple[str, str]], code: str) -> bytes:
    """The answer to a bulk publish of which some entries (id, error) failed."""
    entries = [{"entryId": id, "error": error} for id, error in failures]
    return encode_ordered({"failedEntries": entries, "errorCode": code})


def _event_bytes(event: object, content_type: str) -> bytes:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("application/octet-stream", "application/cloudevents+protobuf") and isinstance(event, str):
        return _decoded(event)
    if (kind.startswith("text/") or kind == "application/xml") and isinstance(event, str):
        return event.encode()
    if kind in ("application/json", CLOUD_EVENT):
        return encode_exact(event)
    raise BadEntry("mismatch between contentType and event")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        wrong = re.search(r"[^A-Za-z0-9+/=\r\n]", text)
        at = wrong.start() if wrong else len(text)
        why = f"illegal base64 data at input byte {at}"
        raise BadEntry(f"unable to decode base64 application/octect-stream data: {why}") from error


# Plain reading


def _text(item: Mapping[str, Any], name: str) -> str:
    value = field(item, name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise JsonError(f"json: cannot unmarshal {_kind(value)} into Go struct field {name} of type string")
    return value


def _count(item: Mapping[str, Any], name: str) -> int:
    value = field(item, name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise JsonError(f"json: cannot unmarshal {_kind(value)} into Go struct field {name} of type int32")
    return value


def _section(item: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = field(item, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise JsonError(f"json: cannot unmarshal {_kind(value)} into Go struct field {name}")
    return value


def _table(item: Mapping[str, Any], name: str) -> dict[str, str]:
    table = _section(item, name)
    return {key: _text(table, key) for key in table}


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "number"
