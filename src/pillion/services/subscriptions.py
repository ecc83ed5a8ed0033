"""Subscriptions: who wants which topic, kept up for as long as the app can take events."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from pillion.contracts.pubsub import Deliver, Subscription
from pillion.contracts.words import DriverError
from pillion.model.errors import ApiError
from pillion.model.pubsub import Interest, Origin, Topic
from pillion.ports.app import App, AppFailed, AppUnreachable
from pillion.ports.json import Json
from pillion.ports.telemetry import Telemetry
from pillion.rules.routing import Routes
from pillion.services.batches import Batches
from pillion.services.delivery import Delivery, Take
from pillion.services.pubsub import PubSubService
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.clock import Clock
from pillion.toolbox.tasks import Crew, tasked

log = logging.getLogger("dapr.runtime.processor.subscription")

ASKING: Final = Backoff(timedelta(seconds=0.5), timedelta(seconds=1), multiplier=1.5)
"""Between questions to an app that does not answer yet."""
ASKINGS: Final = 3
"""Further questions after the first."""
AGAIN: Final = Backoff(timedelta(seconds=0.5), timedelta(seconds=30))
"""Between tries to subscribe."""
FIRST_TRY: Final = 5.0
"""Seconds `start` waits for every subscription's first try."""
IN_FLIGHT: Final = 64


class NotSubscribed(Exception):
    """The app may not have this topic, asks for it in a way nobody understands, or the broker said no."""


class Line:
    """One subscription, from the wish to the running consumer and to its end."""

    def __init__(
        self,
        interest: Interest,
        *,
        pubsub: PubSubService,
        app: App | None,
        take: Take | None = None,
        telemetry: Telemetry,
        json: Json,
        clock: Clock,
    ) -> None:
        """Events go to `take`, or to the app where there is none."""
        self.interest = interest
        self._pubsub = pubsub
        self._app = app
        self._take = take
        self._telemetry = telemetry
        self._json = json
        self._clock = clock
        self._delivery: Delivery | None = None
        self._batches: Batches | None = None
        self._subscription: Subscription | None = None
        self._closed = False
        self._ended = False
        self._tell: Callable[[], None] | None = None

    def at_end(self, tell: Callable[[], None] | None) -> None:
        """Have one listener told once when the subscription has ended, now if it has; None takes it back."""
        if tell is not None and self._ended:
            tell()
        else:
            self._tell = tell

    async def open(self) -> None:
        """Subscribe now. Raises NotSubscribed, or ApiError when there is no such broker."""
        interest = self.interest
        broker = self._pubsub.find(interest.pubsub)
        if not broker.scopes.may_subscribe(interest.topic):
            raise NotSubscribed(
                f"subscription to topic '{interest.topic}' on pubsub '{interest.pubsub}' is not allowed"
            )
        try:
            delivery = Delivery(
                interest,
                broker,
                self._taker(),
                self._pubsub.bury,
                telemetry=self._telemetry,
                json=self._json,
                clock=self._clock,
            )
        except ValueError as error:
            raise NotSubscribed(str(error)) from error
        deliver, in_flight = self._deliver(delivery)
        topic = Topic(broker.topic(interest.topic), interest.metadata, in_flight)
        self._delivery = delivery
        try:
            self._subscription = await broker.mount.driver.subscribe(topic, deliver)
        except DriverError as error:
            raise NotSubscribed(
                f"failed to subscribe to topic '{interest.topic}' on pubsub '{interest.pubsub}': {error}"
            ) from error
        if self._closed:
            await self.close()

    async def pause(self) -> None:
        """Hand nothing new to the app; what is in flight goes on."""
        if self._subscription is not None:
            await self._subscription.pause()

    async def resume(self) -> None:
        """Take up again after `pause`."""
        if self._subscription is not None:
            await self._subscription.resume()

    async def drain(self, deadline: float) -> None:
        """Take nothing new, give what is in flight up to `deadline` seconds, release the rest, and end."""
        self._closed = True
        if self._delivery is not None:
            self._delivery.closing = True
        subscription, self._subscription = self._subscription, None
        waits = []
        if self._batches is not None:
            waits.append(self._batches.close(deadline))
        if subscription is not None:
            waits.append(subscription.drain(deadline))
        try:
            await asyncio.gather(*waits)
        finally:
            if subscription is not None:
                await tasked(subscription.close())
            self._ended = True
            tell, self._tell = self._tell, None
            if tell is not None:
                tell()

    async def close(self) -> None:
        """End now: what is in flight is released for others."""
        await self.drain(0)

    def _taker(self) -> Take:
        if self._take is not None:
            return self._take
        if self._app is None:
            raise NotSubscribed("there is no app to deliver to")
        return self._app.deliver

    def _deliver(self, delivery: Delivery) -> tuple[Deliver, int]:
        bulk = self.interest.bulk
        if not bulk.enabled or self._app is None or self._take is not None:
            return delivery, IN_FLIGHT
        self._batches = Batches(
            delivery, bulk, self._app.deliver_batch, telemetry=self._telemetry, clock=self._clock
        )
        return self._batches, max(IN_FLIGHT, 2 * bulk.max_messages)


class Subscriptions:
    """All subscriptions of one sidecar.

    What the app lists is asked for once, at the start. A subscription the broker refuses, or whose broker is not there,
    is tried again in the background and does not keep the others back.
    """

    def __init__(
        self, *, pubsub: PubSubService, app: App | None, telemetry: Telemetry, json: Json, clock: Clock
    ) -> None:
        self._pubsub = pubsub
        self._app = app
        self._telemetry = telemetry
        self._json = json
        self._clock = clock
        self._lines: list[Line] = []
        self._streams: list[Line] = []
        self._crew = Crew("subscriptions")
        self._running = asyncio.Event()
        self._running.set()
        self._draining = False

    def listing(self) -> tuple[Interest, ...]:
        """Every subscription, those that could not be opened included."""
        return tuple(line.interest for line in (*self._lines, *self._streams))

    async def start(self, declared: Iterable[Interest] = (), *, ask: bool = True) -> None:
        """Subscribe to what the app lists (unless not to `ask`) and to what is declared, once the app can take events."""
        if self._app is None:
            return
        listed = await self._listed(self._app) if ask else ()
        own = {(interest.pubsub, interest.topic) for interest in listed}
        wanted = [each for each in declared if (each.pubsub, each.topic) not in own] + list(listed)
        self._lines = [self._line(interest) for interest in wanted]
        tried = [self._started(line) for line in self._lines]
        if tried:
            await asyncio.wait(tried, timeout=FIRST_TRY)

    async def pause(self) -> None:
        """The app cannot take events for now; streams it opened go on, they have an end of their own."""
        self._running.clear()
        await asyncio.gather(*(line.pause() for line in self._lines))

    async def resume(self) -> None:
        """The app takes events again."""
        self._running.set()
        await asyncio.gather(*(line.resume() for line in self._lines))

    async def open_stream(self, interest: Interest, take: Take) -> Line:
        """Subscribe for a stream the app holds open. Raises as `Line.open`; nothing begins once we drain."""
        if self._draining:
            raise NotSubscribed("the sidecar is shutting down")
        line = Line(
            replace(interest, origin=Origin.STREAMING),
            pubsub=self._pubsub,
            app=None,
            take=take,
            telemetry=self._telemetry,
            json=self._json,
            clock=self._clock,
        )
        self._streams.append(line)
        try:
            await tasked(line.open())  # brokers may set time limits, and a call has no task
        except BaseException:
            self._streams.remove(line)
            raise
        return line

    async def close_stream(self, line: Line) -> None:
        """The stream has gone; what it had not answered is released for others."""
        if line in self._streams:
            self._streams.remove(line)
        await line.close()

    async def drain(self, deadline: float) -> None:
        """Shutting down: nothing new, what is in flight may finish until the deadline, the rest goes back to the brokers."""
        self._draining = True
        await self._crew.close()
        await asyncio.gather(*(line.drain(deadline) for line in (*self._lines, *self._streams)))

    async def close(self) -> None:
        """End now. Safe after `drain`."""
        await self.drain(0)

    async def _listed(self, app: App) -> Sequence[Interest]:
        for attempt in range(ASKINGS + 1):
            try:
                return [self._named(interest) for interest in await app.interests()]
            except AppUnreachable as error:
                log.error("error getting topics list from app: %s", error)
                if attempt < ASKINGS:
                    await self._clock.sleep(ASKING.seconds(attempt))
            except AppFailed as error:
                log.error("%s", error)
                break
        return ()

    def _named(self, interest: Interest) -> Interest:
        """An app of 2020 names no broker: it means the only one."""
        return interest if interest.pubsub else replace(interest, pubsub=self._pubsub.only)

    def _line(self, interest: Interest) -> Line:
        return Line(
            interest,
            pubsub=self._pubsub,
            app=self._app,
            telemetry=self._telemetry,
            json=self._json,
            clock=self._clock,
        )

    def _started(self, line: Line) -> asyncio.Future[None]:
        """Begin to keep a line; the future is done once opening it was tried, or put off."""
        tried: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._crew.start(self._keep(line, tried), f"subscription to {line.interest.topic}")
        return tried

    async def _keep(self, line: Line, tried: asyncio.Future[None]) -> None:
        """Open a line, as often as it takes; the first failure is an error, the later ones only details."""
        attempt = 0
        while not await self._opened(line, tried, logging.DEBUG if attempt else logging.ERROR):
            await self._clock.sleep(AGAIN.seconds(attempt))
            attempt += 1

    async def _opened(self, line: Line, tried: asyncio.Future[None], level: int) -> bool:
        try:
            if not self._running.is_set():
                _done(tried)
                await self._running.wait()
            await line.open()
        except (NotSubscribed, ApiError) as error:
            log.log(level, "%s", _sentence(line.interest, error))
            return False
        finally:
            _done(tried)
        if not self._running.is_set():  # the app fell ill while the broker was asked
            await line.pause()
        return True


def check(interest: Interest) -> None:
    """Look at a declared subscription before anything runs; raises ExpressionError for a rule that is not CEL."""
    Routes(interest.rules)


def _done(tried: asyncio.Future[None]) -> None:
    if not tried.done():
        tried.set_result(None)


def _sentence(interest: Interest, error: Exception) -> str:
    if isinstance(error, ApiError):
        return f"subscription to topic '{interest.topic}': {error.message}"
    return str(error)
