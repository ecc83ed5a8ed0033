"""A schedule reaches an HTTP app, from its probe to its events."""

from support.apps import PlainApp, answer, plain_app
from support.bindings import Quay
from support.pubsub import Noted
from support.waiting import eventually

from pillion.edge.app.http import HttpApp
from pillion.edge.app.slots import Slots
from pillion.net.http_client import Http1Client
from pillion.services.bindings import InputBindings, OutputBindings
from pillion.wire import json


async def test_the_app_is_asked_first_and_each_tick_is_a_post_without_a_body() -> None:
    quay, plain = Quay(), PlainApp()
    plain.answers["/left"] = answer(404)
    await quay.cron("tick")
    await quay.cron("left")
    async with plain_app(plain) as port:
        app = HttpApp(
            Http1Client("127.0.0.1", port), base=f"http://127.0.0.1:{port}", app_id="appa", telemetry=Noted(),
            slots=Slots(0),
        )  # fmt: skip
        inputs = InputBindings(quay.mounts, app, OutputBindings(quay.mounts, quay), json, quay.clock)  # type: ignore[arg-type]
        await inputs.start()
        await eventually(lambda: quay.clock.sleepers == 1)
        await quay.clock.advance(1)
        await eventually(lambda: len(plain.asked) == 3)
        await inputs.stop()
        await app.close()
    assert sorted(asked.line for asked in plain.asked[:2]) == [
        "OPTIONS /left HTTP/1.1",
        "OPTIONS /tick HTTP/1.1",
    ]
    event = plain.asked[2]
    assert event.line == "POST /tick HTTP/1.1" and event.body == b""
    assert event.header("content-length") == ["0"]
    assert event.header("content-type") == ["application/json"]
    assert event.header("readtimeutc") == ["2023-11-14 22:13:21 +0000 UTC"]
    assert event.header("timezone") == ["Local"]
