"""A gRPC app with the official extension: `grpc_app.py PORT [FILE]`; it is ill while FILE exists."""

import sys
from pathlib import Path

from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app = App()


@app.method(name="echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    caller = request.metadata.get("dapr-caller-app-id", [""])
    return InvokeMethodResponse(b"%s from %s" % (request.data, str(caller[0]).encode()), "text/plain")


def check() -> None:
    if len(sys.argv) > 2 and Path(sys.argv[2]).exists():
        raise RuntimeError("ill")


app.register_health_check(check)
app.run(int(sys.argv[1]))
