"""One app's start, decided before anything starts: ports, the sidecar's command line, the app's environment."""

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pillion.cli.command import Refusal
from pillion.cli.launch import ports, resources
from pillion.cli.launch.resources import Chosen
from pillion.resources.runfile import AppRun
from pillion.toolbox.lazily import dataclass

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What holds for every app of a run: the flags that are Pillion's own, and where things lie."""

    home: Path
    dapr: Path | None = None
    embedded: bool = False
    no_multicast: bool = False
    zygote: bool = True
    """Whether several sidecars are forked from one warm process."""
    log_as_json: bool = False
    metrics_listen_address: str = ""
    internal_listen_address: str = ""
    run_template_path: str = ""
    run_template_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything needed to start one app with its sidecar."""

    app: AppRun
    http_port: int
    grpc_port: int
    metrics_port: int
    resources: tuple[Path, ...]
    sidecar: tuple[str, ...]
    sidecar_env: Mapping[str, str]
    env: Mapping[str, str]
    told: tuple[tuple[str, str], ...]

    @property
    def app_id(self) -> str:
        return self.app.app_id

    @property
    def command(self) -> str:
        """The app's command as one line, for people and metadata."""
        return " ".join(self.app.command)


def plan(apps: Sequence[AppRun], wishes: Wishes, environ: Mapping[str, str]) -> list[Plan]:
    """Plans for all apps; every problem of all of them is refused together."""
    problems = [problem for app in apps for problem in _problems(app, environ)]
    problems += _twice(apps)
    if problems:
        raise Refusal(*problems)
    asked = [port for app in apps for port in (app.app_port, *_asked(app)) if port > 0]
    made = []
    for app in apps:
        dapr = app.runtime_path / ".dapr" if app.runtime_path else wishes.dapr
        chosen = resources.choose(app, home=wishes.home, dapr=dapr, embedded=wishes.embedded)
        found = _ports(app, asked)
        asked += found
        made.append(_plan(app, found, chosen, wishes, environ))
    return made


def _plan(
    app: AppRun, found: Sequence[int], chosen: Chosen, wishes: Wishes, environ: Mapping[str, str]
) -> Plan:
    http, grpc, internal, metrics = found
    flags = {
        "app-id": app.app_id,
        "dapr-http-port": http,
        "dapr-grpc-port": grpc,
        "dapr-internal-grpc-port": internal,
        "metrics-port": metrics,
        "dapr-listen-addresses": app.api_listen_addresses or _LOOPBACK,
        "dapr-internal-grpc-listen-address": wishes.internal_listen_address or _LOOPBACK,
        "metrics-listen-address": wishes.metrics_listen_address or _LOOPBACK,
        **_app_flags(app),
        "config": chosen.config or "",
    }
    switches = {
        "enable-app-health-check": app.enable_app_health_check,
        "enable-api-logging": app.enable_api_logging,
        "enable-profiling": app.enable_profiling,
        "app-ssl": app.app_ssl,
        "embedded": wishes.embedded,
        "no-multicast": wishes.no_multicast,
        "log-as-json": wishes.log_as_json,
    }
    words = [f"--{name}={value}" for name, value in flags.items() if value not in ("", 0, None)]
    words += [f"--resources-path={path}" for path in chosen.resources]
    words += [f"--{name}" for name, is_on in switches.items() if is_on]
    return Plan(
        app=app,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
        resources=chosen.resources,
        sidecar=(sys.executable, "-m", "pillion.host.main", *words),
        sidecar_env={"DAPR_HOST_IP": _LOOPBACK, **environ, "PILLION_HOME": str(wishes.home)},
        env={**environ, **_given_to_app(app, http, grpc, metrics)},
        told=chosen.told,
    )


def _app_flags(app: AppRun) -> dict[str, object]:
    """What the app's own fields say; 0 and "" stand for the sidecar's default."""
    return {
        "app-port": max(0, app.app_port),
        "app-protocol": app.app_protocol,
        "app-channel-address": app.app_channel_address,
        "app-max-concurrency": max(0, app.app_max_concurrency),
        "log-level": app.log_level,
        "max-body-size": app.max_body_size,
        "read-buffer-size": app.read_buffer_size,
        "unix-domain-socket": app.unix_domain_socket,
        "app-health-check-path": app.app_health_check_path,
        "app-health-probe-interval": app.app_health_probe_interval,
        "app-health-probe-timeout": app.app_health_probe_timeout,
        "app-health-threshold": app.app_health_threshold,
        "profile-port": max(0, app.profile_port) if app.enable_profiling else 0,
    }


def _given_to_app(app: AppRun, http: int, grpc: int, metrics: int) -> dict[str, str]:
    """What an app finds in its environment; its own `env` has the last word."""
    secured = {"http": "https", "grpc": "grpcs"} if app.app_ssl else {}
    given = {
        "DAPR_HTTP_PORT": str(http),
        "DAPR_GRPC_PORT": str(grpc),
        "DAPR_METRICS_PORT": str(metrics),
        "APP_ID": app.app_id,
        "APP_PROTOCOL": secured.get(app.app_protocol, app.app_protocol) or "http",
        "APP_CHANNEL_ADDRESS": app.app_channel_address or _LOOPBACK,
    }
    if app.app_port > 0:
        given["APP_PORT"] = str(app.app_port)
    return {**given, **app.env}


def _asked(app: AppRun) -> tuple[int, int, int, int]:
    return app.dapr_http_port, app.dapr_grpc_port, app.dapr_internal_grpc_port, app.metrics_port


def _ports(app: AppRun, taken: Sequence[int]) -> list[int]:
    """The four ports of a sidecar: those asked for, free ones for the rest."""
    asked = _asked(app)
    found = iter(ports.free(sum(port <= 0 for port in asked), taken))
    return [port if port > 0 else next(found) for port in asked]


def _problems(app: AppRun, environ: Mapping[str, str]) -> Iterable[str]:
    names = ("--dapr-http-port", "--dapr-grpc-port", "--dapr-internal-grpc-port", "--metrics-port")
    for name, port in zip(names, _asked(app), strict=True):
        if port > 0 and not ports.is_free(port):
            yield (
                f"{app.app_id}: port {port} ({name}) is already in use{ports.who_holds(port)}; "
                "choose another, or leave it out for a free one"
            )
    if not app.app_dir.is_dir():
        yield f"{app.app_id}: there is no folder {app.app_dir}"
    elif app.command:
        yield from _command_problems(app, {**environ, **app.env})
    for path in app.resources_paths:
        if not path.exists():
            yield f"{app.app_id}: there is no resource folder {path}; make it, or correct --resources-path"
    if app.config_file is not None and not app.config_file.exists():
        yield f"{app.app_id}: there is no configuration file {app.config_file}; correct --config"


def _command_problems(app: AppRun, environ: Mapping[str, str]) -> Iterable[str]:
    if app.app_port > 0 and not ports.is_free(app.app_port):
        yield (
            f"{app.app_id}: the app's port {app.app_port} is already in use{ports.who_holds(app.app_port)}; "
            "stop that program, or run without a command to put a sidecar beside it"
        )
    word = app.command[0]
    if os.sep in word:
        path = Path(app.app_dir, word)
        if not path.exists():
            yield f"{app.app_id}: there is no program {path}"
        elif not os.access(path, os.X_OK):
            yield f"{app.app_id}: {path} is not executable; chmod +x it, or start it with its interpreter"
    elif shutil.which(word, path=environ.get("PATH")) is None:
        yield f'{app.app_id}: the command "{word}" is not found on the PATH; is it installed and spelled right?'


def _twice(apps: Sequence[AppRun]) -> Iterable[str]:
    """Ports that two apps of one run ask for."""
    seen: dict[int, str] = {}
    for app in apps:
        for port in (app.app_port, *_asked(app)):
            if port > 0 and port in seen:
                yield f"{app.app_id}: port {port} is already asked for by {seen[port]}; give each its own"
            seen.setdefault(port, app.app_id)
