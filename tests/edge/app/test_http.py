"""Callbacks into an HTTP app, as they look on the wire."""

import asyncio
import functools
import gzip
from collections.abc import AsyncIterator, Callable

import pytest
from support.apps import PlainApp, answer, plain_app
from support.pubsub import Noted
from support.waiting import eventually

from pillion.edge.app.http import HttpApp
from pillion.edge.app.slots import Slots
from pillion.model.bindings import Trigger
from pillion.model.invoke import Invocation, Pairs
from pillion.model.pubsub import Answer, Batch, Bulk, Event, Interest, Rule
from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http2.client import Http2Client
from pillion.net.http2.server import Http2ServerProtocol
from pillion.net.http_client import Http1Client
from pillion.net.listen import HttpServer
from pillion.net.wheel import Wheel
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.toolbox.stream import Body, Stream, whole

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Connect = Callable[..., HttpApp]


@pytest.fixture
async def plain() -> PlainApp:
    return PlainApp()


@pytest.fixture
async def noted() -> Noted:
    return Noted()


@pytest.fixture
async def connect(plain: PlainApp, noted: Noted) -> AsyncIterator[Connect]:
    """Makes the channel to the app."""
    made: list[HttpApp] = []
    async with plain_app(plain) as port:

        def connected(limit: int = 0, token: str = "") -> HttpApp:
            client = Http1Client("127.0.0.1", port)
            made.append(
                HttpApp(
                    client, base=f"http://127.0.0.1:{port}", app_id="appa", telemetry=noted, token=token,
                    slots=Slots(limit), options_timeout=0.2,
                )
            )  # fmt: skip
            return made[-1]

        yield connected
        for app in made:
            await app.close()


def event(path: str = "/t1", **more: object) -> Event:
    body = b'{"id":"1","data":"x"}'
    return Event("ps", "t1", path, body, {"id": "1", "data": "x"}, **more)  # type: ignore[arg-type]


def invocation(
    method: str, *headers: tuple[bytes, bytes], verb: str = "POST", body: Body = b"", query: str = ""
) -> Invocation:
    fields: Pairs = list(headers)
    return Invocation("appa", method, verb, fields, body, query=query)


async def test_an_event_is_posted_as_it_is_stored(connect: Connect, plain: PlainApp, noted: Noted) -> None:
    given = event(headers={"ttlInSeconds": "50", "cloudevent.type": "x"}, trace=TRACE)
    assert await connect().deliver(given) is Answer.SUCCESS
    asked = plain.asked[0]
    assert asked.line == "POST /t1 HTTP/1.1" and asked.body == given.body
    assert asked.names == {
        "host", "user-agent", "content-length", "content-type", "pubsubname", "traceparent", "ttlinseconds",
        "cloudevent.type", "accept-encoding",
    }  # fmt: skip
    assert asked.header("content-type") == ["application/cloudevents+json"]
    assert asked.header("user-agent") == ["Go-http-client/1.1"] and asked.header("pubsubname") == ["ps"]
    (trace,) = asked.header("traceparent")
    assert trace[:36] == TRACE[:36] and trace[52:] == TRACE[52:] and trace != TRACE
    assert noted.told == [("http", "POST", "/t1", 200, len(given.body), 0)]


async def test_an_untraced_event_carries_no_trace(connect: Connect, plain: PlainApp) -> None:
    await connect().deliver(event("t1"))
    assert plain.asked[0].line == "POST /t1 HTTP/1.1" and "traceparent" not in plain.asked[0].names


async def test_a_traced_event_takes_its_state_and_baggage_along(connect: Connect, plain: PlainApp) -> None:
    envelope = {"tracestate": "a=1", "baggage": "k=v"}
    await connect().deliver(Event("ps", "t1", "/t1", b"{}", envelope, trace=TRACE))
    assert plain.asked[0].header("tracestate") == ["a=1"] and plain.asked[0].header("baggage") == ["k=v"]


async def test_metadata_cannot_forge_or_break_a_delivery(connect: Connect, plain: PlainApp) -> None:
    wicked = {
        "content-length": "0", "Dapr-Api-Token": "x", "pubsubname": "other", "a b": "c", "x": "1\r\ny: 2", "fine": "ü",
        "Transfer-Encoding": "chunked",
    }  # fmt: skip
    await connect().deliver(event(headers=wicked))
    asked = plain.asked[0]
    assert asked.body and asked.header("pubsubname") == ["ps"] and asked.header("x") == []
    assert asked.header("fine") == ["ü".encode().decode("latin-1")] and "dapr-api-token" not in asked.names


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(200), Answer.SUCCESS),
        (answer(204), Answer.SUCCESS),
        (answer(200, b"not json"), Answer.SUCCESS),
        (answer(200, b"[]"), Answer.SUCCESS),
        (answer(200, b'{"status":5}'), Answer.SUCCESS),
        (answer(201, b'{"Status":"SUCCESS"}'), Answer.SUCCESS),
        (answer(200, b'{"status":""}'), Answer.SUCCESS),
        (answer(200, b'{"status":"DROP"}'), Answer.DROP),
        (answer(404), Answer.DROP),
        (answer(200, b'{"status":"RETRY"}'), Answer.RETRY),
        (answer(200, b'{"status":"success"}'), None),
        (answer(200, b'{"status":"weird"}'), None),
        (answer(302, b"", "Location: /x"), None),
        (answer(500), None),
    ],
)
async def test_the_answer_to_an_event_is_understood(
    connect: Connect, plain: PlainApp, given: bytes, expected: Answer | None
) -> None:
    plain.answers["/t1"] = given
    if expected is None:
        with pytest.raises(AppFailed):
            await connect().deliver(event())
    else:
        assert await connect().deliver(event()) is expected


async def test_a_packed_answer_is_unpacked(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/t1"] = answer(200, gzip.compress(b'{"status":"DROP"}'), "Content-Encoding: gzip")
    assert await connect().deliver(event()) is Answer.DROP


async def test_an_app_that_is_gone_is_unreachable(plain: PlainApp, noted: Noted) -> None:
    async with plain_app(plain) as port:
        pass
    client = Http1Client("127.0.0.1", port)
    app = HttpApp(client, base=f"http://127.0.0.1:{port}", app_id="appa", telemetry=noted)
    with pytest.raises(AppUnreachable, match=f'Post "http://127.0.0.1:{port}/t1": .*refused'):
        await app.deliver(event())
    assert not await app.is_healthy("/healthz", 0.5)
    await app.close()


BATCH = Batch(
    "B", "ps", "t1", "/bulk",
    (
        event(entry_id="e1"),
        event(entry_id="e2", raw=b'{"i": 0}', headers={"mm": "<0>", "rawPayload": "true"}, trace=TRACE),
    ),
    {"pubsubName": "ps"},
)  # fmt: skip


async def test_a_batch_is_posted_in_its_envelope(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/bulk"] = answer(
        200, b'{"statuses":[{"entryId":"e1","status":"SUCCESS"},{"entryId":"e2","status":"weird"}]}'
    )
    assert await connect().deliver_batch(BATCH) == {"e1": Answer.SUCCESS, "e2": Answer.RETRY}
    asked = plain.asked[0]
    assert asked.body == (
        b'{"entries":[{"entryId":"e1","event":{"id":"1","data":"x"},"metadata":{},"contentType":"application/cloudevents+json"},'
        b'{"entryId":"e2","event":"eyJpIjogMH0=","metadata":{"mm":"\\u003c0\\u003e","rawPayload":"true"},'
        b'"contentType":"application/octet-stream"}],"id":"B","metadata":{"pubsubName":"ps"},"pubsubname":"ps","topic":"t1",'
        b'"type":"com.dapr.event.sent.bulk"}'
    )
    assert asked.header("content-type") == ["application/json"] and asked.header("traceparent")


@pytest.mark.parametrize("body", [b"{}", b'{"statuses":[]}', b'{"statuses":[{"entryId":"e1"}]}'])
async def test_entries_without_a_status_are_to_come_again(
    connect: Connect, plain: PlainApp, body: bytes
) -> None:
    plain.answers["/bulk"] = answer(200, body)
    answers = await connect().deliver_batch(BATCH)
    assert answers.get("e1", Answer.RETRY) is Answer.RETRY and "e2" not in answers


@pytest.mark.parametrize("given", [answer(200), answer(200, b"x"), answer(500)])
async def test_a_batch_whose_answer_cannot_be_read_fails(
    connect: Connect, plain: PlainApp, given: bytes
) -> None:
    plain.answers["/bulk"] = given
    with pytest.raises(AppFailed):
        await connect().deliver_batch(BATCH)


async def test_a_batch_nobody_wants_is_unhandled(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/bulk"] = answer(404)
    assert set((await connect().deliver_batch(BATCH)).values()) == {Answer.UNHANDLED}


async def test_the_apps_topics_are_read(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/dapr/subscribe"] = answer(
        200,
        b'[{"PubsubName":"ps","topic":"a","route":"a","metadata":{"rawPayload":"true"},"deadLetterTopic":"dead",'
        b'"bulkSubscribe":{"enabled":true,"maxMessagesCount":5,"maxAwaitDurationMs":20}},'
        b'{"pubsubname":"ps","topic":"b","route":"/x","routes":{"rules":[{"match":"event.type == \\"r\\"","path":"/r"}],"default":"/d"}},'
        b'{"pubsubname":"ps","topic":"none"},{"topic":"old","route":"/old"},"older"]',
    )
    assert await connect().interests() == [
        Interest("ps", "a", (Rule("", "a"),), {"rawPayload": "true"}, "dead", Bulk(True, 5, 0.02)),
        Interest("ps", "b", (Rule('event.type == "r"', "/r"), Rule("", "/d"))),
        Interest("", "old", (Rule("", "/old"),)),
        Interest("", "older", (Rule("", "older"),)),
    ]
    asked = plain.asked[0]
    assert asked.names == {"host", "user-agent", "content-type", "dapr-app-id", "accept-encoding"}


@pytest.mark.parametrize("given", [answer(404), answer(200), answer(200, b"null"), answer(200, b"[]")])
async def test_an_app_may_want_no_topic(connect: Connect, plain: PlainApp, given: bytes) -> None:
    plain.answers["/dapr/subscribe"] = given
    assert list(await connect().interests()) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (answer(500), "app returned http status code 500 from subscription endpoint"),
        (answer(200, b"{"), "error getting topics from app: unexpected EOF"),
        (answer(200, b"{}"), "error getting topics from app: json: cannot unmarshal object"),
    ],
)
async def test_a_list_of_topics_that_cannot_be_used_says_why(
    connect: Connect, plain: PlainApp, given: bytes, why: str
) -> None:
    plain.answers["/dapr/subscribe"] = given
    with pytest.raises(AppFailed) as refused:
        await connect().interests()
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(200, b'{"entities":["a"]}'), {"entities": ["a"]}),
        (answer(404), None),
        (answer(200, b""), None),
        (answer(200, b"[]"), None),
    ],
)
async def test_the_apps_settings_are_an_object_or_nothing(
    connect: Connect, plain: PlainApp, given: bytes, expected: object
) -> None:
    plain.answers["/dapr/config"] = given
    assert await connect().settings() == expected


async def test_input_bindings_are_probed_with_options(connect: Connect, plain: PlainApp) -> None:
    plain.answers |= {"/yes": answer(200), "/head": answer(405), "/no": answer(404), "/bad": answer(500)}
    names = {"yes": "yes", "head": "/head", "no": "/no", "bad": "/bad"}
    assert await connect().inputs(names) == {"yes", "head"}
    assert {asked.line for asked in plain.asked} >= {"OPTIONS /yes HTTP/1.1"}
    assert plain.asked[0].names == {"host", "user-agent", "content-type", "accept-encoding"}


async def test_a_binding_route_that_does_not_answer_is_not_taken(connect: Connect, plain: PlainApp) -> None:
    plain.hold = asyncio.Event().wait
    assert await connect().inputs({"slow": "/slow"}) == frozenset()


async def test_a_binding_event_is_posted_and_its_answer_handed_back(
    connect: Connect, plain: PlainApp
) -> None:
    plain.answers["/cron"] = answer(200, b"thanks")
    reply = await connect().bring("cron", "cron", Trigger(b"", {"readTimeUTC": "now"}), TRACE)
    assert reply.data == b"thanks"
    asked = plain.asked[0]
    assert asked.line == "POST /cron HTTP/1.1" and asked.header("readtimeutc") == ["now"]
    assert asked.header("content-length") == ["0"] and asked.header("content-type") == ["application/json"]


async def test_a_binding_event_the_app_refuses_is_not_delivered(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/cron"] = answer(500)
    with pytest.raises(AppFailed):
        await connect().bring("cron", "/cron", Trigger(b""), "")


async def test_every_call_but_the_health_probe_carries_the_apps_token(
    connect: Connect, plain: PlainApp
) -> None:
    app = connect(token="s3cret")
    await app.deliver(event())
    await app.invoke(invocation("m"))
    await app.interests()
    assert await app.is_healthy("/healthz", 1.0)
    assert [asked.header("dapr-api-token") for asked in plain.asked] == [["s3cret"]] * 3 + [[]]
    assert plain.asked[3].names == {"host", "user-agent", "accept-encoding"}


async def test_a_method_is_called_with_the_callers_headers_but_those_of_the_connection(
    connect: Connect, plain: PlainApp, noted: Noted
) -> None:
    plain.answers["/echo/r?q=1&q=2"] = answer(
        418,
        b"teapot",
        "X-Multi: a",
        "X-Multi: b",
        "Connection: keep-alive, X-Gone",
        "X-Gone: 1",
        "Content-Type: text/weird",
    )
    outcome = await connect().invoke(
        invocation(
            "echo/r", (b"accept", b"*/*"), (b"te", b"trailers"), (b"connection", b"close, x-hop"), (b"x-hop", b"1"),
            (b"x-data-bin", b"AA=="), (b"cookie", b"a=1"), (b"accept-encoding", b"br"), (b"user-agent", b"mine"),
            (b"content-length", b"99"), (b"content-type", b"a/b"), body=b"hello", query="q=1&q=2",
        )
    )  # fmt: skip
    asked = plain.asked[0]
    assert asked.line == "POST /echo/r?q=1&q=2 HTTP/1.1" and asked.body == b"hello"
    assert asked.names == {
        "host", "accept", "cookie", "accept-encoding", "user-agent", "content-length", "content-type",
    }  # fmt: skip
    assert asked.header("user-agent") == ["mine"] and asked.header("accept-encoding") == ["br"]
    assert asked.header("content-length") == ["5"]
    assert outcome.status == 418 and outcome.content_type == "text/weird" and outcome.body == b"teapot"
    assert outcome.headers == [(b"x-multi", b"a"), (b"x-multi", b"b"), (b"content-type", b"text/weird")]
    assert noted.told == [("http", "POST", "echo/r", 418, 5, 6)]


@pytest.mark.parametrize(
    ("method", "target"),
    [("a b+c", "/a%20b+c"), ("a%2Fb", "/a%2Fb"), ("€", "/%E2%82%AC"), ("a;b=c,d:e@f$g", "/a;b=c,d:e@f$g")],
)
async def test_a_method_is_escaped_where_a_path_must_be(
    connect: Connect, plain: PlainApp, method: str, target: str
) -> None:
    await connect().invoke(invocation(method, verb="GET"))
    assert plain.asked[0].line == f"GET {target} HTTP/1.1"


async def test_gzip_is_asked_for_and_undone_where_the_caller_said_nothing(
    connect: Connect, plain: PlainApp
) -> None:
    text = bytes(range(256)) * 2000
    plain.answers["/m"] = answer(200, gzip.compress(text), "Content-Encoding: gzip")
    outcome = await connect().invoke(invocation("m"))
    assert plain.asked[0].header("accept-encoding") == ["gzip"]
    assert await whole(outcome.body) == text
    assert not any(name == b"content-encoding" for name, _ in outcome.headers)


async def test_gzip_the_caller_asked_for_stays(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/m"] = answer(200, gzip.compress(b"x"), "Content-Encoding: gzip")
    outcome = await connect().invoke(invocation("m", (b"accept-encoding", b"gzip")))
    assert gzip.decompress(await whole(outcome.body)) == b"x"


async def test_bodies_stream_both_ways_and_large_gzip_is_unpacked_on_the_way(
    connect: Connect, plain: PlainApp
) -> None:
    import os

    noise = os.urandom(300_000)
    packed = gzip.compress(noise)
    plain.answers["/m"] = answer(200, packed, "Content-Encoding: gzip")
    body = Stream()
    calling = asyncio.get_running_loop().create_task(connect().invoke(invocation("m", body=body)))
    for piece in (b"one", b"two"):
        body.push(piece)
    body.finish()
    outcome = await calling
    assert plain.asked[0].body == b"onetwo" and isinstance(outcome.body, Stream)
    assert await whole(outcome.body) == noise


async def test_a_cut_gzip_body_is_an_error_and_not_a_short_answer(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/m"] = answer(200, gzip.compress(b"x" * 100)[:-9], "Content-Encoding: gzip")
    with pytest.raises(AppUnreachable, match="cut off"):
        await connect().invoke(invocation("m"))


async def test_no_more_calls_than_allowed_run_at_once_but_health_probes(
    connect: Connect, plain: PlainApp
) -> None:
    gate = asyncio.Event()
    plain.hold = gate.wait
    app = connect(limit=2)
    loop = asyncio.get_running_loop()
    calls = [loop.create_task(app.deliver(event())) for _ in range(5)]
    await eventually(lambda: plain.at_once == 2)
    probe = loop.create_task(app.is_healthy("/healthz", 5.0))
    await eventually(lambda: plain.at_once == 3)
    gate.set()
    await asyncio.gather(*calls)
    assert await probe and plain.most_at_once <= 3


async def test_a_slot_is_held_until_the_answer_is_consumed(connect: Connect, plain: PlainApp) -> None:
    plain.answers["/big"] = answer(200, b"x" * 500_000)
    app = connect(limit=1)
    first = await app.invoke(invocation("big"))
    second = asyncio.get_running_loop().create_task(app.invoke(invocation("small")))
    await asyncio.sleep(0)
    assert len(plain.asked) == 1
    assert len(await whole(first.body)) == 500_000
    assert (await second).status == 200
    third = await app.invoke(invocation("big"))
    assert isinstance(third.body, Stream)
    third.body.cancel()
    assert (await app.invoke(invocation("small"))).status == 200


async def test_a_call_cancelled_while_it_waits_gives_its_slot_back(connect: Connect, plain: PlainApp) -> None:
    plain.hold = asyncio.Event().wait
    app = connect(limit=1)
    stuck = asyncio.get_running_loop().create_task(app.invoke(invocation("m")))
    await eventually(lambda: plain.at_once == 1)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)
    plain.hold = None
    assert (await app.invoke(invocation("m"))).status == 200


async def test_an_app_that_speaks_http2_without_upgrade_is_called_all_the_same(noted: Noted) -> None:
    seen: list[Request] = []

    def handle(request: Request, responder: Responder) -> None:
        seen.append(request)
        responder.respond(200, [(b"content-type", b"application/json")], b'{"status":"DROP"}')

    wheel, limits = Wheel(), HttpLimits()
    made = functools.partial(Http2ServerProtocol, handle, limits, wheel)
    server = HttpServer(handle, limits, wheel=wheel, http2=made)
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    app = HttpApp(Http2Client("127.0.0.1", port), base="http://app", app_id="appa", telemetry=noted)
    assert await app.deliver(event()) is Answer.DROP
    assert seen[0].version == b"2" and seen[0].header(b"pubsubname") == b"ps"
    outcome = await app.invoke(invocation("m", body=b"x"))
    assert (outcome.status, await whole(outcome.body)) == (200, b'{"status":"DROP"}')
    await app.close()
    await server.close()
    wheel.close()


async def test_the_apps_token_takes_the_place_of_one_the_caller_sent(
    connect: Connect, plain: PlainApp
) -> None:
    await connect(token="s3cret").invoke(invocation("m", (b"dapr-api-token", b"guessed")))
    await connect().invoke(invocation("m", (b"dapr-api-token", b"passed on")))
    assert [asked.header("dapr-api-token") for asked in plain.asked] == [["s3cret"], ["passed on"]]
