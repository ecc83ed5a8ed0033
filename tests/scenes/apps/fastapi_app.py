"""A FastAPI app with Dapr's own extension. Arguments: port, file to note in."""

import json
import sys
from typing import Annotated, Any

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI, Request

PORT, NOTES = int(sys.argv[1]), sys.argv[2]
Event = Annotated[dict[str, Any], Body()]
app = FastAPI()
dapr = DaprApp(app)


def note(what: str, **more: Any) -> None:
    with open(NOTES, "a") as notes:
        notes.write(json.dumps({"what": what, **more}) + "\n")


@dapr.subscribe(pubsub="bus", topic="web-plain")
def plain(event: Event) -> None:
    note("fast-plain", data=event["data"], topic=event["topic"])


@dapr.subscribe(pubsub="bus", topic="web-late")
def late(event: Event) -> None:
    note("fast-late", data=event["data"])


@dapr.subscribe(pubsub="bus", topic="web-answers", route="/answers", dead_letter_topic="web-dead")
def answers(event: Event) -> dict[str, str]:
    note("fast-answers", data=event["data"])
    return {"status": event["data"]}


@dapr.subscribe(pubsub="bus", topic="web-dead")
def dead(event: Event) -> None:
    note("fast-dead", data=event["data"])


@dapr.subscribe(pubsub="bus", topic="web-raw", metadata={"rawPayload": "true"})
async def raw(request: Request) -> dict[str, str]:
    note("fast-raw", event=await request.json())
    return {"status": "SUCCESS"}


@app.post("/tick")
def tick() -> None:
    note("fast-tick")


@app.get("/greet/{name}")
def greet(name: str) -> str:
    return f"hello {name}"


uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
