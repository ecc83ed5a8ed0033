"""State over HTTP, byte for byte as Dapr answers."""

import json
import re
from collections.abc import AsyncIterator

import pytest
from support.api import Answer, HttpCaller
from support.stores import Shelf

from pillion.contracts.state import Feature, StateStore
from pillion.contracts.words import Unavailable
from pillion.edge.http.state import StateRoutes
from pillion.model.state import Entry
from pillion.services.sealing import Sealer, SealKey
from pillion.services.state import StateService
from pillion.toolbox.stream import Stream

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
JSON = {"content-type": "application/json"}


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    made = Shelf()
    await made.memory()
    yield made
    await made.close()


@pytest.fixture
def api(shelf: Shelf) -> HttpCaller:
    return caller(shelf)


def caller(shelf: Shelf, body_limit: int | None = None) -> HttpCaller:
    return HttpCaller(
        StateRoutes(StateService(shelf.mounts, shelf.clock), "appa").routes(), body_limit=body_limit
    )


async def save(api: HttpCaller, *items: object, query: str = "") -> Answer:
    return await api.ask("POST", "/v1.0/state/mem" + query, json.dumps(items).encode())


def error(code: str, message: str) -> bytes:
    return json.dumps({"errorCode": code, "message": message}, separators=(",", ":")).encode()


# What works.


async def test_json_is_kept_with_sorted_keys_escaped_markup_and_exact_integers(api: HttpCaller) -> None:
    body = b'[{"key":"k1","value":{"b":1,"a":[1.0,12345678901234567890,"<x>"]}}]'
    saved = await api.ask("POST", "/v1.0/state/mem", body)
    got = await api.ask("GET", "/v1.0/state/mem/k1")
    assert (saved.status, saved.headers, saved.body) == (204, {}, b"")
    assert got.body == rb'{"a":[1,12345678901234567890,"\u003cx\u003e"],"b":1}'
    assert got.status == 200 and UUID.fullmatch(got.headers.pop("etag")) and got.headers == JSON


async def test_an_absent_key_is_204_without_a_word(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/state/mem/nobody")
    assert (got.status, got.headers, got.body) == (204, {}, b"")


async def test_null_is_a_value(api: HttpCaller) -> None:
    await save(api, {"key": "n", "value": None})
    got = await api.ask("GET", "/v1.0/state/mem/n")
    assert (got.status, got.body) == (200, b"null")


async def test_a_ttl_shows_as_a_header_and_then_takes_the_key_away(api: HttpCaller, shelf: Shelf) -> None:
    await save(api, {"key": "t", "value": 1, "metadata": {"ttlInSeconds": "100"}})
    got = await api.ask("GET", "/v1.0/state/mem/t")
    assert got.headers["metadata.ttlexpiretime"] == "2023-11-14T22:15:00Z"
    await shelf.clock.advance(101)
    assert (await api.ask("GET", "/v1.0/state/mem/t")).status == 204


async def test_metadata_of_the_url_wins_over_an_items_own(api: HttpCaller) -> None:
    await save(
        api, {"key": "t", "value": 1, "metadata": {"ttlInSeconds": "5"}}, query="?metadata.ttlInSeconds=-1"
    )
    assert "metadata.ttlexpiretime" not in (await api.ask("GET", "/v1.0/state/mem/t")).headers


@pytest.mark.parametrize("body", [b"[]", b"null", b"[] trailing"])
async def test_nothing_to_save_is_saved(api: HttpCaller, body: bytes) -> None:
    assert (await api.ask("PUT", "/v1.0/state/mem", body)).status == 204


async def test_field_names_match_in_any_case_and_only_the_first_json_value_is_read(api: HttpCaller) -> None:
    body = b'[{"KEY":"c","Value":"v","unknown":1}] and more'
    assert (await api.ask("POST", "/v1.0/state/mem", body)).status == 204
    assert (await api.ask("GET", "/v1.0/state/mem/c")).body == b'"v"'


async def test_a_bulk_read_tells_missing_keys_by_name_alone(api: HttpCaller) -> None:
    await save(api, {"key": "k1", "value": 1}, {"key": "s", "value": "str"})
    etags = [(await api.ask("GET", f"/v1.0/state/mem/{key}")).headers["etag"] for key in ("k1", "s")]
    got = await api.ask("POST", "/v1.0/state/mem/bulk", b'{"keys":["k1","s","zz"]}')
    assert got.status == 200 and got.headers == JSON
    assert (
        got.body
        == (
            f'[{{"key":"k1","data":1,"etag":"{etags[0]}"}},{{"key":"s","data":"str","etag":"{etags[1]}"}},{{"key":"zz"}}]\n'
        ).encode()
    )


async def test_a_bulk_read_tells_when_a_key_ends(api: HttpCaller) -> None:
    await save(api, {"key": "t", "value": 1, "metadata": {"ttlInSeconds": "100"}})
    got = json.loads((await api.ask("POST", "/v1.0/state/mem/bulk", b'{"keys":["t"]}')).body)
    assert got[0]["metadata"] == {"ttlExpireTime": "2023-11-14T22:15:00Z"}


async def test_a_bulk_read_of_no_keys_is_an_empty_array(api: HttpCaller) -> None:
    assert (await api.ask("POST", "/v1.0/state/mem/bulk", b'{"keys":[]}')).body == b"[]\n"


async def test_a_bulk_read_shows_what_is_not_json_as_a_string(shelf: Shelf, api: HttpCaller) -> None:
    rows = shelf.mounts["mem"].driver._rows  # as gRPC clients write them
    rows["appa||text"], rows["appa||raw"] = Entry(b"plain <b>"), Entry(b"\xff\x00")
    rows["appa||wide"] = Entry(b'{ "a b" : [1, 2] }')
    got = await api.ask("POST", "/v1.0/state/mem/bulk", b'{"keys":["text","raw","wide"]}')
    assert got.body == (
        b'[{"key":"text","data":"plain \\u003cb\\u003e"},{"key":"raw","data":"/wA="},'
        b'{"key":"wide","data":{"a b":[1,2]}}]\n'
    )


async def test_a_transaction_writes_and_deletes_in_order(api: HttpCaller) -> None:
    await save(api, {"key": "old", "value": 1})
    body = {
        "operations": [
            {"operation": "upsert", "request": {"key": "a", "value": 1}},
            {"operation": "upsert", "request": {"Key": "a", "value": 2}},
            {"operation": "delete", "request": {"key": "old"}},
        ],
        "metadata": {"ttlInSeconds": "100"},
    }
    assert (await transact(api, body)).status == 204
    got = await api.ask("GET", "/v1.0/state/mem/a")
    assert got.body == b"2" and "metadata.ttlexpiretime" in got.headers
    assert (await api.ask("GET", "/v1.0/state/mem/old")).status == 204


async def transact(api: HttpCaller, body: object) -> Answer:
    return await api.ask("POST", "/v1.0/state/mem/transaction", json.dumps(body).encode())


async def test_an_empty_transaction_is_done(api: HttpCaller) -> None:
    assert (await api.ask("POST", "/v1.0/state/mem/transaction", b'{"operations":[]}')).status == 204


@pytest.mark.parametrize("header", ["if_match", "etag"])
async def test_an_etag_on_delete_comes_in_either_header(api: HttpCaller, header: str) -> None:
    await save(api, {"key": "k1", "value": 1})
    refused = await api.ask("DELETE", "/v1.0/state/mem/k1", **{header: "9999"})
    etag = (await api.ask("GET", "/v1.0/state/mem/k1")).headers["etag"]
    assert refused.status == 409
    assert refused.body == error(
        "ERR_STATE_DELETE",
        "failed deleting state with key k1: possible etag mismatch. error from state store: "
        f"state etag not match for key=appa||k1: current={etag}, expect=9999",
    )
    assert (await api.ask("DELETE", "/v1.0/state/mem/k1", **{header: etag})).status == 204
    assert (await api.ask("GET", "/v1.0/state/mem/k1")).status == 204


async def test_every_path_has_one_metrics_label_per_store(api: HttpCaller) -> None:
    await api.ask("GET", "/v1.0/state/mem/k1")
    await api.ask("POST", "/v1.0/state/mem/bulk", b"{}")
    await api.ask("POST", "/v1.0-alpha1/state/mem/query", b"{}")
    assert [path for _, path, _ in api.served] == [
        "/v1.0/state/mem",
        "/v1.0/state/mem",
        "/v1.0-alpha1/state/mem",
    ]


# What is refused.

MALFORMED = "ERR_MALFORMED_REQUEST"
DESERIALIZING = "failed deserializing HTTP body: "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'[{"value":1}]', '"key" is a required field'),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"{}", "json: cannot unmarshal object into Go value of type []state.SetRequest"),
        (b"", "EOF"),
        (b"[1]", "json: cannot unmarshal number into Go value of type state.SetRequest"),
        (
            b'[{"key":"k","metadata":{"ttlInSeconds":100}}]',
            "json: cannot unmarshal number into Go struct field SetRequest.metadata of type string",
        ),
        (b'[{"key":1}]', "json: cannot unmarshal number into Go struct field SetRequest.key of type string"),
    ],
)
async def test_a_body_that_is_no_list_of_items_is_refused(api: HttpCaller, body: bytes, message: str) -> None:
    got = await api.ask("POST", "/v1.0/state/mem", body)
    assert (got.status, got.headers, got.body) == (400, JSON, error(MALFORMED, message))


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("/v1.0/state/mem", MALFORMED, "stream too large"),
        ("/v1.0/state/mem/bulk", MALFORMED, DESERIALIZING + "stream too large"),
        ("/v1.0/state/mem/transaction", MALFORMED, DESERIALIZING + "stream too large"),
        ("/v1.0-alpha1/state/mem/query", "ERR_BODY_READ", "failed to read request body: stream too large"),
    ],
)
async def test_a_body_over_the_limit_is_refused(shelf: Shelf, target: str, code: str, message: str) -> None:
    stream = Stream()
    stream.push(b" " * 65)
    stream.finish()
    got = await caller(shelf, body_limit=64).ask("POST", target, stream)
    assert (got.status, got.body) == (400, error(code, message))


@pytest.mark.parametrize(
    ("item", "status", "message"),
    [
        ({"metadata": {"ttlInSeconds": "abc"}}, 500, 'strconv.Atoi: parsing "abc": invalid syntax'),
        ({"options": {"concurrency": "weird"}}, 500, "unrecognized concurrency model 'weird'"),
        ({"options": {"consistency": "weird"}}, 500, "unrecognized consistency model 'weird'"),
        (
            {"options": {"concurrency": "first-write"}}, 409,
            "possible etag mismatch. error from state store: item already exists and no etag was passed",
        ),
    ],
)  # fmt: skip
async def test_an_item_that_cannot_be_written_says_why(
    api: HttpCaller, item: dict[str, object], status: int, message: str
) -> None:
    await save(api, {"key": "k1", "value": 1})
    got = await save(api, {"key": "k1", "value": 2, **item})
    assert (got.status, got.headers) == (status, JSON)
    assert got.body == error("ERR_STATE_SAVE", f"failed saving state in state store mem: {message}")


async def test_a_wrong_etag_names_both(api: HttpCaller) -> None:
    await save(api, {"key": "k1", "value": 1})
    etag = (await api.ask("GET", "/v1.0/state/mem/k1")).headers["etag"]
    got = await save(api, {"key": "k1", "value": 2, "etag": "9999"})
    assert got.status == 409
    assert got.body == error(
        "ERR_STATE_SAVE",
        "failed saving state in state store mem: possible etag mismatch. error from state store: "
        f"state etag not match for key=appa||k1: current={etag}, expect=9999",
    )


async def test_of_several_items_the_good_ones_are_written(api: HttpCaller) -> None:
    got = await save(api, {"key": "good", "value": 1}, {"key": "bad", "value": 2, "etag": "9999"})
    phrase = "possible etag mismatch. error from state store: "
    assert got.status == 409
    assert got.body == error(
        "ERR_STATE_SAVE",
        f"failed saving state in state store mem: {phrase}{phrase}state not exist or expired for key=appa||bad",
    )
    assert (await api.ask("GET", "/v1.0/state/mem/good")).body == b"1"


async def test_an_unknown_store_is_named(api: HttpCaller) -> None:
    got = await api.ask("GET", "/v1.0/state/nostore/k")
    assert (got.status, got.headers) == (400, JSON)
    assert got.body == (
        b'{"errorCode":"ERR_STATE_STORE_NOT_FOUND","message":"state store nostore is not found","details":['
        b'{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"appa"},'
        b'"reason":"DAPR_STATE_NOT_FOUND"}]}'
    )


@pytest.mark.parametrize(
    ("method", "target", "metadata"),
    [("GET", "/v1.0/state/x/k", '{"appID":"appa"}'), ("POST", "/v1.0-alpha1/state/x/query", "null")],
)
async def test_without_any_store_all_are_not_configured(method: str, target: str, metadata: str) -> None:
    got = await caller(Shelf()).ask(method, target)
    assert got.status == 500
    assert (
        got.body
        == (
            '{"errorCode":"ERR_STATE_STORE_NOT_CONFIGURED","message":"state store x is not configured","details":['
            f'{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{metadata},'
            '"reason":"DAPR_STATE_NOT_CONFIGURED"}]}'
        ).encode()
    )


ILLEGAL = "api error: code = InvalidArgument desc = input key/keyPrefix 'a||b' can't contain '||'"


@pytest.mark.parametrize("way", ["get", "save", "delete", "bulk", "transaction"])
async def test_a_key_with_the_separator_is_illegal(api: HttpCaller, way: str) -> None:
    match way:
        case "save":
            got = await save(api, {"key": "a||b", "value": 1})
        case "bulk":
            got = await api.ask("POST", "/v1.0/state/mem/bulk", b'{"keys":["a||b"]}')
        case "transaction":
            got = await transact(api, {"operations": [{"operation": "delete", "request": {"key": "a||b"}}]})
        case _:
            got = await api.ask(way.upper(), "/v1.0/state/mem/a%7C%7Cb")
    field = "" if way == "transaction" else '"field":"a||b",'
    assert (got.status, got.headers) == (400, JSON)
    assert (
        got.body
        == (
            f'{{"errorCode":"ERR_MALFORMED_REQUEST","message":"{ILLEGAL}","details":['
            '{"@type":"type.googleapis.com/google.rpc.BadRequest","field_violations":['
            f'{{{field}"description":"{ILLEGAL}"}}]}},'
            '{"@type":"type.googleapis.com/google.rpc.ResourceInfo","description":"","owner":"","resource_name":"mem",'
            '"resource_type":"state"},{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":null,'
            '"reason":"DAPR_STATE_ILLEGAL_KEY"}]}'
        ).encode()
    )


@pytest.mark.parametrize(
    ("target", "body", "message"),
    [
        ("bulk", b"[]", "json: cannot unmarshal array into Go value of type http.BulkGetRequest"),
        ("bulk", b"", "EOF"),
        ("transaction", b"{", "unexpected EOF"),
        (
            "transaction",
            b'{"operations":[{"operation":"upsert","request":{"key":"k","metadata":{"ttlInSeconds":5}}}]}',
            "1 error(s) decoding:\n\n* 'Metadata[ttlInSeconds]' expected type 'string', "
            "got unconvertible type 'float64', value: '5'",
        ),
    ],
)
async def test_other_bodies_are_refused_behind_a_phrase(
    api: HttpCaller, target: str, body: bytes, message: str
) -> None:
    got = await api.ask("POST", f"/v1.0/state/mem/{target}", body)
    assert (got.status, got.body) == (400, error(MALFORMED, DESERIALIZING + message))


async def test_a_transaction_knows_two_operations(api: HttpCaller) -> None:
    got = await api.ask("POST", "/v1.0/state/mem/transaction", b'{"operations":[{"operation":"get"}]}')
    assert (got.status, got.body) == (
        400, error("ERR_NOT_SUPPORTED_STATE_OPERATION", "operation type get not supported")
    )  # fmt: skip


async def test_a_wrong_etag_in_a_transaction_is_500_and_writes_nothing(api: HttpCaller) -> None:
    upserts = [{"key": "new", "value": 1}, {"key": "bad", "value": 1, "etag": "9999"}]
    got = await transact(api, {"operations": [{"operation": "upsert", "request": each} for each in upserts]})
    assert (got.status, got.body) == (
        500,
        error(
            "ERR_STATE_TRANSACTION",
            "error while executing state transaction: possible etag mismatch. error from state store: "
            "state not exist or expired for key=appa||bad",
        ),
    )
    assert (await api.ask("GET", "/v1.0/state/mem/new")).status == 204


async def test_a_query_is_refused(api: HttpCaller) -> None:
    got = await api.ask("POST", "/v1.0-alpha1/state/mem/query", b"{}")
    told = json.loads(got.body)
    assert got.status == 500
    assert told["errorCode"] == "ERR_STATE_STORE_NOT_SUPPORTED"
    assert told["message"] == "state store does not support querying"
    assert [detail.get("reason") for detail in told["details"]] == [None, "DAPR_STATE_QUERYING_NOT_SUPPORTED"]


class Down(StateStore[None]):
    """A store whose server is gone."""

    features = Feature.ETAG

    async def get(self, *_: object, **__: object) -> Entry | None:
        raise Unavailable("dial tcp 127.0.0.1:16379: connect: connection refused")


async def test_a_store_that_is_down_says_why(shelf: Shelf, api: HttpCaller) -> None:
    shelf.mount("rd", Down(None, shelf.context("rd")))
    why = "dial tcp 127.0.0.1:16379: connect: connection refused"
    got = await api.ask("GET", "/v1.0/state/rd/x")
    assert (got.status, got.body) == (
        500,
        error("ERR_STATE_GET", f"fail to get x from state store rd: {why}"),
    )
    bulk = await api.ask("POST", "/v1.0/state/rd/bulk", b'{"keys":["x"]}')
    assert (bulk.status, bulk.body) == (200, f'[{{"key":"x","error":"{why}"}}]\n'.encode())


async def test_a_store_without_transactions_says_so(shelf: Shelf, api: HttpCaller) -> None:
    shelf.mount("rd", Down(None, shelf.context("rd")))
    got = await api.ask("POST", "/v1.0/state/rd/transaction", b"junk")
    told = json.loads(got.body)
    assert (got.status, told["errorCode"]) == (500, "ERR_STATE_STORE_NOT_SUPPORTED")
    assert told["message"] == "state store rd doesn't support transactions"


@pytest.mark.parametrize("value", [{"a": 1.5, "b": [True, None]}, "text", 12345678901234567890])
async def test_an_encrypted_value_comes_back_as_the_json_it_was(shelf: Shelf, value: object) -> None:
    await shelf.memory("sealed", sealer=Sealer("sealed", SealKey("s", "00" * 32)))
    api = caller(shelf)
    await api.ask("POST", "/v1.0/state/sealed", json.dumps([{"key": "k", "value": value}]).encode())
    stored = shelf.mounts["sealed"].driver._rows["appa||k"].value
    assert stored.endswith(b"||s") and b"a" not in stored[:0]
    assert json.loads((await api.ask("GET", "/v1.0/state/sealed/k")).body) == value
    bulk = await api.ask("POST", "/v1.0/state/sealed/bulk", b'{"keys":["k"]}')
    assert json.loads(bulk.body)[0]["data"] == value
