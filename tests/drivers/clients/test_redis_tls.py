"""Redis behind TLS: every driver, with a certificate of its own, and what is said where trust is missing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.redis_drivers import binding, broker, store
from support.redis_fleet import Fleet, Secured, secured, trusting
from support.tls import Authority
from support.waiting import eventually

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.model.pubsub import Publication, Topic
from pillion.model.state import Entry, Put
from pillion.testing.conformance.pubsub import Inbox

pytestmark = pytest.mark.needs("redis-server")


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    user = ("--user", "app", "on", ">pw", "~*", "&*", "+@all")
    with Fleet(tmp_path_factory.mktemp("tls")) as fleet:
        yield secured(fleet, *user)


@pytest.fixture
def server(behind: Secured) -> Iterator[Secured]:
    with trusting(behind.authority):
        yield behind


async def test_state_is_kept_over_tls_as_a_user_of_the_servers_list(server: Secured) -> None:
    async with store(server.metadata, redisUsername="app", redisPassword="pw", redisDB="2") as state:
        await state.put(Put("k", b"v"))
        assert await state.get("k") == Entry(b"v", "1")
        assert b"db=2" in _connections_of(server, b"app")
    await eventually(lambda: not _connections_of(server, b"app"))


def _connections_of(server: Secured, user: bytes) -> bytes:
    lines: list[bytes] = server.server.ask("CLIENT", "LIST").splitlines()
    return b"\n".join(line for line in lines if b"user=" + user in line)


async def test_topics_travel_over_tls(server: Secured) -> None:
    inbox = Inbox()
    async with broker(server.metadata) as pubsub:
        await pubsub.subscribe(Topic("orders"), inbox)
        await pubsub.publish(Publication("orders", b"x" * 300_000))
        await inbox.receives(b"x" * 300_000)


async def test_the_binding_speaks_tls(server: Secured) -> None:
    async with binding(server.metadata) as redis:
        await redis.invoke("create", b"v", {"key": "b"})
        assert server.server.ask("GET", "b") == b"v"


@pytest.mark.parametrize("driver", [store, broker, binding])
async def test_a_wrong_password_is_refused(server: Secured, driver: Callable[..., Any]) -> None:
    with pytest.raises(Refused, match="WRONGPASS"):
        async with driver(server.metadata, redisUsername="app", redisPassword="no"):
            pass


@pytest.mark.parametrize("driver", [store, broker, binding])
async def test_an_authority_we_do_not_trust_is_refused(
    behind: Secured, tmp_path: Path, driver: Callable[..., Any]
) -> None:
    with trusting(Authority(tmp_path)), pytest.raises(Refused, match="its certificate: "):
        async with driver(behind.metadata):
            pass


async def test_a_certificate_of_another_name_is_refused(server: Secured) -> None:
    with pytest.raises(Refused, match="its certificate: .*mismatch"):
        async with store({**server.metadata, "redisHost": f"127.0.0.2:{server.tls_port}"}):
            pass


async def test_checking_can_be_switched_off_by_name(behind: Secured) -> None:
    async with store(behind.metadata, insecureSkipTLSVerify="true") as state:
        await state.put(Put("k", b"v"))


async def test_a_server_that_asks_for_a_certificate_gets_none_and_hangs_up(server: Secured) -> None:
    with pytest.raises(DriverError):
        async with store({**server.metadata, "clientCert": "", "clientKey": ""}):
            pass


async def test_a_certificate_that_is_none_is_refused(server: Secured) -> None:
    with pytest.raises(Refused, match="certificates cannot be used"):
        async with store(
            {**server.metadata, "clientCert": "-----BEGIN CERTIFICATE-----\nno", "clientKey": "-----BEGIN"}
        ):
            pass


async def test_plain_talk_with_a_tls_port_and_tls_with_a_plain_one_end_with_a_sentence(
    server: Secured,
) -> None:
    with pytest.raises(Unavailable):
        async with store({"redisHost": f"localhost:{server.tls_port}"}):
            pass
    with pytest.raises(Unavailable, match="dial tcp .*: i/o timeout"):
        async with store({**server.metadata, "redisHost": server.server.address}, dialTimeout="300ms"):
            pass
