"""Header fields of one connection."""

from pillion.toolbox.hops import named_by_connection


def test_every_connection_field_counts_and_those_that_name_nothing_are_passed_over() -> None:
    headers = [
        (b"connection", b"X-A, x-b"),
        (b"x-c", b"1"),
        (b"connection", b"x-d"),
        (b"connection", b"Keep-Alive"),
    ]
    assert named_by_connection(headers) == {b"x-a", b"x-b", b"x-d"}
