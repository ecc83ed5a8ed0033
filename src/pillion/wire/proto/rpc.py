"""A gRPC status with its details: ErrorInfo, ResourceInfo, BadRequest, Help and the rest."""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("google.rpc", globals())
