"""The whole way from a publish to an app over its socket, with a broker on disk: nothing is lost on it."""

from pathlib import Path

import pytest
from support.apps import Asked, PlainApp, answer, plain_app
from support.pubsub import Deck, Noted
from support.waiting import eventually

from pillion.drivers.pubsub.sqlite.driver import SqlitePubSub, SqlitePubSubSettings
from pillion.edge.app.http import HttpApp
from pillion.model.call import PLAIN
from pillion.net.http_client import Http1Client
from pillion.plug.component import Context
from pillion.plug.settings import read
from pillion.services.subscriptions import Subscriptions
from pillion.wire import json

MANY = 200
LIST = b'[{"pubsubname":"disk","topic":"numbers","route":"/numbers"}]'
BULK = (
    b'[{"pubsubname":"disk","topic":"numbers","route":"/numbers",'
    b'"bulkSubscribe":{"enabled":true,"maxMessagesCount":10,"maxAwaitDurationMs":20}}]'
)


class Flaky(PlainApp):
    """Fails every number the first time it hears it; remembers those it took."""

    def __init__(self, listing: bytes) -> None:
        super().__init__({"/dapr/subscribe": answer(200, listing)})
        self.heard: set[int] = set()
        self.taken: list[int] = []

    def reply(self, asked: Asked) -> bytes:
        if " /numbers " not in asked.line:
            return super().reply(asked)
        given = json.loads(asked.body)
        if "entries" not in given:
            return answer(200 if self.takes(given["data"]) else 500)
        statuses = [
            {
                "entryId": entry["entryId"],
                "status": "SUCCESS" if self.takes(entry["event"]["data"]) else "RETRY",
            }
            for entry in given["entries"]
        ]
        return answer(200, json.encode_ordered({"statuses": statuses}))

    def takes(self, number: int) -> bool:
        if number in self.heard:
            self.taken.append(number)
            return True
        self.heard.add(number)
        return False


class Sidecar:
    """One sidecar's share: its own connection to the broker's file and to the app."""

    def __init__(self, path: Path, port: int) -> None:
        self.deck = Deck()
        self.app = HttpApp(
            Http1Client("127.0.0.1", port), base=f"http://127.0.0.1:{port}", app_id="appa", telemetry=Noted()
        )
        self.context = Context(name="disk", app_id="appa", data_home=path)
        self.driver = SqlitePubSub(read(SqlitePubSubSettings, {"consumerID": "appa"}), self.context)
        self.subscriptions = Subscriptions(
            pubsub=self.deck.service,
            app=self.app,
            telemetry=self.deck.noted,
            json=json,
            clock=self.context.clock,
        )

    async def start(self) -> None:
        await self.driver.open()
        self.deck.mount("disk", self.driver)
        await self.subscriptions.start()

    async def publish(self, numbers: range) -> None:
        for number in numbers:
            await self.deck.service.publish(
                PLAIN, "disk", "numbers", str(number).encode(), "application/json"
            )

    async def stop(self) -> None:
        await self.subscriptions.drain(2.0)
        await self.driver.close()
        await self.context.crew.close()
        await self.app.close()


@pytest.mark.parametrize("listing", [LIST, BULK], ids=["single", "bulk"])
async def test_an_app_that_fails_and_a_sidecar_that_leaves_lose_nothing(
    tmp_path: Path, listing: bytes
) -> None:
    app = Flaky(listing)
    async with plain_app(app) as port:
        first, second = Sidecar(tmp_path, port), Sidecar(tmp_path, port)
        await first.start()
        await second.start()
        await first.publish(range(MANY // 2))
        await eventually(lambda: len(app.taken) > 5, 15)
        await first.stop()
        await second.publish(range(MANY // 2, MANY))
        await second.subscriptions.pause()
        await second.subscriptions.resume()
        await eventually(lambda: set(app.taken) == set(range(MANY)), 15)
        await second.stop()
