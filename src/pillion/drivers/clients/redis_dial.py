"""How a connection to a Redis server comes about: who the server is, TLS, signing in."""

import asyncio
import logging
import ssl
from typing import Final

from pillion.contracts.words import DriverError, Refused, Unavailable
from pillion.drivers.clients.http import trust
from pillion.drivers.clients.redis_settings import RedisSettings
from pillion.drivers.clients.redis_wire import Asked, Owner, Patience, Wire, fail, said_by_the_server

Address = tuple[str, int]
_ASKING: Final = 2.0
"""Seconds one sentinel may take before the next is asked."""

log = logging.getLogger("pillion.redis")


class Dial:
    """Makes signed-in connections to the servers of one set of settings."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._tls: ssl.SSLContext | None = None
        self._sentinels = list(settings.addresses) if settings.failover else []

    async def server(self, patience: Patience, owner: Owner) -> Wire:
        """To the one server there is, or to the one the sentinels name now. Raises Unavailable or Refused."""
        if not self._settings.failover:
            return await self.at(self._settings.addresses[0], patience, owner)
        wire = await self.at(await self._master(), patience, owner)
        if not await _is_master(wire):
            wire.abort()
            raise Unavailable(f"{wire.where} is named by the sentinels and is no master yet")
        return wire

    async def at(self, address: Address, patience: Patience, owner: Owner) -> Wire:
        """To the server at this address."""
        settings = self._settings
        words: list[tuple[str | int, ...]] = [("PING",)]
        if settings.redis_db and settings.redis_type != "cluster":
            words.insert(0, ("SELECT", settings.redis_db))
        if settings.redis_password:
            words.insert(0, _auth(settings.redis_username, settings.redis_password))
        return await self._opened(address, patience, owner, words, settings.dialling)

    async def _opened(
        self,
        address: Address,
        patience: Patience,
        owner: Owner,
        greeting: list[tuple[str | int, ...]],
        limit: float,
    ) -> Wire:
        host, port = address
        try:
            async with asyncio.timeout(limit):
                wire = await self._connected(address, patience)
                try:
                    for words in greeting:
                        await wire.send(words)
                except BaseException:
                    wire.abort()
                    raise
        except TimeoutError:
            raise Unavailable(f"dial tcp {host}:{port}: i/o timeout") from None
        except ConnectionRefusedError:
            raise Unavailable(f"dial tcp {host}:{port}: connect: connection refused") from None
        except ssl.SSLCertVerificationError as error:
            raise Refused(f"redis at {host}:{port}: its certificate: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise Unavailable(f"redis at {host}:{port}: TLS: {error.reason or error}") from error
        except OSError as error:
            raise Unavailable(f"dial tcp {host}:{port}: {error.strerror or error}") from error
        wire.owner = owner
        return wire

    async def _connected(self, address: Address, patience: Patience) -> Wire:
        host, port = address
        secured = await self._secured()
        _, wire = await asyncio.get_running_loop().create_connection(
            lambda: Wire(f"redis at {host}:{port}", patience, _Stranger()),
            host,
            port,
            ssl=secured,
            server_hostname=host if secured else None,
        )
        return wire

    async def _secured(self) -> ssl.SSLContext | None:
        settings = self._settings
        if settings.enable_tls and self._tls is None:
            self._tls = await asyncio.to_thread(
                trust,
                certificate=settings.client_cert,
                key=settings.client_key,
                verify=not settings.insecure_skip_tls_verify,
                protocols=(),
            )
        return self._tls

    async def _master(self) -> Address:
        """The master's address by the first sentinel that knows it; the one that answers is asked first the next time."""
        troubles: list[DriverError] = []
        for sentinel in list(self._sentinels):
            try:
                found = await self._ask(sentinel)
            except DriverError as error:
                troubles.append(error)
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            return found
        word = Refused if all(isinstance(each, Refused) for each in troubles) else Unavailable
        raise word("no sentinel names the server: " + "; ".join(map(str, troubles)))

    async def _ask(self, sentinel: Address) -> Address:
        settings, name = self._settings, self._settings.sentinel_master_name
        greeting = [_auth(settings.sentinel_username, settings.sentinel_password)]
        wire = await self._opened(
            sentinel,
            Patience(_ASKING, _ASKING),
            _Stranger(),
            greeting if settings.sentinel_password else [],
            min(_ASKING, settings.dialling),
        )
        try:
            told = await wire.send(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name))
        finally:
            wire.abort()
        if told is None:
            raise Unavailable(f"{wire.where} knows no server called {name}")
        return told[0].decode(), int(told[1])


class _Stranger:
    """Owns a wire until it is signed in: whatever goes wrong is told to whoever waits."""

    def refused(self, wire: Wire, asked: Asked, error: Exception) -> None:
        fail(asked[0], said_by_the_server(wire.where, error))

    def lost(self, wire: Wire, sent: list[Asked], unsent: list[Asked]) -> None:
        for answer, _ in (*sent, *unsent):
            fail(answer, Unavailable(f"{wire.where}: the connection was lost before the answer"))


async def _is_master(wire: Wire) -> bool:
    try:
        role = await wire.send(("ROLE",))
    except Refused:
        return True  # we may not ask: a write will tell
    return bool(role[0] == b"master")


def _auth(user: str, password: str) -> tuple[str | int, ...]:
    return ("AUTH", user, password) if user else ("AUTH", password)
