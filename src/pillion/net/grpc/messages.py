"""Messages put together from the pieces in which they come."""

import zlib
from collections.abc import Iterator

from pillion.net.grpc.words import PREFIX_BYTES
from pillion.net.rpc import Code, RpcError

_GZIP = 31
"""zlib's word for "a gzip member of any window"."""


class Assembly:
    """The bytes of one direction of a call, cut into messages. `wanted` is how long the message being received is."""

    __slots__ = ("_limit", "_encoding", "_buffer", "wanted")

    def __init__(self, limit: int | None, encoding: bytes) -> None:
        self._limit = limit
        self._encoding = encoding
        self._buffer = bytearray()
        self.wanted = 0

    @property
    def partial(self) -> bool:
        """A message has begun and not ended."""
        return bool(self._buffer)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that are complete with this piece; raises RpcError for one that is too large or cannot be read."""
        buffer = self._buffer
        buffer += chunk
        while len(buffer) >= PREFIX_BYTES:
            size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
            if self._limit is not None and size > self._limit:
                raise too_large(size, self._limit)
            stop = PREFIX_BYTES + size
            if len(buffer) < stop:
                self.wanted = stop
                return
            compressed, message = buffer[0], bytes(memoryview(buffer)[PREFIX_BYTES:stop])
            del buffer[:stop]
            self.wanted = 0
            yield unpacked(compressed, message, self._encoding, self._limit)


def too_large(size: int, limit: int) -> RpcError:
    """A message longer than the receiver takes."""
    return RpcError(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {limit})")


def unknown_encoding(encoding: bytes) -> RpcError:
    """A compression that we do not have."""
    shown = encoding.decode("latin-1")
    return RpcError(Code.UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{shown}"')


def unpacked(compressed: int, message: bytes, encoding: bytes, limit: int | None) -> bytes:
    """A message as its sender meant it. Unpacking stops at the limit: a small message must not become a large one."""
    if not compressed:
        return message
    if compressed != 1:
        raise RpcError(Code.INTERNAL, f"grpc: received unexpected payload format {compressed}")
    if encoding in (b"", b"identity"):
        raise RpcError(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
    if encoding != b"gzip":
        raise unknown_encoding(encoding)
    return _gunzip(message, limit)


def _gunzip(message: bytes, limit: int | None) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        out = unpacker.decompress(message, 0 if limit is None else limit + 1)
    except zlib.error as error:
        raise RpcError(Code.INTERNAL, f"grpc: failed to decompress the received message: {error}") from error
    if limit is not None and len(out) > limit:
        raise RpcError(
            Code.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {limit}"
        )
    if not unpacker.eof:
        raise RpcError(Code.INTERNAL, "grpc: failed to decompress the received message: unexpected EOF")
    return out
