"""Where an app's resources come from."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.sidecar import component

from pillion.cli.launch import defaults, resources, servers
from pillion.resources import folder
from pillion.resources.component import Component, Setting
from pillion.resources.problems import Source
from pillion.resources.runfile import AppRun


def app(place: Path, **more: object) -> AppRun:
    place.mkdir(exist_ok=True)
    return AppRun(app_id="a", app_dir=place, **more)  # type: ignore[arg-type]


def manifests(place: Path, *texts: str) -> Path:
    place.mkdir(parents=True)
    for number, text in enumerate(texts):
        (place / f"{number}.yaml").write_text(text)
    return place


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def silent() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def redis(port: int) -> str:
    return component("statestore", "state.redis", redisHost=f"127.0.0.1:{port}")


def test_what_is_given_comes_first(tmp_path: Path) -> None:
    manifests(tmp_path / "app" / ".dapr" / "resources")
    given = manifests(tmp_path / "given")
    asked = app(tmp_path / "app", resources_paths=(given,))
    assert resources.choose(asked, home=tmp_path, dapr=None, embedded=False).resources == (given,)


def test_the_apps_own_folder_comes_second(tmp_path: Path, listening: int) -> None:
    own = manifests(tmp_path / "app" / ".dapr" / "resources")
    dapr = manifests(tmp_path / ".dapr" / "components", redis(listening)).parent
    assert resources.choose(app(tmp_path / "app"), home=tmp_path, dapr=dapr, embedded=False).resources == (
        own,
    )


def test_daprs_folder_comes_third_if_its_servers_answer(tmp_path: Path, listening: int) -> None:
    theirs = manifests(tmp_path / ".dapr" / "components", redis(listening))
    chosen = resources.choose(app(tmp_path / "app"), home=tmp_path, dapr=theirs.parent, embedded=False)
    assert chosen.resources == (theirs,)


def test_daprs_folder_is_passed_over_in_words_if_a_server_is_silent(tmp_path: Path, silent: int) -> None:
    theirs = manifests(tmp_path / ".dapr" / "components", redis(silent))
    chosen = resources.choose(app(tmp_path / "app"), home=tmp_path, dapr=theirs.parent, embedded=False)
    assert chosen.resources == (tmp_path / "defaults",)
    assert chosen.told[0] == (
        f"{theirs} is passed over",
        f"nobody answers at 127.0.0.1:{silent} of statestore (start it, or use --embedded)",
    )


def test_daprs_folder_is_used_when_engines_stand_in(tmp_path: Path, silent: int) -> None:
    theirs = manifests(tmp_path / ".dapr" / "components", redis(silent))
    chosen = resources.choose(app(tmp_path / "app"), home=tmp_path, dapr=theirs.parent, embedded=True)
    assert chosen.resources == (theirs,)


def test_the_embedded_defaults_come_last_and_are_told(tmp_path: Path) -> None:
    manifests(tmp_path / ".dapr" / "components")
    chosen = resources.choose(app(tmp_path / "app"), home=tmp_path, dapr=tmp_path / ".dapr", embedded=False)
    assert chosen.resources == (tmp_path / "defaults",)
    assert "statestore (state.sqlite), pubsub (pubsub.sqlite)" in chosen.told[0][1]


def test_the_defaults_are_manifests_without_a_fault(tmp_path: Path) -> None:
    found = folder.load([defaults.folder(tmp_path)])
    assert found.problems == ()
    assert {each.name: each.type for each in found.components} == defaults.COMPONENTS


def test_a_default_that_was_changed_by_an_older_version_is_written_anew(tmp_path: Path) -> None:
    (defaults.folder(tmp_path) / "pubsub.yaml").write_text("old")
    defaults.folder(tmp_path)
    assert len(folder.load([tmp_path / "defaults"]).components) == 3


def test_a_configuration_is_found_where_resources_are(tmp_path: Path) -> None:
    asked = app(tmp_path / "app")
    dapr = tmp_path / ".dapr"
    dapr.mkdir()
    (dapr / "config.yaml").write_text("")

    def chosen(of: AppRun) -> Path | None:
        return resources.choose(of, home=tmp_path, dapr=dapr, embedded=False).config

    assert chosen(asked) == dapr / "config.yaml"
    (tmp_path / "app" / ".dapr").mkdir()
    (tmp_path / "app" / ".dapr" / "config.yaml").write_text("")
    assert chosen(asked) == tmp_path / "app" / ".dapr" / "config.yaml"
    assert chosen(app(tmp_path / "app", config_file=tmp_path / "c.yaml")) == tmp_path / "c.yaml"


def test_daprs_folder_is_found_by_flag_then_variable_then_home() -> None:
    environ = {"HOME": "/h", "DAPR_RUNTIME_PATH": "/r"}
    assert resources.dapr_folder(environ, "/f") == Path("/f/.dapr")
    assert resources.dapr_folder(environ) == Path("/r/.dapr")
    assert resources.dapr_folder({"HOME": "/h"}) == Path("/h/.dapr")


@pytest.mark.parametrize(
    ("kind", "name", "value", "found"),
    [
        ("state.redis", "redisHost", "localhost:6379", [("localhost", 6379)]),
        ("state.redis", "redisHost", "localhost", [("localhost", 6379)]),
        ("pubsub.kafka", "brokers", "a:9092, b:9093", [("a", 9092), ("b", 9093)]),
        ("pubsub.rabbitmq", "connectionString", "amqp://u:p@mq:5672", [("mq", 5672)]),
        ("pubsub.rabbitmq", "host", "amqp://u:p@mq", [("mq", 5672)]),
        ("state.postgresql", "connectionString", "host=db user=u port=5433 dbname=d", [("db", 5433)]),
        ("state.postgresql", "connectionString", "host=db user=u", [("db", 5432)]),
        ("bindings.http", "url", "https://example.com/x", [("example.com", 443)]),
        ("state.sqlite", "connectionString", "data.db", []),
        ("state.redis", "redisPassword", "a:1", []),
        ("state.redis", "redisHost", "[::1]:6379", [("::1", 6379)]),
    ],
)
def test_a_server_is_found_in_what_looks_like_an_address(
    kind: str, name: str, value: str, found: list[tuple[str, int]]
) -> None:
    setting = Setting(name, value, None, "", Source("f"))
    made = Component(name="c", namespace="", type=kind, version="v1", settings=(setting,))
    assert [(each.host, each.port) for each in servers.addresses([made])] == found
