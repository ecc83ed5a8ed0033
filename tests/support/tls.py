"""A certificate for localhost, made for one test, and what both ends make of it."""

import ssl
import subprocess
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
