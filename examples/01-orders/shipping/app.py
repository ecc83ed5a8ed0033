"""Ships what was placed: FastAPI with Dapr's extension subscribes, an output binding writes the receipt."""

import json
import os
import time
from typing import Annotated

import uvicorn
from dapr.clients import DaprClient
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI

app = FastAPI()
dapr_app = DaprApp(app)


@dapr_app.subscribe(pubsub="pubsub", topic="placed")
def ship(event: Annotated[dict, Body()]) -> dict[str, str]:
    order = event["data"]
    order["trail"].append({"app": "shipping", "at": time.time(), "saw": "the event it subscribes to"})
    print(f"order {order['id']} goes out", flush=True)
    with DaprClient() as dapr:
        receipt = {"fileName": f"{order['id']}.json"}
        dapr.invoke_binding("receipts", "create", json.dumps(order, indent=2), receipt)
    print(f"order {order['id']} has its receipt", flush=True)
    return {"status": "SUCCESS"}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["APP_PORT"]), log_level="warning")
