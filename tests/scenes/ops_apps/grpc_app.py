"""A gRPC app with the official extension: `grpc_app.py PORT`."""

import sys

from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app = App()


@app.method(name="echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    caller = request.metadata.get("dapr-caller-app-id", [""])
    return InvokeMethodResponse(b"%s from %s" % (request.data, str(caller[0]).encode()), "text/plain")


app.run(int(sys.argv[1]))
