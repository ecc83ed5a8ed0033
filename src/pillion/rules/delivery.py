"""What becomes of a message once the app has spoken."""

import enum

from pillion.model.pubsub import Answer


class Fate(enum.Enum):
    """The end of one delivery."""

    ACK = "ack"
    RETRY = "retry"
    BURY = "bury"
    """Publish to the dead-letter topic, then acknowledge."""


def fate(answer: Answer, *, has_dead_letter: bool) -> Fate:
    """A failed call counts as RETRY.

    | answer    | without a dead-letter topic | with one |
    |-----------|-----------------------------|----------|
    | SUCCESS   | ack                         | ack      |
    | RETRY     | again                       | bury     |
    | DROP      | ack                         | bury     |
    | UNHANDLED | ack                         | ack      |
    """
    match answer:
        case Answer.SUCCESS | Answer.UNHANDLED:
            return Fate.ACK
        case Answer.RETRY:
            return Fate.BURY if has_dead_letter else Fate.RETRY
        case Answer.DROP:
            return Fate.BURY if has_dead_letter else Fate.ACK
