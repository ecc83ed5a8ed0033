"""Sizes as Kubernetes writes them."""

import pytest

from pillion.toolbox.quantities import QuantityError, parse


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("512", 512),
        ("4Mi", 4 * 1024**2),
        ("4Ki", 4096),
        ("4M", 4_000_000),
        ("1k", 1000),
        ("1G", 10**9),
        ("1Ei", 2**60),
        ("0.5Ki", 512),
        (".5Ki", 512),
        ("1e3", 1000),
        ("1E3", 1000),
        ("2E", 2 * 10**18),
        ("1000m", 1),
        ("-1", -1),
        ("+3", 3),
        (" 8 ", 8),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse(text) == size


@pytest.mark.parametrize(
    "text", ["", "Mi", "4mi", "4MB", "4 Mi", "1K", "0.5", "1m", "9Ei", "1e", "1e999", "--1", "0x10"]
)
def test_what_is_no_whole_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)
