"""How a start fails, as recorded: status, and what the last line says."""

import json

import pytest
from support.sidecar import Stage, component, free_port

REFUSED = [
    (("--app-id", "a.b"), 1, "parameter app-id cannot contain dots"),
    (("--nosuch",), 2, "unknown flag: --nosuch"),
    (("--app-port", "abc"), 1, 'error parsing app-port: strconv.Atoi: parsing "abc": invalid syntax'),
    (("--mode", "zz"), 1, "invalid mode: zz"),
    (("--app-protocol", "zz"), 1, "invalid value for 'app-protocol': zz"),
    (("--log-level", "zz"), 1, "invalid value for --log-level: zz"),
    (
        ("--config", "/nope.yaml"),
        1,
        "error loading configuration: stat /nope.yaml: no such file or directory",
    ),
    (("--resources-path", "/nope"), 1, "failed to load components: open /nope: no such file or directory"),
]


@pytest.mark.parametrize("flags, status, said", REFUSED)
def test_a_flag_that_cannot_be_ends_the_start(
    stage: Stage, flags: tuple[str, ...], status: int, said: str
) -> None:
    sidecar = stage.sidecar("a", *flags)
    assert sidecar.wait() == status
    assert said in _plain(sidecar.said())


def test_one_port_for_app_and_sidecar_ends_the_start(stage: Stage) -> None:
    port = free_port()
    sidecar = stage.sidecar("a", "--dapr-http-port", str(port), app_port=port)
    assert sidecar.wait() == 1
    assert f"the 'dapr-http-port' argument value {port} conflicts with 'app-port'" in _plain(sidecar.said())


INIT = (
    "process component m error: [INIT_COMPONENT_FAILURE]: initialization error occurred for m ({kind}/v1): "
)
COMPONENTS = [
    (component("m", "state.nosuch"), INIT.format(kind="state.nosuch") + "[CREATE_COMPONENT_FAILURE]: initialization error occurred for m "
     "(state.nosuch/v1): couldn't find state store state.nosuch/v1"),
    (component("m", "exporters.zipkin"), "process component m error: incorrect type exporters.zipkin"),
]  # fmt: skip


@pytest.mark.parametrize("manifest, said", COMPONENTS)
def test_a_component_that_cannot_be_ends_the_start(stage: Stage, manifest: str, said: str) -> None:
    sidecar = stage.sidecar("a", resources=stage.resources(manifest))
    assert sidecar.wait() == 1
    assert said in _plain(sidecar.said())


def test_a_component_whose_errors_are_ignored_is_left_out(stage: Stage) -> None:
    manifest = json.loads(component("m", "secretstores.local.file", secretsFile="/nope.json"))
    manifest["spec"]["ignoreErrors"] = True
    sidecar = stage.sidecar("a", resources=stage.resources(json.dumps(manifest))).ready()
    assert "Ignoring error processing component" in sidecar.said()


@pytest.mark.parametrize("flag, lines", [("--version", 1), ("--build-info", 3)])
def test_it_tells_its_version_and_is_done(stage: Stage, flag: str, lines: int) -> None:
    sidecar = stage.sidecar("a", flag)
    assert sidecar.wait() == 0
    said = sidecar.said()
    assert len(said.splitlines()) == lines
    assert lines == 1 or [line.split(":")[0] for line in said.splitlines()] == [
        "Version",
        "Git Commit",
        "Git Version",
    ]


def _plain(log: str) -> str:
    """The log without the quoting of its messages."""
    return log.replace('\\"', '"')
