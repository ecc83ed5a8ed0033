"""`pillion init` and `pillion uninstall`: there is nothing to set up and nothing to take down."""

import os

from pillion.cli import records
from pillion.cli.command import KUBERNETES, Command, refuse_kubernetes
from pillion.cli.options import Given, Option


def run(given: Given) -> int:
    """Say that nothing is needed."""
    refuse_kubernetes(given)
    home = records.home(os.environ)
    print(
        "Nothing to set up: the runtime came with this command, and stores, broker and registry are files in\n"
        f"{home}, made when they are first used. No Docker, no server, no download.\n"
        "Start an app: pillion run --app-id hello -- python app.py"
    )
    return 0


def _remove(given: Given) -> int:
    refuse_kubernetes(given)
    home = records.home(os.environ)
    print(
        f"Nothing was set up, so nothing is taken down. Your data lies in {home}: remove that folder if you do\n"
        "not want it any more. The program itself goes with: pip uninstall pillion"
    )
    return 0


def _accepted(*flags: tuple[str, str, str]) -> tuple[Option, ...]:
    return tuple(
        Option(name, short, "bool" if kind == "bool" else "text", help="Accepted, without effect")
        for name, short, kind in flags
    )


COMMANDS = (
    Command(
        name="init",
        summary="Say that nothing is needed",
        run=run,
        options=(
            KUBERNETES,
            *_accepted(
                ("slim", "s", "bool"), ("runtime-version", "", ""), ("network", "", ""), ("from-dir", "", ""),
                ("image-registry", "", ""), ("image-variant", "", ""), ("container-runtime", "", ""),
                ("redis-stack", "", "bool"), ("scheduler-volume", "", ""),
                ("scheduler-override-broadcast-host-port", "", ""), ("namespace", "n", ""), ("wait", "", "bool"),
                ("timeout", "", ""), ("enable-mtls", "", "bool"), ("enable-ha", "", "bool"), ("dev", "", "bool"),
                ("set", "", ""), ("ca-root-certificate", "", ""), ("issuer-private-key", "", ""),
                ("issuer-public-certificate", "", ""), ("dashboard-version", "", ""),
            ),
        ),
    ),
    Command(
        name="uninstall",
        summary="Say that there is nothing to take down, and where your data lies",
        run=_remove,
        options=(
            KUBERNETES,
            *_accepted(
                ("all", "", "bool"), ("network", "", ""), ("container-runtime", "", ""), ("namespace", "n", ""),
                ("dev", "", "bool"), ("timeout", "", ""), ("install-path", "", ""),
            ),
        ),
    ),
)  # fmt: skip
