"""How long to wait before the next try: doubling, bounded, scattered so that many do not try at once."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that grow by `multiplier` from `initial` up to `maximum`.

    `jitter` is the share by which a wait may be shorter or longer: 0.5 of 10 s gives 5–15 s; what jitter adds never
    passes `maximum`. Holds no state: the caller counts its tries.
    """

    initial: timedelta
    maximum: timedelta
    multiplier: float = 2.0
    jitter: float = 0.5
    random: Callable[[], float] = field(default=random.random, repr=False)

    def seconds(self, attempt: int) -> float:
        """The wait after try number `attempt`, the first being 0."""
        most = self.maximum.total_seconds()
        # The exponent is bounded: a consumer may be at its ten-thousandth try.
        wait = min(most, self.initial.total_seconds() * self.multiplier ** min(attempt, 64))
        return min(most, wait * (1 + self.jitter * (2 * self.random() - 1)))
