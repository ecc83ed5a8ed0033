"""The settings all Redis drivers share, and what is said of the server's troubles."""

import pytest
from redis import exceptions

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_client import in_our_words
from pillion.drivers.clients.redis_settings import RedisSettings, seconds
from pillion.plug.settings import read


def settings(**metadata: str) -> RedisSettings:
    return read(RedisSettings, {"redisHost": "localhost", **metadata})


@pytest.mark.parametrize(
    ("metadata", "addresses"),
    [
        ({"redisHost": "cache"}, [("cache", 6379)]),
        ({"redisHost": "cache:7000"}, [("cache", 7000)]),
        ({"redisHost": "cache", "redisPort": "7000"}, [("cache", 7000)]),
        ({"redisHost": "cache:7000", "redisPort": "7000"}, [("cache", 7000)]),
        ({"redisHost": "[::1]:7000"}, [("::1", 7000)]),
        ({"redisHost": "::1"}, [("::1", 6379)]),
        ({"redisHost": "a:1, b ,c:3"}, [("a", 1), ("b", 6379), ("c", 3)]),
    ],
)
def test_where_the_server_is(metadata: dict[str, str], addresses: list[tuple[str, int]]) -> None:
    assert settings(**metadata).addresses == addresses


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"redisHost": "a:1", "redisPort": "2"}, "redisPort 2"),
        ({"redisHost": " , "}, "empty"),
        ({"failover": "true"}, "sentinelMasterName"),
        ({"failover": "true", "sentinelMasterName": "m", "redisType": "cluster"}, "exclude"),
        ({"useEntraID": "true"}, "not built"),
        ({"useAzureAD": "true"}, "not built"),
        ({"useOIDC": "true"}, "not built"),
        ({"clientCert": "x"}, "clientKey"),
    ],
)
def test_what_cannot_be_honoured_is_refused(metadata: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        settings(**metadata).check()


def test_a_plain_number_counts_milliseconds_and_minus_one_is_no_limit() -> None:
    assert seconds("250", "readTimeout") == 0.25
    assert seconds("3s", "readTimeout") == 3
    assert seconds("-1", "readTimeout") is None
    with pytest.raises(Refused, match="readTimeout"):
        seconds("soon", "readTimeout")


@pytest.mark.parametrize(
    ("raised", "word"),
    [
        (exceptions.ConnectionError("gone"), Unavailable),
        (exceptions.TimeoutError("late"), Unavailable),
        (exceptions.MaxConnectionsError("too many"), Unavailable),
        (exceptions.BusyLoadingError("loading"), Unavailable),
        (exceptions.ReadOnlyError("replica"), Unavailable),
        (exceptions.OutOfMemoryError("OOM"), Unavailable),
        (exceptions.ClusterDownError("down"), Unavailable),
        (OSError("no route"), Unavailable),
        (exceptions.ResponseError("MISCONF the disk is full"), Unavailable),
        (exceptions.ResponseError("WRONGTYPE of key"), Refused),
        (exceptions.AuthenticationError("WRONGPASS"), Refused),
        (exceptions.NoPermissionError("NOPERM"), Refused),
        (exceptions.DataError("no such type"), Refused),
    ],
)
def test_each_trouble_has_its_word(raised: Exception, word: type[Exception]) -> None:
    with pytest.raises(word, match="redis at x"), in_our_words("redis at x"):
        raise raised
