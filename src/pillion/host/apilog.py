"""API logging: one line for every call, when asked for."""

import logging

from pillion.host.telemetry import Metrics
from pillion.net.http import Request
from pillion.net.rpc import ServerCall
from pillion.resources.configuration import ApiLogging

http_log = logging.getLogger("dapr.runtime.http-info")
grpc_log = logging.getLogger("dapr.runtime.grpc.api-info")

_HEALTH = ("/v1.0/healthz", "/v1.0/healthz/outbound")


class Served:
    """Told of every request that is over: counts it, and logs it where that is on."""

    def __init__(self, metrics: Metrics, logging_rules: ApiLogging | None) -> None:
        self._count = metrics.http_served
        self._rules = logging_rules
        self.rpc = metrics.rpc_served
        """Counts every gRPC call."""

    @property
    def is_logging(self) -> bool:
        """API logging is on."""
        return self._rules is not None

    def http(
        self, method: str, path: str, status: int, seconds: float, received: int, sent: int, request: Request
    ) -> None:
        """One HTTP request."""
        self._count(method, path, status, seconds, received, sent)
        if self._rules is not None:
            self._log_http(self._rules, method, path, status, seconds, sent, request)

    def log_rpc(self, call: ServerCall, code: int, seconds: float) -> None:
        """A gRPC call that is over."""
        fields: dict[str, object] = {
            "method": call.path.decode("latin-1"),
            "code": int(code),
            "duration": round(seconds * 1000),
        }
        agent = next((value for name, value in call.metadata if name == b"user-agent"), b"")
        if agent:
            fields["useragent"] = agent.decode("latin-1")
        grpc_log.info("gRPC API Called", extra={"fields": fields})

    def _log_http(
        self,
        rules: ApiLogging,
        method: str,
        path: str,
        status: int,
        seconds: float,
        sent: int,
        request: Request,
    ) -> None:
        raw = request.target.partition(b"?")[0].decode("latin-1")
        if rules.omit_health_checks and raw in _HEALTH:
            return
        fields: dict[str, object] = {
            "method": f"{method} {path if rules.obfuscate_urls else raw}",
            "code": status,
            "duration": round(seconds * 1000),
            "size": sent,
        }
        if agent := request.header(b"user-agent"):
            fields["useragent"] = agent.decode("latin-1")
        http_log.info("HTTP API Called", extra={"fields": fields})
