"""Words added to the metadata, over both transports."""

from typing import Any

import pytest
from support.api import GrpcCaller, HttpCaller

from pillion.edge.grpc.metadata import MetadataRpcs
from pillion.edge.http.metadata import MetadataRoutes, as_json
from pillion.model.metadata import AppConnection, HealthProbe, Sidecar
from pillion.net.rpc import Code, RpcError
from pillion.services.metadata import MetadataService
from pillion.services.readiness import Readiness
from pillion.wire import metadata as wire
from pillion.wire.proto import runtime

TOO_LONG = "x" * MetadataService.MOST_BYTES
FULL = "extended metadata is full: it holds at most 1000 keys, and 262144 bytes of keys and values"


def service() -> MetadataService:
    def snapshot(extended: dict[str, str]) -> Any:
        return dict(extended)

    return MetadataService(snapshot, {})


def routes(metadata: MetadataService, **more: Any) -> HttpCaller:
    made = MetadataRoutes(metadata, Readiness("appa", (), ()), lambda force: None)
    return HttpCaller(made.routes(), **more)


async def test_a_word_is_put_over_http() -> None:
    metadata = service()
    assert (await routes(metadata).ask("PUT", "/v1.0/metadata/a%20b", b"c")).status == 204
    assert metadata.get() == {"a b": "c"}  # type: ignore[comparison-overlap]


async def test_a_word_too_many_is_told_over_http() -> None:
    answer = await routes(service()).ask("PUT", "/v1.0/metadata/a", TOO_LONG.encode())
    assert answer.status == 413
    assert answer.body == b'{"errorCode":"ERR_METADATA_FULL","message":"%b"}' % FULL.encode()


async def test_a_word_is_put_over_grpc_and_one_without_a_key_is_passed_over() -> None:
    metadata = service()
    caller = GrpcCaller(MetadataRpcs(metadata, lambda force: None).unary())
    for key in ("a", ""):
        assert await caller.ask("SetMetadata", runtime.SetMetadataRequest(key=key, value="c")) == b""
    assert metadata.get() == {"a": "c"}  # type: ignore[comparison-overlap]


async def test_a_word_too_many_is_told_over_grpc() -> None:
    caller = GrpcCaller(MetadataRpcs(service(), lambda force: None).unary())
    with pytest.raises(RpcError) as refused:
        await caller.ask("SetMetadata", runtime.SetMetadataRequest(key="a", value=TOO_LONG))
    assert (refused.value.code, refused.value.message) == (Code.RESOURCE_EXHAUSTED, FULL)


async def test_both_transports_write_spans_as_go_does() -> None:
    health = HealthProbe("/healthz", 90, 0.5, 3)
    sidecar = Sidecar("appa", "1.18.0", app=AppConnection(80, "http", "127.0.0.1", health=health))
    told = as_json(sidecar)["appConnectionProperties"]["health"]
    assert (told["healthProbeInterval"], told["healthProbeTimeout"]) == ("1m30s", "500ms")
    same = wire.response(sidecar).app_connection_properties.health
    assert (same.health_probe_interval, same.health_probe_timeout) == ("1m30s", "500ms")
