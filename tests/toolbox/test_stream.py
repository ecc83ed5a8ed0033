"""A body between one producer and one consumer."""

import asyncio

import pytest

from pillion.toolbox.stream import HIGH_WATER, BodyTooLarge, Stream, StreamClosed, discard, whole


class Told:
    """A stream whose producer writes down what it is told."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.stream = Stream(
            on_pause=lambda: self.words.append("pause"),
            on_resume=lambda: self.words.append("resume"),
            on_cancel=lambda: self.words.append("cancel"),
        )


class Taker:
    """A consumer by callback."""

    def __init__(self, stream: Stream) -> None:
        self.got: list[bytes] = []
        self.ends: list[BaseException | None] = []
        stream.attach(self.got.append, self.ends.append)


async def test_what_is_pushed_is_read_in_order_and_then_the_end():
    stream = Stream()
    stream.push(b"a")
    stream.push(b"")
    stream.push(b"b")
    stream.finish()
    assert [await stream.read() for _ in range(4)] == [b"a", b"b", b"", b""]


async def test_a_reader_waits_for_the_next_piece():
    stream = Stream()
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    stream.push(b"a")
    assert await reading == b"a"


async def test_a_reader_sees_what_came_before_the_producer_broke_off_and_then_why():
    stream = Stream()
    stream.push(b"a")
    stream.abort(BodyTooLarge("stream too large"))
    assert await stream.read() == b"a"
    for _ in range(2):
        with pytest.raises(BodyTooLarge):
            await stream.read()


async def test_a_waiting_reader_is_woken_by_an_abort_and_by_a_cancel():
    for end in (Stream.abort, Stream.cancel):
        stream = Stream()
        reading = asyncio.ensure_future(stream.read())
        await asyncio.sleep(0)
        end(stream)
        with pytest.raises(StreamClosed):
            await reading


async def test_a_cancelled_read_loses_nothing():
    stream = Stream()
    reading = asyncio.ensure_future(stream.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stream.push(b"a")
    assert await stream.read() == b"a"


def test_the_first_end_wins():
    told = Told()
    told.stream.finish()
    told.stream.abort()
    told.stream.push(b"late")
    told.stream.cancel()
    assert told.stream.ended and told.words == []


async def test_the_producer_is_paused_when_much_waits_and_resumed_when_little_does():
    told = Told()
    for _ in range(4):
        told.stream.push(bytes(HIGH_WATER // 3))
    assert told.words == ["pause"]
    for _ in range(3):
        await told.stream.read()
    assert told.words == ["pause", "resume"]


def test_a_cancel_resumes_a_paused_producer_and_tells_it_once():
    told = Told()
    told.stream.push(bytes(HIGH_WATER))
    told.stream.cancel()
    told.stream.cancel()
    assert told.words == ["pause", "resume", "cancel"]


def test_a_cancel_after_the_end_resumes_but_does_not_tell():
    told = Told()
    told.stream.push(bytes(HIGH_WATER))
    told.stream.finish()
    told.stream.cancel()
    assert told.words == ["pause", "resume"]


def test_pieces_pass_straight_through_to_a_taker():
    stream = Stream()
    stream.push(b"a")
    taker = Taker(stream)
    stream.push(b"b")
    stream.finish()
    assert (taker.got, taker.ends) == ([b"a", b"b"], [None])


def test_a_taker_on_hold_gets_nothing_and_the_producer_is_paused_in_turn():
    told = Told()
    taker = Taker(told.stream)
    told.stream.hold()
    told.stream.push(bytes(HIGH_WATER))
    told.stream.finish()
    assert (taker.got, taker.ends, told.words) == ([], [], ["pause"])
    told.stream.release()
    assert (len(taker.got), taker.ends, told.words) == (1, [None], ["pause", "resume"])


def test_a_taker_may_hold_from_inside_its_own_call():
    stream, got = Stream(), []

    def take(piece: bytes) -> None:
        got.append(piece)
        stream.hold()

    stream.push(b"a")
    stream.push(b"b")
    stream.attach(take, lambda error: got.append(b"end"))
    assert got == [b"a"]
    stream.release()
    stream.finish()
    assert got == [b"a", b"b"]
    stream.release()
    assert got == [b"a", b"b", b"end"]


def test_a_producer_that_pushes_when_resumed_keeps_the_order():
    stream = Stream()
    stream.on_resume = lambda: stream.push(b"last")
    stream.push(b"a" * HIGH_WATER)
    stream.push(b"b")
    taker = Taker(stream)
    assert [piece[:1] for piece in taker.got] == [b"a", b"b", b"l"]


def test_a_taker_is_told_of_an_abort_after_the_last_piece():
    stream = Stream()
    stream.push(b"a")
    error = BodyTooLarge()
    stream.abort(error)
    taker = Taker(stream)
    assert (taker.got, taker.ends) == ([b"a"], [error])


def test_a_taker_that_cancels_is_not_told_of_the_end_even_when_held():
    stream = Stream()
    taker = Taker(stream)
    stream.hold()
    stream.finish()
    stream.cancel()
    stream.release()
    assert taker.ends == []


async def test_read_all_stops_at_its_limit_and_gives_the_stream_up():
    told = Told()
    told.stream.push(b"abc")
    told.stream.push(b"d")
    with pytest.raises(BodyTooLarge, match="stream too large"):
        await told.stream.read_all(3)
    assert told.words == ["cancel"]


async def test_whole_reads_either_kind_of_body():
    stream = Stream()
    stream.push(b"ab")
    stream.push(b"c")
    stream.finish()
    assert await whole(stream, 3) == b"abc" == await whole(b"abc", 3)
    with pytest.raises(BodyTooLarge):
        await whole(b"abcd", 3)


async def test_a_stream_can_be_iterated():
    stream = Stream()
    stream.push(b"a")
    stream.push(b"b")
    stream.finish()
    assert [piece async for piece in stream] == [b"a", b"b"]


def test_discarding_cancels_a_stream_and_leaves_bytes_alone():
    told = Told()
    discard(told.stream)
    discard(b"x")
    assert told.words == ["cancel"]
