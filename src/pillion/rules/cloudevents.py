"""The envelope around what an app publishes, and what is read back from one."""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pillion.model.call import traceparent
from pillion.toolbox import durations
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.pflags import BOOLS

CLOUD_EVENT = "application/cloudevents+json"
DEFAULT_TYPE = "com.dapr.event.sent"
DEFAULT_SOURCE = "Dapr"
_OCTETS = "application/octet-stream"
_OVERRIDES = ("id", "source", "type", "traceid", "tracestate", "traceparent", "subject")
_BINARY = frozenset({_OCTETS, "application/cloudevents+protobuf"})
_TRACES = ("traceid", "traceparent", "tracestate", "baggage")

Loads = Callable[[bytes], Any]
"""Reads the first JSON value of a body; raises ValueError."""


Encode = Callable[[object], bytes]
Rewrite = Callable[[bytes], bytes]


class NotAnEvent(ValueError):
    """The bytes hold no CloudEvent; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where and when an event is published: `time` as RFC 3339, `trace` a W3C traceparent or ""."""

    app_id: str
    pubsub: str
    topic: str
    id: str
    time: str
    trace: str = ""
    trace_state: str = ""


def envelope(
    data: bytes, content_type: str, metadata: Mapping[str, str], origin: Origin, loads: Loads
) -> dict[str, Any]:
    """The CloudEvent of one publish. Raises NotAnEvent when the app claims to send one and does not."""
    if plain_type(content_type) == CLOUD_EVENT:
        return _completed(data, origin, loads)
    content_type = content_type or "text/plain"
    field, value = _content(data, plain_type(content_type), loads)
    event = {
        field: value,
        "datacontenttype": content_type,
        "id": origin.id,
        "pubsubname": origin.pubsub,
        "source": origin.app_id,
        "specversion": "1.0",
        "time": origin.time,
        "topic": origin.topic,
        "traceid": origin.trace,
        "traceparent": origin.trace,
        "tracestate": origin.trace_state,
        "type": DEFAULT_TYPE,
    }
    if metadata:
        _override(event, metadata)
    return event


class Template:
    """The envelopes of one topic and content type for what is published without metadata: bytes, ready but for what differs
    from event to event. What comes out is what `envelope` makes, encoded."""

    __slots__ = ("_pattern", "_content")

    def __init__(
        self, app_id: str, pubsub: str, topic: str, content_type: str, encode: Encode, rewrite: Rewrite
    ) -> None:
        """Not for CloudEvents: those the app completes differently each time. `encode` writes a value as JSON with sorted keys,
        `rewrite` does it with a text that is JSON, or raises ValueError."""
        kind = plain_type(content_type)
        words = (content_type or "text/plain", pubsub, app_id, topic)
        fixed = [encode(word).replace(b"%", b"%%") for word in words]
        name = b"data_base64" if kind in _BINARY else b"data"
        self._pattern = (
            b'{"%b":%%b,"datacontenttype":%b,"id":"%%b","pubsubname":%b,"source":%b,"specversion":"1.0","time":"%%b",'
            b'"topic":%b,"traceid":%%b,"traceparent":%%b,"tracestate":%%b,"type":"com.dapr.event.sent"}'
        ) % (name, *fixed)
        self._content = _writer(kind, encode, rewrite)

    def filled(self, data: bytes, id: str, time: str, trace: bytes = b'""', state: bytes = b'""') -> bytes:
        """One event's envelope; `trace` and `state` are JSON already."""
        return self._pattern % (self._content(data), id.encode(), time.encode(), trace, trace, state)


def _writer(kind: str, encode: Encode, rewrite: Rewrite) -> Callable[[bytes], bytes]:
    def binary(data: bytes) -> bytes:
        return b'"%b"' % base64.b64encode(data)

    def text(data: bytes) -> bytes:
        return encode(go_text(data))

    def json(data: bytes) -> bytes:
        try:
            return rewrite(data)
        except ValueError:
            return text(data)

    if kind in _BINARY:
        return binary
    return json if kind == "application/json" else text


def from_raw(data: bytes, pubsub: str, topic: str, id: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The envelope a subscriber of raw payloads gets; only the broker's own words on tracing are kept."""
    event = {
        "data_base64": base64.b64encode(data).decode(),
        "datacontenttype": _OCTETS,
        "id": id,
        "pubsubname": pubsub,
        "source": DEFAULT_SOURCE,
        "specversion": "1.0",
        "topic": topic,
        "type": DEFAULT_TYPE,
    }
    return trace_from(event, metadata)


def from_binary(data: bytes, content_type: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """The envelope of a message in CloudEvents' binary mode: its attributes came as `ce_` headers."""
    event: dict[str, Any] = {
        key[3:].lower(): value for key, value in metadata.items() if key[:3].lower() == "ce_"
    }
    event["data"] = data
    event["datacontenttype"] = content_type
    return event


def parsed(data: bytes, loads: Loads) -> dict[str, Any]:
    """The CloudEvent a message holds. Raises NotAnEvent for anything but a JSON object."""
    try:
        event = loads(data)
    except ValueError as error:
        raise NotAnEvent(str(error)) from error
    if not isinstance(event, dict):
        raise NotAnEvent(
            f"json: cannot unmarshal {_kind(event)} into Go value of type map[string]interface {{}}"
        )
    return event


def trace_from(event: dict[str, Any], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Take what the event lacks of its trace from the broker's metadata; a traceparent found there is the traceid too."""
    for name in _TRACES:
        if name in metadata and name not in event:
            event[name] = metadata[name]
            if name == "traceparent":
                event["traceid"] = metadata[name]
    return event


def trace_of(event: Mapping[str, object]) -> str:
    """The W3C traceparent an event belongs to, "" for none."""
    found = event.get("traceparent")
    if found is None:
        found = event.get("traceid")
    return traceparent(found) if found and isinstance(found, str) else ""


def has_expired(event: Mapping[str, object], now: float) -> bool:
    """Whether the event's `expiration` lies in the past. What is not a date never expires."""
    expiration = event.get("expiration")
    if not isinstance(expiration, str) or not expiration:
        return False
    try:
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        return False
    return moment.tzinfo is not None and moment.timestamp() < now


def lifetime(metadata: Mapping[str, str]) -> float | None:
    """The seconds a message is to live; None where nothing, or nothing readable, was said. Zero ends it at once."""
    text = word(metadata, "ttl") or word(metadata, "ttlInSeconds")
    if not text:
        return None
    try:
        return durations.parse(text).total_seconds()
    except durations.DurationError:
        return float(text) if text.isascii() and text.isdigit() and int(text) > 0 else None


def is_raw(metadata: Mapping[str, str]) -> bool:
    """Whether the payload travels without an envelope. Raises ValueError for what is no boolean."""
    text = word(metadata, "rawPayload")
    if not text:
        return False
    if text not in BOOLS:
        raise ValueError(f"rawPayload value must be a valid boolean: actual is '{text}'")
    return BOOLS[text]


def word(metadata: Mapping[str, str], name: str) -> str:
    """A metadata value by name whatever its case, "" when absent."""
    if not metadata:
        return ""
    if name in metadata:
        return metadata[name]
    folded = name.lower()
    return next((value for key, value in metadata.items() if key.lower() == folded), "")


def plain_type(content_type: str) -> str:
    """A content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_binary(content_type: str) -> bool:
    """Whether content of this type is bytes rather than text."""
    return plain_type(content_type) in _BINARY


def rfc3339(instant: float, *, utc: bool = False) -> str:
    """An instant in whole seconds, in the machine's own zone or in UTC."""
    moment = datetime.fromtimestamp(int(instant), UTC)
    return (moment if utc else moment.astimezone()).isoformat().replace("+00:00", "Z")


def _completed(data: bytes, origin: Origin, loads: Loads) -> dict[str, Any]:
    """A CloudEvent the app wrote itself, with what it left out."""
    try:
        event = loads(data)
    except ValueError as error:
        raise NotAnEvent(str(error)) from error
    if event is None:
        event = {}
    if not isinstance(event, dict):
        raise NotAnEvent(
            f"json: cannot unmarshal {_kind(event)} into Go value of type map[string]interface {{}}"
        )
    event.setdefault("time", origin.time)
    if "traceid" not in event:
        event["traceid"] = origin.trace
        event.setdefault("traceparent", origin.trace)
    event.setdefault("tracestate", origin.trace_state)
    event["topic"] = origin.topic
    event["pubsubname"] = origin.pubsub
    for name, default in (("source", DEFAULT_SOURCE), ("type", DEFAULT_TYPE), ("specversion", "1.0")):
        if event.get(name) is None:
            event[name] = default
    return event


def _content(data: bytes, kind: str, loads: Loads) -> tuple[str, Any]:
    if kind in _BINARY:
        return "data_base64", base64.b64encode(data).decode()
    if kind == "application/json":
        try:
            return "data", loads(data)
        except ValueError:
            pass
    return "data", go_text(data)


def go_text(data: bytes) -> str:
    """Bytes as text: each byte that is not UTF-8 becomes U+FFFD, one for one."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape").translate(_LONE)


_LONE = dict.fromkeys(range(0xDC80, 0xDD00), 0xFFFD)


def _override(event: dict[str, Any], metadata: Mapping[str, str]) -> None:
    given = {}
    for key, value in metadata.items():
        folded = key.lower()
        if folded.startswith("cloudevent.") and folded[11:] in _OVERRIDES and value:
            given[folded[11:]] = value
    trace = given.pop("traceparent", "") or given.get("traceid", "")
    if trace:
        given["traceid"] = given["traceparent"] = trace
    event.update(given)


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "number"
