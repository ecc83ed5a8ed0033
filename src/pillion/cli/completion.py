"""`pillion completion`: scripts that let a shell complete commands and flags, made from the commands themselves."""

from collections.abc import Mapping, Sequence

from pillion.cli.command import GLOBAL, Command, Refusal
from pillion.cli.options import Given
from pillion.toolbox import suggest

SHELLS = ("bash", "zsh", "fish", "powershell")
Words = Mapping[str, Sequence[tuple[str, str]]]
"""For each command its flags and plain words, each with a sentence."""


def run(given: Given) -> int:
    """Print the script for one shell."""
    shell = given.words[0] if given.words else ""
    if shell not in SHELLS:
        said = (
            f'"{shell}" is no shell that is known{suggest.hint(shell, SHELLS)}' if shell else "name a shell"
        )
        raise Refusal(f"completion: {said}: {', '.join(SHELLS)}")
    commands = _commands()
    print(_SCRIPTS[shell]({each.name: _words(each) for each in commands}, _summaries(commands)))
    return 0


def _commands() -> list[Command]:
    from pillion.cli.main import COMMANDS as names
    from pillion.cli.main import command

    return [command(name) for name in names]


def _summaries(commands: Sequence[Command]) -> dict[str, str]:
    return {each.name: each.summary for each in commands}


def _words(command: Command) -> list[tuple[str, str]]:
    options = [each for each in (*command.options, *GLOBAL) if not (each.hidden or each.deprecated)]
    flags = [(f"--{each.name}", each.help) for each in options]
    return [*flags, ("--help", "Show help"), *((word, "") for word in command.choices)]


def _bash(words: Words, summaries: Mapping[str, str]) -> str:
    cases = "\n".join(
        f'    {name}) words="{" ".join(word for word, _ in found)}" ;;' for name, found in words.items()
    )
    return f"""# bash completion for pillion: source <(pillion completion bash)
_pillion() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    words="{" ".join(summaries)}"
  else
    local word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
      if [ "$word" = "--" ]; then return; fi
    done
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _pillion pillion"""


def _zsh(words: Words, summaries: Mapping[str, str]) -> str:
    def entries(pairs: Sequence[tuple[str, str]]) -> str:
        return " ".join(_quoted(f"{word.replace(':', '')}:{said}" if said else word) for word, said in pairs)

    cases = "\n".join(f"    {name}) found=({entries(pairs)}) ;;" for name, pairs in words.items())
    return f"""#compdef pillion
# zsh completion for pillion: pillion completion zsh > "${{fpath[1]}}/_pillion"
_pillion() {{
  local -a found
  if (( CURRENT == 2 )); then
    found=({entries(list(summaries.items()))})
    _describe 'command' found
    return
  fi
  case "$words[2]" in
{cases}
  esac
  _describe 'flag' found || _files
}}
if [ "$funcstack[1]" = "_pillion" ]; then _pillion "$@"; else compdef _pillion pillion; fi"""


def _fish(words: Words, summaries: Mapping[str, str]) -> str:
    lines = ["# fish completion for pillion: pillion completion fish | source"]
    for name, said in summaries.items():
        lines.append(f"complete -c pillion -n __fish_use_subcommand -f -a {name} -d {_quoted(said)}")
    for name, pairs in words.items():
        for word, said in pairs:
            shape = f"-l {word[2:]}" if word.startswith("--") else f"-f -a {word}"
            seen = f"'__fish_seen_subcommand_from {name}'"
            lines.append(f"complete -c pillion -n {seen} {shape} -d {_quoted(said)}")
    return "\n".join(lines)


def _powershell(words: Words, summaries: Mapping[str, str]) -> str:
    def array(found: Sequence[str]) -> str:
        return "@(" + ", ".join(f"'{word}'" for word in found) + ")"

    table = "\n".join(f"    '{name}' = {array([word for word, _ in pairs])}" for name, pairs in words.items())
    return f"""# PowerShell completion for pillion: pillion completion powershell | Out-String | Invoke-Expression
Register-ArgumentCompleter -Native -CommandName pillion -ScriptBlock {{
  param($word, $ast, $cursor)
  $flags = @{{
{table}
  }}
  $said = @($ast.CommandElements | ForEach-Object {{ $_.ToString() }})
  $found = {array(list(summaries))}
  if ($said.Count -gt 2 -or ($said.Count -eq 2 -and $word -eq '')) {{ $found = $flags[$said[1]] }}
  $found | Where-Object {{ $_ -like "$word*" }} | ForEach-Object {{
    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
  }}
}}"""


def _quoted(text: str) -> str:
    """In single quotes, for zsh and fish alike."""
    return "'" + text.replace("'", "’") + "'"


_SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish, "powershell": _powershell}

COMMANDS = (
    Command(
        name="completion",
        summary="Print a script that completes commands and flags in your shell",
        takes="|".join(SHELLS),
        run=run,
        choices=SHELLS,
        examples=("source <(pillion completion bash)", "pillion completion fish | source"),
    ),
)
