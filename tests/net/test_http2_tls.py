"""Our HTTP/2 client under TLS, with a certificate made for the test."""

import functools
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.tls import contexts

from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http2 import Http2Client, Http2ServerProtocol
from pillion.net.listen import HttpServer
from pillion.net.tls import HTTP1, HTTP2, client_context, server_context
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Stream, whole

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


def echo(request: Request, responder: Responder) -> None:
    responder.respond(200, [(b"x-peer", b"%d" % id(responder)), (b"x-target", request.target)], request.body)


@asynccontextmanager
async def serving(tls: ssl.SSLContext, port: int = 0) -> AsyncIterator[int]:
    limits, wheel = HttpLimits(), Wheel()
    made = functools.partial(Http2ServerProtocol, echo, limits, wheel)
    server = HttpServer(echo, limits, wheel=wheel, http2=made, tls=tls)
    try:
        yield (await server.listen(["127.0.0.1"], port))[0][1]
    finally:
        await server.close()
        wheel.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Http2Client]:
    inside, outside = contexts(tmp_path)
    async with serving(inside) as port:
        made = Http2Client("127.0.0.1", port, tls=outside, server_name="localhost")
        yield made
        await made.close()


@pytest.mark.parametrize("size", [0, 1, 65_537, 3_000_000])
async def test_a_body_of_any_size_goes_there_and_back(client: Http2Client, size: int) -> None:
    answer = await client.request(b"POST", b"/a?b=c", [], b"b" * size)
    assert (answer.status, answer.header(b"x-target")) == (200, b"/a?b=c")
    assert await whole(answer.body) == b"b" * size


async def test_a_stream_goes_there_and_back(client: Http2Client) -> None:
    body = Stream()
    for letter in (b"a", b"b"):
        body.push(letter * 200_000)
    body.finish()
    answer = await client.request(b"POST", b"/", [], body)
    assert await whole(answer.body) == b"a" * 200_000 + b"b" * 200_000


async def test_a_request_after_the_server_came_back_is_answered(tmp_path: Path) -> None:
    inside, outside = contexts(tmp_path)
    async with serving(inside) as port:
        client = Http2Client("127.0.0.1", port, tls=outside, server_name="localhost")
        assert (await client.request(b"GET", b"/", [])).status == 200
    with pytest.raises(ConnectionError):
        await client.request(b"GET", b"/", [])
    async with serving(inside, port):
        assert (await client.request(b"GET", b"/", [])).status == 200
    await client.close()


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_wrong_name_and_an_unknown_authority_are_refused(tmp_path: Path, trusted: bool) -> None:
    inside, outside = contexts(tmp_path)
    context = outside if trusted else client_context(protocols=HTTP2)
    async with serving(inside) as port:
        name = "elsewhere" if trusted else "localhost"
        client = Http2Client("127.0.0.1", port, tls=context, server_name=name)
        with pytest.raises(ConnectionError, match="certificate verify failed"):
            await client.request(b"GET", b"/", [])
        await client.close()


async def test_a_server_that_speaks_no_http2_is_told_of(tmp_path: Path) -> None:
    contexts(tmp_path)
    inside = server_context(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"), protocols=HTTP1)
    outside = client_context(verify=False, protocols=HTTP2)
    server = HttpServer(echo, tls=inside)
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    client = Http2Client("127.0.0.1", port, tls=outside)
    with pytest.raises(ConnectionError, match="error reading server preface"):
        await client.request(b"GET", b"/", [])
    await client.close()
    await server.close()
