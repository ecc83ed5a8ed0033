"""Reserves what was ordered: Dapr's Python SDK, over gRPC both ways."""

import json
import os
import time

from dapr.clients import DaprClient
from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app = App()


@app.method(name="reserve")
def reserve(request: InvokeMethodRequest) -> InvokeMethodResponse:
    order = json.loads(request.data)
    trail = order["trail"]
    trail.append({"app": "stock", "at": time.time(), "saw": "a service invocation from checkout"})
    print(f"order {order['id']}: {order['quantity']} x {order['item']}", flush=True)
    with DaprClient() as dapr:
        left = remaining(dapr, order["item"]) - order["quantity"]
        dapr.save_state("statestore", order["item"], json.dumps(left))
        trail.append(
            {"app": "stock", "at": time.time(), "saw": f"its state saved: {left} {order['item']}s left"}
        )
        dapr.publish_event("pubsub", "placed", json.dumps(order), data_content_type="application/json")
    trail.append({"app": "stock", "at": time.time(), "saw": "its event taken by the broker"})
    return InvokeMethodResponse(json.dumps(order), "application/json")


def remaining(dapr: DaprClient, item: str) -> int:
    """How many the state store says are left; a full shelf at first."""
    found = dapr.get_state("statestore", item).data
    return int(json.loads(found)) if found else 10


if __name__ == "__main__":
    app.run(int(os.environ["APP_PORT"]), listen_address="127.0.0.1")
