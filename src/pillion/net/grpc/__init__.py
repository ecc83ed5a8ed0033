"""gRPC by hand, on our own HTTP/2: a server and a channel."""

from pillion.net.grpc.channel import GrpcChannel
from pillion.net.grpc.server import GrpcServer

__all__ = ["GrpcChannel", "GrpcServer"]
