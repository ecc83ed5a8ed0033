"""Publishes numbers and repeats what was not answered: `counting_publisher.py PORT FILE COUNT BATCH`.

FILE gets one line per batch: `sent FIRST` once the sidecar has said that it has it, `again FIRST` before it is repeated.
"""

import asyncio
import http.client
import json
import os
import queue
import sys
import threading

WORKERS = 4
PATIENCE = 10.0


def request(first: int, batch: int) -> tuple[str, bytes]:
    if batch == 1:
        return "/v1.0/publish/pubsub/numbers", str(first).encode()
    numbers = range(first, first + batch)
    entries = [{"entryId": str(n), "event": n, "contentType": "application/json"} for n in numbers]
    return "/v1.0-alpha1/publish/bulk/pubsub/numbers", json.dumps(entries).encode()


def took(port: int, first: int, batch: int, connections: threading.local) -> bool:
    """Whether the sidecar said that it has the batch."""
    path, body = request(first, batch)
    try:
        if getattr(connections, "mine", None) is None:
            connections.mine = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connections.mine.request("POST", path, body, {"content-type": "application/json"})
        answer = connections.mine.getresponse()
        answer.read()
        return answer.status == 204
    except (OSError, http.client.HTTPException):
        connections.mine = None
        return False


def work(port: int, todo: "queue.SimpleQueue[int]", batch: int, pen: int) -> None:
    connections, pause = threading.local(), threading.Event()
    while True:
        try:
            first = todo.get_nowait()
        except queue.Empty:
            return
        while not took(port, first, batch, connections):
            os.write(pen, b"again %d\n" % first)
            pause.wait(0.05)
        os.write(pen, b"sent %d\n" % first)


async def main(port: int, book: str, count: int, batch: int) -> None:
    pen = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for first in range(0, count, batch):
        todo.put(first)
    await asyncio.gather(*(asyncio.to_thread(work, port, todo, batch, pen) for _ in range(WORKERS)))


asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
