"""Protobuf messages by package, made from the shipped descriptor set in a pool of our own.

| module     | package              | holds                                              |
|------------|----------------------|----------------------------------------------------|
| runtime    | dapr.proto.runtime   | the API an app calls, the callbacks into it        |
| common     | dapr.proto.common    | what several of them share                         |
| internals  | dapr.proto.internals | sidecar to sidecar                                 |
| rpc        | google.rpc           | Status and its details                             |
| reflection | grpc.reflection      | server reflection, both versions                   |
| wellknown  | google.protobuf      | Any, Empty, Struct, Timestamp, Duration, wrappers  |

Messages of these modules mix with each other, never with those of a `_pb2` module: take `Any` from
`wellknown`. Each module makes a class when it is first named; the `.pyi` beside it tells mypy which
there are. `tools/build_protos.py` writes both the set and the stubs from `proto/`.
"""

from pillion.wire.proto.catalogue import Kind, Method, Service, file_descriptor_protos, services
from pillion.wire.proto.pool import message_class, warm

__all__ = ["Kind", "Method", "Service", "file_descriptor_protos", "message_class", "services", "warm"]
