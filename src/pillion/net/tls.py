"""TLS for either side of a connection."""

import ssl
from collections.abc import Sequence

HTTP1 = ("http/1.1",)
HTTP2 = ("h2",)
EITHER = ("h2", "http/1.1")


def server_context(
    certificate: str,
    key: str | None = None,
    *,
    client_authorities: str | bytes | None = None,
    protocols: Sequence[str] = EITHER,
) -> ssl.SSLContext:
    """For a server: certificate chain and key are paths of PEM files.

    With `client_authorities` (PEM) every client must show a certificate signed by one of them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password=_passphrase)
    context.set_alpn_protocols(list(protocols))
    if client_authorities is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=_text(client_authorities))
    return context


def client_context(
    *,
    verify: bool = True,
    authorities: str | bytes | None = None,
    certificate: str | None = None,
    key: str | None = None,
    protocols: Sequence[str] = HTTP1,
) -> ssl.SSLContext:
    """For a client: trusts the system's authorities, or just those given (PEM); without `verify` anybody, under any name.

    `certificate` and `key` are paths of PEM files, for servers that ask who we are.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(protocols))
    if certificate is not None:
        context.load_cert_chain(certificate, key, password=_passphrase)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authorities is not None:
        context.load_verify_locations(cadata=_text(authorities))
    else:
        context.load_default_certs()
    return context


def _passphrase() -> str:
    """Asked for where a key is encrypted: without this, OpenSSL would ask whoever sits at the terminal."""
    raise ValueError("the private key is encrypted with a passphrase: give one that is not")


def _text(pem: str | bytes) -> str:
    return pem.decode() if isinstance(pem, bytes) else pem
