"""bindings.http: requests to a web server."""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from pillion.contracts.bindings import Binding, InvocationFailed
from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.http import Answer, Question, Web, trust
from pillion.model.bindings import Reply
from pillion.model.state import NOTHING
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox import quantities
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.truth import is_true

_JSON = b"application/json; charset=utf-8"
_BODIED = frozenset({"POST", "PUT", "PATCH"})
_TRACE = ("traceparent", "tracestate", "baggage")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpBindingSettings:
    url: str = setting(
        "Where requests go; a request's metadata may add a `path`.", example="http://localhost:8080/api"
    )
    response_timeout: timedelta | None = setting(
        "How long the whole answer may take; without it there is no limit.", default=None, example="10s"
    )
    max_response_body_size: str = setting(
        "How much of an answer is read, the rest is dropped; 0 for all of it.", default="100Mi"
    )
    error_if_not_2xx: bool = setting(
        "Whether an answer that does not begin with 2 is a failure; a request's metadata may say otherwise.",
        name="errorIfNot2XX",
        default="true",
    )
    mtls_root_ca: str = setting(
        "Whom to trust instead of the system's authorities: PEM text or the path of such a file.",
        name="MTLSRootCA",
        default="",
    )
    mtls_client_cert: str = setting(
        "Our certificate: PEM text or the path of such a file.", name="MTLSClientCert", default=""
    )
    mtls_client_key: str = setting(
        "The key of our certificate: PEM text or the path of such a file.",
        name="MTLSClientKey",
        default="",
        secret=True,
    )
    mtls_renegotiation: Literal[
        "RenegotiateNever", "RenegotiateOnceAsClient", "RenegotiateFreelyAsClient"
    ] = setting(
        "Whether the server may ask for a new handshake; once is treated as freely.",
        name="MTLSRenegotiation",
        default="RenegotiateNever",
    )
    security_token: str = setting("Sent with every request.", default="", secret=True)
    security_token_header: str = setting(
        "The header in which securityToken is sent.", default="", example="X-Security-Token"
    )


@driver("bindings.http", settings=HttpBindingSettings, title="HTTP", status="stable")
class HttpBinding(Binding[HttpBindingSettings]):
    """Asks a web server; the operation is the method (`create` is `post`). Redirects are followed, ten at most.

    Metadata of a request: `path` is added to the URL, `errorIfNot2XX` overrides the setting, and every name that begins with a
    capital is sent as a header. Metadata of the answer: `statusCode`, `status`, and its headers. HTTP/1.1, without proxies.
    """

    operations = ("create", "get", "head", "post", "put", "patch", "delete", "options", "trace")
    _web: Web | None = None

    async def open(self) -> None:
        settings = self.settings
        if bool(settings.mtls_client_cert) != bool(settings.mtls_client_key):
            raise Refused("MTLSClientCert and MTLSClientKey belong together")
        if bool(settings.security_token) != bool(settings.security_token_header):
            self.context.log.warning(
                "%s: no token is sent: securityToken and securityTokenHeader belong together",
                self.context.name,
            )
        try:
            size = quantities.parse(settings.max_response_body_size or "100Mi")
        except ValueError as error:
            raise Refused(f"maxResponseBodySize: {error}") from error
        self._limit = size if size > 0 else None
        self._web = Web(self.context.clock, await self._tls())

    async def close(self) -> None:
        web, self._web = self._web, None
        if web is not None:
            await web.close()

    async def invoke(
        self, operation: str, data: bytes, metadata: Mapping[str, str] = NOTHING
    ) -> Reply | None:
        if self._web is None:
            raise Unavailable("the HTTP binding is not open")
        span = self.settings.response_timeout
        answer = await self._web.ask(
            self._question(operation, data, metadata),
            timeout=None if span is None else span.total_seconds(),
            limit=self._limit,
        )
        reply = Reply(answer.body, _told(answer))
        word = metadata.get("errorIfNot2XX", "")
        strict = is_true(word) if word else self.settings.error_if_not_2xx
        if strict and answer.status // 100 != 2:
            raise InvocationFailed(f"received status code {answer.status}", reply)
        return reply

    def _question(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Question:
        method = "POST" if operation == "create" else operation.upper()
        url, path = self.settings.url, metadata.get("path", "")
        if path:
            url = f"{url.rstrip('/')}/{path.lstrip('/')}"
        sent = method in _BODIED
        private = frozenset({self.settings.security_token_header.lower().encode()})
        return Question(method, url, self._headers(metadata, sent), data if sent else b"", private)

    def _headers(self, metadata: Mapping[str, str], sent: bool) -> list[tuple[bytes, bytes]]:
        fields = {b"user-agent": b"Go-http-client/1.1", b"accept": _JSON}
        if sent:
            fields[b"content-type"] = _JSON
        token, header = self.settings.security_token, self.settings.security_token_header
        if token and header:
            fields[header.lower().encode()] = token.encode()
        for name, value in metadata.items():
            if "A" <= name[:1] <= "Z":
                fields[name.lower().encode()] = value.encode()
        for name in _TRACE:
            if value := metadata.get(name, ""):
                fields[name.encode()] = value.encode()
        fields.pop(b"host", None)  # the URL's
        return list(fields.items())

    async def _tls(self) -> ssl.SSLContext | None:
        """What the settings say; None where they say nothing."""
        settings = self.settings
        free = settings.mtls_renegotiation != "RenegotiateNever"
        if not (settings.mtls_root_ca or settings.mtls_client_cert or free):
            return None
        return await asyncio.to_thread(
            trust,
            authorities=settings.mtls_root_ca,
            certificate=settings.mtls_client_cert,
            key=settings.mtls_client_key,
            renegotiation=free,
        )


def _told(answer: Answer) -> dict[str, str]:
    return {"statusCode": str(answer.status), "status": answer.line, **answer.headers}
