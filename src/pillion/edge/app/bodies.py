"""Answers of the app on their way through: unpacked where we asked for gzip, and told about when they end."""

import zlib
from collections.abc import Callable, Iterable

from pillion.toolbox.stream import Body, Stream, StreamClosed

PIECE = 64 * 1024
"""Unpacked bytes handed on at a time."""
_GZIP = 31


class Gunzip:
    """Unpacks gzip piece by piece; several members one after the other are one text."""

    def __init__(self) -> None:
        self._unpack = zlib.decompressobj(_GZIP)

    def feed(self, packed: bytes) -> Iterable[bytes]:
        """What comes out of one piece. Raises zlib.error for what is no gzip."""
        while packed:
            if self._unpack.eof:
                self._unpack = zlib.decompressobj(_GZIP)
            piece = self._unpack.decompress(packed, PIECE)
            packed = self._unpack.unconsumed_tail or self._unpack.unused_data
            if piece:
                yield piece

    @property
    def complete(self) -> bool:
        """The last member ended."""
        return self._unpack.eof


def gunzipped(packed: bytes, limit: int) -> bytes:
    """A whole body unpacked. Raises ValueError when it is no gzip, is cut off, or grows past the limit."""
    unpack, parts, size = Gunzip(), [], 0
    try:
        for piece in unpack.feed(packed):
            parts.append(piece)
            size += len(piece)
            if size > limit:
                raise ValueError(f"the body is larger than {limit} bytes when unpacked")
    except zlib.error as error:
        raise ValueError(f"the body is not gzip: {error}") from error
    if packed and not unpack.complete:
        raise ValueError("the gzip body is cut off")
    return b"".join(parts)


def passed_on(body: Body, *, unpack: bool, ended: Callable[[], None]) -> Body:
    """The body for the next hop; `ended` is called once, when nothing of it is in the app's hands any more."""
    if isinstance(body, bytes):
        ended()
        return gunzipped(body, 2**40) if unpack else body
    return _relayed(body, Gunzip() if unpack else None, ended)


def _relayed(source: Stream, unpack: Gunzip | None, ended: Callable[[], None]) -> Stream:
    def cancelled() -> None:
        source.cancel()
        ended()

    out = Stream(
        length=None if unpack else source.length,
        on_pause=source.hold,
        on_resume=source.release,
        on_cancel=cancelled,
    )

    def push(chunk: bytes) -> None:
        if unpack is None:
            out.push(chunk)
            return
        try:
            for piece in unpack.feed(chunk):
                out.push(piece)
        except zlib.error as error:
            source.cancel()
            out.abort(StreamClosed(f"the body is not gzip: {error}"))
            ended()

    def done(error: BaseException | None) -> None:
        if error is None and unpack is not None and not unpack.complete:
            error = StreamClosed("the gzip body is cut off")
        if error is None:
            out.finish()
        else:
            out.abort(error)
        ended()

    source.attach(push, done)
    return out
