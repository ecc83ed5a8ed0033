"""Loading what serves, piece by piece, so that a sidecar whose ports are open answers for its health in between."""

import asyncio
import gc
from importlib import import_module
from typing import Final

PIECES: Final = (
    "plug.component", "model.bindings", "model.pubsub", "wire.proto", "wire.errors", "edge.grpc.api", "services.invoke",
    "edge.grpc.proxy", "edge.outside", "wire.internals", "edge.peer.client", "wire.pubsub", "net.http2.fields",
    "net.grpc.channel", "edge.app.grpc", "edge.app.http", "plug.settings", "host.components", "services.state",
    "host.mounts", "services.bindings", "edge.grpc.bindings", "edge.grpc.front", "services.subscriptions",
    "edge.grpc.pubsub", "edge.grpc.state", "edge.http.pubsub", "host.apis", "host.blocks", "host.household",
)  # fmt: skip
"""From the ground up. The last brings whatever is missing; the others divide the way there."""


async def furnish() -> None:
    """Import all of it, with a turn for the others after each piece. Garbage is not looked for among modules."""
    gc.disable()
    try:
        for name in PIECES:
            import_module(f"pillion.{name}")
            await asyncio.sleep(0)
    finally:
        gc.freeze()
        gc.enable()
