"""Words after `pillion`: found, refused with the closest one, explained."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from pillion import DAPR_VERSION, __version__
from pillion.cli.main import COMMANDS, command

DAPR_RUN = """
--app-id=a --app-port=1 --app-protocol=http --config=c --dapr-http-port=1 --dapr-grpc-port=1 --dapr-internal-grpc-port=1
--enable-profiling --profile-port=1 --log-level=info --app-max-concurrency=1 --components-path=. --resources-path=.
--placement-host-address=localhost --scheduler-host-address=localhost --app-ssl --metrics-port=1 --max-body-size=4Mi
--read-buffer-size=4Ki --unix-domain-socket=/tmp --enable-app-health-check --app-health-check-path=/h
--app-health-probe-interval=1 --app-health-probe-timeout=1 --app-health-threshold=1 --enable-api-logging
--dapr-listen-addresses=127.0.0.1 --app-channel-address=127.0.0.1 --port=1 --max-concurrency=1 --log-as-json
-a a -p 1 -P http -c c -H 1 -G 1 -I 1 -d . -M 1 -u /tmp --runtime-path=/tmp
""".split()


def test_without_a_word_the_commands_are_listed(say: Any) -> None:
    status, out, _ = say()
    assert status == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(say: Any, name: str) -> None:
    status, out, _ = say(name, "--help")
    assert (status, command(name).summary in out, "Flags:" in out) == (0, True, True)
    assert say("help", name)[1] == out


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("rnu", '"rnu" is no command; did you mean "run"?'),
        ("zzzz", '"zzzz" is no command; `pillion --help` lists them'),
        ("dashboard", "the dashboard is not part of this version"),
        ("--wat", "unknown flag --wat"),
    ],
)
def test_an_unknown_word_is_refused_with_what_to_do(say: Any, word: str, said: str) -> None:
    status, _, complaint = say(word)
    assert (status, said in complaint) == (1, True), complaint


def test_an_unknown_flag_of_run_points_at_the_two_dashes(say: Any) -> None:
    _, _, complaint = say("run", "python", "app.py", "--reload")
    assert "put -- before the app's command" in complaint


def test_every_flag_of_daprs_run_is_accepted_and_kubernetes_refused(say: Any) -> None:
    status, _, complaint = say("run", *DAPR_RUN, "-k")
    assert (status, complaint.splitlines()[-1]) == (
        1,
        "pillion: -k asks for Kubernetes, which this version does not speak to: leave it out to run here",
    )


def test_versions_are_told_as_dapr_tells_them(say: Any) -> None:
    assert say("version")[1] == f"CLI version: {__version__} \nRuntime version: {DAPR_VERSION}\n"
    assert say("--version") == say("version") == say("-v")
    told = json.loads(say("version", "-o", "json")[1])
    assert told == {"Cli version": __version__, "Runtime version": DAPR_VERSION}


@pytest.mark.parametrize(
    "words",
    [
        ["init"],
        ["init", "-s", "--runtime-version", "1.17.0", "--container-runtime=podman", "--timeout", "300"],
        ["uninstall", "--all"],
    ],
)
def test_nothing_is_set_up_and_nothing_taken_down(say: Any, desk: Any, words: list[str]) -> None:
    status, out, _ = say(*words)
    assert (status, out.startswith("Nothing "), str(desk.home) in out) == (0, True, True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_shell_gets_a_script_that_knows_every_command(say: Any, shell: str) -> None:
    status, out, _ = say("completion", shell)
    assert (status, [name for name in COMMANDS if name not in out]) == (0, [])
    assert "app-protocol" in out


def test_bash_completes_commands_and_flags(say: Any) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    _, script, _ = say("completion", "bash")
    asked = (
        script
        + '\ncomplete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pillion; echo ${COMPREPLY[@]}; }\n'
    )
    asked += "complete_it pillion st\ncomplete_it pillion run --app-po\ncomplete_it pillion run -- --app-po\n"
    told = subprocess.run([bash, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["stop", "--app-port", ""]


def test_an_unknown_shell_is_refused_with_the_closest(say: Any) -> None:
    assert 'did you mean "bash"?' in say("completion", "bsh")[2]
