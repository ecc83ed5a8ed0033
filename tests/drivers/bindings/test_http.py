"""Requests to a real web server of ours."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.redis_server import free_port
from support.web import WebSite, web_site

from pillion.contracts.bindings import InvocationFailed
from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.bindings.http import HttpBinding
from pillion.drivers.clients.http import ORIGINS, Question, Web
from pillion.model.bindings import Reply
from pillion.net.http import Headers, Request
from pillion.net.tls import server_context
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.toolbox.clock import SystemClock
from pillion.toolbox.stream import Body, Stream

JSON = "application/json; charset=utf-8"
Invoke = Callable[..., Awaitable[Reply]]


@pytest.fixture
async def site() -> AsyncIterator[WebSite]:
    async with web_site() as site:
        yield site


@asynccontextmanager
async def opened(url: str, **metadata: str) -> AsyncIterator[Invoke]:
    binding = HttpBinding(read(HttpBinding.spec.settings, {"url": url, **metadata}), Context(name="web"))
    await binding.open()

    async def invoke(operation: str, data: bytes = b"", **given: str) -> Reply:
        reply = await binding.invoke(operation, data, {k.replace("_", "-"): v for k, v in given.items()})
        assert reply is not None
        return reply

    try:
        yield invoke
    finally:
        await binding.close()


def answers(
    status: int, headers: Headers, body: Body = b""
) -> Callable[[Request, bytes], tuple[int, Headers, Body]]:
    return lambda request, _: (status, list(headers), body)


@pytest.mark.parametrize(
    ("operation", "method", "carries"),
    [
        ("create", b"POST", True),
        ("post", b"POST", True),
        ("put", b"PUT", True),
        ("patch", b"PATCH", True),
        ("get", b"GET", False),
        ("head", b"HEAD", False),
        ("delete", b"DELETE", False),
        ("options", b"OPTIONS", False),
        ("trace", b"TRACE", False),
    ],
)
async def test_the_operation_is_the_method(
    site: WebSite, operation: str, method: bytes, carries: bool
) -> None:
    async with opened(site.url + "/base") as invoke:
        await invoke(operation, b'{"a":1}')
    request, body = site.last
    assert (request.method, request.target) == (method, b"/base")
    assert body == (b'{"a":1}' if carries else b"")
    assert (site.headers().get("content-type") == JSON) is carries
    assert site.headers()["accept"] == JSON


async def test_names_with_a_capital_are_headers_and_win(site: WebSite) -> None:
    async with opened(site.url) as invoke:
        await invoke("post", b"x", Content_Type="text/plain", X_Hb="v", lower="no", Host="spoof")
    headers = site.headers()
    assert headers["content-type"] == "text/plain" and headers["x-hb"] == "v"
    assert "lower" not in headers and headers["host"] == f"127.0.0.1:{site.port}"


async def test_a_header_cannot_start_another(site: WebSite) -> None:
    async with opened(site.url) as invoke:
        await invoke("get", X_A="a\r\nX-Evil: 1")
    assert "x-evil" not in site.headers()


async def test_the_trace_goes_along(site: WebSite) -> None:
    trace = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    async with opened(site.url) as invoke:
        await invoke("get", traceparent=trace, tracestate="a=b", baggage="c=d", Traceparent="spoof")
    headers = site.headers()
    assert (headers["traceparent"], headers["tracestate"], headers["baggage"]) == (trace, "a=b", "c=d")


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("", "/x/y?q=1&r=a%20b", b"/x/y?q=1&r=a%20b"),
        ("/base/", "x", b"/base/x"),
        ("/base", "//x", b"/base/x"),
        ("/base?k=v", "", b"/base?k=v"),
        ("", "a b/€", b"/a%20b/%E2%82%AC"),
    ],
)
async def test_a_path_is_added_to_the_url(site: WebSite, url: str, path: str, target: bytes) -> None:
    async with opened(site.url + url) as invoke:
        await invoke("get", path=path)
    assert site.last[0].target == target


async def test_the_security_token_goes_in_its_header(site: WebSite) -> None:
    async with opened(site.url, securityToken="secret", securityTokenHeader="X-Token") as invoke:
        await invoke("get")
    assert site.headers()["x-token"] == "secret"


async def test_a_user_in_the_url_signs_in(site: WebSite) -> None:
    async with opened(site.url.replace("//", "//us%40er:pw@")) as invoke:
        await invoke("get")
    assert site.headers()["authorization"] == "Basic dXNAZXI6cHc="


async def test_the_answer_comes_with_status_and_headers(site: WebSite) -> None:
    site.answering = answers(
        200, [(b"content-type", b"text/plain"), (b"x-hb", b"v"), (b"x-hb", b"w")], b"answer"
    )
    async with opened(site.url) as invoke:
        reply = await invoke("get")
    told = dict(reply.metadata)
    assert reply.data == b"answer" and reply.content_type == ""
    assert told.pop("Date")
    assert told == {
        "statusCode": "200", "status": "200 OK", "Content-Length": "6", "Content-Type": "text/plain", "X-Hb": "v, w",
    }  # fmt: skip


async def test_another_status_than_2xx_fails_with_its_answer(site: WebSite) -> None:
    site.answering = answers(500, [(b"x-why", b"down")], b"boom")
    async with opened(site.url) as invoke:
        with pytest.raises(InvocationFailed, match="^received status code 500$") as failed:
            await invoke("get")
    assert failed.value.reply.data == b"boom"
    assert failed.value.reply.metadata["X-Why"] == "down"


@pytest.mark.parametrize(
    ("setting", "word", "fails"),
    [
        ("false", "", False),
        ("true", "false", False),
        ("false", "Yes", True),
        ("", "", True),
        ("true", "1", True),
    ],
)
async def test_whether_that_fails_can_be_chosen(site: WebSite, setting: str, word: str, fails: bool) -> None:
    site.answering = answers(404, [])
    async with opened(site.url, errorIfNot2XX=setting) as invoke:
        if fails:
            with pytest.raises(InvocationFailed):
                await invoke("get", errorIfNot2XX=word)
        else:
            assert (await invoke("get", errorIfNot2XX=word)).metadata["status"] == "404 Not Found"


def streamed(size: int) -> Stream:
    body = Stream()
    for _ in range(size // 1024):
        body.push(b"x" * 1024)
    body.finish()
    return body


@pytest.mark.parametrize(
    ("limit", "size"), [("1Ki", 1024), ("100Ki", 100 * 1024), ("0", 300 * 1024), ("", 300 * 1024)]
)
async def test_an_answer_is_read_up_to_its_limit(site: WebSite, limit: str, size: int) -> None:
    site.answering = lambda request, _: (200, [], streamed(300 * 1024))
    async with opened(site.url, maxResponseBodySize=limit) as invoke:
        assert len((await invoke("get")).data or b"") == size
        assert (await invoke("get")).metadata["statusCode"] == "200"


async def test_an_answer_that_takes_too_long_is_unavailable(site: WebSite) -> None:
    stuck = Stream()
    site.answering = lambda request, _: (200, [], stuck)
    stuck.push(b"half")
    async with opened(site.url, responseTimeout="50ms") as invoke:
        with pytest.raises(Unavailable, match="no answer in time"):
            await invoke("get")


async def test_a_server_that_is_not_there_is_unavailable_and_the_text_keeps_secrets() -> None:
    async with opened(f"http://user:hush@127.0.0.1:{free_port()}/p?key=hush") as invoke:
        with pytest.raises(Unavailable, match=r"^GET http://127.0.0.1:\d+/p: .*") as error:
            await invoke("get")
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://x/", "nowhere", "http:///x", "http://[::1/", "http://x:port/"])
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    async with opened(url) as invoke:
        with pytest.raises(Refused):
            await invoke("get")


# Redirects.


def moving(status: int, place: Callable[[], str]) -> Callable[[Request, bytes], tuple[int, Headers, Body]]:
    def answer(request: Request, body: bytes) -> tuple[int, Headers, Body]:
        if request.target == b"/old":
            return status, [(b"location", place().encode())], b""
        return 200, [], b"there"

    return answer


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [
        (301, b"GET", b""),
        (302, b"GET", b""),
        (303, b"GET", b""),
        (307, b"POST", b"data"),
        (308, b"POST", b"data"),
    ],
)
async def test_a_redirect_is_followed(site: WebSite, status: int, method: bytes, body: bytes) -> None:
    site.answering = moving(status, lambda: "/new?x=1")
    async with opened(site.url + "/old") as invoke:
        reply = await invoke("post", b"data")
    request, got = site.last
    assert (reply.data, request.method, request.target, got) == (b"there", method, b"/new?x=1", body)


async def test_another_origin_does_not_see_what_is_private(site: WebSite) -> None:
    async with web_site() as other:
        site.answering = moving(302, lambda: other.url + "/new")
        token = {"securityToken": "secret", "securityTokenHeader": "X-Token"}
        async with opened(site.url + "/old", **token) as invoke:
            await invoke("get", Authorization="Bearer x", Cookie="c", X_Kept="k")
        headers = other.headers()
    assert headers["x-kept"] == "k"
    assert not {"authorization", "cookie", "x-token"} & headers.keys()


async def test_redirects_in_a_circle_end(site: WebSite) -> None:
    site.answering = answers(302, [(b"location", b"/old")])
    async with opened(site.url + "/old") as invoke:
        with pytest.raises(Refused, match="stopped after 10 redirects"):
            await invoke("get")
    assert len(site.asked) == 11


# Connections.


async def test_a_connection_is_kept(site: WebSite) -> None:
    async with opened(site.url) as invoke:
        await invoke("get")
        await invoke("get")
        assert len({request.peer for request, _ in site.asked}) == 1


async def test_connections_to_ever_new_origins_are_let_go() -> None:
    def elsewhere(request: Request, _: bytes) -> tuple[int, Headers, Body]:
        here = int(request.target[1:] or b"0")
        if here >= ORIGINS + 5:
            return 200, [], b"end"
        # every name of the loopback network is another origin
        return 302, [(b"location", f"http://127.0.1.{here + 1}:{far.port}/{here + 1}".encode())], b""

    async with web_site(elsewhere, hosts=[f"127.0.1.{each + 1}" for each in range(ORIGINS + 6)]) as far:
        web = Web(SystemClock())
        for start in range(0, ORIGINS + 5, 5):
            try:
                await web.ask(Question("GET", f"http://127.0.1.{start + 1}:{far.port}/{start}"))
            except Refused:
                continue
        assert len(web._clients) == ORIGINS
        await web.close()


# TLS.


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made.split(), *names], check=True, capture_output=True)
    return certificate, key


@asynccontextmanager
async def secured(pair: tuple[Path, Path]) -> AsyncIterator[WebSite]:
    certificate, key = pair
    tls = server_context(str(certificate), str(key), client_authorities=certificate.read_text())
    async with web_site(tls=tls) as site:
        yield site


@pytest.mark.parametrize("as_text", [True, False])
async def test_both_sides_may_show_certificates(pair: tuple[Path, Path], as_text: bool) -> None:
    certificate, key = (each.read_text() if as_text else str(each) for each in pair)
    async with secured(pair) as site:
        url = f"https://localhost:{site.port}"
        given = {"MTLSRootCA": certificate, "MTLSClientCert": certificate, "MTLSClientKey": key}
        async with opened(url, **given) as invoke:
            assert (await invoke("get")).data == b"fine"


async def test_a_server_nobody_vouches_for_is_unavailable(pair: tuple[Path, Path]) -> None:
    async with secured(pair) as site, opened(f"https://localhost:{site.port}") as invoke:
        with pytest.raises(Unavailable, match="(?i)certificate"):
            await invoke("get")


@pytest.mark.parametrize(
    "metadata",
    [
        {"MTLSRootCA": "nowhere.pem"},
        {"MTLSRootCA": "-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----"},
        {"MTLSClientCert": "x"},
        {"maxResponseBodySize": "much"},
    ],
)
async def test_settings_that_cannot_be_used_are_refused(metadata: dict[str, str]) -> None:
    with pytest.raises(Refused):
        async with opened("https://127.0.0.1", **metadata):
            pass
