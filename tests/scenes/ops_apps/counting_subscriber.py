"""An app that writes down every number it is brought, and only then takes it: `counting_subscriber.py PORT FILE`."""

import asyncio
import json
import os
import sys

TAKEN = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def subscribed() -> bytes:
    body = json.dumps([{"pubsubname": "pubsub", "topic": "numbers", "route": "/numbers"}]).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


async def main(port: int, book: str) -> None:
    pen = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                body = await reader.readexactly(length)
                if head.startswith(b"post /numbers"):
                    os.write(pen, b"%d\n" % json.loads(body)["data"])
                writer.write(subscribed() if head.startswith(b"get /dapr/subscribe") else TAKEN)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
