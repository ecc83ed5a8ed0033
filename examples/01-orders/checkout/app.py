"""Takes orders: plain HTTP from the standard library, and nothing of Dapr's but the address of its sidecar."""

import json
import os
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIDECAR = f"http://127.0.0.1:{os.environ.get('DAPR_HTTP_PORT', '3500')}"


class Checkout(BaseHTTPRequestHandler):
    """POST /orders"""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        order["trail"] = [{"app": "checkout", "at": time.time(), "saw": "an HTTP call with an order"}]
        print(f"order {order['id']} came in", flush=True)
        status, answer = reserve(order)
        self.answer(status, answer)

    def do_GET(self) -> None:
        self.answer(404, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """The prints above say enough."""


def reserve(order: dict) -> tuple[int, bytes]:
    """Call the app `stock`, wherever it is and whatever it speaks."""
    request = urllib.request.Request(
        f"{SIDECAR}/v1.0/invoke/stock/method/reserve",
        data=json.dumps(order).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status, answer.read()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["APP_PORT"])), Checkout).serve_forever()
