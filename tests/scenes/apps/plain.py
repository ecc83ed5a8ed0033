"""An app without an SDK: echoes what it is asked, notes what it is told. Arguments: port, file to note in, topic."""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, NOTES, TOPIC = int(sys.argv[1]), sys.argv[2], (*sys.argv[3:], "orders")[0]


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        if self.path == "/dapr/subscribe":
            self.say([{"pubsubname": "bus", "topic": TOPIC, "route": "/orders"}])
        elif self.path == "/orders":
            with open(NOTES, "a") as notes:
                notes.write(json.dumps({"what": "event", "event": json.loads(body)}) + "\n")
            self.say({"status": "SUCCESS"})
        elif self.path.startswith("/echo"):
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.say({"verb": self.command, "path": self.path, "headers": headers, "body": body})
        else:
            self.say({"error": "no such path"}, 404)

    do_GET = do_POST = do_PUT = do_DELETE = do_OPTIONS = answer

    def say(self, thing: object, status: int = 200) -> None:
        body = json.dumps(thing).encode()
        self.send_response(status)
        for name, value in (("content-type", "application/json"), ("x-answer", "42")):
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", PORT), App).serve_forever()
