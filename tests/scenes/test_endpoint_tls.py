"""HTTPEndpoints with certificates of their own, before a server that speaks TLS and asks its callers who they are."""

import contextlib
import json
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.sidecar import Answer, Sidecar, Stage, component, free_port, until
from support.tls import Authority, Pair

pytestmark = pytest.mark.timeout(60)


class Asked(BaseHTTPRequestHandler):
    """Answers with the name on the certificate that the caller showed."""

    def do_GET(self) -> None:
        connection: Any = self.connection
        shown = (connection.getpeercert() or {}).get("subject", ())
        body = json.dumps([pair[0][1] for pair in shown]).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class Server(ThreadingHTTPServer):
    """Each connection shakes hands on its own thread; a caller it does not like is no news."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("tls")) as made:
        yield made


@pytest.fixture(scope="module")
def authority(stage: Stage) -> Authority:
    return Authority(stage.folder)


@pytest.fixture(scope="module")
def url(stage: Stage, authority: Authority) -> Iterator[str]:
    """A server that lets in only whom the authority has signed."""
    pair = authority.signed("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority.certificate)
    with Server(context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def sidecar(stage: Stage, authority: Authority, url: str) -> Sidecar:
    alice, bob = authority.signed("alice"), authority.signed("bob")
    held = {"ca": authority.certificate, "cert": alice.certificate.read_text(), "key": alice.key.read_text()}
    (stage.folder / "secrets.json").write_text(json.dumps(held))
    folder = stage.resources(
        component("vault", "secretstores.local.file", secretsFile=str(stage.folder / "secrets.json")),
        endpoint(
            "from-secrets", url,
            rootCA=secret("ca"), certificate=secret("cert"), privateKey=secret("key"),
            renegotiation="RenegotiateOnceAsClient",
        ),
        endpoint("written", url, **own(authority, bob)),
        endpoint("nameless", url, rootCA={"value": authority.certificate}),
        endpoint("mistrusting", url, **{**own(authority, bob), "rootCA": {"value": bob.certificate.read_text()}}),
    )  # fmt: skip
    return stage.sidecar("caller", resources=folder).ready()


def endpoint(name: str, url: str, **tls: Any) -> str:
    spec = {"baseUrl": url, **({"clientTLS": tls} if tls else {})}
    made = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "HTTPEndpoint",
        "metadata": {"name": name},
        "spec": spec,
    }
    return json.dumps({**made, "auth": {"secretStore": "vault"}})


def own(authority: Authority, pair: Pair) -> dict[str, Any]:
    return {
        "rootCA": {"value": authority.certificate},
        "certificate": {"value": pair.certificate.read_text()},
        "privateKey": {"value": pair.key.read_text()},
    }


def secret(name: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": name, "key": name}}


def asked(sidecar: Sidecar, target: str) -> Answer:
    return sidecar.ask("GET", f"/v1.0/invoke/{target}/method/who")


def test_the_certificate_of_a_secret_store_is_shown(sidecar: Sidecar) -> None:
    assert asked(sidecar, "from-secrets").json() == ["alice"]


def test_each_endpoint_shows_its_own_even_to_the_same_server(sidecar: Sidecar) -> None:
    shown = [asked(sidecar, name).json() for name in ("written", "from-secrets", "written")]
    assert shown == [["bob"], ["alice"], ["bob"]]


def test_without_a_certificate_the_server_lets_nobody_in(sidecar: Sidecar) -> None:
    answer = asked(sidecar, "nameless")
    assert (answer.status, answer.json()["errorCode"]) == (500, "ERR_DIRECT_INVOKE")


def test_a_server_that_the_endpoints_authority_has_not_signed_is_not_called(sidecar: Sidecar) -> None:
    answer = asked(sidecar, "mistrusting")
    assert answer.status == 500 and "certificate verify failed" in answer.json()["message"]


def test_the_same_server_by_its_url_is_called_without_the_endpoints_certificates(
    sidecar: Sidecar, url: str
) -> None:
    answer = asked(sidecar, url)
    assert answer.status == 500 and "certificate verify failed" in answer.json()["message"]


def test_certificates_that_cannot_be_used_end_the_start_all_at_once(
    stage: Stage, authority: Authority
) -> None:
    pair, other, url = authority.signed("carol"), authority.signed("dave"), "https://localhost:1"
    folder = stage.resources(
        endpoint("plain", "http://localhost:1", rootCA={"value": authority.certificate}),
        endpoint("keyless", url, certificate={"value": pair.certificate.read_text()}),
        endpoint("lost", url, rootCA=secret("nosuch")),
        endpoint("garbled", url, rootCA={"value": "not a certificate"}),
        endpoint("mixed", url, **{**own(authority, pair), "privateKey": {"value": other.key.read_text()}}),
        endpoint("sealed", url, **{**own(authority, pair), "privateKey": {"value": sealed(pair)}}),
        folder="wrong",
    )
    ended = stage.sidecar("wrong", resources=folder)
    assert ended.wait() == 1
    sentences = (
        "plain: clientTLS: calls to http://localhost:1 would not be encrypted",
        "keyless: clientTLS: privateKey is missing",
        "lost: clientTLS: rootCA is empty",
        "garbled: clientTLS: rootCA is no PEM text",
        "mixed: clientTLS: the certificates cannot be used:",
        "sealed: clientTLS: the certificates cannot be used: the private key is encrypted with a passphrase",
    )
    assert [each for each in sentences if f"HTTPEndpoint {each}" not in ended.said()] == []


def sealed(pair: Pair) -> str:
    """The key behind a passphrase."""
    command = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key), "-passout", "pass:hush"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("renegotiation", "status"),
    [
        ("RenegotiateNever", 500),
        ("RenegotiateOnceAsClient", 200),
        ("RenegotiateFreelyAsClient", 200),
        ("", 500),
    ],
)
def test_a_server_may_ask_for_a_new_handshake_where_the_endpoint_says_so(
    stage: Stage, authority: Authority, renegotiation: str, status: int
) -> None:
    more = {"renegotiation": renegotiation} if renegotiation else {}
    port, name = free_port(), renegotiation.lower() or "unsaid"
    folder = stage.resources(
        endpoint(name, f"https://localhost:{port}", **own(authority, authority.signed("erin")), **more),
        folder=f"again-{name}",
    )
    sidecar = stage.sidecar(f"again-{name}", resources=folder).ready()
    with Asking(authority.signed("again"), authority, port) as server:
        answer: list[Answer] = []
        asking = threading.Thread(target=lambda: answer.append(asked(sidecar, name)))
        asking.start()
        server.wait_for("GET /who")
        server.say("R")  # a new handshake, with the question who is calling
        until(lambda: "CN = erin" in server.said or not asking.is_alive(), why="an answer to that")
        server.say("HTTP/1.1 200 OK\ncontent-length: 0\nconnection: close\n")
        asking.join()
    assert answer[0].status == status
    assert ("CN = erin" in server.said) == (status == 200)


class Asking:
    """`openssl s_server`: what it is told on its input goes to the client, and some letters are commands."""

    def __init__(self, pair: Pair, authority: Authority, port: int) -> None:
        ca = pair.certificate.parent / "ca.pem"
        self._process = subprocess.Popen(
            [
                "openssl", "s_server", "-accept", str(port), "-tls1_2", "-crlf", "-naccept", "1",
                "-no_ticket", "-no_resumption_on_reneg",
                "-cert", str(pair.certificate), "-key", str(pair.key), "-CAfile", str(ca),
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.said = ""
        self._reading = threading.Thread(target=self._read)

    def __enter__(self) -> "Asking":
        self._reading.start()
        self.wait_for("ACCEPT")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._reading.join()
        self._process.communicate()

    def wait_for(self, text: str) -> None:
        until(lambda: re.search(text, self.said), why=text)

    def say(self, text: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has already given up
            self._process.stdin.write(text + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line


def test_the_metadata_names_the_endpoints(sidecar: Sidecar) -> None:
    told = sidecar.ask("GET", "/v1.0/metadata").json()["httpEndpoints"]
    assert {each["name"] for each in told} == {"from-secrets", "written", "nameless", "mistrusting"}
