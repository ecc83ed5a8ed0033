"""HTTP's own header names: where headers become gRPC metadata, these are prefixed with `dapr-`."""

from typing import Final

PERMANENT: Final = frozenset(
    (
        b"accept", b"accept-charset", b"accept-language", b"accept-ranges", b"authorization", b"cache-control", b"connection",
        b"content-length", b"content-type", b"cookie", b"date", b"expect", b"from", b"host", b"if-match", b"if-modified-since",
        b"if-none-match", b"if-schedule-tag-match", b"if-unmodified-since", b"keep-alive", b"max-forwards", b"origin", b"pragma",
        b"proxy-connection", b"referer", b"transfer-encoding", b"upgrade", b"via", b"warning",
    )
)  # fmt: skip
