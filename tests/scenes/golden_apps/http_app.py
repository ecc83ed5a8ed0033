"""A plain HTTP app that records every request and answers as its path says."""

import gzip
import http.server
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from support.sidecar import until


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it reached the app."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


Answer = tuple[int, Sequence[tuple[str, str]], bytes]
ANSWERS: dict[str, Answer] = {
    "/plain": (200, [], b"abc"),
    "/redir": (302, [("Location", "/elsewhere")], b"redir"),
    "/weird": (404, [("Content-Type", "text/weird"), ("X-Multi", "a"), ("X-Multi", "b")], b"nf"),
    "/boom500": (500, [], b"boom"),
    "/boom418": (418, [], b"boom"),
    "/none": (204, [], b""),
    "/same": (304, [("ETag", '"q"')], b""),
    "/gzip": (200, [("Content-Type", "text/plain"), ("Content-Encoding", "gzip")], gzip.compress(b"plain")),
    "/traced": (200, [("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"), ("tracestate", "a=b"), ("baggage", "c=d")], b""),
    "/target/ok": (200, [("Server", "x"), ("Content-Type", "text/plain"), ("X-Hb", "v")], b"target"),
    "/target/500": (500, [("Content-Type", "text/plain"), ("X-Hb", "v")], b"broken"),
    "/drop": (200, [], b'{"status":"DROP"}'),
    "/error": (500, [], b""),
    "/empty": (200, [], b""),
    "/object": (200, [], b"{}"),
    "/nothing": (200, [], b'{"statuses":[]}'),
}  # fmt: skip


class HttpApp:
    """Serves on a port of its own until the block ends."""

    def __init__(self, subscriptions: Sequence[dict[str, Any]] = ()) -> None:
        self.subscriptions = subscriptions
        self.seen: list[Seen] = []
        app = self

        class Talk(_Talk):
            def answer(self, seen: Seen) -> Answer:
                return app.answer(seen)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Talk)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def got(self, marker: str) -> Seen:
        """Wait for a request with the marker in its target or body."""
        return until(lambda: self.find(marker), 5, f"the app gets {marker!r}")  # type: ignore[no-any-return]

    def find(self, marker: str) -> Seen | None:
        return next((s for s in self.seen if marker in s.target or marker.encode() in s.body), None)

    def answer(self, seen: Seen) -> Answer:
        path = seen.target.partition("?")[0]
        self.seen.append(seen)
        if path == "/dapr/subscribe":
            return 200, [("Content-Type", "application/json")], json.dumps(self.subscriptions).encode()
        if path.startswith("/status/"):
            kind = [("Server", "x"), ("X-Foo", "bar"), ("Content-Type", "text/plain; charset=utf-8")]
            return int(path[8:]), kind, b"" if path in ("/status/204", "/status/304") else b"st"
        if path.startswith("/dapr/"):
            return 404, [], b""
        return ANSWERS.get(path, (200, [("Content-Type", "application/json")], b"{}"))


class _Talk(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, seen: Seen) -> Answer:
        raise NotImplementedError

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self._body()
        if self.path.startswith("/sse"):
            return self._stream_events()
        status, headers, answer = self.answer(Seen(self.command, self._target(), self.headers.items(), body))
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _target(self) -> str:
        return self.raw_requestline.split()[1].decode()  # `path` has its leading slashes collapsed

    def _body(self) -> bytes:
        if (length := self.headers.get("Content-Length")) is not None:
            return self.rfile.read(int(length))
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def _stream_events(self) -> None:
        self.send_response_only(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
