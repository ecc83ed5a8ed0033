"""Our own copies of Any, Empty, Struct, Timestamp, Duration, the wrappers and their kin."""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("google.protobuf", globals())
