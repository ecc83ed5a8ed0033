"""An HTTP/1.1 client that sends paths and headers exactly as given, and keeps the answer's as they came."""

import http.client
from collections.abc import Sequence
from dataclasses import dataclass

DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: its headers in order, names as on the wire."""

    status: int
    headers: Sequence[tuple[str, str]]
    text: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """A header's only value; None without one."""
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


def send(
    port: int,
    method: str,
    path: str,
    body: bytes | str | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> Heard:
    """One request on a connection of its own; nothing but Host and Content-Length is added."""
    data = body.encode() if isinstance(body, str) else body
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        line.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            line.putheader(name, value)
        if data is not None:
            line.putheader("Content-Length", str(len(data)))
        line.endheaders(data)
        answer = line.getresponse()
        return Heard(answer.status, answer.getheaders(), answer.read().decode("utf-8", "replace"))
    finally:
        line.close()
