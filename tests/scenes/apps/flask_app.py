"""A Flask app with Dapr's own extension. Arguments: port, file to note in."""

import json
import sys
from typing import Any

from flask import Flask, request

try:
    from dapr.ext.flask import DaprApp
except ImportError:  # before 1.19
    from flask_dapr import DaprApp

PORT, NOTES = int(sys.argv[1]), sys.argv[2]
app = Flask("flask")
dapr = DaprApp(app)


def note(what: str, **more: Any) -> None:
    with open(NOTES, "a") as notes:
        notes.write(json.dumps({"what": what, **more}) + "\n")


@dapr.subscribe(pubsub="bus", topic="web-plain")
def plain() -> dict[str, str]:
    event = request.get_json(force=True)
    note("flask-plain", data=event["data"], topic=event["topic"], kind=request.content_type)
    return {"status": "SUCCESS"}


@dapr.subscribe(pubsub="bus", topic="web-answers", route="/answers", dead_letter_topic="flask-dead")
def answers() -> dict[str, str]:
    data = request.get_json(force=True)["data"]
    note("flask-answers", data=data)
    return {"status": data}


@dapr.subscribe(pubsub="bus", topic="flask-dead")
def dead() -> tuple[str, int]:
    note("flask-dead", data=request.get_json(force=True)["data"])
    return "", 200


@app.post("/tick")
def tick() -> str:
    note("flask-tick")
    return ""


@app.put("/greet")
def greet() -> str:
    return f"hello {request.get_data(as_text=True)}"


app.run("127.0.0.1", PORT)
