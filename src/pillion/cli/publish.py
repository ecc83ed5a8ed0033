"""`pillion publish`: publishes an event through the sidecar of a running app."""

import asyncio
import json
import os
import sys
from urllib.parse import quote

from pillion.cli import instances, records
from pillion.cli.command import KUBERNETES, Command, Refusal, refuse_kubernetes
from pillion.cli.options import Given, Option
from pillion.cli.payload import needed, payload
from pillion.cli.sidecar import Answer

_ENVELOPE = frozenset({"id", "source", "specversion", "type", "data"})


def run(given: Given) -> int:
    """Publish; 1 unless the broker took it."""
    refuse_kubernetes(given)
    needed(given, "publish-app-id", "pubsub", "topic")
    answer = asyncio.run(_publish(given, target(given), payload(given)))
    if answer.is_good:
        print("Event published successfully")
        return 0
    told = answer.body.decode("utf-8", "replace")
    print(f"error publishing topic {given.text('topic')}: {answer.status} {told}".rstrip(), file=sys.stderr)
    return 1


def target(given: Given) -> str:
    """The path and query of the request."""
    path = f"/v1.0/publish/{quote(given.text('pubsub'), safe='')}/{quote(given.text('topic'))}"
    query = "&".join(
        f"metadata.{quote(name, safe='')}={quote(value, safe='')}" for name, value in _metadata(given).items()
    )
    return f"{path}?{query}" if query else path


def _metadata(given: Given) -> dict[str, str]:
    text = given.text("metadata")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Refusal(f"--metadata is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise Refusal('--metadata must be a JSON object, such as {"ttlInSeconds":"60"}')
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}


def content_type(body: bytes) -> str:
    """`application/cloudevents+json` for what is an envelope already, `application/json` for all else."""
    try:
        found = json.loads(body)
    except ValueError:
        return "application/json"
    is_event = isinstance(found, dict) and found.keys() >= _ENVELOPE
    return "application/cloudevents+json" if is_event else "application/json"


async def _publish(given: Given, where: str, body: bytes) -> Answer:
    app_id = given.text("publish-app-id")
    found = instances.named(await instances.running(records.home(os.environ)), app_id)
    async with found.sidecar(given.text("unix-domain-socket")) as sidecar:
        try:
            return await sidecar.call("POST", where, body, content_type=content_type(body))
        except (ConnectionError, TimeoutError, OSError) as error:
            raise Refusal(f"the sidecar of {app_id} does not answer: {error}") from error


COMMANDS = (
    Command(
        name="publish",
        summary="Publish an event as a running app",
        run=run,
        options=(
            Option("publish-app-id", "i", help="The app through whose sidecar to publish"),
            Option("pubsub", "p", help="The pub/sub component"),
            Option("topic", "t", help="The topic"),
            Option("data", "d", help="The event's data as JSON, or a whole CloudEvent"),
            Option("data-file", "f", help="A file that holds the data"),
            Option("metadata", "m", help='Metadata as a JSON object, such as {"ttlInSeconds":"60"}'),
            Option("unix-domain-socket", "u", help="The folder of the sidecar's Unix sockets"),
            KUBERNETES,
        ),
        examples=('pillion publish -i orders -p pubsub -t placed -d \'{"item":"bell"}\'',),
    ),
)
