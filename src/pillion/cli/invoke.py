"""`pillion invoke`: calls a method of a running app through its sidecar."""

import asyncio
import os
import sys
from http import HTTPStatus

from pillion.cli import instances, records
from pillion.cli.command import KUBERNETES, Command, Refusal, refuse_kubernetes
from pillion.cli.options import Given, Option
from pillion.cli.payload import needed, payload
from pillion.cli.sidecar import Answer


def run(given: Given) -> int:
    """Call, and print what the app answered; 1 unless it answered well."""
    refuse_kubernetes(given)
    needed(given, "app-id", "method")
    answer = asyncio.run(_call(given, payload(given)))
    _show(answer.body)
    if answer.status < 400:
        print("App invoked successfully")
        return 0
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = ""
    print(f"error invoking app {given.text('app-id')}: {answer.status} {reason}".rstrip(), file=sys.stderr)
    return 1


async def _call(given: Given, body: bytes) -> Answer:
    app_id, method = given.text("app-id"), given.text("method")
    found = instances.named(await instances.running(records.home(os.environ)), app_id)
    async with found.sidecar(given.text("unix-domain-socket")) as sidecar:
        try:
            return await sidecar.call(
                given.text("verb").upper(),
                f"/v1.0/invoke/{app_id}/method/{method.lstrip('/')}",
                body,
                content_type="application/json",
            )
        except (ConnectionError, TimeoutError, OSError) as error:
            raise Refusal(f"the sidecar of {app_id} does not answer: {error}") from error


def _show(body: bytes) -> None:
    if body:
        sys.stdout.flush()
        sys.stdout.buffer.write(body + (b"" if body.endswith(b"\n") else b"\n"))
        sys.stdout.flush()


COMMANDS = (
    Command(
        name="invoke",
        summary="Call a method of a running app",
        run=run,
        options=(
            Option("app-id", "a", help="The app to call"),
            Option("method", "m", help="Its method, such as orders or orders/7?full=true"),
            Option("data", "d", help="What to send, as JSON", also=("payload",)),
            Option("data-file", "f", help="A file that holds what to send"),
            Option("verb", "v", "text", "POST", "The HTTP verb"),
            Option("unix-domain-socket", "u", help="The folder of the sidecar's Unix sockets"),
            KUBERNETES,
        ),
        examples=(
            'pillion invoke --app-id orders --method place --data \'{"item":"bell"}\'',
            "pillion invoke --app-id orders --method orders/7 --verb GET",
        ),
    ),
)
