"""The coarse clock of connections."""

import asyncio

from support.waiting import eventually

from pillion.net.wheel import Wheel


async def test_a_watch_fires_once_and_not_early():
    wheel, fired = Wheel(tick=0.01), []
    loop = asyncio.get_running_loop()
    watch = wheel.watch(lambda: fired.append(loop.time()))
    begun = loop.time()
    watch.set(0.05)
    await eventually(lambda: fired)
    await asyncio.sleep(0.05)
    assert len(fired) == 1 and 0.05 <= fired[0] - begun


async def test_a_watch_moved_later_or_turned_off_does_not_fire_at_its_old_time():
    wheel, fired = Wheel(tick=0.01), []
    later, off, gone = (
        wheel.watch(lambda name=name: fired.append(name)) for name in ("later", "off", "gone")
    )
    for watch in (later, off, gone):
        watch.set(0.02)
    later.set(60)
    off.off()
    gone.close()
    gone.set(0.01)
    await asyncio.sleep(0.08)
    assert fired == []
    wheel.close()


async def test_a_watch_moved_earlier_fires_then():
    wheel, fired = Wheel(tick=0.01), []
    watch = wheel.watch(lambda: fired.append(True))
    watch.set(60)
    watch.set(0.02)
    await eventually(lambda: fired, timeout=1)


async def test_a_watch_may_be_set_again_from_its_own_call():
    wheel, fired = Wheel(tick=0.01), []

    def again() -> None:
        fired.append(True)
        if len(fired) < 3:
            watch.set(0.01)

    watch = wheel.watch(again)
    watch.set(0.01)
    await eventually(lambda: len(fired) == 3)


async def test_an_empty_wheel_stands_still():
    wheel, fired = Wheel(tick=0.01), []
    watch = wheel.watch(lambda: fired.append(True))
    watch.set(0.01)
    await eventually(lambda: fired)
    assert wheel._timer is None
