"""State through the real server: what stands on the wire."""

from support.http1 import Raw, talking
from support.stores import Shelf

from pillion.edge.http.api import Ask, Front, HttpApi, Reply
from pillion.edge.http.state import StateRoutes
from pillion.net.http import HttpLimits
from pillion.services.state import StateService


async def nobody(_: Ask) -> Reply:
    return Reply(404)


async def test_a_value_is_saved_read_and_refused_on_one_connection() -> None:
    shelf = Shelf()
    await shelf.memory()
    routes = StateRoutes(StateService(shelf.mounts, shelf.clock), "appa").routes()
    api = HttpApi(routes, nobody, Front(served=lambda *_: None, body_limit=100_000))
    async with talking(api.handle, HttpLimits(body_bytes=100_000)) as raw:
        saved, _, _ = await asked(
            raw, b"POST", b"/v1.0/state/mem", b'[{"key":"k","value":{"b":1.0,"a":"<"}}]'
        )
        ttl = b'[{"key":"t","value":1,"metadata":{"ttlInSeconds":"100"}}]'
        await asked(raw, b"PUT", b"/v1.0/state/mem/", ttl)
        status, headers, body = await asked(raw, b"GET", b"/v1.0/state/mem/k")
        assert (saved, status, body) == (204, 200, b'{"a":"\\u003c","b":1}')
        assert headers["Content-Type"] == "application/json" and len(headers["Etag"]) == 36
        _, headers, _ = await asked(raw, b"GET", b"/v1.0/state/mem/t")
        assert headers["Metadata.ttlexpiretime"] == "2023-11-14T22:15:00Z"
        assert (await asked(raw, b"GET", b"/v1.0/state/mem/nobody"))[0] == 204
        status, _, body = await asked(raw, b"POST", b"/v1.0/state/mem", b" " * 200_000)
        assert (status, body) == (400, b'{"errorCode":"ERR_MALFORMED_REQUEST","message":"stream too large"}')
    await shelf.close()


async def asked(
    raw: Raw, method: bytes, target: bytes, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    raw.send(
        method + b" " + target + b" HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    )
    return await raw.answer()
