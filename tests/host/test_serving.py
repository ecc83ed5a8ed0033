"""Where a sidecar listens."""

import logging

import pytest

from pillion.host import serving
from pillion.host.flags import Flags


def test_brackets_around_an_address_are_not_part_of_it() -> None:
    assert serving.bare("[::1]") == "::1"
    assert serving.bare("127.0.0.1") == "127.0.0.1"
    assert serving.bare("") == ""


def test_an_address_that_is_not_this_machine_s_is_left_out_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        found = serving.hosts(Flags(dapr_listen_addresses=("192.0.2.1", "127.0.0.1")))
    assert found == ["127.0.0.1"]
    assert "192.0.2.1" in caplog.text


def test_where_none_of_the_addresses_is_here_all_are_tried_and_fail_with_a_sentence() -> None:
    assert serving.hosts(Flags(dapr_listen_addresses=("192.0.2.1",))) == ["192.0.2.1"]
