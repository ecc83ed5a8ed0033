"""`pillion version` and `pillion build-info`."""

import json
import platform

from pillion import DAPR_VERSION, __version__
from pillion.cli.command import Command, Refusal
from pillion.cli.options import Given, Option


def run(given: Given) -> int:
    """Print both versions: the command line's, and of the Dapr whose wire the sidecar follows."""
    match given.text("output"):
        case "":
            print(f"CLI version: {__version__} \nRuntime version: {DAPR_VERSION}")
        case "json":
            print(json.dumps({"Cli version": __version__, "Runtime version": DAPR_VERSION}))
        case other:
            raise Refusal(f"-o {other}: only json is known")
    return 0


def _built(given: Given) -> int:
    del given
    print(f"CLI:\n\tVersion: {__version__}\n\tPython: {platform.python_version()}")
    print(f"Runtime:\n\tVersion: {DAPR_VERSION}\n\tPillion: {__version__}")
    return 0


COMMANDS = (
    Command(
        name="version",
        summary="Show the versions of the command line and the runtime",
        run=run,
        options=(Option("output", "o", help="json for JSON"),),
        examples=("pillion version -o json",),
    ),
    Command(name="build-info", summary="Show what it was built from", run=_built),
)
