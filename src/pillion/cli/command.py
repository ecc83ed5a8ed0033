"""What a command of the CLI is made of."""

from collections.abc import Callable, Sequence

from pillion.cli.options import Given, Option
from pillion.toolbox.lazily import dataclass


class Refusal(Exception):
    """It cannot be done; each sentence says why and what to do."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("\n".join(sentences))


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One word after `pillion`: what it is for, what it takes and what it does.

    `run` gives the exit status; it raises `Refusal` where a person must do something first.
    """

    name: str
    summary: str
    run: Callable[[Given], int]
    takes: str = ""
    options: tuple[Option, ...] = ()
    examples: Sequence[str] = ()
    choices: tuple[str, ...] = ()
    """The plain words it knows, for completion."""


KUBERNETES = Option("kubernetes", "k", "bool", "false", hidden=True)
"""Accepted everywhere Dapr's CLI has it, and refused with a sentence."""


def refuse_kubernetes(given: Given) -> None:
    """Nothing of this version speaks to a cluster."""
    if given.flag("kubernetes"):
        raise Refusal(
            "-k asks for Kubernetes, which this version does not speak to: leave it out to run here"
        )


GLOBAL = (
    Option("log-as-json", "", "bool", "false", "Write the log as JSON"),
    Option("runtime-path", help="The folder that holds .dapr, else DAPR_RUNTIME_PATH, else your home"),
)
