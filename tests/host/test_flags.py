"""The sidecar's command line and environment."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pillion.host.flags import FLAGS, FlagError, Flags, parse, refusals, usage, warnings
from pillion.resources.component import Component
from pillion.resources.configuration import (
    AccessControl,
    ApiRule,
    AppPolicy,
    Configuration,
    MetricRule,
    Metrics,
    Middleware,
    Mtls,
    Tracing,
)
from pillion.resources.problems import Source

ID = ["--app-id", "shop"]


def flags(*args: str, **environ: str) -> Flags:
    return parse([*ID, *args], environ)


def refused(*args: str, **environ: str) -> FlagError:
    with pytest.raises(FlagError) as caught:
        parse(args, environ)
    return caught.value


def test_defaults_are_daprs() -> None:
    assert flags() == Flags(app_id="shop", given=frozenset({"app-id"}))


@pytest.mark.parametrize(
    ("args", "attribute", "value"),
    [
        (["--app-port", "8080"], "app_port", 8080),
        (["-app-port=8080"], "app_port", 8080),
        (["--app-port", "0"], "app_port", None),
        (["--app-port="], "app_port", None),
        (["--app-protocol", "GRPC"], "app_protocol", "grpc"),
        (["--app-protocol="], "app_protocol", "http"),
        (["--app-ssl"], "app_protocol", "https"),
        (["--app-ssl", "--app-protocol", "grpc"], "app_protocol", "grpcs"),
        (["--app-ssl", "--app-protocol", "h2c"], "app_protocol", "h2c"),
        (["--app-max-concurrency", "3"], "app_max_concurrency", 3),
        (["--app-max-concurrency", "-1"], "app_max_concurrency", None),
        (["--app-max-concurrency", "0"], "app_max_concurrency", None),
        (["--dapr-http-port", "0"], "dapr_http_port", 0),
        (["--dapr-internal-grpc-port", "0"], "dapr_internal_grpc_port", None),
        (["--dapr-internal-grpc-port", "50002"], "dapr_internal_grpc_port", 50002),
        (["--dapr-public-port", "3501"], "dapr_public_port", 3501),
        (["--dapr-listen-addresses", "127.0.0.1, ::1"], "dapr_listen_addresses", ("127.0.0.1", "::1")),
        (["--dapr-listen-addresses", ""], "dapr_listen_addresses", ()),
        (["--enable-metrics=false"], "enable_metrics", False),
        (["--resources-path", "a,b", "--resources-path=c"], "resources_paths", (Path("a"), Path("b"), Path("c"))),
        (["--components-path", "a"], "resources_paths", (Path("a"),)),
        (["--components-path", "a", "--resources-path", "b"], "resources_paths", (Path("b"),)),
        (["--resources-path", ""], "resources_paths", ()),
        (["--config", "a.yaml", "--config", "b.yaml"], "config", (Path("a.yaml"), Path("b.yaml"))),
        (["--allowed-origins", "http://a,http://b"], "allowed_origins", ("http://a", "http://b")),
        (["--max-body-size", "8Mi"], "max_body_size", 8 << 20),
        (["--max-body-size", "-1"], "max_body_size", 4 << 20),
        (["--max-body-size", "0"], "max_body_size", 0),
        (["--dapr-http-max-request-size", "8"], "max_body_size", 8 << 20),
        (["--dapr-http-max-request-size", "-1"], "max_body_size", 4 << 20),
        (["--dapr-http-max-request-size", "8", "--max-body-size", "1k"], "max_body_size", 1000),
        (["--read-buffer-size", "8Ki"], "read_buffer_size", 8192),
        (["--dapr-http-read-buffer-size", "16"], "read_buffer_size", 16384),
        (["--dapr-graceful-shutdown-seconds", "-1"], "graceful_shutdown", timedelta(seconds=5)),
        (["--dapr-graceful-shutdown-seconds", "0"], "graceful_shutdown", timedelta()),
        (["--dapr-graceful-shutdown-seconds", "9" * 30], "graceful_shutdown", timedelta(seconds=10**9)),
        (["--dapr-block-shutdown-duration", "2s"], "block_shutdown", timedelta(seconds=2)),
        (["--app-health-probe-interval", "0"], "app_health_probe_interval", timedelta(seconds=5)),
        (["--app-health-probe-interval", "7"], "app_health_probe_interval", timedelta(seconds=7)),
        (["--app-health-probe-timeout", "0"], "app_health_probe_timeout", timedelta(milliseconds=500)),
        (["--app-health-threshold", "0"], "app_health_threshold", 3),
        (["--app-binding-options-timeout", "500ms"], "app_binding_options_timeout", timedelta(milliseconds=500)),
        (["--enable-api-logging"], "enable_api_logging", True),
        (["--enable-api-logging=false"], "enable_api_logging", False),
        (["--disable-init-endpoints", "config,subscribe"], "disable_init_endpoints", frozenset({"config", "subscribe"})),
        (["--placement-host-address", "a:1,b:2"], "placement_addresses", ("a:1", "b:2")),
        (["--scheduler-host-address", "a:1", "--scheduler-host-address=b:2"], "scheduler_addresses", ("a:1", "b:2")),
        (["--hot-reload-reconcile-interval", "0s"], "hot_reload_reconcile_interval", timedelta(seconds=60)),
        (["--hot-reload-reconcile-interval", "5s"], "hot_reload_reconcile_interval", timedelta(seconds=5)),
        (["--mode", "kubernetes"], "mode", "kubernetes"),
        (["--log-level", "DEBUG"], "log_level", "debug"),
        (["--log-as-json"], "log_as_json", True),
        (["--unix-domain-socket", "/tmp/s"], "unix_domain_socket", "/tmp/s"),
        (["--embedded"], "embedded", True),
        (["--no-multicast"], "no_multicast", True),
        (["--pillion-home", "/p"], "pillion_home", Path("/p")),
    ],
)  # fmt: skip
def test_a_flag_is_read_by_its_type(args: list[str], attribute: str, value: Any) -> None:
    assert getattr(flags(*args), attribute) == value


@pytest.mark.parametrize(
    ("environ", "attribute", "value"),
    [
        ({"DAPR_API_TOKEN": "t"}, "api_token", "t"),
        ({"APP_API_TOKEN": "t"}, "app_token", "t"),
        ({"NAMESPACE": "ns"}, "own_namespace", "ns"),
        ({"NAMESPACE": "ns"}, "namespace", "ns"),
        ({}, "own_namespace", None),
        ({}, "namespace", "default"),
        ({"NAMESPACE": ""}, "own_namespace", None),
        ({"POD_NAME": "p"}, "pod_name", "p"),
        ({"DAPR_HOST_IP": "10.0.0.1"}, "host_ip", "10.0.0.1"),
        ({"DAPR_TRUST_ANCHORS": "x"}, "trust_anchors", b"x"),
        ({"DAPR_COMPONENTS_SOCKETS_FOLDER": "/s"}, "components_sockets_folder", "/s"),
        ({"DAPR_HTTP_DISABLE_H2C": "Yes"}, "disable_h2c", True),
        ({"DAPR_HTTP_DISABLE_H2C": "0"}, "disable_h2c", False),
        ({"DAPR_GRPC_MAX_CONN_IDLE": "1m"}, "grpc_max_conn_idle", timedelta(minutes=1)),
        ({"DAPR_GRPC_MAX_CONN_IDLE": "soon"}, "grpc_max_conn_idle", timedelta(minutes=3)),
        ({"DAPR_CONTROLPLANE_NAMESPACE": "n"}, "control_plane_namespace", "n"),
        ({"DAPR_CONTROLPLANE_TRUST_DOMAIN": "t"}, "control_plane_trust_domain", "t"),
        ({"DAPR_SCHEDULER_HOST_ADDRESS_DNS_A": "a,b"}, "scheduler_addresses", ("a", "b")),
        ({"DAPR_SCHEDULER_HOST_ADDRESS": "c"}, "scheduler_addresses", ("c",)),
        ({"OTEL_SERVICE_NAME": "s", "X": "y"}, "otel", {"OTEL_SERVICE_NAME": "s"}),
        ({"PILLION_HOME": "/p"}, "pillion_home", Path("/p")),
    ],
)
def test_the_environment_is_read(environ: dict[str, str], attribute: str, value: Any) -> None:
    assert getattr(flags(**environ), attribute) == value


def test_a_flag_wins_over_its_variable() -> None:
    made = flags(
        "--control-plane-namespace=a", "--scheduler-host-address=b", "--pillion-home=c",
        DAPR_CONTROLPLANE_NAMESPACE="x", DAPR_SCHEDULER_HOST_ADDRESS="y", PILLION_HOME="z",
    )  # fmt: skip
    assert (made.control_plane_namespace, made.scheduler_addresses, made.pillion_home) == (
        "a",
        ("b",),
        Path("c"),
    )


def test_tokens_never_print() -> None:
    assert "hush" not in repr(
        flags(DAPR_API_TOKEN="hush", APP_API_TOKEN="hush", OTEL_EXPORTER_OTLP_HEADERS="hush")
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "parameter app-id cannot be empty"),
        (["--app-id", "a.b"], "parameter app-id cannot contain dots"),
        ([*ID, "--app-port", "3500"], "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'"),
        ([*ID, "--app-port", "50001"], "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'"),
        ([*ID, "--app-port", "abc"], 'error parsing app-port: strconv.Atoi: parsing "abc": invalid syntax'),
        ([*ID, "--app-port", "+-5"], 'error parsing app-port: strconv.Atoi: parsing "+-5": invalid syntax'),
        ([*ID, "--dapr-http-port", "x"], 'error parsing dapr-http-port flag: strconv.Atoi: parsing "x": invalid syntax'),
        ([*ID, "--dapr-grpc-port", ""], 'error parsing dapr-grpc-port flag: strconv.Atoi: parsing "": invalid syntax'),
        ([*ID, "--dapr-http-port", "70000"], "error parsing dapr-http-port flag: 70000 is not a port"),
        ([*ID, "--mode", "zz"], "invalid mode: zz"),
        ([*ID, "--app-protocol", "zz"], "invalid value for 'app-protocol': zz"),
        ([*ID, "--log-level", "zz"], "invalid value for --log-level: zz"),
        ([*ID, "--max-body-size", "big"], "invalid value for 'max-body-size' option: \"big\" is not a size such as 4Mi, 512Ki or 1000000"),
        ([*ID, "--disable-init-endpoints", "x"], "invalid value for --disable-init-endpoints: x"),
        (
            [*ID, "--app-health-probe-interval", "1", "--app-health-probe-timeout", "2000"],
            "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
        ),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_ends_with_status_1(args: list[str], said: str) -> None:
    error = refused(*args)
    assert (error.status, error.problems, error.usage) == (1, (said,), "")


def test_all_values_that_cannot_be_used_are_told_at_once() -> None:
    assert len(refused("--mode", "zz", "--log-level", "zz", "--app-port", "x").problems) == 4


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--nosuch"], "unknown flag: --nosuch"),
        (["--app-id"], "flag needs an argument: --app-id"),
        (["--enable-mtls=perhaps"], 'invalid argument "perhaps" for "--enable-mtls" flag'),
        (
            ["--app-binding-options-timeout", "3"],
            'invalid argument "3" for "--app-binding-options-timeout" flag',
        ),
    ],
)
def test_a_line_that_cannot_be_understood_ends_with_status_2_and_the_usage(
    args: list[str], said: str
) -> None:
    error = refused(*args)
    assert error.status == 2 and error.usage == usage()
    assert error.problems[0].startswith(said)


def test_a_call_for_help_ends_with_status_0() -> None:
    error = refused("--help")
    assert (error.status, error.problems) == (0, ()) and "--app-id" in error.usage


@pytest.mark.parametrize("name", ["version", "build-info", "wait"])
def test_what_only_informs_needs_no_app_id(name: str) -> None:
    assert getattr(parse([f"--{name}"], {}), name.replace("-", "_"))


def test_waiting_needs_a_port_that_can_be_asked() -> None:
    assert refused("--wait", "--dapr-http-port", "x").status == 1


def test_every_flag_of_daprd_is_accepted() -> None:
    words = {"int": "4", "uint": "4", "duration": "4s", "bool": "true"}
    ports = {
        flag.name: str(9000 + number) for number, flag in enumerate(FLAGS) if flag.name.endswith("-port")
    }
    given = {
        "app-protocol": "http",
        "mode": "standalone",
        "log-level": "info",
        "disable-init-endpoints": "config",
    }
    given |= {"max-body-size": "4Mi", "read-buffer-size": "4Ki", **ports}
    args = [f"-{flag.name}={given.get(flag.name) or words.get(flag.kind, 'x')}" for flag in FLAGS]
    assert parse(args, {}).given == {flag.name for flag in FLAGS}


def test_flags_without_effect_share_a_line_by_reason() -> None:
    made = flags(
        "--placement-host-address=a:1",
        "--scheduler-host-address=b:1",
        "--enable-profiling",
        "--sentry-address=c",
    )
    lines = warnings(made)
    assert [line.partition(":")[0] for line in lines] == [
        "--enable-profiling",
        "--placement-host-address, --scheduler-host-address",
        "--sentry-address",
    ]


def test_flags_that_ask_for_nothing_are_passed_over_in_silence() -> None:
    made = flags(
        "--placement-host-address=",
        "--scheduler-host-address=",
        "--enable-profiling=false",
        "--sentry-address=",
    )
    assert warnings(made) == ()


def test_flags_that_will_go_away_say_what_takes_their_place() -> None:
    assert warnings(flags("--app-ssl")) == (
        "Flag --app-ssl has been deprecated, use --app-protocol https|grpcs",
    )


def test_configuration_without_effect_is_told() -> None:
    configuration = Configuration(
        tracing=Tracing(sampling_rate="1"),
        features={"HotReload": True},
        access_control=AccessControl("deny", "public", (AppPolicy("a", "t", "n", "allow", ()),)),
        others={"wasm": {}, "workflow": {}},
        app_http_pipeline=(Middleware("m", "middleware.http.uppercase", "v1", (), Source("c", 1)),),
    )
    text = "\n".join(warnings(flags(), configuration))
    for part in (
        "tracing",
        "HotReload",
        'the default action "deny" decides for all',
        "wasm",
        "workflow",
        "appHttpPipeline",
    ):
        assert part in text
    assert warnings(flags(), Configuration()) == ()


def test_settings_of_metrics_that_change_nothing_are_told() -> None:
    metrics = Metrics(record_error_codes=True, path_matching=("/a/{b}",), rules=(MetricRule("m", {}),))
    lines = warnings(flags(), Configuration(metrics=metrics))
    assert [line.split()[2].strip(":") for line in lines] == ["pathMatching", "rules", "recordErrorCodes"]


def test_policies_that_would_deny_nobody_are_refused() -> None:
    control = AccessControl("allow", "public", (AppPolicy("a", "t", "n", "deny", ()),))
    (said,) = refusals(flags(), Configuration(access_control=control))
    assert "would let all of them in" in said


def test_a_misspelt_api_in_a_list_is_refused_with_the_right_word() -> None:
    (said,) = refusals(flags(), Configuration(api_denied=(ApiRule("secret", "v1", "http"),)))
    assert '"secret"' in said and "secrets" in said


def test_nothing_is_refused_where_nothing_is_asked_for() -> None:
    assert refusals(flags("--sentry-address=x"), Configuration()) == ()


@pytest.mark.parametrize(
    ("args", "said"), [(["--enable-mtls"], "no mTLS"), (["--mode=kubernetes"], "no operator client")]
)
def test_a_protection_that_would_not_protect_is_refused(args: list[str], said: str) -> None:
    assert said in refusals(flags(*args))[0]


def test_mtls_in_the_configuration_is_refused_with_its_place() -> None:
    configuration = Configuration(mtls=Mtls(enabled=True), places={"mtls": Source("c.yaml", 7)})
    assert refusals(flags(), configuration)[0].startswith("c.yaml:7: spec.mtls.enabled is true")


def test_middleware_that_guards_is_refused_if_it_would_be_loaded() -> None:
    step = Middleware("guard", "middleware.http.bearer", "v1", (), Source("c.yaml", 9))
    configuration = Configuration(http_pipeline=(step,))
    loaded = Component(name="guard", namespace="", type="middleware.http.bearer", version="v1")
    assert refusals(flags(), configuration) == ()
    assert "guards calls" in refusals(flags(), configuration, [loaded])[0]


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT: without effect"),
        ({"DAPR_COMPONENTS_SOCKETS_FOLDER": "/s"}, "no pluggable components"),
        ({"DAPR_TRUST_ANCHORS": "pem"}, "DAPR_TRUST_ANCHORS, DAPR_SENTRY_TOKEN_FILE: without effect"),
    ],
)
def test_a_variable_without_effect_is_told(environ: dict[str, str], said: str) -> None:
    (line,) = warnings(flags(**environ))
    assert said in line


def test_variables_that_ask_for_nothing_are_passed_over() -> None:
    assert warnings(flags(OTEL_SERVICE_NAME="s", OTEL_EXPORTER_OTLP_ENDPOINT="", DAPR_TRUST_ANCHORS="")) == ()
