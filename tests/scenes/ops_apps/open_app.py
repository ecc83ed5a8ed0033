"""An HTTP app that a scene can look into and hold up: `open_app.py PORT NAME [SUBSCRIPTIONS]`.

| path | what it does |
|------|--------------|
| `/who` | its name |
| `/count` | how many bytes it was sent |
| `/stream/N` | N MiB, piece by piece |
| `/sent` | how many pieces of streams it was able to send |
| `/events` | one server-sent event, and a second once let go |
| `/held` | answers once let go |
| `/go`, `/hold` | lets go what is held up, and what comes after; holds again |
| `/waiting`, `/peak` | how many are held up now; how many were at most |
| `/well`, `/ill`, `/healthz` | its health |
| `/taken` | the events brought to `/take` |
| anything else | what it saw of the request |
"""

import contextlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NAME = sys.argv[2]
SUBSCRIPTIONS = sys.argv[3] if len(sys.argv) > 3 else "[]"
PIECE = bytes(1 << 20)


class Doors:
    """What the scene turns."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.well = True
        self.waiting = self.peak = self.sent = 0
        self.taken: list[Any] = []
        self.probes = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        with self._lock:
            self.waiting += 1
            self.peak = max(self.peak, self.waiting)
        self.gate.wait(60)
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1


DOORS = Doors()


class OpenApp(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # it writes head and body apart: on a kept connection that would cost 40 ms
    )

    def answer(self) -> None:
        path, body = self.path.partition("?")[0], self.body()
        match path.strip("/").split("/"):
            case ["who"]:
                self.say(NAME)
            case ["count"]:
                self.say(str(body))
            case ["stream", size]:
                self.stream(PIECE for _ in range(int(size)))
            case ["events"]:
                self.events()
            case ["held"]:
                with DOORS.held():
                    self.say(NAME)
            case ["waiting"]:
                self.say(str(DOORS.waiting))
            case ["sent"]:
                self.say(str(DOORS.sent))
            case ["peak"]:
                self.say(str(DOORS.peak))
            case ["status", code]:
                self.say("as asked", int(code))
            case ["dapr", "subscribe"]:
                self.say(SUBSCRIPTIONS)
            case ["taken"]:
                self.say(json.dumps(DOORS.taken))
            case ["healthz"]:
                DOORS.probes += 1
                self.say("", 200 if DOORS.well else 503)
            case [word] if word in ("go", "hold", "well", "ill"):
                self.turn(word)
            case _:
                headers = [[name.lower(), value] for name, value in self.headers.items()]
                seen = {"verb": self.command, "path": self.path, "headers": headers, "bytes": body}
                self.say(json.dumps(seen), type="application/json")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def turn(self, word: str) -> None:
        if word in ("well", "ill"):
            DOORS.well = word == "well"
        else:
            DOORS.gate.set() if word == "go" else DOORS.gate.clear()
        self.say(word)

    def body(self) -> int:
        """Read the body and keep its length; an event is kept whole."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            return self.chunks()
        left = length = int(self.headers.get("content-length") or 0)
        if self.path == "/take":
            DOORS.taken.append(json.loads(self.rfile.read(length))["data"])
            return length
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        return length

    def chunks(self) -> int:
        total = 0
        while size := int(self.rfile.readline(), 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return total

    def events(self) -> None:
        def parts() -> Iterator[bytes]:
            yield b"data: first\n\n"
            with DOORS.held():
                yield b"data: second\n\n"

        self.stream(parts(), "text/event-stream")

    def stream(self, parts: Iterator[bytes], type: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("content-type", type)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            DOORS.sent += 1
        self.wfile.write(b"0\r\n\r\n")

    def say(self, text: str, status: int = 200, type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", type)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Its requests are no news."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is part of the scenes."""


Server(("127.0.0.1", int(sys.argv[1])), OpenApp).serve_forever()
