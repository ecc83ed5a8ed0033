"""The channel to the app, made for its protocol, address and port."""

import ssl
from collections.abc import Callable

from pillion.edge.app.grpc import GrpcApp
from pillion.edge.app.http import HttpApp
from pillion.edge.app.slots import Slots
from pillion.host.flags import Flags
from pillion.net.grpc.channel import GrpcChannel
from pillion.net.http import HttpClient
from pillion.net.http2.client import Http2Client
from pillion.net.http_client import Http1Client
from pillion.net.rpc import Channel, GrpcLimits
from pillion.net.tls import client_context
from pillion.net.wheel import Wheel
from pillion.ports.app import App
from pillion.ports.telemetry import Telemetry


def tls(flags: Flags) -> ssl.SSLContext | None:
    """For apps that speak TLS: nobody's certificate is checked, as on Dapr, since the app is beside us."""
    if flags.app_protocol not in ("https", "grpcs"):
        return None
    return client_context(verify=False, protocols=("h2",) if flags.app_protocol == "grpcs" else ("http/1.1",))


def grpc_channel(flags: Flags, secure: ssl.SSLContext | None, wheel: Wheel) -> Channel | None:
    """The app's gRPC port, None where the app speaks HTTP or has no port."""
    if not flags.app_port or not flags.app_protocol.startswith("grpc"):
        return None
    limits = GrpcLimits(message_bytes=flags.max_body_size or None)
    return GrpcChannel(flags.app_channel_address, flags.app_port, tls=secure, limits=limits, wheel=wheel)


def open_app(
    flags: Flags,
    secure: ssl.SSLContext | None,
    channel: Channel | None,
    slots: Slots,
    telemetry: Telemetry,
    wheel: Wheel,
) -> App | None:
    """Callbacks into the app, as many at once as there are slots; None where it has no port."""
    if not flags.app_port:
        return None
    if channel is not None:
        return GrpcApp(
            channel,
            telemetry=telemetry,
            token=flags.app_token,
            slots=slots,
            body_limit=flags.max_body_size or None,
            inputs_timeout=flags.app_binding_options_timeout.total_seconds(),
        )
    scheme = "https" if flags.app_protocol == "https" else "http"
    return HttpApp(
        _client(flags, secure, wheel),
        base=f"{scheme}://{flags.app_channel_address}:{flags.app_port}",
        app_id=flags.app_id,
        telemetry=telemetry,
        token=flags.app_token,
        slots=slots,
        agent=b"Go-http-client/2.0" if flags.app_protocol == "h2c" else b"Go-http-client/1.1",
        options_timeout=flags.app_binding_options_timeout.total_seconds(),
    )


def _client(flags: Flags, secure: ssl.SSLContext | None, wheel: Wheel) -> HttpClient:
    make: Callable[..., HttpClient] = Http2Client if flags.app_protocol == "h2c" else Http1Client
    return make(flags.app_channel_address, flags.app_port, tls=secure, wheel=wheel)
