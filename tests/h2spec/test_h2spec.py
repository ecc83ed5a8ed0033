"""The public conformance tool against both kinds of port: every case passes, none is skipped."""

import asyncio
import functools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.grpc import Echo

from pillion.net.grpc import GrpcServer
from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http2 import Http2ServerProtocol
from pillion.net.listen import HttpServer
from pillion.net.wheel import Wheel

H2SPEC = Path(__file__).parent / "bin" / "h2spec"

pytestmark = [pytest.mark.needs("h2spec"), pytest.mark.timeout(120)]


@asynccontextmanager
async def grpc_port() -> AsyncIterator[int]:
    server = GrpcServer(Echo())
    yield await server.listen(["127.0.0.1"], 0)
    await server.close()


@asynccontextmanager
async def http_port() -> AsyncIterator[int]:
    def hello(request: Request, responder: Responder) -> None:
        responder.respond(200, [(b"content-type", b"text/plain")], b"hello, whoever tests us")

    limits, wheel = HttpLimits(), Wheel()
    server = HttpServer(
        hello, limits, wheel=wheel, http2=functools.partial(Http2ServerProtocol, hello, limits, wheel)
    )
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    yield port
    await server.close()
    wheel.close()


@pytest.mark.parametrize("port", [grpc_port, http_port], ids=["grpc", "http"])
async def test_every_case_of_h2spec_passes(port) -> None:
    async with port() as number:
        process = await asyncio.create_subprocess_exec(
            str(H2SPEC), "-h", "127.0.0.1", "-p", str(number), "-o", "3",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told = (await process.communicate())[0].decode()
    counts = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", told)
    assert counts and counts.groups() == ("145", "145", "0", "0"), told
