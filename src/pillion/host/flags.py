"""The sidecar's command line and environment, read into one value: every flag and variable of daprd, and ours.

A flag whose feature this version lacks is accepted and named by `warnings`; one that is meant to protect something
and would not is a sentence of `refusals`, and the process must not start.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pillion.resources.component import Component
from pillion.resources.configuration import AccessControl, Configuration
from pillion.toolbox import durations, pflags, quantities, suggest
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.pflags import Flag
from pillion.toolbox.truth import is_true

AppProtocol = Literal["http", "https", "h2c", "grpc", "grpcs"]
LogLevel = Literal["debug", "info", "warn", "error", "fatal"]

_PROTOCOLS: dict[str, AppProtocol] = {each: each for each in ("http", "https", "h2c", "grpc", "grpcs")}
_WITH_TLS: dict[AppProtocol, AppProtocol] = {"http": "https", "grpc": "grpcs"}
_LEVELS: dict[str, LogLevel] = {each: each for each in ("debug", "info", "warn", "error", "fatal")}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST = 10**9
_BODY, _HEAD = 4 << 20, 4 << 10

FLAGS = (
    Flag("app-id", help="This app's name among all others; required"),
    Flag("app-port", help="The port the app listens on"),
    Flag("app-channel-address", default="127.0.0.1", help="The address the app listens on"),
    Flag("app-protocol", default="http", help="What the app speaks: http, https, h2c, grpc or grpcs"),
    Flag("app-max-concurrency", "int", "-1", "The most calls the app gets at once; -1 for no bound"),
    Flag("app-ssl", "bool", "false", deprecated="use --app-protocol https|grpcs"),
    Flag("dapr-http-port", default="3500", help="The port of the HTTP API"),
    Flag("dapr-grpc-port", default="50001", help="The port of the gRPC API"),
    Flag("dapr-internal-grpc-port", help="The port for other sidecars; one that stays with the app id if not set"),
    Flag("dapr-internal-grpc-listen-address", help="The address for other sidecars"),
    Flag("dapr-listen-addresses", help="The addresses of both APIs, separated by commas; all if empty"),
    Flag("dapr-public-port", help="The port of the public health and metadata API"),
    Flag("dapr-public-listen-address", help="The address of the public health and metadata API"),
    Flag("profile-port", default="7777", help="The port of the profiler"),
    Flag("enable-profiling", "bool", "false", "Turn the profiler on"),
    Flag("metrics-port", default="9090", help="The port of the metrics"),
    Flag("metrics-listen-address", default="0.0.0.0", help="The address of the metrics"),
    Flag("enable-metrics", "bool", "true", "Serve metrics"),
    Flag("unix-domain-socket", help="A folder for Unix sockets that take the place of the API's ports"),
    Flag("resources-path", "list", help="A folder of resources; may be given several times"),
    Flag("components-path", deprecated="use --resources-path"),
    Flag("config", "list", help="A configuration file; several are laid over each other"),
    Flag("allowed-origins", help="The web origins that browsers may call from, separated by commas"),
    Flag("max-body-size", default="4Mi", help="The largest body"),
    Flag("read-buffer-size", default="4Ki", help="The largest request head"),
    Flag("dapr-http-max-request-size", "int", "4", deprecated="use --max-body-size 4Mi"),
    Flag("dapr-http-read-buffer-size", "int", "4", deprecated="use --read-buffer-size 4Ki"),
    Flag("dapr-graceful-shutdown-seconds", "int", "5", "How long a stop may take"),
    Flag("dapr-block-shutdown-duration", "duration", help="How long a stop waits for the app to turn unhealthy"),
    Flag("enable-app-health-check", "bool", "false", "Watch the app's health"),
    Flag("app-health-check-path", default="/healthz", help="The path that is asked for the app's health"),
    Flag("app-health-probe-interval", "int", "5", "Seconds between two questions"),
    Flag("app-health-probe-timeout", "int", "500", "Milliseconds for an answer"),
    Flag("app-health-threshold", "int", "3", "Failures in a row that make the app unhealthy"),
    Flag("app-binding-options-timeout", "duration", "3s", "How long the app may take to say which bindings it wants"),
    Flag("enable-api-logging", "bool", "false", "Log every call of the API"),
    Flag("disable-init-endpoints", "list", help="What the app is not asked for at start: config, subscribe"),
    Flag("placement-host-address", help="The addresses of the placement service"),
    Flag("scheduler-host-address", "list", help="The addresses of the scheduler"),
    Flag("scheduler-job-streams", "uint", "3", "How many streams to the scheduler"),
    Flag("actors-disseminate-timeout", "duration", "30s", "How long placement tables may take to spread"),
    Flag("actors-service", hidden=True),
    Flag("reminders-service", hidden=True),
    Flag("hot-reload-reconcile-interval", "duration", "0s", "How often all resources are compared; 0 for 60s"),
    Flag("disable-builtin-k8s-secret-store", "bool", "false", "Do without the built-in Kubernetes secret store"),
    Flag("mode", default="standalone", help="Where it runs: standalone or kubernetes"),
    Flag("enable-mtls", "bool", "false", "Encrypt calls between sidecars and prove who they are"),
    Flag("sentry-address", help="The address of the certificate authority"),
    Flag("sentry-request-jwt-audiences", "list", help="Audiences of tokens for the certificate authority"),
    Flag("control-plane-address", help="The address of the control plane"),
    Flag("control-plane-trust-domain", default="localhost", help="The control plane's trust domain"),
    Flag("control-plane-namespace", default="default", help="The control plane's namespace"),
    Flag("log-level", default="info", help="debug, info, warn, error or fatal"),
    Flag("log-as-json", "bool", "false", "Write the log as JSON"),
    Flag("log-file", help="Write the log to this file instead of standard output"),
    Flag("version", "bool", "false", "Print the version and exit"),
    Flag("build-info", "bool", "false", "Print how it was built and exit"),
    Flag("wait", "bool", "false", "Wait until a sidecar is ready for calls and exit"),
    Flag("zygote", "bool", "false", "Fork sidecars for the run that holds standard input", hidden=True),
    Flag("embedded", "bool", "false", "Put an embedded engine where a component's server does not answer"),
    Flag("no-multicast", "bool", "false", "Do without multicast DNS"),
    Flag("pillion-home", help="The folder for embedded data and the registry"),
)  # fmt: skip


class FlagError(Exception):
    """The process ends with `status` after printing `problems`, and first `usage` where it is not empty.

    Status 2 is a command line that cannot be understood, 1 a value that cannot be used, 0 a call for help.
    """

    def __init__(self, problems: Iterable[str], *, status: int, usage: str = "") -> None:
        self.problems = tuple(problems)
        self.status = status
        self.usage = usage
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Everything the command line and the environment say, defaults filled in.

    None stands for "not set" throughout; no address means all of them; `given` names the flags that were written.
    """

    app_id: str = ""
    app_port: int | None = None
    app_channel_address: str = "127.0.0.1"
    app_protocol: AppProtocol = "http"
    app_max_concurrency: int | None = None
    dapr_http_port: int = 3500
    dapr_grpc_port: int = 50001
    dapr_internal_grpc_port: int | None = None
    """None: the port that stays with the app id."""
    dapr_internal_grpc_listen_address: str = ""
    dapr_listen_addresses: tuple[str, ...] = ()
    dapr_public_port: int | None = None
    dapr_public_listen_address: str = ""
    profile_port: int = 7777
    enable_profiling: bool = False
    metrics_port: int = 9090
    metrics_listen_address: str = "0.0.0.0"
    enable_metrics: bool = True
    unix_domain_socket: str = ""
    resources_paths: tuple[Path, ...] = ()
    config: tuple[Path, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_body_size: int = _BODY
    """Bytes; 0 is no bound over HTTP."""
    read_buffer_size: int = _HEAD
    graceful_shutdown: timedelta = timedelta(seconds=5)
    block_shutdown: timedelta | None = None
    enable_app_health_check: bool = False
    app_health_check_path: str = "/healthz"
    app_health_probe_interval: timedelta = timedelta(seconds=5)
    app_health_probe_timeout: timedelta = timedelta(milliseconds=500)
    app_health_threshold: int = 3
    app_binding_options_timeout: timedelta = timedelta(seconds=3)
    enable_api_logging: bool | None = None
    disable_init_endpoints: frozenset[str] = frozenset()
    placement_addresses: tuple[str, ...] = ()
    scheduler_addresses: tuple[str, ...] = ()
    scheduler_job_streams: int = 3
    actors_disseminate_timeout: timedelta = timedelta(seconds=30)
    hot_reload_reconcile_interval: timedelta = timedelta(seconds=60)
    disable_builtin_k8s_secret_store: bool = False
    mode: Literal["standalone", "kubernetes"] = "standalone"
    enable_mtls: bool = False
    sentry_address: str = ""
    sentry_request_jwt_audiences: tuple[str, ...] = ()
    control_plane_address: str = ""
    control_plane_trust_domain: str = "localhost"
    control_plane_namespace: str = "default"
    log_level: LogLevel = "info"
    log_as_json: bool = False
    log_file: str = ""
    version: bool = False
    build_info: bool = False
    wait: bool = False

    zygote: bool = False
    embedded: bool = False
    no_multicast: bool = False
    pillion_home: Path | None = None
    """As asked for by flag or PILLION_HOME; the host finds the folder where neither is set."""

    api_token: str = field(default="", repr=False)
    app_token: str = field(default="", repr=False)
    own_namespace: str | None = None
    """NAMESPACE, None where it is not set: manifests are then not filtered."""
    pod_name: str = ""
    host_ip: str = ""
    trust_anchors: bytes = b""
    sentry_token_file: str = ""
    components_sockets_folder: str = ""
    disable_h2c: bool = False
    grpc_max_conn_idle: timedelta = timedelta(minutes=3)
    grpc_conn_collector_interval: timedelta = timedelta(seconds=45)
    otel: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The OTEL_* variables, as set."""

    given: frozenset[str] = frozenset()

    @property
    def namespace(self) -> str:
        """The namespace that addresses and templates use."""
        return self.own_namespace or "default"


def parse(args: Sequence[str], environ: Mapping[str, str]) -> Flags:
    """Read a command line without its program name. Raises `FlagError` with all that is wrong."""
    try:
        given = pflags.read(args, FLAGS)
    except pflags.HelpAsked:
        raise FlagError([], status=0, usage=usage()) from None
    except pflags.UnknownUse as error:
        raise FlagError([str(error)], status=2, usage=usage()) from None
    line = _Line(given)
    made = Flags(
        **_addresses(line),
        **_app(line),
        **_limits(line),
        **_health(line),
        **_control_plane(line, environ),
        **_process(line),
        **_environment(line, environ),
        given=frozenset(given),
    )
    problems = line.problems if made.wait else [*line.problems, *_conflicts(made)]
    if problems and not (made.version or made.build_info or made.zygote):
        raise FlagError(problems, status=1)
    return made


def usage() -> str:
    """The table of flags."""
    return pflags.usage("pilliond", FLAGS)


class _Line:
    """The texts that were given, read by type; what cannot be read is collected."""

    def __init__(self, given: Mapping[str, list[str]]) -> None:
        self._given = given
        self._defaults = {flag.name: flag.default for flag in FLAGS}
        self.problems: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def text(self, name: str) -> str:
        return self._given.get(name, [self._defaults[name]])[-1]

    def flag(self, name: str) -> bool:
        return pflags.boolean(self.text(name))

    def number(self, name: str) -> int:
        return pflags.number(self.text(name))

    def count(self, name: str, least: int, default: int) -> int:
        """A number of units of time; what is below `least` means the default."""
        number = self.number(name)
        return default if number < least else min(number, _LONGEST)

    def listed(self, name: str) -> tuple[str, ...]:
        return pflags.listed(self._given.get(name, []))

    def csv(self, name: str) -> tuple[str, ...]:
        return _split(self.text(name))

    def span(self, name: str) -> timedelta:
        text = self.text(name)
        try:
            return durations.parse(text)
        except durations.DurationError as error:
            said = f'invalid argument "{text}" for "--{name}" flag: {error}'
            raise FlagError([said], status=2, usage=usage()) from None

    def port(self, name: str, label: str = "") -> int:
        if self.text(name) == "":
            self.problems.append(f'error parsing {label or name}: strconv.Atoi: parsing "": invalid syntax')
        return self.port_or_none(name, label) or 0

    def port_or_none(self, name: str, label: str = "") -> int | None:
        text = self.text(name)
        if text == "":
            return None
        if not _INTEGER.fullmatch(text):
            said = f'strconv.Atoi: parsing "{text}": invalid syntax'
            self.problems.append(f"error parsing {label or name}: {said}")
            return None
        if not 0 <= int(text) <= 65535:
            self.problems.append(f"error parsing {label or name}: {text} is not a port")
            return None
        return int(text)

    def size(self, name: str, old: str, scale: int, default: int) -> int:
        """Bytes from the flag, else from its deprecated forerunner that counts in `scale`."""
        if name not in self:
            count = self.number(old) if old in self else -1
            return default if count < 0 else count * scale
        try:
            size = quantities.parse(self.text(name))
        except quantities.QuantityError as error:
            self.problems.append(f"invalid value for '{name}' option: {error}")
            return default
        return default if size < 0 else size

    def one_of(self, name: str, words: Mapping[str, Any], said: str, default: Any) -> Any:
        word = self.text(name).lower()
        if word in words:
            return words[word]
        self.problems.append(said.format(self.text(name)))
        return default


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _addresses(line: _Line) -> dict[str, Any]:
    internal = line.port_or_none("dapr-internal-grpc-port")
    return {
        "dapr_http_port": line.port("dapr-http-port", "dapr-http-port flag"),
        "dapr_grpc_port": line.port("dapr-grpc-port", "dapr-grpc-port flag"),
        "dapr_internal_grpc_port": internal or None,
        "dapr_internal_grpc_listen_address": line.text("dapr-internal-grpc-listen-address"),
        "dapr_listen_addresses": line.csv("dapr-listen-addresses"),
        "dapr_public_port": line.port_or_none("dapr-public-port"),
        "dapr_public_listen_address": line.text("dapr-public-listen-address"),
        "profile_port": line.port("profile-port", "profile-port flag"),
        "enable_profiling": line.flag("enable-profiling"),
        "metrics_port": line.port("metrics-port"),
        "metrics_listen_address": line.text("metrics-listen-address"),
        "enable_metrics": line.flag("enable-metrics"),
        "unix_domain_socket": line.text("unix-domain-socket"),
        "allowed_origins": line.csv("allowed-origins"),
    }


def _app(line: _Line) -> dict[str, Any]:
    protocol = line.one_of(
        "app-protocol", {"": "http", **_PROTOCOLS}, "invalid value for 'app-protocol': {}", "http"
    )
    most = line.number("app-max-concurrency")
    if line.flag("app-ssl"):
        protocol = _WITH_TLS.get(protocol, protocol)
    disabled = frozenset(line.listed("disable-init-endpoints"))
    for word in sorted(disabled - {"config", "subscribe"}):
        line.problems.append(f"invalid value for --disable-init-endpoints: {word}")
    return {
        "app_id": line.text("app-id"),
        "app_port": line.port_or_none("app-port") or None,
        "app_channel_address": line.text("app-channel-address"),
        "app_protocol": protocol,
        "app_max_concurrency": most if most > 0 else None,
        "app_binding_options_timeout": line.span("app-binding-options-timeout"),
        "disable_init_endpoints": disabled,
    }


def _limits(line: _Line) -> dict[str, Any]:
    blocks = "dapr-block-shutdown-duration" in line
    return {
        "max_body_size": line.size("max-body-size", "dapr-http-max-request-size", 1 << 20, _BODY),
        "read_buffer_size": line.size("read-buffer-size", "dapr-http-read-buffer-size", 1 << 10, _HEAD),
        "graceful_shutdown": timedelta(seconds=line.count("dapr-graceful-shutdown-seconds", 0, 5)),
        "block_shutdown": line.span("dapr-block-shutdown-duration") if blocks else None,
    }


def _health(line: _Line) -> dict[str, Any]:
    interval, timeout = "app-health-probe-interval", "app-health-probe-timeout"
    threshold = line.number("app-health-threshold")
    return {
        "enable_app_health_check": line.flag("enable-app-health-check"),
        "app_health_check_path": line.text("app-health-check-path"),
        "app_health_probe_interval": timedelta(seconds=line.count(interval, 1, 5)),
        "app_health_probe_timeout": timedelta(milliseconds=line.count(timeout, 1, 500)),
        "app_health_threshold": threshold if 0 < threshold < 2**31 - 1 else 3,
    }


def _control_plane(line: _Line, environ: Mapping[str, str]) -> dict[str, Any]:
    def from_either(name: str, variable: str) -> str:
        return line.text(name) if name in line else environ.get(variable, line.text(name))

    schedulers = line.listed("scheduler-host-address")
    if "scheduler-host-address" not in line:
        old = environ.get("DAPR_SCHEDULER_HOST_ADDRESS_DNS_A")
        schedulers = _split(old if old is not None else environ.get("DAPR_SCHEDULER_HOST_ADDRESS", ""))
    reconcile = line.span("hot-reload-reconcile-interval")
    return {
        "mode": line.one_of(
            "mode", {"standalone": "standalone", "kubernetes": "kubernetes"}, "invalid mode: {}", "standalone"
        ),
        "placement_addresses": line.csv("placement-host-address"),
        "scheduler_addresses": schedulers,
        "scheduler_job_streams": line.number("scheduler-job-streams"),
        "actors_disseminate_timeout": line.span("actors-disseminate-timeout"),
        "hot_reload_reconcile_interval": reconcile if reconcile > timedelta() else timedelta(seconds=60),
        "disable_builtin_k8s_secret_store": line.flag("disable-builtin-k8s-secret-store"),
        "enable_mtls": line.flag("enable-mtls"),
        "sentry_address": line.text("sentry-address"),
        "sentry_request_jwt_audiences": line.listed("sentry-request-jwt-audiences"),
        "control_plane_address": line.text("control-plane-address"),
        "control_plane_trust_domain": from_either(
            "control-plane-trust-domain", "DAPR_CONTROLPLANE_TRUST_DOMAIN"
        ),
        "control_plane_namespace": from_either("control-plane-namespace", "DAPR_CONTROLPLANE_NAMESPACE"),
    }


def _process(line: _Line) -> dict[str, Any]:
    folders = line.listed("resources-path")
    if not folders and line.text("components-path"):
        folders = (line.text("components-path"),)
    return {
        "resources_paths": tuple(Path(folder) for folder in folders if folder),
        "config": tuple(Path(file) for file in line.listed("config") if file),
        "enable_api_logging": line.flag("enable-api-logging") if "enable-api-logging" in line else None,
        "log_level": line.one_of("log-level", _LEVELS, "invalid value for --log-level: {}", "info"),
        "log_as_json": line.flag("log-as-json"),
        "log_file": line.text("log-file"),
        "version": line.flag("version"),
        "build_info": line.flag("build-info"),
        "wait": line.flag("wait"),
        "zygote": line.flag("zygote"),
        "embedded": line.flag("embedded"),
        "no_multicast": line.flag("no-multicast"),
    }


def _environment(line: _Line, environ: Mapping[str, str]) -> dict[str, Any]:
    home = line.text("pillion-home") or environ.get("PILLION_HOME", "")
    return {
        "pillion_home": Path(home) if home else None,
        "api_token": environ.get("DAPR_API_TOKEN", ""),
        "app_token": environ.get("APP_API_TOKEN", ""),
        "own_namespace": environ.get("NAMESPACE") or None,
        "pod_name": environ.get("POD_NAME", ""),
        "host_ip": environ.get("DAPR_HOST_IP", ""),
        "trust_anchors": environ.get("DAPR_TRUST_ANCHORS", "").encode(),
        "sentry_token_file": environ.get("DAPR_SENTRY_TOKEN_FILE", ""),
        "components_sockets_folder": environ.get("DAPR_COMPONENTS_SOCKETS_FOLDER", ""),
        "disable_h2c": is_true(environ.get("DAPR_HTTP_DISABLE_H2C", "")),
        "grpc_max_conn_idle": _variable(environ, "DAPR_GRPC_MAX_CONN_IDLE", timedelta(minutes=3)),
        "grpc_conn_collector_interval": _variable(
            environ, "DAPR_GRPC_CONN_COLLECTOR_INTERVAL", timedelta(seconds=45)
        ),
        "otel": {name: text for name, text in environ.items() if name.startswith("OTEL_")},
    }


def _variable(environ: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    try:
        return durations.parse(environ.get(name, ""))
    except durations.DurationError:
        return default


def _conflicts(flags: Flags) -> list[str]:
    """What is wrong between values that are each fine."""
    problems = []
    if not flags.app_id:
        problems.append("parameter app-id cannot be empty")
    if "." in flags.app_id:
        problems.append("parameter app-id cannot contain dots")
    for name, port in (("dapr-http-port", flags.dapr_http_port), ("dapr-grpc-port", flags.dapr_grpc_port)):
        if flags.app_port is not None and flags.app_port == port:
            problems.append(f"the '{name}' argument value {port} conflicts with 'app-port'")
    if flags.app_health_probe_timeout > flags.app_health_probe_interval:
        problems.append("value for 'health-probe-timeout' must be smaller than 'health-probe-interval'")
    return problems


_NO_PROFILER = "there is no profiler in this runtime"
_NO_PLACEMENT = (
    "actors, workflow and jobs are not part of this version, placement and scheduler are not contacted"
)
_NO_CONTROL_PLANE = "this version does not speak to a control plane or certificate authority"
_NO_EXPORT = "this version hands traces on but exports no spans"
_NO_RELOAD = "resources are not reloaded while running in this version"
_WITHOUT_EFFECT = (
    (_NO_PROFILER, ("enable-profiling", "profile-port")),
    (
        _NO_PLACEMENT,
        (
            "placement-host-address", "scheduler-host-address", "scheduler-job-streams", "actors-disseminate-timeout",
            "actors-service", "reminders-service",
        ),
    ),
    (
        _NO_CONTROL_PLANE,
        (
            "sentry-address", "sentry-request-jwt-audiences", "control-plane-address", "control-plane-trust-domain",
            "control-plane-namespace", "disable-builtin-k8s-secret-store",
        ),
    ),
    (_NO_RELOAD, ("hot-reload-reconcile-interval",)),
)  # fmt: skip
API_NAMES = frozenset(
    (
        "invoke", "state", "publish", "bindings", "secrets", "actors", "metadata", "configuration", "lock", "unlock", "crypto",
        "subtlecrypto", "workflows", "jobs", "shutdown", "subscribe", "conversation", "search", "vector", "binarystore",
        "healthz",
    )
)  # fmt: skip
"""The names that API lists may use."""
_PROTECTING = (
    "bearer", "oauth2", "oauth2clientcredentials", "opa", "ratelimit", "routerchecker", "sentinel", "wasm",
)  # fmt: skip


def warnings(flags: Flags, configuration: Configuration | None = None) -> tuple[str, ...]:
    """One line for each group of settings that are accepted and have no effect, or will go away."""
    lines = []
    for reason, names in _WITHOUT_EFFECT:
        said = [f"--{name}" for name in names if name in flags.given and _is_asked(flags, name)]
        if said:
            lines.append(f"{', '.join(said)}: without effect, {reason}")
    for flag in FLAGS:
        if flag.deprecated and flag.name in flags.given:
            lines.append(f"Flag --{flag.name} has been deprecated, {flag.deprecated}")
    return (*lines, *_idle_variables(flags), *(_idle_sections(configuration) if configuration else ()))


def _idle_variables(flags: Flags) -> Iterable[str]:
    exporters = sorted(name for name in flags.otel if name.endswith("_ENDPOINT") and flags.otel[name])
    if exporters:
        yield f"{', '.join(exporters)}: without effect, {_NO_EXPORT}"
    if flags.components_sockets_folder:
        yield "DAPR_COMPONENTS_SOCKETS_FOLDER: without effect, this version has no pluggable components"
    if not flags.enable_mtls and (flags.trust_anchors or flags.sentry_token_file):
        yield f"DAPR_TRUST_ANCHORS, DAPR_SENTRY_TOKEN_FILE: without effect, {_NO_CONTROL_PLANE}"


def _is_asked(flags: Flags, name: str) -> bool:
    """Whether a flag asks for anything: injectors pass empty texts and false as well."""
    attribute = {
        "placement-host-address": "placement_addresses",
        "scheduler-host-address": "scheduler_addresses",
    }
    value = getattr(flags, attribute.get(name, name.replace("-", "_")), True)
    return bool(value)


def _idle_sections(configuration: Configuration) -> Iterable[str]:
    metrics = configuration.metrics
    idle: tuple[tuple[bool, str, str], ...] = (
        (configuration.tracing.is_on, "tracing", _NO_EXPORT),
        (bool(configuration.http_pipeline), "httpPipeline", "middleware is not part of this version"),
        (bool(configuration.app_http_pipeline), "appHttpPipeline", "middleware is not part of this version"),
        (configuration.features.get("HotReload", False), "features HotReload", _NO_RELOAD),
        ("workflow" in configuration.others, "workflow", "workflow is not part of this version"),
        ("wasm" in configuration.others, "wasm", "this runtime runs no wasm"),
        (bool(metrics.path_matching), "metrics pathMatching", "paths are labelled by their routes"),
        (bool(metrics.rules), "metrics rules", "labels are not rewritten"),
        (metrics.record_error_codes, "metrics recordErrorCodes", "error codes are not counted"),
    )
    for is_set, section, reason in idle:
        if is_set:
            yield f"configuration {section}: without effect, {reason}"
    control = configuration.access_control
    if control.policies and not _would_open(control):
        yield (
            "configuration accessControl: callers have no identity without mTLS, so its policies match none and "
            f'the default action "{control.default}" decides for all'
        )


def refusals(
    flags: Flags, configuration: Configuration | None = None, components: Iterable[Component] = ()
) -> tuple[str, ...]:
    """A sentence for each protection that is asked for and that this version would not give: start-up must end.

    `components` are those the app may use: middleware that guards the API counts only if it would be loaded.
    """
    said: list[str] = []
    if flags.enable_mtls:
        said.append(
            "--enable-mtls is set, but this version has no mTLS: calls between sidecars would go unencrypted and "
            "unproven. Remove the flag if that is acceptable here"
        )
    if flags.mode == "kubernetes":
        said.append(
            "--mode kubernetes is set, but this version has no operator client: the cluster's configuration, scopes "
            "and secrets would not be applied. Run it with --mode standalone"
        )
    if configuration is not None:
        said += _unprotected(configuration, components)
    return tuple(said)


def _unprotected(configuration: Configuration, components: Iterable[Component]) -> Iterable[str]:
    if configuration.mtls.enabled:
        place = configuration.places.get("mtls", "")
        yield (
            f"{place}: spec.mtls.enabled is true, but this version has no mTLS: calls between sidecars would go "
            "unencrypted and unproven. Set it to false if that is acceptable here"
        )
    if _would_open(configuration.access_control):
        yield (
            f"{configuration.places.get('accessControl', '')}: spec.accessControl denies some callers, but without mTLS no caller "
            "has an identity and its default action would let all of them in. Set defaultAction to deny, or remove the policies"
        )
    for rule in (*configuration.api_allowed, *configuration.api_denied):
        if rule.name.lower() not in API_NAMES:
            said = (
                f'spec.api names "{rule.name}", which is no API{suggest.hint(rule.name, sorted(API_NAMES))}'
            )
            yield f"{configuration.places.get('api', '')}: {said}: the rule would neither open nor close anything"
    loaded = {component.name: component for component in components}
    for step in (*configuration.http_pipeline, *configuration.app_http_pipeline):
        kind = step.type.lower().removeprefix("middleware.http.")
        if step.name in loaded and kind in _PROTECTING:
            yield (
                f"{step.source}: the pipeline's {step.name} ({step.type}) guards calls, but middleware is not part "
                "of this version. Remove it if unguarded calls are acceptable here"
            )


def _would_open(control: AccessControl) -> bool:
    """Whether a policy means to deny somebody whom the default action lets in."""
    return control.default == "allow" and any(
        policy.default == "deny" or any(operation.action == "deny" for operation in policy.operations)
        for policy in control.policies
    )
