"""An app of the Python SDK over gRPC: methods, topics, a binding, a health check. Arguments: port, file to note in."""

import json
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import grpc
from cloudevents.sdk.event import v1
from dapr.ext.grpc import (
    App,
    BindingRequest,
    InvokeMethodRequest,
    InvokeMethodResponse,
    Rule,
    SubscriptionMessage,
    TopicEventResponse,
)

PORT, NOTES = int(sys.argv[1]), sys.argv[2]
warnings.simplefilter("ignore", DeprecationWarning)  # one handler takes the event of old
app = App()
REFUSED: list[str] = []


def note(what: str, **more: Any) -> None:
    with open(NOTES, "a") as notes:
        notes.write(json.dumps({"what": what, **more}) + "\n")


@app.method("greet")
def greet(request: InvokeMethodRequest) -> InvokeMethodResponse:
    return InvokeMethodResponse(f"hello {request.text()}", "text/plain")


@app.subscribe(pubsub_name="bus", topic="grpc-plain", metadata={"colour": "green"})
def plain(event: SubscriptionMessage) -> None:
    note("plain", data=event.data(), source=event.source(), type=event.type(), topic=event.topic())


@app.subscribe(pubsub_name="bus", topic="grpc-late")
def late(event: SubscriptionMessage) -> None:
    note("late", data=event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-old")
def old(event: v1.Event) -> None:
    note("old", data=json.loads(event.Data()), id=event.EventID(), subject=event.Subject())


@app.subscribe(pubsub_name="bus", topic="grpc-answers", dead_letter_topic="grpc-dead")
def answers(event: SubscriptionMessage) -> TopicEventResponse:
    note("answers", data=event.data())
    return TopicEventResponse(event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-dead")
def dead(event: SubscriptionMessage) -> None:
    note("dead", data=event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-routed")
def other(event: SubscriptionMessage) -> None:
    note("other", data=event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-routed", rule=Rule("event.data.price > 100", 1))
def dear(event: SubscriptionMessage) -> None:
    note("dear", data=event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-routed", rule=Rule('event.type == "cheap"', 2))
def cheap(event: SubscriptionMessage) -> None:
    note("cheap", data=event.data())


@app.subscribe(pubsub_name="bus", topic="grpc-bulk")
def bulk(event: SubscriptionMessage) -> TopicEventResponse:
    note("bulk", data=event.data())
    if event.data() != {"n": 0} or REFUSED:
        return TopicEventResponse("success")
    REFUSED.append(event.id())
    return TopicEventResponse("retry")


@app.binding("tick")
def tick(request: BindingRequest) -> None:
    note("tick", metadata=sorted(request.binding_metadata))


class Own:
    """A gRPC service that has nothing to do with Dapr."""

    def shout(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        return request.upper()

    def count(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for number, request in enumerate(requests):
            yield b"%d %s" % (number, request)


def add_own(own: Own, server: grpc.Server) -> None:
    methods = {
        "Shout": grpc.unary_unary_rpc_method_handler(own.shout),
        "Count": grpc.stream_stream_rpc_method_handler(own.count),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("own.Own", methods),))


app.add_external_service(add_own, Own())
app.register_health_check(lambda: note("health"))
app.run(PORT, "127.0.0.1")
