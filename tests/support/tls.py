"""Certificates made for one test, and what both ends make of them."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pillion.net.tls import HTTP2, client_context, server_context


def contexts(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server and of a client that trusts it, both for HTTP/2."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    made = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*made.split(), *names], check=True, capture_output=True)
    inside = server_context(str(certificate), str(key), protocols=HTTP2)
    return inside, client_context(authorities=certificate.read_text(), protocols=HTTP2)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for localhost and for clients; its own certificate is what makes them trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = Pair(folder / "ca.pem", folder / "ca.key")
        _openssl(
            "req -x509", *_NEW, "-days", "2", "-subj", "/CN=Test authority",
            "-keyout", str(self._own.key), "-out", str(self._own.certificate),
        )  # fmt: skip

    @property
    def path(self) -> Path:
        return self._own.certificate

    @property
    def certificate(self) -> str:
        return self._own.certificate.read_text()

    def signed(self, name: str) -> Pair:
        """A pair of this name, good for localhost and 127.0.0.1."""
        made = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extra.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        _openssl("req", *_NEW, "-subj", f"/CN={name}", "-keyout", str(made.key), "-out", str(request))
        _openssl(
            "x509 -req -days 2 -CAcreateserial", "-in", str(request), "-extfile", str(extra),
            "-CA", str(self._own.certificate), "-CAkey", str(self._own.key), "-out", str(made.certificate),
        )  # fmt: skip
        return made


_NEW = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(command: str, *arguments: str) -> None:
    subprocess.run(["openssl", *command.split(), *arguments], check=True, capture_output=True)
