"""The settings all Redis drivers share, and what is said of the server's troubles."""

from dataclasses import replace

import pytest

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import Patience, said_by_the_server
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
        ({"useEntraID": "true"}, "not built"),
        ({"useAzureAD": "true"}, "not built"),
        ({"useOIDC": "true"}, "not built"),
        ({"clientCert": "x"}, "clientKey"),
    ],
)
def test_what_cannot_be_honoured_is_refused(metadata: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        settings(**metadata).check()


def test_a_plain_number_counts_milliseconds_nothing_is_the_default_and_minus_one_no_limit() -> None:
    given = settings(readTimeout="250", writeTimeout="1s", dialTimeout="2s")
    assert (given.patience, given.dialling) == (Patience(0.25, 1.0), 2.0)
    assert settings(readTimeout="0", dialTimeout="0").patience == Patience(3.0, 3.0)
    assert settings(dialTimeout="0").dialling == 5.0
    assert settings(readTimeout="-1").patience == Patience(None, None)
    assert settings(readTimeout="7s").patience == Patience(7.0, 7.0)


@pytest.mark.parametrize("name", ["readTimeout", "writeTimeout", "dialTimeout", "redisMinRetryInterval"])
def test_a_span_that_is_none_is_refused_by_name(name: str) -> None:
    with pytest.raises(Refused, match=name):
        settings(**{name: "soon"}).check()


@pytest.mark.parametrize(
    ("metadata", "tries"),
    [({}, 3), ({"redisMaxRetries": "0"}, 3), ({"redisMaxRetries": "-1"}, 0), ({"maxRetries": "5"}, 5)],
)
def test_how_often_something_is_tried_again(metadata: dict[str, str], tries: int) -> None:
    assert settings(**metadata).retries == tries


def test_tries_wait_twice_as_long_each_time_up_to_the_most() -> None:
    waits = settings(redisMinRetryInterval="10ms", redisMaxRetryInterval="30ms").waits
    steady = replace(waits, jitter=0.0)
    assert [round(steady.seconds(each), 3) for each in range(3)] == [0.01, 0.02, 0.03]


def test_what_means_nothing_here_is_named() -> None:
    assert settings().without_effect == []
    given = settings(poolSize="5", idleTimeout="5m", redisType="cluster", redisDB="2")
    assert given.without_effect == ["poolSize", "idleTimeout", "redisDB"]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("LOADING Redis is loading the dataset in memory", Unavailable),
        ("READONLY You can't write against a read only replica.", Unavailable),
        ("OOM command not allowed", Unavailable),
        ("CLUSTERDOWN The cluster is down", Unavailable),
        ("MISCONF the disk is full", Unavailable),
        ("WRONGTYPE of key", Refused),
        ("WRONGPASS invalid username-password pair", Refused),
        ("NOPERM this user has no permissions", Refused),
        ("CROSSSLOT Keys in request don't hash to the same slot", Refused),
    ],
)
def test_each_trouble_has_its_word(said: str, word: type[Exception]) -> None:
    assert type(said_by_the_server("redis at x", Exception(said))) is word
