"""The app's side of the life cycle."""

import asyncio

from support.pubsub import Noted
from support.waiting import eventually

from pillion.edge.app.http import HttpApp
from pillion.host.applife import HealthWatch
from pillion.model.metadata import HealthProbe
from pillion.net.http_client import Http1Client
from pillion.net.wheel import Wheel
from pillion.testing.clock import HandClock


async def test_a_probe_is_counted_once() -> None:
    noted, wheel = Noted(), Wheel(asyncio.get_running_loop())
    nobody = Http1Client("127.0.0.1", 1, wheel=wheel)
    app = HttpApp(nobody, base="http://127.0.0.1:1", app_id="shop", telemetry=noted)

    async def changed(healthy: bool) -> None:
        raise AssertionError("an app that never answered has not changed")

    watch = HealthWatch(app, HealthProbe("/healthz", 5.0, 0.5, 3), HandClock(), changed)
    running = asyncio.get_running_loop().create_task(watch.run())
    await eventually(lambda: watch.failures == 1)
    running.cancel()
    await asyncio.wait([running])
    await app.close()
    wheel.close()
    assert noted.told == [("health", False, False)]
