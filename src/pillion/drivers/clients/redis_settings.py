"""The settings every Redis driver shares, under Dapr's names and defaults."""

from datetime import timedelta
from typing import Final, Literal

from pillion.contracts.words import Refused
from pillion.drivers.clients.redis_wire import Patience
from pillion.plug.settings import setting
from pillion.toolbox import durations
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.lazily import dataclass

PORT: Final = 6379
_NO_POOL: Final = "Accepted without effect: one connection carries all commands, so there is no pool."


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where the server is, who we are to it, and how patient to be.

    A plain number counts milliseconds in every span. Spans are kept as text, since Dapr lets them be `-1` (no limit) and `0` (the default).
    """

    redis_host: str = setting(
        "Host and port; several, separated by commas, for a cluster or sentinels.", example="localhost:6379"
    )
    redis_port: int = setting("The port, where redisHost does not name one.", default="0")
    redis_username: str = setting("User name (Redis 6 and later).", default="")
    redis_password: str = setting("Password.", default="", secret=True)
    sentinel_username: str = setting("User name for the sentinels.", default="")
    sentinel_password: str = setting("Password for the sentinels.", default="", secret=True)
    redis_db: int = setting("The database's number; a cluster has only one.", name="redisDB", default="0")
    redis_type: Literal["node", "cluster"] = setting(
        "`node` for one server, `cluster` for a Redis cluster.", default="node"
    )
    redis_max_retries: int = setting(
        "How often what certainly was not done is tried again; -1 for never.",
        aliases=("maxRetries",),
        default="3",
    )
    redis_min_retry_interval: str = setting(
        "The wait before the first of these tries, which doubles; -1 for none.", default="8ms"
    )
    redis_max_retry_interval: str = setting("The longest wait between tries; -1 for none.", default="512ms")
    dial_timeout: str = setting("How long connecting may take, signing in included.", default="5s")
    read_timeout: str = setting("How long an answer may take; -1 for ever.", default="3s")
    write_timeout: str = setting(
        "How long the server may leave unread what is sent; -1 for ever, readTimeout where it is not given.",
        default="",
    )
    pool_size: int = setting(_NO_POOL, default="0")
    pool_timeout: str = setting(_NO_POOL, default="")
    min_idle_conns: int = setting(_NO_POOL, default="0")
    max_conn_age: str = setting(_NO_POOL, default="")
    idle_timeout: str = setting(_NO_POOL, default="")
    idle_check_frequency: str = setting(_NO_POOL, default="")
    failover: bool = setting("Whether redisHost names sentinels, which name the server.", default="false")
    sentinel_master_name: str = setting(
        "What the sentinels call the server; needed with failover.", default=""
    )
    enable_tls: bool = setting("Whether to speak TLS.", name="enableTLS", default="false")
    insecure_skip_tls_verify: bool = setting(
        "Do not check the server's certificate: for tests only.",
        name="insecureSkipTLSVerify",
        default="false",
    )
    client_cert: str = setting("Our certificate (PEM), where the server asks for one.", default="")
    client_key: str = setting("The key of our certificate (PEM).", default="", secret=True)
    use_entra_id: bool = setting(
        "Signing in by Microsoft Entra ID: refused when set, since it is not built.",
        name="useEntraID",
        aliases=("useAzureAD",),
        default="false",
    )
    use_oidc: bool = setting(
        "Signing in by OpenID Connect: refused when set, since it is not built.",
        name="useOIDC",
        default="false",
    )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Every host with its port. Refused where redisHost and redisPort contradict each other."""
        return [self._address(part.strip()) for part in self.redis_host.split(",") if part.strip()]

    @property
    def dialling(self) -> float:
        """Seconds."""
        return _seconds(self.dial_timeout, "dialTimeout", 5.0) or 5.0

    @property
    def patience(self) -> Patience:
        read = _seconds(self.read_timeout, "readTimeout", 3.0)
        return Patience(read, _seconds(self.write_timeout, "writeTimeout", read))

    @property
    def retries(self) -> int:
        return max(0, self.redis_max_retries or 3)  # 0 is Dapr's way of saying its default

    @property
    def waits(self) -> Backoff:
        """Between tries."""
        low = _seconds(self.redis_min_retry_interval, "redisMinRetryInterval", 0.008)
        high = _seconds(self.redis_max_retry_interval, "redisMaxRetryInterval", 0.512)
        return Backoff(timedelta(seconds=low or 0), timedelta(seconds=high or 0))

    @property
    def without_effect(self) -> list[str]:
        """The settings given that have no meaning here, by their names."""
        given = {
            "poolSize": self.pool_size > 0,
            "poolTimeout": bool(self.pool_timeout),
            "minIdleConns": self.min_idle_conns > 0,
            "maxConnAge": bool(self.max_conn_age),
            "idleTimeout": bool(self.idle_timeout),
            "idleCheckFrequency": bool(self.idle_check_frequency),
            "redisDB": self.redis_db != 0 and self.redis_type == "cluster",
        }
        return [name for name, is_given in given.items() if is_given]

    def check(self) -> None:
        """Refuse what cannot be honoured: above all what would protect something."""
        if self.use_entra_id or self.use_oidc:
            raise Refused(
                "signing in to Redis by Entra ID or OIDC is not built: use redisUsername and redisPassword"
            )
        if self.failover and not self.sentinel_master_name:
            raise Refused("failover needs sentinelMasterName")
        if bool(self.client_cert) != bool(self.client_key):
            raise Refused("clientCert and clientKey belong together")
        if not self.addresses:
            raise Refused("redisHost is empty")
        _ = self.dialling, self.patience, self.waits

    def _address(self, text: str) -> tuple[str, int]:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
            return text.strip("[]"), self.redis_port or PORT
        if self.redis_port and self.redis_port != int(port):
            raise Refused(f"redisHost names port {port} and redisPort {self.redis_port}: give one of them")
        return host.strip("[]"), int(port)


def _seconds(text: str, name: str, default: float | None) -> float | None:
    """A span where nothing and 0 mean the default, and whatever is below 0 no limit: None."""
    if text.strip().startswith("-"):
        return None
    try:
        return durations.span(text or "0", "ms").total_seconds() or default
    except ValueError as error:
        raise Refused(f"{name}: {error}") from error
