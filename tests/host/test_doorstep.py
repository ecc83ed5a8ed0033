"""An HTTP port before its API is there."""

import asyncio

from pillion.edge.http.api import Ask, Front, HttpApi, Reply
from pillion.edge.http.health import HealthRoutes
from pillion.host import doorstep as doorstep_module
from pillion.host.doorstep import Doorstep
from pillion.net.http import Headers, Request, Responder
from pillion.services.readiness import Readiness
from pillion.toolbox.stream import Body

HEALTH = ("/v1.0/healthz", "/v1.0/healthz/outbound")


class Answer:
    """Remembers what it was told to send."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def respond(self, status: int, headers: Headers, body: Body = b"") -> None:
        self.statuses.append(status)

    def on_disconnect(self, tell: object) -> None:
        pass

    def close_after(self) -> None:
        pass


async def nobody(ask: Ask) -> Reply:
    return Reply(404)


def made(readiness: Readiness) -> Doorstep:
    return Doorstep(HttpApi(HealthRoutes(readiness).routes(), nobody, Front(served=lambda *_: None)), HEALTH)


def asked(doorstep: Doorstep, method: bytes, target: bytes) -> Answer:
    answer = Answer()
    doorstep(Request(method, target, []), answer)
    return answer


async def test_health_is_told_at_once() -> None:
    readiness = Readiness("a", ["runtime"], [])
    doorstep = made(readiness)
    assert asked(doorstep, b"GET", b"/v1.0/healthz/outbound").statuses == [204]
    assert asked(doorstep, b"GET", b"/v1.0/healthz?appid=a").statuses == [500]


async def test_all_else_waits_and_is_let_in_in_its_order() -> None:
    doorstep = made(Readiness("a", [], []))
    answers = [asked(doorstep, b"GET", b"/v1.0/metadata"), asked(doorstep, b"POST", b"/v1.0/healthz")]
    assert [answer.statuses for answer in answers] == [[], []]
    seen: list[bytes] = []

    def inside(request: Request, responder: Responder) -> None:
        seen.append(request.target)
        responder.respond(200, [])

    doorstep.open_to(inside)
    await asyncio.sleep(0)
    assert seen == [b"/v1.0/metadata", b"/v1.0/healthz"]
    assert [answer.statuses for answer in answers] == [[200], [200]]


async def test_who_still_comes_to_it_later_is_passed_on() -> None:
    doorstep = made(Readiness("a", [], []))
    doorstep.open_to(lambda request, responder: responder.respond(299, []))
    assert asked(doorstep, b"GET", b"/v1.0/healthz").statuses == [299]


async def test_no_more_wait_than_there_is_room_for() -> None:
    doorstep = made(Readiness("a", [], []))
    for _ in range(doorstep_module.MOST_WAITING):
        assert asked(doorstep, b"GET", b"/v1.0/metadata").statuses == []
    assert asked(doorstep, b"GET", b"/v1.0/metadata").statuses == [503]
