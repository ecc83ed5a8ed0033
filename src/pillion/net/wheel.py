"""One coarse clock for many deadlines: idle connections, slow headers."""

import asyncio
from collections.abc import Callable

TICK = 0.5
_NEVER = float("inf")


class Watch:
    """A deadline that is moved often and missed rarely.

    Moving it later costs one assignment; it fires up to a tick late, never early.
    """

    __slots__ = ("_wheel", "_tell", "_due", "_turn", "_seen_at")

    def __init__(self, wheel: "Wheel", tell: Callable[[], None]) -> None:
        self._wheel = wheel
        self._tell: Callable[[], None] | None = tell
        self._due = 0.0
        self._turn = 0  # the turn at which the wheel will look at us; 0 is never
        self._seen_at = _NEVER  # when that is

    def set(self, seconds: float) -> None:
        """Fire once, `seconds` from now, unless moved or turned off before."""
        self._due = due = self._wheel.time() + seconds
        if due < self._seen_at and self._tell is not None:
            self._wheel.place(self)

    def off(self) -> None:
        """Do not fire until set again."""
        self._due = 0.0

    def close(self) -> None:
        """Never fire again, and let go of the owner."""
        self._due = 0.0
        self._tell = None


class Wheel:
    """Turns once per tick while anything is being watched, and looks only at what may be due.

    A watch that was moved later is put back when its old turn comes; so traffic costs the wheel nothing.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None, tick: float = TICK) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self.time = self._loop.time
        self._tick = tick
        self._zero = self._loop.time()
        self._turns: dict[int, set[Watch]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0

    def watch(self, tell: Callable[[], None]) -> Watch:
        """A new deadline, off until set; `tell` is called when it passes."""
        return Watch(self, tell)

    def start(self, turn: int) -> float:
        """When a turn comes, on the loop's clock."""
        return self._zero + turn * self._tick

    def place(self, watch: Watch) -> None:
        """Look at the watch in the first turn after it is due."""
        self._drop(watch)
        turn = int((watch._due - self._zero) / self._tick) + 1
        watch._turn = turn = max(turn, self._last + 1)
        watch._seen_at = self.start(turn)
        self._turns.setdefault(watch._turn, set()).add(watch)
        if self._timer is None:
            self._last = self._now()
            self._wind()

    def close(self) -> None:
        """Stop turning; nothing fires any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._turns.clear()

    def _drop(self, watch: Watch) -> None:
        held = self._turns.get(watch._turn)
        if held is not None:
            held.discard(watch)

    def _now(self) -> int:
        return int((self._loop.time() - self._zero) / self._tick)

    def _wind(self) -> None:
        self._timer = self._loop.call_at(self.start(self._last + 1), self._advance)

    def _advance(self) -> None:
        now = self._now()
        for turn in range(self._last + 1, now + 1):
            for watch in self._turns.pop(turn, ()):
                self._look(watch)
        self._last = max(self._last, now)
        self._timer = None
        if self._turns:
            self._wind()

    def _look(self, watch: Watch) -> None:
        watch._turn = 0
        watch._seen_at = _NEVER
        if not watch._due or watch._tell is None:
            return
        if watch._due > self._loop.time():
            self.place(watch)
            return
        watch._due = 0.0
        watch._tell()
