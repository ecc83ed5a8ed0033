"""What a subscription has in hand: a bound, a verdict for each, and none forgotten when cut off."""

import asyncio

from support.waiting import eventually

from pillion.drivers.clients.deliveries import Deliveries
from pillion.model.pubsub import Message, Verdict


class Hands:
    """Deliveries whose app answers when told to."""

    def __init__(self) -> None:
        self.answers: dict[bytes, asyncio.Future[Verdict]] = {}
        self.told = 0
        self.deliveries: Deliveries[str] = Deliveries("t", self._deliver, 2, self._count)

    async def _deliver(self, message: Message) -> Verdict:
        return await self.answers.setdefault(message.data, asyncio.get_running_loop().create_future())

    def _count(self) -> None:
        self.told += 1


async def test_each_verdict_is_told_and_taken_once() -> None:
    hands = Hands()
    hands.deliveries.start("a", Message("t", b"a"))
    assert (hands.deliveries.free, hands.deliveries.out) == (1, ["a"])
    await eventually(lambda: hands.answers)
    hands.answers[b"a"].set_result(Verdict.ACK)
    await eventually(lambda: hands.told == 1)
    assert hands.deliveries.free == 2
    assert hands.deliveries.take() == [("a", Verdict.ACK)] and hands.deliveries.take() == []


async def test_one_that_raises_is_to_be_tried_again() -> None:
    hands = Hands()
    hands.deliveries.start("a", Message("t", b"a"))
    await eventually(lambda: hands.answers)
    hands.answers[b"a"].set_exception(RuntimeError("a defect"))
    await eventually(lambda: hands.told == 1)
    assert hands.deliveries.take() == [("a", Verdict.RETRY)]


async def test_what_is_not_done_by_the_deadline_is_abandoned() -> None:
    hands = Hands()
    hands.deliveries.start("a", Message("t", b"a"))
    hands.deliveries.start("b", Message("t", b"b"))
    await eventually(lambda: len(hands.answers) == 2)
    hands.answers[b"a"].set_result(Verdict.ACK)
    await hands.deliveries.finish(0.02)
    assert dict(hands.deliveries.take()) == {"a": Verdict.ACK, "b": Verdict.ABANDON}


async def test_one_cut_off_before_its_first_step_is_abandoned_too() -> None:
    hands = Hands()
    hands.deliveries.start("a", Message("t", b"a"))
    await hands.deliveries.finish(0)
    assert hands.deliveries.take() == [("a", Verdict.ABANDON)]
