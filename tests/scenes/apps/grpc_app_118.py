"""The app of grpc_app.py as it was written before 1.19: every handler takes a CloudEvent. Arguments: port, file to note in."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import grpc
from cloudevents.sdk.event import v1
from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, BindingRequest, InvokeMethodRequest, InvokeMethodResponse, Rule

PORT, NOTES = int(sys.argv[1]), sys.argv[2]
app = App()
REFUSED: list[str] = []


def note(what: str, **more: Any) -> None:
    with open(NOTES, "a") as notes:
        notes.write(json.dumps({"what": what, **more}) + "\n")


def data(event: v1.Event) -> Any:
    raw = event.Data()
    return json.loads(raw) if event.ContentType() == "application/json" else raw.decode()


@app.method("greet")
def greet(request: InvokeMethodRequest) -> InvokeMethodResponse:
    return InvokeMethodResponse(f"hello {request.text()}", "text/plain")


@app.subscribe(pubsub_name="bus", topic="grpc-plain", metadata={"colour": "green"})
def plain(event: v1.Event) -> None:
    note("plain", data=data(event), source=event.Source(), type=event.EventType(), topic=event.Subject())


@app.subscribe(pubsub_name="bus", topic="grpc-late")
def late(event: v1.Event) -> None:
    note("late", data=data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-old")
def old(event: v1.Event) -> None:
    note("old", data=data(event), id=event.EventID(), subject=event.Subject())


@app.subscribe(pubsub_name="bus", topic="grpc-answers", dead_letter_topic="grpc-dead")
def answers(event: v1.Event) -> TopicEventResponse:
    note("answers", data=data(event))
    return TopicEventResponse(data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-dead")
def dead(event: v1.Event) -> None:
    note("dead", data=data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-routed")
def other(event: v1.Event) -> None:
    note("other", data=data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-routed", rule=Rule("event.data.price > 100", 1))
def dear(event: v1.Event) -> None:
    note("dear", data=data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-routed", rule=Rule('event.type == "cheap"', 2))
def cheap(event: v1.Event) -> None:
    note("cheap", data=data(event))


@app.subscribe(pubsub_name="bus", topic="grpc-bulk", rule=Rule("true", 1), disable_topic_validation=True)
def bulk(event: v1.Event) -> TopicEventResponse:
    """Reached by its name as the path of a declared subscription to another topic."""
    note("bulk", data=data(event))
    if data(event) != {"n": 0} or REFUSED:
        return TopicEventResponse("success")
    REFUSED.append(event.EventID())
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
