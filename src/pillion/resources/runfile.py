"""The multi-app run file `dapr.yaml`: apps with their sidecars, paths resolved and defaults merged in."""

from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Literal

from pillion.resources import document
from pillion.resources.document import Node
from pillion.resources.fields import Fields
from pillion.resources.problems import Problem, Report, Source
from pillion.toolbox import quantities, suggest
from pillion.toolbox.lazily import dataclass

LogDestination = Literal["console", "file", "fileAndConsole"]
_DESTINATIONS = ("console", "file", "fileAndConsole")
_PROTOCOLS = ("http", "https", "grpc", "grpcs", "h2c")
_PULL_POLICIES = ("Always", "Never", "IfNotPresent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What `common` and every app may say. An empty text, 0, false and None count as not said."""

    config_file: Path | None = None
    app_protocol: str = ""
    api_listen_addresses: str = ""
    enable_profiling: bool = False
    log_level: str = ""
    app_max_concurrency: int = 0
    placement_host_address: str | None = None
    """None: not said; the empty text turns it off."""
    scheduler_host_address: str | None = None
    resources_paths: tuple[Path, ...] = ()
    app_ssl: bool = False
    max_body_size: str = ""
    read_buffer_size: str = ""
    enable_app_health_check: bool = False
    app_health_check_path: str = ""
    app_health_probe_interval: int = 0
    app_health_probe_timeout: int = 0
    app_health_threshold: int = 0
    enable_api_logging: bool = False
    runtime_path: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    daprd_log_destination: LogDestination | None = None
    app_log_destination: LogDestination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRun(Shared):
    """One app, merged with `common`. A port of -1 means any free one, an app port of -1 no app port.

    `depends_on` is Pillion's own: the apps that must be ready before this one starts.
    """

    app_id: str
    app_dir: Path
    command: tuple[str, ...] = ()
    app_port: int = -1
    app_channel_address: str = ""
    dapr_http_port: int = -1
    dapr_grpc_port: int = -1
    dapr_internal_grpc_port: int = -1
    metrics_port: int = -1
    profile_port: int = -1
    unix_domain_socket: str = ""
    depends_on: tuple[str, ...] = ()
    container_image: str = ""
    container_image_pull_policy: str = "Always"
    create_service: bool = False
    source: Source = Source("")

    @property
    def logs_dir(self) -> Path:
        return self.app_dir / ".dapr" / "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """The apps in the order written, which is not the order of starting where some depend on others."""

    version: int
    name: str
    apps: tuple[AppRun, ...]
    path: Path


def load(path: Path, *, home: Path | None = None) -> tuple[RunFile | None, tuple[Problem, ...]]:
    """Read a run file, or the `dapr.yaml` of a folder. Every problem that would stop an app is fatal.

    `home` is what `~` stands for. Resources and configuration come from the app, its `.dapr` folder, then
    `common`; where none has any they are left empty for the caller to choose.
    """
    file = (path / "dapr.yaml" if path.is_dir() else path).absolute()
    report = Report(strict=True)
    if not file.exists():
        report.fail(
            Source(str(path)), "", "no such run file: name a file, or a folder that holds a dapr.yaml"
        )
        return None, tuple(report.problems)
    return _read(document.read(file, report), file, home, report)


def parse(text: str, folder: Path, *, home: Path | None = None) -> tuple[RunFile | None, tuple[Problem, ...]]:
    """Read a run file that came by standard input; paths are relative to `folder`."""
    report = Report(strict=True)
    return _read(document.parse(text, "-", report), folder / "-", home, report)


def _read(
    documents: list[Node], file: Path, home: Path | None, report: Report
) -> tuple[RunFile | None, tuple[Problem, ...]]:
    if not documents and not report.problems:
        report.fail(Source(str(file)), "", "is empty")
    made = _run_file(Fields(documents[0], "", report), file, _Paths(home, report)) if documents else None
    return (None if report.spoiled else made), tuple(report.problems)


@dataclass(frozen=True, slots=True)
class _Paths:
    """Relative paths to absolute ones that exist."""

    home: Path | None
    report: Report

    def field(self, fields: Fields, name: str, base: Path) -> Path | None:
        text = fields.text(name)
        return self.resolved(text, base, fields.where(name), fields.name_of(name)) if text else None

    def resolved(self, text: str, base: Path, source: Source, name: str) -> Path:
        if self.home and (text == "~" or text.startswith("~/")):
            text = str(self.home) + text[1:]
        path = Path(base, text)
        if not path.exists():
            self.report.fail(source, name, f"no such file or folder: {path}")
        return path


def _run_file(top: Fields, file: Path, paths: _Paths) -> RunFile:
    version = top.number("version")
    if version == 0:
        top.report.spoil(top.where("version"), "version", "is required: write version: 1")
    name = top.text("name")
    common_fields = top.section("common")
    common = _shared(common_fields, file.parent, paths)
    for key in ("command", "appID", "appDirPath", "appPort", "dependsOn"):
        if key in common_fields:
            common_fields.report.warn(common_fields.where(key), f"common.{key}", "belongs to an app: ignored")
        common_fields.node(key)
    common_fields.done()
    apps = tuple(_app(each, common, file.parent, paths) for each in top.sections("apps"))
    if not apps:
        top.report.spoil(top.where("apps"), "apps", "is required: list at least one app")
    top.done()
    _check_names(apps, top.report)
    return RunFile(version=version, name=name, apps=apps, path=file)


def _shared(fields: Fields, base: Path, paths: _Paths) -> dict[str, Any]:
    """The shared part as keyword arguments."""
    listed = [
        paths.resolved(
            text, base, fields.where("resourcesPaths"), f"{fields.name_of('resourcesPaths')}[{number}]"
        )
        for number, text in enumerate(fields.texts("resourcesPaths"))
    ]
    single = paths.field(fields, "resourcesPath", base)
    return {
        "config_file": paths.field(fields, "configFilePath", base),
        "app_protocol": fields.choice("appProtocol", _PROTOCOLS),
        "api_listen_addresses": fields.text("apiListenAddresses"),
        "enable_profiling": fields.flag("enableProfiling"),
        "log_level": fields.text("logLevel"),
        "app_max_concurrency": fields.number("appMaxConcurrency"),
        "placement_host_address": fields.text_or_none("placementHostAddress"),
        "scheduler_host_address": fields.text_or_none("schedulerHostAddress"),
        "resources_paths": (*listed, *([single] if single else [])),
        "app_ssl": fields.flag("appSSL"),
        "max_body_size": _size(fields, "maxBodySize"),
        "read_buffer_size": _size(fields, "readBufferSize"),
        "enable_app_health_check": fields.flag("enableAppHealthCheck"),
        "app_health_check_path": fields.text("appHealthCheckPath"),
        "app_health_probe_interval": fields.number("appHealthProbeInterval"),
        "app_health_probe_timeout": fields.number("appHealthProbeTimeout"),
        "app_health_threshold": fields.number("appHealthThreshold"),
        "enable_api_logging": fields.flag("enableApiLogging"),
        "runtime_path": paths.field(fields, "runtimePath", base),
        "env": fields.table("env"),
        "daprd_log_destination": fields.choice("daprdLogDestination", _DESTINATIONS) or None,
        "app_log_destination": fields.choice("appLogDestination", _DESTINATIONS) or None,
    }


def _size(fields: Fields, name: str) -> str:
    text = fields.text(name)
    try:
        quantities.parse(text or "0")
    except quantities.QuantityError as error:
        fields.report.spoil(fields.where(name), fields.name_of(name), str(error))
    return text


def _app(each: Fields, common: Mapping[str, Any], base: Path, paths: _Paths) -> AppRun:
    if not each.text("appDirPath"):
        each.report.spoil(each.where("appDirPath"), each.name_of("appDirPath"), "is required")
    folder = Path(paths.field(each, "appDirPath", base) or base)
    own = _shared(each, folder, paths)
    made = AppRun(
        **_merged(own, common, folder),
        app_id=each.text("appID") or folder.resolve().name,
        app_dir=folder,
        command=_command(each),
        app_port=_port(each, "appPort"),
        app_channel_address=each.text("appChannelAddress"),
        dapr_http_port=_port(each, "daprHTTPPort"),
        dapr_grpc_port=_port(each, "daprGRPCPort"),
        dapr_internal_grpc_port=_port(each, "daprInternalGRPCPort"),
        metrics_port=_port(each, "metricsPort"),
        profile_port=_port(each, "profilePort"),
        unix_domain_socket=each.text("unixDomainSocket"),
        depends_on=each.texts("dependsOn"),
        container_image=each.text("containerImage"),
        container_image_pull_policy=each.choice("containerImagePullPolicy", _PULL_POLICIES) or "Always",
        create_service=each.flag("createService"),
        source=each.source,
    )
    each.done()
    return made


def _merged(own: dict[str, Any], common: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the app says, then its `.dapr` folder (for paths), then `common`."""
    local = folder / ".dapr"
    if not own["resources_paths"] and (local / "resources").is_dir():
        own["resources_paths"] = (local / "resources",)
    if not own["config_file"] and (local / "config.yaml").is_file():
        own["config_file"] = local / "config.yaml"
    merged = {each.name: _said(each.name, own[each.name], common[each.name]) for each in fields(Shared)}
    merged["env"] = {**common["env"], **own["env"]}
    merged["daprd_log_destination"] = merged["daprd_log_destination"] or "file"
    merged["app_log_destination"] = merged["app_log_destination"] or "fileAndConsole"
    merged["app_protocol"] = merged["app_protocol"] or "http"
    merged["app_max_concurrency"] = merged["app_max_concurrency"] or -1
    return merged


def _said(name: str, own: Any, common: Any) -> Any:
    """The app's word, else the common one: an empty word counts only where None is the silence."""
    if name.endswith("host_address"):
        return common if own is None else own
    return own or common


def _command(each: Fields) -> tuple[str, ...]:
    node = each.node("command")
    if isinstance(node.value, str):
        said = f'must be a list such as ["python3", "app.py"], not the text "{node.value}"'
        each.report.spoil(node.source, each.name_of("command"), said)
        return ()
    return each.texts("command")


def _port(fields: Fields, name: str) -> int:
    port = fields.number(name, -1)
    if not -1 <= port <= 65535:
        fields.report.spoil(fields.where(name), fields.name_of(name), f"{port} is not a port")
    return port or -1


def _check_names(apps: tuple[AppRun, ...], report: Report) -> None:
    seen: dict[str, AppRun] = {}
    for app in apps:
        if app.app_id in seen:
            first = seen[app.app_id].source
            report.spoil(app.source, "appID", f'"{app.app_id}" is used twice, first at {first}')
        if "." in app.app_id:
            report.spoil(app.source, "appID", f'"{app.app_id}" cannot contain dots')
        seen[app.app_id] = app
    for app in apps:
        for other in app.depends_on:
            if other not in seen:
                said = f'"{other}" is no app of this file{suggest.hint(other, seen)}'
                report.spoil(app.source, f"{app.app_id}.dependsOn", said)
    _check_circles(seen, report)


def _check_circles(apps: Mapping[str, AppRun], report: Report) -> None:
    waiting = {name: {other for other in app.depends_on if other in apps} for name, app in apps.items()}
    while ready := [name for name, others in waiting.items() if not others]:
        for name in ready:
            del waiting[name]
        for others in waiting.values():
            others.difference_update(ready)
    if waiting:
        first = next(iter(waiting))
        said = f"apps wait for each other in a circle: {', '.join(waiting)}"
        report.spoil(apps[first].source, f"{first}.dependsOn", said)
