"""Messages shared by the API, the callbacks and the calls between sidecars."""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("dapr.proto.common.v1", globals())
