"""A running sidecar as its clients see it: the HTTP API, over TCP or a Unix socket."""

import asyncio
import json
import os
from typing import Any
from urllib.parse import quote

from pillion.net.http import Headers
from pillion.net.http_client import Http1Client
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import whole

LONGEST_ANSWER = 1 << 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


def socket_path(folder: str, app_id: str, kind: str = "http") -> str:
    """Where a sidecar with `--unix-domain-socket` listens."""
    return os.path.join(folder, f"dapr-{app_id}-{kind}.socket")


class Sidecar:
    """Talks to one sidecar on this machine, with `DAPR_API_TOKEN` where it is set.

    Calls raise `ConnectionError` or `TimeoutError` where nobody answers.
    """

    def __init__(self, port: int, *, socket: str = "", host: str = "127.0.0.1") -> None:
        self._client = Http1Client(host, port, path=socket or None)
        token = os.environ.get("DAPR_API_TOKEN", "")
        self._headers: Headers = [(b"dapr-api-token", token.encode())] if token else []

    async def __aenter__(self) -> "Sidecar":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def call(
        self, method: str, target: str, body: bytes = b"", *, content_type: str = "", timeout: float = 60.0
    ) -> Answer:
        """One request, its answer read whole within the time."""
        headers = list(self._headers)
        if content_type:
            headers.append((b"content-type", content_type.encode()))
        async with asyncio.timeout(timeout):
            answer = await self._client.request(method.encode(), target.encode(), headers, body)
            return Answer(answer.status, await whole(answer.body, LONGEST_ANSWER))

    async def is_ready(self, path: str = "/v1.0/healthz") -> bool:
        """Whether a health question is answered with yes, now."""
        try:
            return (await self.call("GET", path, timeout=2.0)).is_good
        except (ConnectionError, TimeoutError):
            return False

    async def metadata(self) -> dict[str, Any]:
        """What it says of itself; nothing where it does not answer."""
        try:
            answer = await self.call("GET", "/v1.0/metadata", timeout=2.0)
            found = json.loads(answer.body) if answer.is_good else {}
        except (ConnectionError, TimeoutError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    async def put_metadata(self, name: str, value: str) -> bool:
        """Tell it something that `GET metadata` then repeats."""
        try:
            target = f"/v1.0/metadata/{quote(name, safe='')}"
            return (await self.call("PUT", target, value.encode(), content_type="text/plain")).is_good
        except (ConnectionError, TimeoutError):
            return False
