"""Output bindings over HTTP, byte for byte as Dapr answers."""

import json
from pathlib import Path

import pytest
from support.api import Answer, HttpCaller
from support.bindings import Echo, Quay
from support.redis_server import RedisServer
from support.web import web_site

from pillion.drivers.bindings.http import HttpBinding
from pillion.drivers.bindings.redis import RedisBinding
from pillion.edge.http.bindings import BindingRoutes
from pillion.plug.settings import read
from pillion.services.bindings import OutputBindings
from pillion.toolbox.stream import Stream

JSON = {"content-type": "application/json"}


@pytest.fixture
def quay() -> Quay:
    return Quay()


def caller(quay: Quay, body_limit: int | None = None) -> HttpCaller:
    service = OutputBindings(quay.mounts, quay)  # type: ignore[arg-type]
    return HttpCaller(BindingRoutes(service).routes(), body_limit=body_limit)


async def invoke(quay: Quay, name: str, body: bytes | str, method: str = "POST") -> Answer:
    text = body.encode() if isinstance(body, str) else body
    return await caller(quay).ask(method, f"/v1.0/bindings/{name}", text)


def error(code: str, message: str) -> bytes:
    return json.dumps({"errorCode": code, "message": message}, separators=(",", ":")).encode()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_answer_is_passed_on_with_its_metadata_as_headers(quay: Quay, method: str) -> None:
    quay.echo()
    got = await invoke(quay, "echo", '{"data":"str","operation":"create"}', method)
    assert (got.status, got.body) == (200, b'"str"')
    assert got.headers == JSON | {
        "metadata.content-length": "5", "metadata.x-hb": "v", "metadata.statuscode": "200",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ('"data":{"b":1,"a":2.0}', b'{"a":2,"b":1}'),
        ('"data":"str"', b'"str"'),
        ('"data":"<"', rb'"\u003c"'),
        ('"data":12345678901234567890', b"12345678901234567890"),
        ('"data":null', b"null"),
        ('"x":1', b"null"),
        ('"Data":[1]', b"[1]"),
    ],
)
async def test_the_data_is_written_as_json_again(quay: Quay, given: str, data: bytes) -> None:
    echo = quay.echo()
    await invoke(quay, "echo", f'{{{given},"operation":"create"}}')
    assert echo.got == [("create", data, {})]


async def test_the_names_of_2020_are_understood(quay: Quay) -> None:
    echo = quay.echo()
    got = await invoke(quay, "echo", '{"Data":1,"Metadata":{"K":"v"},"Operation":"create"} trailing')
    assert got.status == 200 and echo.got == [("create", b"1", {"K": "v"})]


async def test_nothing_to_say_is_204(quay: Quay) -> None:
    quay.echo()
    got = await invoke(quay, "echo", '{"operation":"nothing"}')
    assert (got.status, got.headers, got.body) == (204, {}, b"")


async def test_a_failure_shows_what_the_outside_told(quay: Quay) -> None:
    quay.echo()
    got = await invoke(quay, "echo", '{"operation":"fail"}')
    assert (got.status, got.headers) == (500, JSON | {"metadata.statuscode": "500"})
    assert got.body == error(
        "ERR_INVOKE_OUTPUT_BINDING", "error invoking output binding echo: received status code 500"
    )


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("nob", '{"operation":"create"}', "error invoking output binding nob: couldn't find output binding nob"),
        ("echo", "{}", "error invoking output binding echo: operation field is missing from request"),
        ("nob", "null", "error invoking output binding nob: operation field is missing from request"),
        (
            "echo", '{"operation":"zzz"}',
            "error invoking output binding echo: binding echo does not support operation zzz. "
            "supported operations:create fail refuse lose nothing",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_invoked_says_why(quay: Quay, name: str, body: str, message: str) -> None:
    quay.echo()
    got = await invoke(quay, name, body)
    assert (got.status, got.headers) == (500, JSON)
    assert got.body == error("ERR_INVOKE_OUTPUT_BINDING", message)


DESERIALIZING = "failed deserializing HTTP body: "


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "EOF"),
        ("{bad", "invalid character 'b' looking for beginning of object key string"),
        ("[]", "json: cannot unmarshal array into Go value of type http.OutputBindingRequest"),
        (
            '{"metadata":{"k":1}}',
            "json: cannot unmarshal number into Go struct field OutputBindingRequest.metadata of type string",
        ),
        (
            '{"operation":1}',
            "json: cannot unmarshal number into Go struct field OutputBindingRequest.operation of type string",
        ),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(quay: Quay, body: str, message: str) -> None:
    quay.echo()
    got = await invoke(quay, "echo", body)
    assert (got.status, got.body) == (400, error("ERR_MALFORMED_REQUEST", DESERIALIZING + message))


async def test_a_body_over_the_limit_is_refused(quay: Quay) -> None:
    stream = Stream()
    stream.push(b" " * 65)
    stream.finish()
    got = await caller(quay, body_limit=64).ask("POST", "/v1.0/bindings/echo", stream)
    assert (got.status, got.body) == (
        400,
        error("ERR_MALFORMED_REQUEST", DESERIALIZING + "stream too large"),
    )


async def test_files_are_created_read_and_deleted(quay: Quay, tmp_path: Path) -> None:
    await quay.files(tmp_path / "files")
    named = '"metadata":{"fileName":"f.txt"}'
    made = await invoke(quay, "files", f'{{"operation":"create","data":{{"n":1}},{named}}}')
    got = await invoke(quay, "files", f'{{"operation":"get",{named}}}')
    gone = await invoke(quay, "files", f'{{"operation":"delete",{named}}}')
    assert (made.status, made.headers, made.body) == (200, JSON, b'{"fileName":"f.txt"}')
    assert (got.status, got.body) == (200, b'{"n":1}')
    assert (gone.status, gone.headers, gone.body) == (204, {}, b"")


async def test_a_web_server_is_asked(quay: Quay) -> None:
    async with web_site() as site:
        binding = HttpBinding(read(HttpBinding.spec.settings, {"url": site.url}), quay.context("httpb"))
        await binding.open()
        quay.mount("httpb", binding)
        got = await invoke(quay, "httpb", '{"operation":"post","data":{"b":1,"a":2}}')
        await binding.close()
    assert site.last[1] == b'{"a":2,"b":1}'
    assert (got.status, got.body) == (200, b"fine")
    assert {name: value for name, value in got.headers.items() if name != "metadata.date"} == JSON | {
        "metadata.statuscode": "200", "metadata.status": "200 OK", "metadata.content-length": "4",
        "metadata.content-type": "text/plain",
    }  # fmt: skip


@pytest.mark.needs("redis-server")
async def test_a_key_of_redis_is_set_and_read(quay: Quay, tmp_path: Path) -> None:
    async with RedisServer(tmp_path) as server:
        context = quay.context("rd")
        binding = RedisBinding(read(RedisBinding.spec.settings, {"redisHost": server.address}), context)
        await binding.open()
        quay.mount("rd", binding)
        keyed = '"metadata":{"key":"k"}'
        made = await invoke(quay, "rd", f'{{"operation":"create","data":{{"n":1}},{keyed}}}')
        got = await invoke(quay, "rd", f'{{"operation":"get",{keyed}}}')
        await binding.close()
        await context.crew.close()
    assert made.status == 204
    assert (got.status, got.headers, got.body) == (200, JSON, b'{"n":1}')


async def test_the_path_is_its_own_label(quay: Quay) -> None:
    echo: Echo = quay.echo()
    api = caller(quay)
    await api.ask("POST", "/v1.0/bindings/echo", b'{"operation":"create"}')
    assert api.served == [("POST", "/v1.0/bindings/echo", 200)] and echo.got
