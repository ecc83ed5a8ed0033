"""An app's answers as HTTP answers."""

import pytest

from pillion.edge.http.invoke import rendered
from pillion.model.invoke import Outcome
from pillion.toolbox.stream import Stream


@pytest.mark.parametrize("status", [204, 304])
async def test_a_body_that_may_not_be_sent_on_is_let_go(status: int) -> None:
    body = Stream()
    reply = await rendered(Outcome(status, body=body))
    assert reply.body == b"" and body.ended
