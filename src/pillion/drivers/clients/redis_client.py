"""The official Redis client, opened from our settings, and its exceptions in the contract's words."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import redis.asyncio as vendor
from redis import exceptions
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialBackoff, NoBackoff

from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.clients.redis_settings import RedisSettings, seconds

Client = vendor.Redis
"""Speaks to one server, to the one the sentinels name, or to a cluster: the commands are the same."""

_PASSING: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.ClusterError,
    exceptions.TryAgainError,
    exceptions.MasterDownError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.BusyLoadingError,
    exceptions.RedisClusterException,
    OSError,
)
_PASSING_ANSWERS: Final = (
    "LOADING",
    "BUSY ",
    "READONLY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
)
_SIGNING_IN: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)


class RedisDoor:
    """Opens clients of one server. Keeps the files in which the client wants certificates, and removes them on `close`."""

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self._certificates: tempfile.TemporaryDirectory[str] | None = None

    @property
    def where(self) -> str:
        """The server's address as a person wrote it."""
        return f"redis at {self.settings.redis_host}"

    async def open(self, *, patience: float = 0.0, retries: bool = True) -> Client:
        """A client that has been answered. `patience` (seconds) is added to its read timeout, for commands that block."""
        with in_our_words(self.where):
            client = self._client(patience, retries)
            try:
                await client.ping()
            except BaseException:
                await client.aclose()
                raise
        return client

    def close(self) -> None:
        """Safe unopened and safe twice."""
        if self._certificates is not None:
            self._certificates.cleanup()
            self._certificates = None

    def _client(self, patience: float, retries: bool) -> Client:
        self.settings.check()
        options = self._options(patience, retries)
        addresses = self.settings.addresses
        if self.settings.redis_type == "cluster":
            nodes = [ClusterNode(host, port) for host, port in addresses]
            size = self._pool_size()
            return vendor.RedisCluster(startup_nodes=nodes, max_connections=size, **options)  # type: ignore[return-value]
        options["db"] = self.settings.redis_db
        if self.settings.failover:
            return self._by_sentinels(addresses, options)
        host, port = addresses[0]
        kind = vendor.SSLConnection if self.settings.enable_tls else vendor.Connection
        options.pop("ssl", None)
        pool = vendor.BlockingConnectionPool(
            max_connections=self._pool_size(),
            timeout=self._pool_timeout(),
            connection_class=kind,
            host=host,
            port=port,
            **options,
        )
        return vendor.Redis.from_pool(pool)

    def _by_sentinels(self, addresses: list[tuple[str, int]], options: dict[str, Any]) -> Client:
        settings = self.settings
        asking = {key: value for key, value in options.items() if key not in ("db", "username", "password")}
        asking |= {
            "username": settings.sentinel_username or None,
            "password": settings.sentinel_password or None,
        }
        sentinels = Sentinel(addresses, sentinel_kwargs=asking, **options)  # type: ignore[no-untyped-call]
        client: Client = sentinels.master_for(settings.sentinel_master_name)
        return client

    def _options(self, patience: float, retries: bool) -> dict[str, Any]:
        settings = self.settings
        answer = seconds(settings.read_timeout, "readTimeout")
        options: dict[str, Any] = {
            "username": settings.redis_username or None,
            "password": settings.redis_password or None,
            "socket_connect_timeout": settings.dial_timeout.total_seconds(),
            "socket_timeout": None if answer is None else answer + patience,
            "retry": self._retry() if retries else Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        return options | self._tls() if settings.enable_tls else options

    def _retry(self) -> Retry:
        low = seconds(self.settings.redis_min_retry_interval, "redisMinRetryInterval") or 0.0
        high = seconds(self.settings.redis_max_retry_interval, "redisMaxRetryInterval") or 0.0
        times = max(0, self.settings.redis_max_retries or 3)  # 0 is Dapr's way of saying its default
        return Retry(ExponentialBackoff(cap=high, base=low) if high else NoBackoff(), times)

    def _tls(self) -> dict[str, Any]:
        options: dict[str, Any] = {"ssl": True}
        if self.settings.insecure_skip_tls_verify:
            options |= {"ssl_cert_reqs": "none", "ssl_check_hostname": False}
        if self.settings.client_cert:
            folder = self._certificate_folder()
            options |= {"ssl_certfile": str(folder / "cert.pem"), "ssl_keyfile": str(folder / "key.pem")}
        return options

    def _certificate_folder(self) -> Path:
        if self._certificates is None:
            self._certificates = tempfile.TemporaryDirectory(
                prefix="pillion-redis-", ignore_cleanup_errors=True
            )
            folder = Path(self._certificates.name)
            (folder / "cert.pem").write_text(self.settings.client_cert)
            (folder / "key.pem").touch(mode=0o600)
            (folder / "key.pem").write_text(self.settings.client_key)
        return Path(self._certificates.name)

    def _pool_size(self) -> int:
        return self.settings.pool_size or 10 * (os.cpu_count() or 1)

    def _pool_timeout(self) -> float:
        if self.settings.pool_timeout is not None:
            return self.settings.pool_timeout.total_seconds()
        return (seconds(self.settings.read_timeout, "readTimeout") or 60.0) + 1


@contextlib.contextmanager
def in_our_words(where: str) -> Iterator[None]:
    """Whatever the client raises inside leaves as Unavailable or Refused, naming the server."""
    try:
        yield
    except _SIGNING_IN as error:
        raise Refused(f"{where}: {error}") from error
    except _PASSING as error:
        raise Unavailable(f"{where}: {error or type(error).__name__}") from error
    except exceptions.RedisError as error:
        raise said_by_the_server(where, error) from error


def said_by_the_server(where: str, error: BaseException) -> Unavailable | Refused:
    """An answer the server gave: most are final, some mean "not now"."""
    word = Unavailable if str(error).startswith(_PASSING_ANSWERS) else Refused
    return word(f"{where}: {error}")
