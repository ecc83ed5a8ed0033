"""The Configuration: how one sidecar behaves, read from one or several files laid over each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pillion.resources import document
from pillion.resources.document import Node, overlay
from pillion.resources.fields import Fields
from pillion.resources.header import opened
from pillion.resources.problems import Problem, Report, Source
from pillion.toolbox import suggest
from pillion.toolbox.lazily import dataclass, pattern

Action = Literal["allow", "deny"]
ACTIONS = ("allow", "deny")
LATENCY_BUCKETS = (
    1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80, 100, 130, 160, 200, 250, 300, 400, 500,
    650, 800, 1000, 2000, 5000, 10000, 20000, 50000, 100000,
)  # fmt: skip
_WITHOUT_SHAPE = ("wasm", "workflow")
_VARIABLE = pattern(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*)|([*#$@!?\-0-9])|(\{))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What is sampled and where spans go."""

    sampling_rate: str = ""
    stdout: bool = False
    zipkin_endpoint: str = ""
    otel_endpoint: str = ""
    otel_protocol: str = ""
    otel_secure: bool = True
    otel_headers: Any = None
    otel_timeout: timedelta | None = None

    @property
    def is_on(self) -> bool:
        return self.sampling_rate not in ("", "0")


@dataclass(frozen=True, slots=True)
class MetricRule:
    """Rewrites labels of one metric: for each label, new values by regular expression."""

    name: str
    labels: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """What is counted and under which labels."""

    enabled: bool = True
    record_error_codes: bool = False
    increased_cardinality: bool = True
    path_matching: tuple[str, ...] = ()
    exclude_verbs: bool = False
    latency_buckets: tuple[int, ...] = LATENCY_BUCKETS
    rules: tuple[MetricRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLogging:
    """Whether calls are logged, and how much of them."""

    enabled: bool = False
    obfuscate_urls: bool = False
    omit_health_checks: bool = False


@dataclass(frozen=True, slots=True)
class Middleware:
    """One step of a pipeline: the component it names, and for which requests."""

    name: str
    type: str
    version: str
    selector: tuple[tuple[str, str], ...]
    source: Source


@dataclass(frozen=True, slots=True)
class SecretScope:
    """Which secrets of one store the app may read."""

    store: str
    default: Action
    allowed: tuple[str, ...]
    denied: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """A method, its verbs, and what happens to a call of it."""

    name: str
    verbs: tuple[str, ...]
    action: Action


@dataclass(frozen=True, slots=True)
class AppPolicy:
    """What one calling app may do."""

    app_id: str
    trust_domain: str
    namespace: str
    default: Action | None
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Who may invoke the app. Without an identity by mTLS `default` decides for every caller."""

    default: Action = "allow"
    trust_domain: str = "public"
    policies: tuple[AppPolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class NameResolution:
    """The resolver that finds other apps."""

    component: str = ""
    version: str = ""
    configuration: Any = None


@dataclass(frozen=True, slots=True)
class ApiRule:
    """One API that is on a list."""

    name: str
    version: str
    protocol: Literal["http", "grpc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mtls:
    """Certificates between sidecars, as written."""

    enabled: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """All of it, defaults filled in.

    `written` names the sections that a file has, whatever their case there; `others` holds those without a shape here, as
    written.
    """

    name: str = ""
    tracing: Tracing = Tracing()
    metrics: Metrics = Metrics()
    api_logging: ApiLogging = ApiLogging()
    http_pipeline: tuple[Middleware, ...] = ()
    app_http_pipeline: tuple[Middleware, ...] = ()
    secret_scopes: tuple[SecretScope, ...] = ()
    access_control: AccessControl = AccessControl()
    name_resolution: NameResolution | None = None
    features: Mapping[str, bool] = field(default_factory=dict)
    api_allowed: tuple[ApiRule, ...] = ()
    api_denied: tuple[ApiRule, ...] = ()
    mtls: Mtls = Mtls()
    denied_components: tuple[str, ...] = ()
    others: Mapping[str, Any] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    places: Mapping[str, Source] = field(default_factory=dict)
    """Where each section stands, for messages about it."""


def load(paths: Sequence[Path], *, environ: Mapping[str, str]) -> tuple[Configuration, tuple[Problem, ...]]:
    """Lay the files over each other in order and read the result.

    A missing file and a wrong value are fatal, as in Dapr; an unknown name is told.
    """
    report = Report(strict=True)
    whole: Node | None = None
    for path in paths:
        node = _file(path, environ, report)
        if node is not None:
            whole = overlay(whole, node) if whole else node
    made = _configuration(opened(whole, report)) if whole else Configuration()
    return made, tuple(report.problems)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """Replace `$NAME` and `${NAME}` as Go does: what is not set becomes nothing."""

    def value(match: re.Match[str]) -> str:
        return environ.get(match[1] or match[2] or match[3] or "", "")

    return _VARIABLE.sub(value, text)


def _file(path: Path, environ: Mapping[str, str], report: Report) -> Node | None:
    source = Source(str(path))
    if not path.exists():
        report.fail(source, "", f"error loading configuration: stat {path}: no such file or directory")
        return None
    documents = document.read(path, report, rewrite=lambda text: expand(text, environ))
    for extra in documents[1:]:
        report.warn(extra.source, "", "only the first document of a configuration file is read")
    if not documents or not isinstance(documents[0].value, dict):
        if documents:
            report.spoil(documents[0].source, "", "is not a Configuration")
        return None
    kind = Fields(documents[0], "", report)
    if kind.text("kind", "Configuration") != "Configuration":
        said = f"is a {kind.text('kind')} where a Configuration is expected"
        report.warn(kind.where("kind"), "kind", said)
    return documents[0]


def _configuration(top: Fields) -> Configuration:
    for name in ("apiVersion", "kind", "status"):
        top.node(name)
    spec = top.section("spec")
    allowed, denied = _api(spec.section("api"))
    made = Configuration(
        name=str((top.node("metadata").fields.get("name") or Node(top.source, "")).text or ""),
        tracing=_tracing(spec.section("tracing")),
        metrics=_metrics(spec),
        api_logging=_api_logging(spec.section("logging")),
        http_pipeline=_pipeline(spec.section("httpPipeline")),
        app_http_pipeline=_pipeline(spec.section("appHttpPipeline")),
        secret_scopes=_secret_scopes(spec.section("secrets")),
        access_control=_access_control(spec.section("accessControl")),
        name_resolution=_name_resolution(spec),
        features=_features(spec),
        api_allowed=allowed,
        api_denied=denied,
        mtls=_mtls(spec.section("mtls")),
        denied_components=_denied(spec.section("components")),
        others=_others(spec),
        written=frozenset(_written(spec)),
        places={name: spec.where(name) for name in _written(spec)},
    )
    top.done()
    return made


def _written(spec: Fields) -> list[str]:
    """The sections there are, by their right names."""
    return [name for name in (*spec.asked, *_WITHOUT_SHAPE) if name in spec]


def _others(spec: Fields) -> Mapping[str, Any]:
    """The sections that have no shape here: known ones in silence, others with the closest right name."""
    known = [*spec.asked, *_WITHOUT_SHAPE]
    kept = {name: node.plain() for name, node in spec.rest().items()}
    for name in kept:
        if name not in _WITHOUT_SHAPE:
            said = f"unknown section, without effect{suggest.hint(name, known)}"
            spec.report.warn(spec.where(name), spec.name_of(name), said)
    return MappingProxyType(kept)


def _tracing(fields: Fields) -> Tracing:
    zipkin, otel = fields.section("zipkin"), fields.section("otel")
    made = Tracing(
        sampling_rate=fields.text("samplingRate"),
        stdout=fields.flag("stdout"),
        zipkin_endpoint=zipkin.text("endpointAddress"),
        otel_endpoint=otel.text("endpointAddress"),
        otel_protocol=otel.choice("protocol", ("http", "grpc"), fatal=True),
        otel_secure=otel.flag("isSecure", True),
        otel_headers=otel.raw("headers"),
        otel_timeout=otel.span("timeout"),
    )
    if made.otel_endpoint and not made.otel_protocol:
        otel.report.fail(otel.where("protocol"), otel.name_of("protocol"), "is required: http or grpc")
    for each in (zipkin, otel, fields):
        each.done()
    return made


def _metrics(spec: Fields) -> Metrics:
    """`metric` and `metrics` mean the same; what `metrics` says wins field by field."""
    node = overlay(spec.node("metric"), spec.node("metrics")) if "metrics" in spec else spec.node("metric")
    spec.node("metrics")
    fields = Fields(node, spec.name_of("metrics"), spec.report)
    http = fields.section("http")
    made = Metrics(
        enabled=fields.flag("enabled", True),
        record_error_codes=fields.flag("recordErrorCodes"),
        increased_cardinality=http.flag("increasedCardinality", True),
        path_matching=http.texts("pathMatching"),
        exclude_verbs=http.flag("excludeVerbs"),
        latency_buckets=fields.numbers("latencyDistributionBuckets") or LATENCY_BUCKETS,
        rules=_metric_rules(fields),
    )
    fields.node("workflow")
    http.done()
    fields.done()
    return made


def _metric_rules(fields: Fields) -> tuple[MetricRule, ...]:
    rules = []
    for each in fields.sections("rules"):
        labels = {label.text("name"): label.table("regex") for label in each.sections("labels")}
        rules.append(MetricRule(each.text("name"), labels))
        each.done()
    return tuple(rules)


def _api_logging(logging: Fields) -> ApiLogging:
    fields = logging.section("apiLogging")
    made = ApiLogging(
        enabled=fields.flag("enabled"),
        obfuscate_urls=fields.flag("obfuscateURLs"),
        omit_health_checks=fields.flag("omitHealthChecks"),
    )
    fields.done()
    logging.done()
    return made


def _pipeline(fields: Fields) -> tuple[Middleware, ...]:
    steps = []
    for each in fields.sections("handlers"):
        selector = each.section("selector")
        pairs = tuple((pair.text("field"), pair.text("value")) for pair in selector.sections("fields"))
        steps.append(
            Middleware(each.text("name"), each.text("type"), each.text("version"), pairs, each.source)
        )
        each.done()
    fields.done()
    return tuple(steps)


def _secret_scopes(secrets: Fields) -> tuple[SecretScope, ...]:
    found: dict[str, SecretScope] = {}
    for each in secrets.sections("scopes"):
        store = each.text("storeName")
        if store in found:
            said = f'"{store}" storeName is repeated in secrets configuration'
            each.report.fail(each.source, each.name_of("storeName"), said)
        found[store] = SecretScope(
            store=store,
            default=_action(each, "defaultAccess") or "allow",
            allowed=each.texts("allowedSecrets"),
            denied=each.texts("deniedSecrets"),
        )
        each.done()
    secrets.done()
    return tuple(found.values())


def _action(fields: Fields, name: str) -> Action | None:
    """allow or deny; None when not given. Another word is fatal: it was meant to protect something."""
    match fields.choice(name, ACTIONS, fatal=True):
        case "allow":
            return "allow"
        case "deny":
            return "deny"
    return None


def _access_control(fields: Fields) -> AccessControl:
    policies = tuple(_policy(each) for each in fields.sections("policies"))
    default = _action(fields, "defaultAction") or ("deny" if policies else "allow")
    made = AccessControl(default, fields.text("trustDomain") or "public", policies)
    fields.done()
    return made


def _policy(fields: Fields) -> AppPolicy:
    operations = []
    for each in fields.sections("operations"):
        action = _action(each, "action") or "deny"
        operations.append(Operation(each.text("name"), each.texts("httpVerb"), action))
        each.done()
    made = AppPolicy(
        app_id=fields.needed("appId"),
        trust_domain=fields.needed("trustDomain"),
        namespace=fields.needed("namespace"),
        default=_action(fields, "defaultAction"),
        operations=tuple(operations),
    )
    fields.done()
    return made


def _name_resolution(spec: Fields) -> NameResolution | None:
    fields = spec.section("nameResolution")
    if "nameResolution" not in spec:
        return None
    made = NameResolution(fields.text("component"), fields.text("version"), fields.raw("configuration"))
    fields.done()
    return made


def _features(spec: Fields) -> Mapping[str, bool]:
    features = {}
    for each in spec.sections("features"):
        features[each.needed("name")] = each.flag("enabled")
        each.done()
    return MappingProxyType(features)


def _api(fields: Fields) -> tuple[tuple[ApiRule, ...], tuple[ApiRule, ...]]:
    allowed, denied = _api_rules(fields, "allowed"), _api_rules(fields, "denied")
    fields.done()
    return allowed, denied


def _api_rules(api: Fields, name: str) -> tuple[ApiRule, ...]:
    rules = []
    for each in api.sections(name):
        protocol = each.choice("protocol", ("http", "grpc"), fatal=True)
        if not protocol and "protocol" not in each:
            each.report.fail(each.source, each.name_of("protocol"), "is required: http or grpc")
        rules.append(
            ApiRule(each.needed("name"), each.text("version"), "grpc" if protocol == "grpc" else "http")
        )
        each.done()
    return tuple(rules)


def _mtls(fields: Fields) -> Mtls:
    names = (
        "workloadCertTTL",
        "allowedClockSkew",
        "sentryAddress",
        "controlPlaneTrustDomain",
        "tokenValidators",
    )
    made = Mtls(
        enabled=fields.flag("enabled"), settings={name: fields.raw(name) for name in names if name in fields}
    )
    for name in names:
        fields.node(name)
    fields.done()
    return made


def _denied(fields: Fields) -> tuple[str, ...]:
    denied = fields.texts("deny")
    fields.done()
    return denied
