"""Messages of the API an app calls, and of the callbacks into an app."""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("dapr.proto.runtime.v1", globals())
