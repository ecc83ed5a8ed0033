"""How one sidecar behaves, read from one or several files."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from pillion.resources.configuration import (
    LATENCY_BUCKETS,
    AccessControl,
    ApiRule,
    AppPolicy,
    Configuration,
    MetricRule,
    NameResolution,
    Operation,
    SecretScope,
    expand,
    load,
)
from pillion.resources.problems import Problem

HEAD = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n"


def loaded(
    tmp_path: Path, *specs: str, environ: Mapping[str, str] | None = None
) -> tuple[Configuration, tuple[Problem, ...]]:
    paths = []
    for number, spec in enumerate(specs):
        paths.append(tmp_path / f"{number}.yaml")
        paths[-1].write_text(HEAD + spec)
    return load(paths, environ=environ or {})


def clean(tmp_path: Path, *specs: str, environ: Mapping[str, str] | None = None) -> Configuration:
    made, problems = loaded(tmp_path, *specs, environ=environ)
    assert problems == ()
    return made


def test_no_file_is_the_default(tmp_path: Path) -> None:
    made = load([], environ={})[0]
    assert made == Configuration()
    assert made.metrics.enabled and made.metrics.latency_buckets == LATENCY_BUCKETS
    assert made.access_control == AccessControl("allow", "public", ())
    assert made.written == frozenset()


def test_every_section_is_read(tmp_path: Path) -> None:
    made = clean(
        tmp_path,
        """\
  tracing:
    samplingRate: 1
    stdout: true
    zipkin: {endpointAddress: http://z}
    otel: {endpointAddress: o:4317, protocol: grpc, isSecure: false, timeout: 3s, headers: [a=b]}
  metric:
    recordErrorCodes: true
    http: {increasedCardinality: false, pathMatching: ["/a/{b}"], excludeVerbs: true}
    latencyDistributionBuckets: [1, 5]
    rules:
    - name: m
      labels: [{name: method, regex: {short: "^/.*"}}]
  logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}
  httpPipeline:
    handlers:
    - {name: h, type: middleware.http.bearer, version: v1, selector: {fields: [{field: path, value: /x}]}}
  appHttpPipeline: {handlers: [{name: g, type: middleware.http.opa}]}
  secrets:
    scopes: [{storeName: vault, defaultAccess: Deny, allowedSecrets: [a], deniedSecrets: [b]}]
  accessControl:
    defaultAction: deny
    trustDomain: td
    policies:
    - {appId: a, trustDomain: public, namespace: ns, defaultAction: allow, operations: [{name: /op, httpVerb: [GET], action: deny}]}
  nameResolution: {component: sqlite, version: v1, configuration: {connectionString: x}}
  features: [{name: HotReload, enabled: true}, {name: Other, enabled: false}]
  api:
    allowed: [{name: state, version: v1.0, protocol: http}]
    denied: [{name: invoke, version: v1, protocol: grpc}]
  mtls: {enabled: true, workloadCertTTL: 1h}
  components: {deny: [state.redis, bindings.smtp/v1]}
  wasm: {strictSandbox: true}
""",
    )
    assert made.name == "c"
    assert (made.tracing.sampling_rate, made.tracing.otel_timeout) == ("1", timedelta(seconds=3))
    assert made.tracing.is_on and not made.tracing.otel_secure and made.tracing.otel_headers == ["a=b"]
    assert made.metrics.rules == (MetricRule("m", {"method": {"short": "^/.*"}}),)
    assert made.metrics.latency_buckets == (1, 5) and not made.metrics.increased_cardinality
    assert made.metrics.path_matching == ("/a/{b}",) and made.metrics.exclude_verbs
    assert made.api_logging.enabled and made.api_logging.omit_health_checks
    assert made.http_pipeline[0].selector == (("path", "/x"),) and made.http_pipeline[0].source.line == 20
    assert made.app_http_pipeline[0].type == "middleware.http.opa"
    assert made.secret_scopes == (SecretScope("vault", "deny", ("a",), ("b",)),)
    policy = AppPolicy("a", "public", "ns", "allow", (Operation("/op", ("GET",), "deny"),))
    assert made.access_control == AccessControl("deny", "td", (policy,))
    assert made.name_resolution == NameResolution("sqlite", "v1", {"connectionString": "x"})
    assert dict(made.features) == {"HotReload": True, "Other": False}
    assert made.api_allowed == (ApiRule("state", "v1.0", "http"),)
    assert made.api_denied == (ApiRule("invoke", "v1", "grpc"),)
    assert made.mtls.enabled and dict(made.mtls.settings) == {"workloadCertTTL": "1h"}
    assert made.denied_components == ("state.redis", "bindings.smtp/v1")
    assert dict(made.others) == {"wasm": {"strictSandbox": True}}
    assert "wasm" in made.written and made.places["mtls"].line == 34


def test_later_files_are_laid_over_earlier_ones(tmp_path: Path) -> None:
    made = clean(
        tmp_path,
        "  tracing: {samplingRate: '1', stdout: true}\n  components: {deny: [a, b]}\n",
        "  tracing: {samplingRate: '0'}\n  components: {deny: [c]}\n",
    )
    assert (made.tracing.sampling_rate, made.tracing.stdout, made.tracing.is_on) == ("0", True, False)
    assert made.denied_components == ("c",)


def test_metrics_wins_over_metric_field_by_field(tmp_path: Path) -> None:
    spec = "  metric: {enabled: true, recordErrorCodes: true}\n  metrics: {enabled: false}\n"
    assert (clean(tmp_path, spec).metrics.enabled, clean(tmp_path, spec).metrics.record_error_codes) == (
        False,
        True,
    )


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$A-${A}", "1-1"),
        ("${B}x$B", "x"),
        ("$$A", "A"),
        ("cost: $ 5", "cost: $ 5"),
        ("$1A", "A"),
        ("${A", "A"),
        ("$A_x", ""),
    ],
)
def test_variables_are_expanded_as_go_does(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_variables_are_expanded_in_configuration_files(tmp_path: Path) -> None:
    made = clean(
        tmp_path, "  tracing: {zipkin: {endpointAddress: 'http://$HOST/x'}}\n", environ={"HOST": "z"}
    )
    assert made.tracing.zipkin_endpoint == "http://z/x"


def test_policies_without_default_deny(tmp_path: Path) -> None:
    made = clean(tmp_path, "  accessControl: {policies: [{appId: a, trustDomain: t, namespace: n}]}\n")
    assert made.access_control.default == "deny"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("  tracing: {stdout: maybe}\n", 'spec.tracing.stdout: must be true or false, not the text "maybe"'),
        ("  tracing: {otel: {endpointAddress: x}}\n", "spec.tracing.otel.protocol: is required: http or grpc"),
        ("  tracing: {otel: {protocol: tcp}}\n", 'spec.tracing.otel.protocol: "tcp" is not one of http, grpc'),
        (
            "  accessControl: {defaultAction: denny}\n",
            'spec.accessControl.defaultAction: "denny" is not one of allow, deny; did you mean "deny"?',
        ),
        ("  accessControl: {policies: [{appId: a}]}\n", "spec.accessControl.policies[0].trustDomain: is required"),
        (
            "  secrets: {scopes: [{storeName: a, defaultAccess: never}]}\n",
            'spec.secrets.scopes[0].defaultAccess: "never" is not one of allow, deny',
        ),
        (
            "  secrets: {scopes: [{storeName: a}, {storeName: a}]}\n",
            'spec.secrets.scopes[1].storeName: "a" storeName is repeated in secrets configuration',
        ),
        ("  api: {denied: [{name: state, protocol: tcp}]}\n", 'spec.api.denied[0].protocol: "tcp" is not one of http, grpc'),
        ("  api: {denied: [{name: state}]}\n", "spec.api.denied[0].protocol: is required: http or grpc"),
        ("  components: {deny: state.redis}\n", 'spec.components.deny: must be a list, not the text "state.redis"'),
        ("  features: [{enabled: true}]\n", "spec.features[0].name: is required"),
        ("  tracing: [\n", "not valid YAML: did not find expected node content"),
    ],
)  # fmt: skip
def test_a_value_that_is_wrong_is_fatal(tmp_path: Path, spec: str, said: str) -> None:
    _, problems = loaded(tmp_path, spec)
    fatal = [str(problem).partition(": ")[2] for problem in problems if problem.fatal]
    assert any(said in line for line in fatal), fatal


def test_unknown_sections_and_fields_are_told_and_kept(tmp_path: Path) -> None:
    made, problems = loaded(
        tmp_path, "  accesControl: {defaultAction: deny}\n  metrics: {enable: false}\n  workflow: {}\n"
    )
    assert not any(problem.fatal for problem in problems)
    assert sorted(str(problem).partition(": ")[2] for problem in problems) == [
        'spec.accesControl: unknown section, without effect; did you mean "accessControl"?',
        'spec.metrics.enable: unknown field; did you mean "enabled"?',
    ]
    assert made.others["accesControl"] == {"defaultAction": "deny"}


def test_a_missing_file_is_fatal_in_daprs_words() -> None:
    _, problems = load([Path("/nope.yaml")], environ={})
    assert problems[0].fatal
    assert problems[0].message == "error loading configuration: stat /nope.yaml: no such file or directory"


def test_another_kind_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Component\nspec: {}\n---\nkind: Configuration\n")
    _, problems = load([tmp_path / "a.yaml"], environ={})
    assert [problem.message for problem in problems] == [
        "only the first document of a configuration file is read",
        "is a Component where a Configuration is expected",
    ]


def test_a_section_counts_as_written_whatever_its_case(tmp_path: Path) -> None:
    made = clean(tmp_path, "  AccessControl: {defaultAction: deny}\n")
    assert made.written == {"accessControl"} and made.access_control.default == "deny"
