"""What becomes of a message."""

import pytest

from pillion.model.pubsub import Answer
from pillion.rules.delivery import Fate, fate


@pytest.mark.parametrize(
    ("answer", "without", "with_one"),
    [
        (Answer.SUCCESS, Fate.ACK, Fate.ACK),
        (Answer.RETRY, Fate.RETRY, Fate.BURY),
        (Answer.DROP, Fate.ACK, Fate.BURY),
        (Answer.UNHANDLED, Fate.ACK, Fate.ACK),
    ],
)
def test_the_answer_and_the_dead_letter_topic_decide(answer: Answer, without: Fate, with_one: Fate) -> None:
    assert fate(answer, has_dead_letter=False) is without
    assert fate(answer, has_dead_letter=True) is with_one
