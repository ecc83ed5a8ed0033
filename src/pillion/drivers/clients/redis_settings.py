"""The settings every Redis driver shares, under Dapr's names and defaults."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from pillion.contracts.words import Refused
from pillion.plug.settings import setting
from pillion.toolbox import durations

PORT: Final = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where the server is, who we are to it, and how patient to be.

    A plain number counts milliseconds in every span. Spans that Dapr lets be `-1` (no limit) are kept as text and read by `seconds`.
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
        "Tries of a command after the first that failed; -1 for none.", default="3"
    )
    redis_min_retry_interval: str = setting("The shortest wait between tries; -1 for none.", default="8ms")
    redis_max_retry_interval: str = setting("The longest wait between tries; -1 for none.", default="512ms")
    dial_timeout: timedelta = setting("How long connecting may take.", default="5s", unit="ms")
    read_timeout: str = setting("How long an answer may take; -1 for ever.", default="3s")
    write_timeout: str = setting(
        "How long sending may take: the client used here has one limit for both, readTimeout.", default=""
    )
    pool_size: int = setting("The most connections; 0 for ten per processor.", default="0")
    pool_timeout: timedelta | None = setting(
        "How long to wait for a free connection; readTimeout and a second where it is not given.",
        default=None,
        unit="ms",
    )
    min_idle_conns: int = setting(
        "Accepted for manifests written for Dapr; connections are opened when needed.", default="0"
    )
    max_conn_age: timedelta | None = setting(
        "Accepted for manifests written for Dapr; connections are not retired by age.",
        default=None,
        unit="ms",
    )
    idle_timeout: str = setting(
        "Accepted for manifests written for Dapr; idle connections are kept.", default="5m"
    )
    idle_check_frequency: str = setting("Accepted for manifests written for Dapr.", default="1m")
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

    def check(self) -> None:
        """Refuse what cannot be honoured: above all what would protect something."""
        if self.use_entra_id or self.use_oidc:
            raise Refused(
                "signing in to Redis by Entra ID or OIDC is not built: use redisUsername and redisPassword"
            )
        if self.failover and not self.sentinel_master_name:
            raise Refused("failover needs sentinelMasterName")
        if self.failover and self.redis_type == "cluster":
            raise Refused("failover and redisType cluster exclude each other: a cluster fails over by itself")
        if bool(self.client_cert) != bool(self.client_key):
            raise Refused("clientCert and clientKey belong together")
        if not self.addresses:
            raise Refused("redisHost is empty")

    def _address(self, text: str) -> tuple[str, int]:
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
            return text.strip("[]"), self.redis_port or PORT
        if self.redis_port and self.redis_port != int(port):
            raise Refused(f"redisHost names port {port} and redisPort {self.redis_port}: give one of them")
        return host.strip("[]"), int(port)


def seconds(text: str, name: str) -> float | None:
    """A span that may be `-1`: seconds, None for no limit."""
    if text.strip().startswith("-"):
        return None
    try:
        return durations.span(text, "ms").total_seconds()
    except ValueError as error:
        raise Refused(f"{name}: {error}") from error
