"""Envelopes, byte for byte as a Dapr sidecar writes them."""

from datetime import datetime

import pytest

from pillion.rules import cloudevents
from pillion.rules.cloudevents import NotAnEvent, Origin, Template
from pillion.wire import json

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME = "2023-11-14T22:13:20Z"
ORIGIN = Origin("appa", "ps", "t1", "ID", TIME, TRACE)
T = f'"topic":"t1","traceid":"{TRACE}","traceparent":"{TRACE}","tracestate":""'
TAIL = f'"id":"ID","pubsubname":"ps","source":"appa","specversion":"1.0","time":"{TIME}",{T},"type":"com.dapr.event.sent"}}'


def written(data: bytes, content_type: str, **metadata: str) -> str:
    words = {key.replace("_", "."): value for key, value in metadata.items()}
    return json.encode_exact(
        cloudevents.envelope(data, content_type, words, ORIGIN, json.loads_first)
    ).decode()


@pytest.mark.parametrize(
    ("content_type", "data", "start"),
    [
        (
            "application/json",
            b'{"b":1,"a":[12345678901234567890,"<&>"]}',
            '{"data":{"a":[12345678901234567890,"\\u003c\\u0026\\u003e"],"b":1},"datacontenttype":"application/json",',
        ),
        ("application/json", b"{bad json", '{"data":"{bad json","datacontenttype":"application/json",'),
        ("text/plain", b"hello", '{"data":"hello","datacontenttype":"text/plain",'),
        ("", b"hello", '{"data":"hello","datacontenttype":"text/plain",'),
        (
            "application/octet-stream",
            b"\x00\x01\xff",
            '{"data_base64":"AAH/","datacontenttype":"application/octet-stream",',
        ),
        ("application/xml", b"<a/>", '{"data":"\\u003ca/\\u003e","datacontenttype":"application/xml",'),
        ("image/png", b"\xff\xfe", '{"data":"\ufffd\ufffd","datacontenttype":"image/png",'),
        (
            "application/json; charset=utf-8",
            b'"str"',
            '{"data":"str","datacontenttype":"application/json; charset=utf-8",',
        ),
        (
            "application/vnd.x+json",
            b'{"q":1}',
            '{"data":"{\\"q\\":1}","datacontenttype":"application/vnd.x+json",',
        ),
        ("application/json", b"null", '{"data":null,"datacontenttype":"application/json",'),
        ("application/json", b"", '{"data":"","datacontenttype":"application/json",'),
        ("application/json", b"1.50", '{"data":1.50,"datacontenttype":"application/json",'),
    ],
)
def test_data_is_wrapped_by_its_type(content_type: str, data: bytes, start: str) -> None:
    assert written(data, content_type) == start + TAIL


def test_an_event_of_the_apps_own_keeps_what_it_says_but_not_where_it_goes() -> None:
    data = (
        b'{"data":{"n":12345678901234567890},"datacontenttype":"application/json","ext":5,"id":"ce1","pubsubname":"x",'
        b'"topic":"y","source":"/src","specversion":"1.0","subject":"s","type":"my.type"}'
    )
    assert written(data, "application/cloudevents+json") == (
        '{"data":{"n":12345678901234567890},"datacontenttype":"application/json","ext":5,"id":"ce1","pubsubname":"ps",'
        f'"source":"/src","specversion":"1.0","subject":"s","time":"{TIME}",{T},"type":"my.type"}}'
    )


def test_an_event_of_the_apps_own_is_completed_but_for_its_id() -> None:
    assert written(b'{"data":"x"}', "application/cloudevents+json") == (
        f'{{"data":"x","pubsubname":"ps","source":"Dapr","specversion":"1.0","time":"{TIME}",{T},"type":"com.dapr.event.sent"}}'
    )


def test_an_event_with_a_trace_gets_no_traceparent() -> None:
    data = b'{"id":"ce2","data_base64":"AAE=","traceid":"mytid","time":"2020-01-01T00:00:00Z"}'
    assert written(data, "application/cloudevents+json") == (
        '{"data_base64":"AAE=","id":"ce2","pubsubname":"ps","source":"Dapr","specversion":"1.0",'
        '"time":"2020-01-01T00:00:00Z","topic":"t1","traceid":"mytid","tracestate":"","type":"com.dapr.event.sent"}'
    )


def test_metadata_overrides_some_attributes() -> None:
    text = written(
        b'{"a":1}', "application/json", cloudevent_id="oid", cloudevent_source="osrc", cloudevent_type="otype",
        cloudevent_subject="osub", cloudevent_traceid="otid", Cloudevent_Tracestate="ots", cloudevent_topic="no",
    )  # fmt: skip
    assert text == (
        '{"data":{"a":1},"datacontenttype":"application/json","id":"oid","pubsubname":"ps","source":"osrc",'
        f'"specversion":"1.0","subject":"osub","time":"{TIME}","topic":"t1","traceid":"otid","traceparent":"otid",'
        '"tracestate":"ots","type":"otype"}'
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"notjson", "invalid character 'o' in literal null (expecting 'u')"),
        (b"{x", "invalid character 'x' looking for beginning of object key string"),
        (b"[1]", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ],
)
def test_what_is_called_an_event_and_is_none_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(NotAnEvent) as refused:
        written(data, "application/cloudevents+json")
    assert str(refused.value) == why


def test_a_raw_payload_gets_an_envelope_without_time_or_trace() -> None:
    event = cloudevents.from_raw(b'{"raw":1}', "ps", "raw", "ID", {"foo": "bar"})
    assert json.encode_exact(event).decode() == (
        '{"data_base64":"eyJyYXciOjF9","datacontenttype":"application/octet-stream","id":"ID","pubsubname":"ps",'
        '"source":"Dapr","specversion":"1.0","topic":"raw","type":"com.dapr.event.sent"}'
    )


@pytest.mark.parametrize(
    ("metadata", "seconds"),
    [
        ({}, None), ({"ttlInSeconds": "50"}, 50.0), ({"TTLINSECONDS": "50"}, 50.0), ({"ttl": "1m"}, 60.0), ({"ttlInSeconds": "0"}, 0.0),
        ({"ttlInSeconds": "abc"}, None), ({"ttlInSeconds": "-5"}, None), ({"ttl": "-5s"}, -5.0),
    ],
)  # fmt: skip
def test_a_lifetime_is_read_or_ignored(metadata: dict[str, str], seconds: float | None) -> None:
    assert cloudevents.lifetime(metadata) == seconds


@pytest.mark.parametrize(
    ("expiration", "expired"),
    [
        ("2023-11-14T22:13:19Z", True), ("2023-11-14T22:13:21Z", False), ("2023-11-15T00:13:19+02:00", True), ("soon", False),
        ("", False), (5, False),
    ],
)  # fmt: skip
def test_an_event_past_its_expiration_has_expired(expiration: object, expired: bool) -> None:
    assert cloudevents.has_expired({"expiration": expiration}, 1_700_000_000.0) is expired


@pytest.mark.parametrize(
    ("text", "raw"), [("true", True), ("1", True), ("T", True), ("false", False), ("0", False), ("", False)]
)
def test_raw_payload_is_a_boolean_of_go(text: str, raw: bool) -> None:
    assert cloudevents.is_raw({"rawpayload": text}) is raw


def test_a_raw_payload_that_is_no_boolean_is_refused() -> None:
    with pytest.raises(ValueError, match="rawPayload value must be a valid boolean: actual is 'zz'"):
        cloudevents.is_raw({"rawPayload": "zz"})


@pytest.mark.parametrize(
    ("event", "trace"),
    [
        ({"traceparent": TRACE}, TRACE),
        ({"traceid": TRACE}, TRACE),
        ({"traceid": ""}, ""),
        ({"traceparent": "x", "traceid": TRACE}, ""),
        ({}, ""),
    ],
)
def test_the_trace_of_an_event_is_its_traceparent(event: dict[str, str], trace: str) -> None:
    assert cloudevents.trace_of(event) == trace


def test_an_instant_is_written_in_whole_seconds() -> None:
    assert cloudevents.rfc3339(1_700_000_000.9, utc=True) == TIME
    local = cloudevents.rfc3339(1_700_000_000.9)
    assert len(local) in (20, 25) and datetime.fromisoformat(local).timestamp() == 1_700_000_000


@pytest.mark.parametrize("topic", ["t1", 'a"b', "100%b", "<é>"])
@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "Application/JSON; charset=utf-8",
        "text/plain",
        "application/octet-stream",
        'x"%s',
    ],
)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b'{"b":1.50,"a":[12345678901234567890,"<&>"]}',
        b'{"b" : 1, "a":{}} tail',
        b"%d {",
        b"\xff\xc3\xa9",
        b"1e2",
    ],
)
@pytest.mark.parametrize("trace", ["", TRACE])
def test_a_template_makes_the_very_envelope(data: bytes, content_type: str, topic: str, trace: str) -> None:
    origin = Origin("app%a", "ps", topic, "ID", TIME, trace, "k=v" if trace else "")
    whole = json.encode_exact(cloudevents.envelope(data, content_type, {}, origin, json.loads_first))
    template = Template("app%a", "ps", topic, content_type, json.encode_exact, json.rewritten)
    traces = (json.encode_exact(trace), json.encode_exact(origin.trace_state)) if trace else ()
    assert template.filled(data, "ID", TIME, *traces) == whole
