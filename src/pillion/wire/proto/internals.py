"""Messages of the calls between sidecars."""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("dapr.proto.internals.v1", globals())
