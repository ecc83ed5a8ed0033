"""State over gRPC: codes, messages and details as Dapr answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.api import GrpcCaller
from support.stores import Shelf

from pillion.edge.grpc.state import StateRpcs
from pillion.net.rpc import Code, RpcError
from pillion.services.state import StateService
from pillion.wire.proto import common, rpc, runtime

STORE = "mem"
ETAG = "possible etag mismatch. error from state store"


@pytest.fixture
async def shelf() -> AsyncIterator[Shelf]:
    made = Shelf()
    await made.memory(STORE)
    yield made
    await made.close()


@pytest.fixture
def api(shelf: Shelf) -> GrpcCaller:
    return GrpcCaller(StateRpcs(StateService(shelf.mounts, shelf.clock)).unary())


def item(key: str, value: bytes = b"", etag: str | None = None, concurrency: int = 0, **metadata: str) -> Any:
    made = common.StateItem(key=key, value=value, metadata=metadata, options={"concurrency": concurrency})
    if etag is not None:
        made.etag.value = etag
    return made


async def save(api: GrpcCaller, *items: Any) -> None:
    await api.ask("SaveState", runtime.SaveStateRequest(store_name=STORE, states=items))


async def get(api: GrpcCaller, key: str, store: str = STORE) -> Any:
    return runtime.GetStateResponse.FromString(
        await api.ask("GetState", runtime.GetStateRequest(store_name=store, key=key))
    )


async def refused(asked: Any) -> tuple[int, str, list[Any]]:
    """Code, message and unpacked details of the status a call ended with."""
    with pytest.raises(RpcError) as raised:
        await asked
    return raised.value.code, raised.value.message, unpacked(raised.value.details)


def unpacked(details: bytes) -> list[Any]:
    kinds = (rpc.ErrorInfo, rpc.ResourceInfo, rpc.BadRequest)
    found = []
    for packed in rpc.Status.FromString(details).details:
        (kind,) = (kind for kind in kinds if packed.Is(kind.DESCRIPTOR))
        made = kind()
        packed.Unpack(made)
        found.append(made)
    return found


async def test_bytes_are_kept_as_they_are(api: GrpcCaller) -> None:
    await save(api, item("k2", b"\x00\x01"))
    got = await get(api, "k2")
    assert got.data == b"\x00\x01" and len(got.etag) == 36 and not got.metadata


async def test_what_calls_itself_json_is_kept_as_json(api: GrpcCaller) -> None:
    await save(api, item("j", b'{ "b": 1.0, "a": "<" }', contentType="application/json"))
    assert (await get(api, "j")).data == b'{"a":"\\u003c","b":1}'
    code, message, details = await refused(save(api, item("j", b"{bad", contentType="application/json")))
    assert (code, message, details) == (
        Code.UNKNOWN, "invalid character 'b' looking for beginning of object key string", []
    )  # fmt: skip


async def test_an_absent_key_is_an_empty_answer(api: GrpcCaller) -> None:
    assert await api.ask("GetState", runtime.GetStateRequest(store_name=STORE, key="nobody")) == b""


async def test_the_end_of_a_value_is_told(api: GrpcCaller) -> None:
    await save(api, item("t", b"1", ttlInSeconds="100"))
    assert dict((await get(api, "t")).metadata) == {"ttlExpireTime": "2023-11-14T22:15:00Z"}


async def test_a_bulk_read_names_every_key(api: GrpcCaller) -> None:
    await save(api, item("k1", b"1"), item("t", b"2", ttlInSeconds="100"))
    request = runtime.GetBulkStateRequest(store_name=STORE, keys=["k1", "nope", "t"], parallelism=2)
    got = runtime.GetBulkStateResponse.FromString(await api.ask("GetBulkState", request))
    assert [(each.key, each.data, bool(each.etag)) for each in got.items] == [
        ("k1", b"1", True), ("nope", b"", False), ("t", b"2", True)
    ]  # fmt: skip
    assert dict(got.items[2].metadata) == {"ttlExpireTime": "2023-11-14T22:15:00Z"}


async def test_a_wrong_etag_aborts(api: GrpcCaller) -> None:
    await save(api, item("k1", b"1"))
    etag = (await get(api, "k1")).etag
    code, message, details = await refused(save(api, item("k1", b"2", etag="999")))
    assert (code, message) == (
        Code.ABORTED,
        f"failed saving state in state store mem: {ETAG}: "
        f"state etag not match for key=appa||k1: current={etag}, expect=999",
    )
    assert [each.reason for each in details] == ["ERR_STATE_SAVE"]


async def test_a_first_write_wants_the_key_absent(api: GrpcCaller) -> None:
    await save(api, item("k1", b"1", concurrency=1))
    code, message, _ = await refused(save(api, item("k1", b"2", etag="", concurrency=1)))
    assert code == Code.ABORTED
    assert message.endswith(f"{ETAG}: item already exists and no etag was passed")


async def test_an_empty_key_cannot_be_saved(api: GrpcCaller) -> None:
    code, message, details = await refused(save(api, item("")))
    assert (code, message) == (Code.INVALID_ARGUMENT, "state key cannot be empty")
    assert [(each.reason, each.domain) for each in details] == [("ERR_STATE_SAVE", "dapr.io")]


async def test_a_key_with_the_separator_is_illegal(api: GrpcCaller) -> None:
    text = "input key/keyPrefix 'a||b' can't contain '||'"
    code, message, (bad, resource, info) = await refused(save(api, item("a||b")))
    assert (code, message) == (Code.INVALID_ARGUMENT, text)
    assert [(each.field, each.description) for each in bad.field_violations] == [("a||b", text)]
    assert (resource.resource_type, resource.resource_name) == ("state", "mem")
    assert info.reason == "DAPR_STATE_ILLEGAL_KEY"


async def test_a_ttl_that_is_no_number_is_an_internal_error(api: GrpcCaller) -> None:
    code, message, _ = await refused(save(api, item("k", b"1", ttlInSeconds="abc")))
    assert (code, message) == (
        Code.INTERNAL,
        'failed saving state in state store mem: strconv.Atoi: parsing "abc": invalid syntax',
    )


async def test_deleting_several_tells_of_those_that_failed(api: GrpcCaller) -> None:
    await save(api, item("k1", b"1"), item("k2", b"1"))
    request = runtime.DeleteBulkStateRequest(store_name=STORE, states=[item("k1", etag="999"), item("k2")])
    code, message, details = await refused(api.ask("DeleteBulkState", request))
    assert code == Code.ABORTED
    assert message.startswith(
        f"failed deleting state in state store mem: {ETAG}: {ETAG}: state etag not match for key="
    )
    assert [each.reason for each in details] == ["ERR_STATE_BULK_DELETE"]
    assert (await get(api, "k2")).data == b""


async def test_deleting_takes_an_etag(api: GrpcCaller) -> None:
    await save(api, item("k1", b"1"))
    etag = (await get(api, "k1")).etag
    wrong = runtime.DeleteStateRequest(store_name=STORE, key="k1", etag={"value": "9"})
    code, message, _ = await refused(api.ask("DeleteState", wrong))
    assert code == Code.ABORTED and message.startswith(f"failed deleting state with key k1: {ETAG}")
    await api.ask("DeleteState", runtime.DeleteStateRequest(store_name=STORE, key="k1", etag={"value": etag}))
    assert (await get(api, "k1")).data == b""


def transaction(*operations: tuple[str, Any]) -> Any:
    return runtime.ExecuteStateTransactionRequest(
        storeName=STORE, operations=[{"operationType": kind, "request": each} for kind, each in operations]
    )


async def test_a_transaction_keeps_bytes_whatever_they_call_themselves(api: GrpcCaller) -> None:
    await save(api, item("old", b"1"))
    value = item("x1", b'{ "a" : 1 }', contentType="application/json")
    await api.ask("ExecuteStateTransaction", transaction(("upsert", value), ("delete", item("old"))))
    assert (await get(api, "x1")).data == b'{ "a" : 1 }'
    assert (await get(api, "old")).data == b""


async def test_an_unknown_operation_is_unimplemented(api: GrpcCaller) -> None:
    code, message, details = await refused(
        api.ask("ExecuteStateTransaction", transaction(("zap", item("x"))))
    )
    assert (code, message) == (Code.UNIMPLEMENTED, "operation type zap not supported")
    assert [each.reason for each in details] == ["ERR_NOT_SUPPORTED_STATE_OPERATION"]


async def test_a_wrong_etag_in_a_transaction_is_internal(api: GrpcCaller) -> None:
    await save(api, item("x1", b"1"))
    writes = transaction(("upsert", item("new", b"1")), ("upsert", item("x1", b"2", etag="999")))
    code, message, details = await refused(api.ask("ExecuteStateTransaction", writes))
    assert code == Code.INTERNAL
    assert message.startswith(
        f"error while executing state transaction: {ETAG}: state etag not match for key=appa||x1"
    )
    assert [each.reason for each in details] == ["ERR_STATE_TRANSACTION"]
    assert (await get(api, "new")).data == b""


async def test_a_query_is_refused(api: GrpcCaller) -> None:
    code, message, (resource, info) = await refused(
        api.ask("QueryStateAlpha1", runtime.QueryStateRequest(store_name=STORE))
    )
    assert (code, message) == (Code.INTERNAL, "state store does not support querying")
    assert (resource.resource_name, info.reason) == ("mem", "DAPR_STATE_QUERYING_NOT_SUPPORTED")


async def test_an_unknown_store_is_an_invalid_argument(api: GrpcCaller) -> None:
    code, message, (info,) = await refused(get(api, "k", store=""))
    assert (code, message) == (Code.INVALID_ARGUMENT, "state store  is not found")
    assert (info.reason, dict(info.metadata)) == ("DAPR_STATE_NOT_FOUND", {})


async def test_without_any_store_all_are_not_configured() -> None:
    api = GrpcCaller(StateRpcs(StateService({}, Shelf().clock)).unary())
    code, message, (info,) = await refused(get(api, "k", store="x"))
    assert (code, message) == (Code.FAILED_PRECONDITION, "state store x is not configured")
    assert info.reason == "DAPR_STATE_NOT_CONFIGURED"
