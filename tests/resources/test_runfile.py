"""The multi-app run file."""

from pathlib import Path

import pytest

from pillion.resources.runfile import AppRun, RunFile, load, parse


def laid_out(tmp_path: Path) -> Path:
    """Two apps, one with its own `.dapr` folder, and shared resources."""
    for name in ("shop/.dapr/resources", "shop/own", "kitchen", "shared", "more"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "shop/.dapr/config.yaml").touch()
    (tmp_path / "common.yaml").touch()
    return tmp_path


def run(tmp_path: Path, text: str) -> RunFile:
    made, problems = parse(text, tmp_path)
    assert [str(problem) for problem in problems] == []
    assert made is not None
    return made


def app(tmp_path: Path, text: str) -> AppRun:
    return run(tmp_path, f"version: 1\napps:\n- appDirPath: kitchen\n{text}").apps[0]


def told(tmp_path: Path, text: str) -> list[str]:
    made, problems = parse(text, tmp_path)
    assert made is None
    return [str(problem) for problem in problems if problem.fatal]


def test_an_app_needs_no_more_than_its_folder(tmp_path: Path) -> None:
    made = app(laid_out(tmp_path), "")
    assert (made.app_id, made.app_dir) == ("kitchen", tmp_path / "kitchen")
    assert (made.app_port, made.dapr_http_port, made.app_protocol, made.app_max_concurrency) == (
        -1,
        -1,
        "http",
        -1,
    )
    assert (made.daprd_log_destination, made.app_log_destination) == ("file", "fileAndConsole")
    assert (made.resources_paths, made.config_file, made.command) == ((), None, ())
    assert made.placement_host_address is None
    assert made.container_image_pull_policy == "Always"
    assert made.logs_dir == tmp_path / "kitchen/.dapr/logs"
    assert made.source.line == 3


def test_every_field_is_read(tmp_path: Path) -> None:
    made = app(
        laid_out(tmp_path),
        """\
  appID: k
  configFilePath: ../common.yaml
  appProtocol: grpc
  apiListenAddresses: 127.0.0.1
  enableProfiling: true
  logLevel: debug
  appMaxConcurrency: 3
  placementHostAddress: ""
  schedulerHostAddress: s:1
  resourcesPath: ../more
  resourcesPaths: [../shared]
  appSSL: true
  maxBodySize: 8Mi
  readBufferSize: 8Ki
  enableAppHealthCheck: true
  appHealthCheckPath: /h
  appHealthProbeInterval: 1
  appHealthProbeTimeout: 2
  appHealthThreshold: 4
  enableApiLogging: true
  runtimePath: .
  env: {A: 1, B: yes, C: }
  daprdLogDestination: console
  appLogDestination: file
  appChannelAddress: 10.0.0.1
  appPort: 8000
  daprHTTPPort: 3500
  daprGRPCPort: 50001
  daprInternalGRPCPort: 50002
  metricsPort: 9090
  profilePort: 7777
  unixDomainSocket: /tmp/s
  command: [python3, app.py, 1]
  containerImage: i
  containerImagePullPolicy: Never
  createService: true
""",
    )
    assert made.app_id == "k" and made.command == ("python3", "app.py", "1")
    assert made.resources_paths == (tmp_path / "kitchen/../shared", tmp_path / "kitchen/../more")
    assert made.placement_host_address == "" and made.scheduler_host_address == "s:1"
    assert dict(made.env) == {"A": "1", "B": "true", "C": ""}
    assert (made.app_port, made.metrics_port, made.profile_port) == (8000, 9090, 7777)
    assert (made.max_body_size, made.read_buffer_size, made.create_service) == ("8Mi", "8Ki", True)


def test_an_app_takes_from_common_what_it_does_not_say(tmp_path: Path) -> None:
    made = run(
        laid_out(tmp_path),
        """\
version: 1
name: all
common:
  env: {A: common, B: common}
  logLevel: warn
  enableApiLogging: true
  schedulerHostAddress: here
  resourcesPaths: [shared]
  configFilePath: common.yaml
apps:
- appDirPath: kitchen
  env: {B: own}
  schedulerHostAddress: ""
- appDirPath: shop
  logLevel: debug
- appDirPath: shop
  appID: other
  resourcesPath: own
""",
    )
    kitchen, shop, other = made.apps
    assert dict(kitchen.env) == {"A": "common", "B": "own"}
    assert (kitchen.log_level, shop.log_level, kitchen.enable_api_logging) == ("warn", "debug", True)
    assert (kitchen.scheduler_host_address, shop.scheduler_host_address) == ("", "here")
    assert kitchen.resources_paths == (tmp_path / "shared",)
    assert kitchen.config_file == tmp_path / "common.yaml"
    assert shop.resources_paths == (tmp_path / "shop/.dapr/resources",)
    assert shop.config_file == tmp_path / "shop/.dapr/config.yaml"
    assert other.resources_paths == (tmp_path / "shop/own",)


def test_home_is_what_the_caller_says(tmp_path: Path) -> None:
    laid_out(tmp_path)
    made, problems = parse("version: 1\napps: [{appDirPath: ~/kitchen}]", Path("/"), home=tmp_path)
    assert problems == () and made is not None
    assert made.apps[0].app_dir == tmp_path / "kitchen"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apps: [{appDirPath: kitchen}]", "version: is required"),
        ("version: 1", "apps: is required"),
        ("version: 1\napps: [{appID: a}]", "apps[0].appDirPath: is required"),
        ("version: 1\napps: [{appDirPath: nope}]", "-:2: apps[0].appDirPath: no such file or folder"),
        ("version: 1\napps: [{appDirPath: kitchen, resourcesPaths: [nope]}]", "apps[0].resourcesPaths[0]: no such file or folder"),
        ("version: 1\ncommon: {configFilePath: nope}\napps: [{appDirPath: kitchen}]", "common.configFilePath: no such file"),
        ("version: 1\napps: [{appDirPath: kitchen, appPort: x}]", "apps[0].appPort: must be a whole number"),
        ("version: 1\napps: [{appDirPath: kitchen, appPort: 70000}]", "70000 is not a port"),
        ("version: 1\napps: [{appDirPath: kitchen, appProtocol: htp}]", 'did you mean "http"?'),
        ("version: 1\napps: [{appDirPath: kitchen, maxBodySize: big}]", "maxBodySize"),
        ("version: 1\napps: [{appDirPath: kitchen, appLogDestination: disk}]", "is not one of console, file, fileAndConsole"),
        ("version: 1\napps: [{appDirPath: kitchen, command: python3 app.py}]", "must be a list such as"),
        ("version: 1\napps: [{appDirPath: kitchen}, {appDirPath: kitchen}]", '"kitchen" is used twice'),
        ("version: 1\napps: [{appDirPath: kitchen, appID: a.b}]", "cannot contain dots"),
        ("version: 1\napps: [{appDirPath: kitchen, dependsOn: [kitchn]}]", 'did you mean "kitchen"?'),
        ("version: 1\napps: [{appDirPath: kitchen, dependsOn: [kitchen]}]", "in a circle: kitchen"),
        ("", "is empty"),
        ("a: [", "not valid YAML"),
    ],
)  # fmt: skip
def test_what_would_stop_an_app_is_fatal(tmp_path: Path, text: str, said: str) -> None:
    problems = told(laid_out(tmp_path), text)
    assert any(said in problem for problem in problems), problems


def test_an_unknown_field_is_told_with_the_nearest_and_does_not_stop(tmp_path: Path) -> None:
    made, problems = parse(
        "version: 1\ncommon: {comand: [a]}\napps: [{appDirPath: kitchen, appPrt: 1}]", laid_out(tmp_path)
    )
    assert made is not None
    assert [str(each) for each in problems] == [
        '-:2: common.comand: unknown field; did you mean "command"?',
        '-:3: apps[0].appPrt: unknown field; did you mean "appPort"?',
    ]


def test_apps_may_wait_for_others(tmp_path: Path) -> None:
    made = run(
        laid_out(tmp_path), "version: 1\napps: [{appDirPath: kitchen, dependsOn: [shop]}, {appDirPath: shop}]"
    )
    assert made.apps[0].depends_on == ("shop",)


def test_a_folder_means_its_dapr_yaml(tmp_path: Path) -> None:
    (laid_out(tmp_path) / "dapr.yaml").write_text("version: 1\napps: [{appDirPath: shop}]")
    made, problems = load(tmp_path)
    assert problems == () and made is not None
    assert made.apps[0].app_id == "shop" and made.path == tmp_path / "dapr.yaml"
    assert load(tmp_path / "dapr.yaml")[0] == made


def test_a_run_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    made, problems = load(tmp_path / "kitchen")
    assert made is None
    assert problems[0].fatal and "no such run file" in problems[0].message
