"""Where the runtime tells what it did: counters and latencies, without knowing who collects them."""

from typing import Protocol


class Instrument(Protocol):
    """Bound to one component; told once per operation."""

    def __call__(self, operation: str, ok: bool, seconds: float) -> None: ...


class Telemetry(Protocol):
    """Every measurement of the runtime. Seconds and bytes; calls are cheap and never raise."""

    def component(self, kind: str, name: str) -> Instrument:
        """`kind` is state, secret, output_binding, input_binding, configuration or crypto."""
        ...

    def egress(self, pubsub: str, topic: str, ok: bool, seconds: float, *, bulk: int = 0) -> None:
        """A publish; `bulk` counts the messages of a bulk publish."""

    def ingress(self, pubsub: str, topic: str, process_status: str, status: str, seconds: float) -> None:
        """A delivery to the app: `process_status` is what became of it (success, drop, retry), `status` what the app said."""

    def ingress_batch(self, pubsub: str, topic: str, statuses: dict[str, int], seconds: float) -> None:
        """A bulk delivery: how many entries ended in which status."""

    def invocation_sent(self, app_id: str, streaming: bool) -> None: ...

    def invocation_received(self, app_id: str) -> None: ...

    def answer_sent(self, app_id: str, status: int) -> None: ...

    def answer_received(self, app_id: str, status: int, streaming: bool, seconds: float) -> None: ...

    def http_served(
        self, method: str, path: str, status: int, seconds: float, received: int, sent: int
    ) -> None: ...

    def http_called(
        self, method: str, path: str, status: int, seconds: float, sent: int, received: int
    ) -> None:
        """A call into the app over HTTP."""

    def rpc_served(self, path: bytes, code: int, seconds: float, received: int, sent: int) -> None: ...

    def rpc_called(self, method: str, code: int, seconds: float, sent: int, received: int) -> None: ...

    def health_probed(self, healthy: bool, seconds: float, *, grpc: bool) -> None: ...

    def access_decided(self, scope: str, allowed: bool) -> None:
        """`scope` is app or global."""
