"""The `pillion` command: finds the word, reads its flags, turns trouble into sentences and an exit status."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

from pillion.cli import options
from pillion.cli.command import GLOBAL, Command, Refusal
from pillion.toolbox import suggest
from pillion.toolbox.pflags import HelpAsked, UnknownUse

COMMANDS: Final = {
    "run": "pillion.cli.run",
    "list": "pillion.cli.list",
    "stop": "pillion.cli.stop",
    "invoke": "pillion.cli.invoke",
    "publish": "pillion.cli.publish",
    "version": "pillion.cli.version",
    "build-info": "pillion.cli.version",
    "completion": "pillion.cli.completion",
    "init": "pillion.cli.init",
    "uninstall": "pillion.cli.init",
}
"""Where each command lives; imported when it is asked for."""

ABSENT: Final = {
    "dashboard": "the dashboard is not part of this version; `pillion list` shows what runs",
    "workflow": "workflow is not part of this version",
    "scheduler": "there is no scheduler in this version",
    "mcpservers": "MCP servers are not part of this version",
    "logs": "logs of `pillion run -f` lie in .dapr/logs of each app's folder; those of one app are on its console",
    "status": "there is no control plane in this version; `pillion list` shows what runs",
    "components": "read the resource folder, or ask a sidecar: GET /v1.0/metadata",
    "configurations": "the configuration is the file given by --config",
    "annotate": "Kubernetes is not part of this version",
    "mtls": "mTLS is not part of this version",
    "upgrade": "pip install --upgrade pillion",
}
"""Words of Dapr's CLI that are no command here, and what to do instead."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of `pillion`."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: Sequence[str]) -> int:
    """Do what the command line says; the exit status."""
    try:
        return _dispatch(list(args))
    except Refusal as refusal:
        for sentence in refusal.sentences:
            print(f"pillion: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `pillion list | head`: nobody reads on, which is no fault
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def command(name: str) -> Command:
    """The command of that name."""
    found = importlib.import_module(COMMANDS[name])
    made: Command = next(each for each in found.COMMANDS if each.name == name)
    return made


def _dispatch(args: list[str]) -> int:
    before, args = _globals(args)
    if not args or args[0] in ("-h", "--help", "help"):
        return _help(args[1:])
    if args[0] in ("-v", "--version"):
        return _dispatch(["version"])
    name, rest = args[0], [*before, *args[1:]]
    if name not in COMMANDS:
        raise Refusal(_unknown(name))
    chosen = command(name)
    try:
        given = options.read(rest, (*chosen.options, *GLOBAL))
    except HelpAsked:
        print(page(chosen))
        return 0
    except UnknownUse as error:
        raise Refusal(_unusable(name, str(error), rest)) from None
    for option in chosen.options:
        if option.deprecated and option.name in given:
            print(f"--{option.name} is deprecated: {option.deprecated}", file=sys.stderr)
    return chosen.run(given)


def _globals(args: list[str]) -> tuple[list[str], list[str]]:
    """Flags before the command's word, which are the same for every command."""
    count = 0
    while count < len(args) and args[count].startswith("--"):
        name, equals, _ = args[count][2:].partition("=")
        found = next((option for option in GLOBAL if option.name == name), None)
        if found is None:
            break
        count += 1 if equals or found.kind == "bool" else 2
    return args[:count], args[count:]


def _unknown(name: str) -> str:
    if name in ABSENT:
        return f"{name}: {ABSENT[name]}"
    if name.startswith("-"):
        return f"unknown flag {name} before a command; `pillion --help` lists the commands"
    return f'"{name}" is no command{suggest.hint(name, COMMANDS)}; `pillion --help` lists them'


def _unusable(name: str, said: str, args: list[str]) -> str:
    if name == "run" and "--" not in args and "unknown" in said:
        said += "; if it is your app's own, put -- before the app's command"
    return f"{name}: {said}; `pillion {name} --help` lists the flags"


def _help(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        print(page(command(words[0])))
        return 0
    width = max(map(len, COMMANDS)) + 3
    print("Pillion runs Dapr apps on this machine, each beside a sidecar of its own.\n\nUsage:")
    print("  pillion COMMAND [flags]\n\nCommands:")
    for name in COMMANDS:
        print(f"  {name:<{width}}{command(name).summary}")
    print("\nFlags:\n" + "\n".join(options.table(GLOBAL)))
    print("  -h, --help                Show help; `pillion COMMAND --help` for one command")
    print("  -v, --version             Show versions")
    return 0


def page(chosen: Command) -> str:
    """The help of one command."""
    lines = [chosen.summary, "", "Usage:", f"  pillion {chosen.name} [flags] {chosen.takes}".rstrip()]
    if chosen.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in chosen.examples)]
    return "\n".join([*lines, "", "Flags:", *options.table((*chosen.options, *GLOBAL))])


if __name__ == "__main__":
    main()
