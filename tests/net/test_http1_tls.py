"""HTTP/1.1 over TLS, with a certificate made for the test."""

import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.http1 import echo, serving

from pillion.net.http_client import Http1Client
from pillion.net.tls import client_context, server_context
from pillion.toolbox.stream import Stream

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A PEM file with a key and a certificate for localhost that signs itself."""
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(made)],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both.pem"
    both.write_text(made.read_text() + key.read_text())
    return both


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    async with serving(echo, tls=server_context(str(certificate), protocols=("http/1.1",))) as (_, port):
        yield port


def only_certificate(certificate: Path) -> str:
    return certificate.read_text().split("-----BEGIN PRIVATE")[0]


async def test_a_client_that_trusts_the_authority_is_served(certificate: Path, port: int):
    client = Http1Client(
        "127.0.0.1",
        port,
        tls=client_context(authorities=only_certificate(certificate)),
        server_name="localhost",
    )
    for body in (b"small", bytes(500_000)):
        stream = Stream(length=len(body))
        stream.push(body)
        stream.finish()
        answer = await client.request(b"POST", b"/", [], stream)
        assert (answer.body if isinstance(answer.body, bytes) else await answer.body.read_all()) == body
    await client.close()


async def test_a_client_that_does_not_verify_is_served(port: int):
    client = Http1Client("127.0.0.1", port, tls=client_context(verify=False))
    assert (await client.request(b"GET", b"/", [])).status == 200
    await client.close()


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_client_refuses_a_wrong_name_and_an_unknown_authority(
    certificate: Path, port: int, trusted: bool
):
    context = client_context(authorities=only_certificate(certificate)) if trusted else client_context()
    client = Http1Client("127.0.0.1", port, tls=context, server_name="elsewhere" if trusted else "localhost")
    with pytest.raises(ConnectionError, match="CERTIFICATE_VERIFY_FAILED|certificate verify failed"):
        await client.request(b"GET", b"/", [])
    await client.close()


async def test_a_server_may_want_a_certificate_of_the_client(certificate: Path):
    authority = only_certificate(certificate)
    wanting = server_context(str(certificate), client_authorities=authority, protocols=("http/1.1",))
    async with serving(echo, tls=wanting) as (_, port):
        shown = Http1Client(
            "localhost", port, tls=client_context(authorities=authority, certificate=str(certificate))
        )
        assert (await shown.request(b"GET", b"/", [])).status == 200
        await shown.close()
        silent = Http1Client("localhost", port, tls=client_context(authorities=authority))
        with pytest.raises(ConnectionError):
            await silent.request(b"GET", b"/", [])
        await silent.close()
