"""Messages of server reflection v1.

Those of v1alpha are the same bytes under another package: these classes serve both services.
"""

from pillion.wire.proto.pool import exporter

__getattr__ = exporter("grpc.reflection.v1", globals())
