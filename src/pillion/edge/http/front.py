"""What every HTTP request passes before its operation: origin, token, baggage."""

from collections.abc import Sequence

from pillion.edge.http.api import Reply
from pillion.net.http import Headers, Request

_METHODS = b"HEAD,GET,POST,PUT,PATCH,DELETE"
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_VARY = (b"Origin", b"Access-Control-Request-Method", b"Access-Control-Request-Headers")


class TokenCheck:
    """The API token every caller must show.

    Compared in constant time; the header is taken off the request before anything sees it. Without a token configured the header
    stays, and travels on to the app, as on Dapr.
    """

    def __init__(self, token: str) -> None:
        from hmac import compare_digest  # it brings OpenSSL's digests along

        self._token = token.encode()
        self._equal = compare_digest

    def __call__(self, request: Request, is_open: bool) -> Reply | None:
        shown = request.header(b"dapr-api-token")
        if shown is not None:
            request.headers = [pair for pair in request.headers if pair[0] != b"dapr-api-token"]
        if is_open or (shown is not None and self._equal(shown, self._token)):
            return None
        return Reply(401, [_TEXT, (b"x-content-type-options", b"nosniff")], b"invalid api token\n")


class Origins:
    """Which web origins may call (`--allowed-origins`): `*` or a list; empty means this part is not built at all."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._any = "*" in allowed
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def preflight(self, request: Request) -> Reply | None:
        """The answer to an OPTIONS request that asks for leave, None for any other."""
        wanted = request.header(b"access-control-request-method")
        if request.method != b"OPTIONS" or wanted is None:
            return None
        headers: Headers = [(b"vary", name) for name in _VARY]
        if self._admits(request):
            headers.append((b"access-control-allow-origin", self._echo(request)))
            if wanted in _METHODS.split(b","):
                headers.append((b"access-control-allow-methods", wanted))
            if asked := request.header(b"access-control-request-headers"):
                headers.append((b"access-control-allow-headers", asked))
        return Reply(200, headers)

    def finish(self, request: Request, reply: Reply) -> None:
        """Add what every answer carries."""
        if any(key == b"vary" and value == b"Origin" for key, value in reply.headers):
            return
        if not self._any:
            reply.headers.append((b"vary", b"Origin"))
        if self._admits(request):
            reply.headers.append((b"access-control-allow-origin", self._echo(request)))

    def _admits(self, request: Request) -> bool:
        origin = request.header(b"origin")
        return origin is not None and (self._any or origin in self._allowed)

    def _echo(self, request: Request) -> bytes:
        return b"*" if self._any else (request.header(b"origin") or b"")


def baggage_problem(value: bytes) -> str:
    """What is wrong with a `baggage` header, "" when it is valid (W3C Baggage: comma-separated `key=value;properties`)."""
    for member in value.split(b","):
        pair, *properties = member.split(b";")
        key, equals, _ = pair.strip().partition(b"=")
        if not equals or not _is_token(key.strip()):
            return f'invalid baggage list-member: "{member.strip().decode("latin-1")}"'
        for text in properties:
            name = text.strip().partition(b"=")[0].strip()
            if not _is_token(name):
                return f'invalid baggage list-member property: "{text.strip().decode("latin-1")}"'
    return ""


_SEPARATORS = frozenset(b'()<>@,;:\\"/[]?={} \t')


def _is_token(name: bytes) -> bool:
    return bool(name) and all(32 < byte < 127 and byte not in _SEPARATORS for byte in name)


class Admission:
    """The parts in their order: baggage, preflight, token. Only what is configured costs anything."""

    def __init__(self, *, token: TokenCheck | None, origins: Origins | None) -> None:
        self._token = token
        self._origins = origins

    def __call__(self, request: Request, is_open: bool) -> Reply | None:
        if (baggage := request.header(b"baggage")) is not None and (problem := baggage_problem(baggage)):
            return Reply(400, [_TEXT], f"invalid baggage header: {problem}\n".encode())
        if self._origins is not None and (reply := self._origins.preflight(request)) is not None:
            return reply
        return None if self._token is None else self._token(request, is_open)
