"""An app of the Python SDK that offers a method over gRPC. Argument: port."""

import sys

from dapr.ext.grpc import App, InvokeMethodRequest, InvokeMethodResponse

app = App()


@app.method("echo")
def echo(request: InvokeMethodRequest) -> InvokeMethodResponse:
    told = InvokeMethodResponse(request.data, request.content_type)
    told.headers = (("x-told", dict(request.get_metadata(as_dict=True))["x-mine"][0]),)
    return told


app.run(int(sys.argv[1]), "127.0.0.1")
