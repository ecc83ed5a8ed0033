"""Callbacks into a gRPC app, served by grpcio."""

import base64
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from support.apps import grpc_app
from support.pubsub import Noted

from pillion.edge.app.grpc import GrpcApp
from pillion.model.bindings import Trigger
from pillion.model.invoke import Invocation, Pairs
from pillion.model.pubsub import Answer, Batch, Bulk, Event, Interest, Rule
from pillion.net.grpc.channel import GrpcChannel
from pillion.ports.app import AppFailed, AppUnreachable
from pillion.wire.json import loads
from pillion.wire.proto import common, rpc, runtime

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PREFIX = "/dapr.proto.runtime.v1.AppCallback/"


class Served:
    """What the app was asked, and how it answers: bytes, or a status to abort with."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, dict[str, Any]]] = []
        self.tokens: list[str] = []
        self.answers: dict[str, bytes | grpc.StatusCode] = {}
        self.trailers: list[tuple[str, Any]] = []
        self.deadlines: list[float | None] = []

    def methods(self) -> dict[str, Any]:
        names = [
            f"{PREFIX}{name}"
            for name in (
                "OnInvoke",
                "ListTopicSubscriptions",
                "OnTopicEvent",
                "ListInputBindings",
                "OnBindingEvent",
                "OnBulkTopicEvent",
            )
        ]
        names += [
            "/dapr.proto.runtime.v1.AppCallbackAlpha/OnBulkTopicEventAlpha1",
            "/dapr.proto.runtime.v1.AppCallbackHealthCheck/HealthCheck",
        ]
        return {name: self._method(name) for name in names}

    def _method(self, name: str) -> Any:
        async def serve(message: bytes, context: Any) -> bytes:
            self.asked.append((name, message, dict(context.invocation_metadata())))
            self.tokens += [
                str(value) for key, value in context.invocation_metadata() if key == "dapr-api-token"
            ]
            self.deadlines.append(context.time_remaining())
            await context.send_initial_metadata((("x-initial", "i"),))
            context.set_trailing_metadata(tuple(self.trailers))
            answer = self.answers.get(name.rpartition("/")[2], grpc.StatusCode.UNIMPLEMENTED)
            if isinstance(answer, bytes):
                return answer
            await context.abort(answer, "no", tuple(self.trailers))

        return serve


@pytest.fixture
async def served() -> Served:
    return Served()


@pytest.fixture
async def noted() -> Noted:
    return Noted()


@pytest.fixture
async def app(served: Served, noted: Noted) -> AsyncIterator[GrpcApp]:
    async with grpc_app(served.methods()) as port:
        made = GrpcApp(GrpcChannel("127.0.0.1", port), telemetry=noted, token="s3cret")
        yield made
        await made.close()


def event(envelope: dict[str, object], **more: Any) -> Event:
    return Event("pub", "t1", "/p", b"", envelope, **more)


CE: dict[str, object] = {
    "id": "i",
    "source": "s",
    "type": "t",
    "specversion": "1.0",
    "datacontenttype": "application/json",
}


async def test_an_event_becomes_a_request_with_its_other_attributes_as_extensions(
    app: GrpcApp, served: Served, noted: Noted
) -> None:
    served.answers["OnTopicEvent"] = b""
    envelope = loads(
        b'{"id":"i","source":"s","type":"t","specversion":"1.0","datacontenttype":"application/json","ext":5,"none":null,'
        b'"deep":{"a":[true,"x"]},"topic":"t1","data":{"big":1,"f":1.50,"a":null}}'
    )
    assert (
        await app.deliver(event(envelope, headers={"Cloudevent.Id": "i", "bad key": "x"}, trace=TRACE))
        is Answer.SUCCESS
    )
    name, message, metadata = served.asked[0]
    request = runtime.TopicEventRequest.FromString(message)
    assert (request.id, request.source, request.type, request.spec_version) == ("i", "s", "t", "1.0")
    assert (request.topic, request.pubsub_name, request.path) == ("t1", "pub", "/p")
    assert request.data == b'{"a":null,"big":1,"f":1.5}' and request.data_content_type == "application/json"
    fields = request.extensions.fields
    assert set(fields) == {"ext", "none", "deep", "topic"} and fields["ext"].number_value == 5
    assert fields["deep"].struct_value.fields["a"].list_value.values[1].string_value == "x"
    assert (
        metadata["pubsubname"] == "pub"
        and metadata["cloudevent.id"] == "i"
        and metadata["dapr-api-token"] == "s3cret"
    )
    assert metadata["traceparent"].startswith(TRACE[:36]) and "bad key" not in metadata
    assert served.deadlines == [None] and noted.told == [("rpc", f"{PREFIX}OnTopicEvent", 0)]


@pytest.mark.parametrize(
    ("envelope", "data"),
    [
        ({"datacontenttype": "application/json", "data": "notjson"}, b'"notjson"'),
        ({"datacontenttype": "text/plain", "data": "<x>"}, b"<x>"),
        ({"datacontenttype": "application/xml", "data": "<x/>"}, b"<x/>"),
        ({"datacontenttype": "application/octet-stream", "data_base64": "AP8="}, b"\x00\xff"),
        ({"datacontenttype": "image/png", "data_base64": "AAE="}, b"\x00\x01"),
        ({"datacontenttype": "image/png", "data": {"o": 1}}, b""),
        ({"datacontenttype": "image/png", "data": "img"}, b""),
        ({"data": "only"}, b""),
        ({}, b""),
    ],
)
async def test_data_is_bytes_by_its_type(
    app: GrpcApp, served: Served, envelope: dict[str, object], data: bytes
) -> None:
    served.answers["OnTopicEvent"] = b""
    await app.deliver(event(envelope))
    assert runtime.TopicEventRequest.FromString(served.asked[0][1]).data == data


async def test_a_raw_event_carries_no_trace_of_its_own(app: GrpcApp, served: Served) -> None:
    served.answers["OnTopicEvent"] = b""
    await app.deliver(event(CE, raw=b"x", trace=TRACE, headers={"rawPayload": "true", "traceid": TRACE}))
    metadata = served.asked[0][2]
    assert "traceparent" not in metadata and metadata["traceid"] == TRACE and metadata["rawpayload"] == "true"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", Answer.SUCCESS), (b"\x08\x01", Answer.RETRY), (b"\x08\x02", Answer.DROP), (b"\x08\x07", Answer.RETRY),
        (grpc.StatusCode.UNIMPLEMENTED, Answer.UNHANDLED), (grpc.StatusCode.INTERNAL, None), (grpc.StatusCode.UNAVAILABLE, None),
    ],
)  # fmt: skip
async def test_the_status_of_an_event_is_understood(
    app: GrpcApp, served: Served, given: Any, expected: Answer | None
) -> None:
    served.answers["OnTopicEvent"] = given
    if expected is None:
        with pytest.raises(AppFailed):
            await app.deliver(event(CE))
    else:
        assert await app.deliver(event(CE)) is expected


async def test_an_event_whose_base64_is_broken_is_to_come_again(app: GrpcApp) -> None:
    with pytest.raises(AppFailed, match="cannot be sent"):
        await app.deliver(event({"data_base64": "A"}))


async def test_an_app_that_is_gone_is_unreachable(noted: Noted) -> None:
    async with grpc_app({}) as port:
        pass
    app = GrpcApp(GrpcChannel("127.0.0.1", port), telemetry=noted)
    with pytest.raises(AppUnreachable):
        await app.deliver(event(CE))
    with pytest.raises(AppUnreachable):
        await app.interests()
    assert not await app.is_healthy("", 0.5)
    await app.close()


BATCH = Batch(
    "B", "pub", "bulk1", "/b",
    (
        event({**CE, "data": {"b": 1}, "topic": "bulk1"}, entry_id="e1"),
        event(CE, entry_id="e2", raw=b"br", headers={"rawPayload": "true"}),
    ),
    {"pubsubName": "pub"},
)  # fmt: skip


async def test_a_batch_becomes_one_request(app: GrpcApp, served: Served) -> None:
    answer = runtime.TopicEventBulkResponse()
    answer.statuses.add(entry_id="e1", status=2)
    served.answers["OnBulkTopicEvent"] = answer.SerializeToString()
    assert await app.deliver_batch(BATCH) == {"e1": Answer.DROP}
    request = runtime.TopicEventBulkRequest.FromString(served.asked[0][1])
    assert (request.id, request.topic, request.pubsub_name, request.path) == ("B", "bulk1", "pub", "/b")
    assert request.type == "com.dapr.event.sent.bulk" and dict(request.metadata) == {"pubsubName": "pub"}
    first, second = request.entries
    assert first.cloud_event.data == b'{"b":1}' and "topic" in first.cloud_event.extensions.fields
    assert second.bytes == b"br" and dict(second.metadata) == {"rawPayload": "true"}


async def test_an_older_app_is_given_batches_by_the_alphas_name(app: GrpcApp, served: Served) -> None:
    served.answers["OnBulkTopicEventAlpha1"] = b""
    assert await app.deliver_batch(BATCH) == {}
    await app.deliver_batch(BATCH)
    names = [name.rpartition("/")[2] for name, _, _ in served.asked]
    assert names == ["OnBulkTopicEvent", "OnBulkTopicEventAlpha1", "OnBulkTopicEventAlpha1"]


async def test_an_app_without_bulk_delivery_is_done_with_the_entries(app: GrpcApp, served: Served) -> None:
    assert set((await app.deliver_batch(BATCH)).values()) == {Answer.UNHANDLED}


async def test_the_apps_topics_are_read(app: GrpcApp, served: Served) -> None:
    answer = runtime.ListTopicSubscriptionsResponse()
    answer.subscriptions.add(pubsub_name="pub", topic="plain")
    ruled = answer.subscriptions.add(pubsub_name="pub", topic="ruled", dead_letter_topic="dead")
    ruled.routes.rules.add(match="true", path="/red")
    ruled.routes.default = "/def"
    ruled.metadata["rawPayload"] = "true"
    ruled.bulk_subscribe.enabled = True
    ruled.bulk_subscribe.max_messages_count = 7
    served.answers["ListTopicSubscriptions"] = answer.SerializeToString()
    assert await app.interests() == [
        Interest("pub", "plain", (Rule("", ""),)),
        Interest(
            "pub",
            "ruled",
            (Rule("true", "/red"), Rule("", "/def")),
            {"rawPayload": "true"},
            "dead",
            Bulk(True, 7, 1.0),
        ),
    ]


async def test_an_app_that_lists_no_topics_wants_none(app: GrpcApp) -> None:
    assert list(await app.interests()) == []


async def test_an_app_that_fails_to_list_its_topics_says_why(app: GrpcApp, served: Served) -> None:
    served.answers["ListTopicSubscriptions"] = grpc.StatusCode.INTERNAL
    with pytest.raises(AppFailed, match="error getting topics from app: no"):
        await app.interests()


async def test_the_app_lists_its_input_bindings_within_three_seconds(app: GrpcApp, served: Served) -> None:
    answer = runtime.ListInputBindingsResponse(bindings=["tick", "other"])
    served.answers["ListInputBindings"] = answer.SerializeToString()
    assert await app.inputs({"tick": "/tick", "cron": "/cron"}) == {"tick"}
    assert served.deadlines[0] is not None and 0 < served.deadlines[0] < 3.5  # the machine may be busy


async def test_a_binding_event_is_brought_and_what_the_app_sends_on_is_told(
    app: GrpcApp, served: Served
) -> None:
    answer = runtime.BindingEventResponse(data=b"d", to=["a", "b"], concurrency=1)
    served.answers["OnBindingEvent"] = answer.SerializeToString()
    reply = await app.bring("tick", "/tick", Trigger(b"in", {"k": "v"}), TRACE)
    assert (reply.data, reply.to, reply.parallel) == (b"d", ("a", "b"), True)
    request = runtime.BindingEventRequest.FromString(served.asked[0][1])
    assert (request.name, request.data, dict(request.metadata)) == ("tick", b"in", {"k": "v"})
    assert served.asked[0][2]["traceparent"].startswith(TRACE[:36])


async def test_a_healthy_app_says_so_without_a_token(app: GrpcApp, served: Served, noted: Noted) -> None:
    assert not await app.is_healthy("", 0.5)
    served.answers["HealthCheck"] = b""
    assert await app.is_healthy("", 0.5)
    assert all("dapr-api-token" not in metadata for _, _, metadata in served.asked)
    assert noted.told == [("health", False, True), ("health", True, True)]


def invocation(*headers: tuple[bytes, bytes], **more: Any) -> Invocation:
    fields: Pairs = list(headers)
    return Invocation("app", "hm", more.pop("verb", "POST"), fields, **more)


async def test_a_method_called_over_http_is_invoked_with_its_headers_renamed(
    app: GrpcApp, served: Served
) -> None:
    served.answers["OnInvoke"] = common.InvokeResponse(content_type="text/z").SerializeToString()
    await app.invoke(
        invocation(
            (b"accept", b"a/b"), (b"content-type", b"text/z"), (b"content-length", b"4"), (b"connection", b"close"),
            (b"accept-encoding", b"identity"), (b"x-h", b"v"), (b"x-bin-bin", base64.b64encode(b"\x01\x02")), (b"user-agent", b"curl"),
            query="x=1", body=b"body", content_type="text/z",
        )
    )  # fmt: skip
    _, message, metadata = served.asked[0]
    request = common.InvokeRequest.FromString(message)
    assert (request.method, request.content_type, request.data.value) == ("hm", "text/z", b"body")
    assert (
        request.http_extension.verb == common.HTTPExtension.POST
        and request.http_extension.querystring == "x=1"
    )
    assert {
        "dapr-accept": "a/b", "dapr-content-type": "text/z", "dapr-content-length": "4", "dapr-connection": "close",
        "accept-encoding": "identity", "x-h": "v", "x-bin-bin": b"\x01\x02", "dapr-api-token": "s3cret",
    }.items() <= metadata.items()  # fmt: skip
    assert metadata["user-agent"] != "curl" and served.deadlines == [None]


async def test_a_grpc_callers_metadata_goes_as_it_is(app: GrpcApp, served: Served) -> None:
    served.answers["OnInvoke"] = common.InvokeResponse().SerializeToString()
    await app.invoke(
        invocation((b"accept", b"x"), (b"x-b-bin", b"\x00\x01"), from_grpc=True, type_url="t/u", verb="NONE")
    )
    _, message, metadata = served.asked[0]
    assert metadata["accept"] == "x" and metadata["x-b-bin"] == b"\x00\x01"
    assert common.InvokeRequest.FromString(message).data.type_url == "t/u"


async def test_the_apps_answer_is_an_outcome_with_its_metadata(app: GrpcApp, served: Served) -> None:
    answer = common.InvokeResponse(content_type="c")
    answer.data.value, answer.data.type_url = b"out", "t/u"
    served.answers["OnInvoke"] = answer.SerializeToString()
    served.trailers = [("x-trail", "t")]
    outcome = await app.invoke(invocation())
    assert (outcome.status, outcome.body, outcome.content_type, outcome.type_url) == (0, b"out", "c", "t/u")
    assert (b"x-initial", b"i") in outcome.headers and (b"x-trail", b"t") in outcome.trailers


async def test_the_apps_status_is_an_outcome_with_its_details(app: GrpcApp, served: Served) -> None:
    status = rpc.Status(code=5, message="no")
    status.details.add(type_url="t/d", value=b"v")
    served.answers["OnInvoke"] = grpc.StatusCode.NOT_FOUND
    served.trailers = [("grpc-status-details-bin", status.SerializeToString()), ("x-t", "1")]
    outcome = await app.invoke(invocation())
    assert (outcome.status, outcome.message, outcome.is_http) == (5, "no", False)
    assert outcome.details == (status.details[0].SerializeToString(),) and (b"x-t", b"1") in outcome.trailers


async def test_an_app_that_is_unavailable_by_its_own_word_is_an_outcome(app: GrpcApp, served: Served) -> None:
    served.answers["OnInvoke"] = grpc.StatusCode.UNAVAILABLE
    assert (await app.invoke(invocation())).status == 14


async def test_the_apps_token_takes_the_place_of_one_the_caller_sent(app: GrpcApp, served: Served) -> None:
    served.answers["OnInvoke"] = b""
    await app.invoke(invocation((b"dapr-api-token", b"guessed")))
    assert served.tokens == ["s3cret"]
