"""`pillion run`: an app with a sidecar beside it, or all apps of a run file."""

import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

from pillion.cli import records
from pillion.cli.command import KUBERNETES, Command, Refusal, refuse_kubernetes
from pillion.cli.launch import resources
from pillion.cli.launch.guard import guarded
from pillion.cli.launch.output import Voice
from pillion.cli.launch.plan import Plan, Wishes, plan
from pillion.cli.launch.supervise import supervise
from pillion.cli.options import Given, Option
from pillion.resources import runfile
from pillion.resources.problems import Problem, Source
from pillion.resources.runfile import AppRun, RunFile
from pillion.toolbox import suggest

_WITH_RUN_FILE = frozenset(
    {
        "run-file", "kubernetes", "embedded", "no-zygote", "no-multicast", "pillion-home", "metrics-listen-address", "runtime-path",
        "dapr-internal-grpc-listen-address", "log-as-json",
    }
)  # fmt: skip
_PROTOCOLS = ("http", "https", "h2c", "grpc", "grpcs")
_SHAPES = (
    "amber",
    "brisk",
    "calm",
    "dapper",
    "eager",
    "fond",
    "glad",
    "hardy",
    "jolly",
    "keen",
    "lucid",
    "merry",
)
_THINGS = (
    "badger",
    "comet",
    "dune",
    "ember",
    "finch",
    "grove",
    "heron",
    "islet",
    "juniper",
    "kite",
    "lark",
    "moth",
)


def run(given: Given) -> int:
    """Start, and stay until the end."""
    refuse_kubernetes(given)
    if not hasattr(os, "fork"):
        raise Refusal("run needs Linux or macOS in this version; start pilliond and your app by hand")
    voice = Voice(as_json=given.flag("log-as-json"))
    return _many(given, voice) if "run-file" in given else _one(given, voice)


def _one(given: Given, voice: Voice) -> int:
    app = app_of(given)
    _say_control_plane(voice, app)
    if not app.command:
        voice.warn("no application command found: the sidecar will run alone")
    return _ride([app], wishes_of(given), voice, many=False)


def _many(given: Given, voice: Voice) -> int:
    ignored = sorted(name for name in given.values if name not in _WITH_RUN_FILE)
    if ignored:
        said = ", ".join(f"--{name}" for name in ignored)
        voice.warn(f"{said}: without effect beside --run-file, say it in the file")
    found = _read(given.text("run-file"), voice)
    for app in found.apps:
        if not app.command:
            voice.warn(f"{app.app_id} has no command: its sidecar will run alone")
    _say_control_plane(voice, *found.apps)
    path = "" if given.text("run-file") == "-" else str(found.path)
    return _ride(list(found.apps), wishes_of(given, path, found.name), voice, many=True)


def _ride(apps: list[AppRun], wishes: Wishes, voice: Voice, *, many: bool) -> int:
    plans: list[Plan] = plan(apps, wishes, os.environ)
    _say_chosen(plans, voice)
    return guarded(lambda: supervise(plans, wishes, voice, many=many))


def _say_chosen(plans: Iterable[Plan], voice: Voice) -> None:
    """Where resources come from, once for all apps that get the same."""
    apps: dict[tuple[str, str], list[str]] = {}
    for each in plans:
        for told in each.told:
            apps.setdefault(told, []).append(each.app_id)
    for (subject, said), names in apps.items():
        voice.info(f"{subject} of {', '.join(names)}: {said}" if " " not in subject else f"{subject}: {said}")


def _read(name: str, voice: Voice) -> RunFile:
    """The run file, all its mistakes told at once."""
    home = Path(os.path.expanduser("~"))
    if name == "-":
        found, problems = runfile.parse(sys.stdin.read(), Path.cwd(), home=home)
    else:
        found, problems = runfile.load(Path(name), home=home)
    _tell(problems, voice)
    if found is None or any(problem.fatal for problem in problems):
        raise Refusal(*(str(problem) for problem in problems if problem.fatal))
    return found


def _tell(problems: Iterable[Problem], voice: Voice) -> None:
    for problem in problems:
        if not problem.fatal:
            voice.warn(str(problem))


def _say_control_plane(voice: Voice, *apps: AppRun) -> None:
    if any(app.placement_host_address or app.scheduler_host_address for app in apps):
        voice.info(
            "No control plane in this version: the placement and scheduler addresses are accepted and not used"
        )


def wishes_of(given: Given, path: str = "", name: str = "") -> Wishes:
    """What holds for all apps of the run."""
    return Wishes(
        home=records.home(os.environ, given.text("pillion-home")),
        dapr=resources.dapr_folder(os.environ, given.text("runtime-path")),
        embedded=given.flag("embedded"),
        no_multicast=given.flag("no-multicast"),
        zygote=not given.flag("no-zygote"),
        log_as_json=given.flag("log-as-json"),
        metrics_listen_address=given.text("metrics-listen-address"),
        internal_listen_address=given.text("dapr-internal-grpc-listen-address"),
        run_template_path=path,
        run_template_name=name,
    )


def app_of(given: Given) -> AppRun:
    """The one app of a command line; paths are relative to where we are."""
    folder = Path.cwd()
    app_id = given.text("app-id") or f"{random.choice(_SHAPES)}-{random.choice(_THINGS)}"
    if "." in app_id:
        raise Refusal(f"--app-id {app_id} cannot contain dots; write {app_id.replace('.', '-')}")
    return AppRun(
        app_id=app_id,
        app_dir=folder,
        command=given.words,
        app_port=_port(given, "app-port"),
        app_protocol=_protocol(given),
        app_ssl=given.flag("app-ssl"),
        app_channel_address=given.text("app-channel-address"),
        app_max_concurrency=given.number("app-max-concurrency"),
        config_file=Path(folder, given.text("config")) if given.text("config") else None,
        resources_paths=_resource_paths(given, folder),
        dapr_http_port=_port(given, "dapr-http-port"),
        dapr_grpc_port=_port(given, "dapr-grpc-port"),
        dapr_internal_grpc_port=_port(given, "dapr-internal-grpc-port"),
        metrics_port=_port(given, "metrics-port"),
        profile_port=_port(given, "profile-port"),
        enable_profiling=given.flag("enable-profiling"),
        log_level=given.text("log-level"),
        max_body_size=_max_body_size(given),
        read_buffer_size=_read_buffer_size(given),
        unix_domain_socket=given.text("unix-domain-socket"),
        api_listen_addresses=given.text("dapr-listen-addresses"),
        enable_api_logging=given.flag("enable-api-logging"),
        enable_app_health_check=given.flag("enable-app-health-check"),
        app_health_check_path=given.text("app-health-check-path"),
        app_health_probe_interval=given.number("app-health-probe-interval"),
        app_health_probe_timeout=given.number("app-health-probe-timeout"),
        app_health_threshold=given.number("app-health-threshold"),
        placement_host_address=given.text("placement-host-address") or None,
        scheduler_host_address=given.text("scheduler-host-address") or None,
        source=Source("the command line"),
    )


def _port(given: Given, name: str) -> int:
    port = given.number(name)
    if not -1 <= port <= 65535:
        raise Refusal(f"--{name} {port} is not a port")
    return port or -1


def _protocol(given: Given) -> str:
    protocol = given.text("app-protocol").lower()
    if protocol not in _PROTOCOLS:
        said = suggest.hint(protocol, _PROTOCOLS)
        raise Refusal(f"--app-protocol {protocol}: not one of {', '.join(_PROTOCOLS)}{said}")
    return protocol


def _resource_paths(given: Given, folder: Path) -> tuple[Path, ...]:
    old = (given.text("components-path"),) if "components-path" in given else ()
    return tuple(Path(folder, os.path.expanduser(path)) for path in given.texts("resources-path") or old)


def _max_body_size(given: Given) -> str:
    """As a quantity; the flag of before counted megabytes."""
    old = given.number("dapr-http-max-request-size")
    return given.text("max-body-size") if old <= 0 else f"{old}Mi"


def _read_buffer_size(given: Given) -> str:
    old = given.number("dapr-http-read-buffer-size")
    return given.text("read-buffer-size") if old <= 0 else f"{old}Ki"


_LISTEN = "The addresses of both APIs, separated by commas (default 127.0.0.1)"
_MAX_BODY = "use --max-body-size"
_OPTIONS = (
    Option("app-id", "a", help="The app's name among all others; one is made up if left out"),
    Option("app-port", "p", "int", "-1", "The port the app listens on"),
    Option(
        "app-protocol",
        "P",
        "text",
        "http",
        "What the app speaks: http, https, h2c, grpc or grpcs",
        ("protocol",),
    ),
    Option("app-channel-address", "", help="The address the app listens on (default 127.0.0.1)"),
    Option(
        "app-max-concurrency", "", "int", "-1", "The most calls the app gets at once", ("max-concurrency",)
    ),
    Option("app-ssl", "", "bool", "false", deprecated="use --app-protocol https or grpcs"),
    Option("config", "c", help="A configuration file"),
    Option("resources-path", "", "list", help="A folder of resources; may be given several times"),
    Option("components-path", "d", deprecated="use --resources-path"),
    Option("dapr-http-port", "H", "int", "-1", "The port of the HTTP API; a free one if left out", ("port",)),
    Option(
        "dapr-grpc-port", "G", "int", "-1", "The port of the gRPC API; a free one if left out", ("grpc-port",)
    ),
    Option(
        "dapr-internal-grpc-port", "I", "int", "-1", "The port for other sidecars; a free one if left out"
    ),
    Option("metrics-port", "M", "int", "-1", "The port of the metrics; a free one if left out"),
    Option("enable-profiling", "", "bool", "false", "Accepted, without effect"),
    Option("profile-port", "", "int", "-1", "Accepted, without effect"),
    Option("log-level", "", "text", "info", "debug, info, warn, error or fatal"),
    Option("max-body-size", "", "text", "4Mi", "The largest body"),
    Option("read-buffer-size", "", "text", "4Ki", "The largest request head"),
    Option("dapr-http-max-request-size", "", "int", "-1", deprecated=_MAX_BODY),
    Option("dapr-http-read-buffer-size", "", "int", "-1", deprecated="use --read-buffer-size"),
    Option(
        "unix-domain-socket", "u", help="A folder for Unix sockets that take the place of the API's ports"
    ),
    Option("dapr-listen-addresses", "", help=_LISTEN),
    Option("enable-api-logging", "", "bool", "false", "Log every call of the API"),
    Option("enable-app-health-check", "", "bool", "false", "Watch the app's health"),
    Option("app-health-check-path", "", help="The path that is asked for the app's health"),
    Option("app-health-probe-interval", "", "int", "0", "Seconds between two questions"),
    Option("app-health-probe-timeout", "", "int", "0", "Milliseconds for an answer"),
    Option("app-health-threshold", "", "int", "0", "Failures in a row that make the app unhealthy"),
    Option("placement-host-address", "", help="Accepted, without effect"),
    Option("scheduler-host-address", "", help="Accepted, without effect"),
    Option(
        "run-file",
        "f",
        help="Run all apps of this file, of the dapr.yaml in this folder, or - for standard input",
    ),
    Option("image", "", hidden=True),
    KUBERNETES,
    Option(
        "embedded", "", "bool", "false", "Put an embedded engine where a component's server does not answer"
    ),
    Option("no-multicast", "", "bool", "false", "Do without multicast DNS"),
    Option(
        "no-zygote",
        "",
        "bool",
        "false",
        "Start each sidecar of a run file afresh, none forked from a warm one",
    ),
    Option("pillion-home", "", help="The folder for embedded data and the registry"),
    Option("metrics-listen-address", "", help="The address of the metrics (default 127.0.0.1)"),
    Option(
        "dapr-internal-grpc-listen-address", "", help="The address for other sidecars (default 127.0.0.1)"
    ),
)

COMMANDS = (
    Command(
        name="run",
        summary="Run an app with a sidecar beside it, or all apps of a run file",
        takes="[-- COMMAND…]",
        run=run,
        options=_OPTIONS,
        examples=(
            "pillion run --app-id orders --app-port 8000 -- python app.py",
            "pillion run --app-id orders",
            "pillion run -f dapr.yaml",
        ),
    ),
)
