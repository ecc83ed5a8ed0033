"""Apps written against the first public versions keep working: their requests are taken, statuses are today's."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from scenes.golden_apps.client import send
from scenes.golden_apps.http_app import HttpApp
from support.sidecar import Stage, component

OLD: list[Any] = [{"topic": "orders", "route": "/orders"}]


@dataclass
class Old:
    """A sidecar with one broker, as all had then, and an app that names none."""

    app: HttpApp
    port: int


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    with Stage(tmp_path_factory.mktemp("old")) as stage, HttpApp(OLD) as app:
        resources = stage.resources(
            component("messagebus", "pubsub.in-memory"),
            component("statestore", "state.in-memory"),
            component("files", "bindings.localstorage", rootPath=str(stage.folder / "files")),
        )
        yield Old(app, stage.sidecar("old", app_port=app.port, resources=resources).ready().ports.http)


def test_a_publish_without_a_broker_s_name_reaches_a_subscription_without_one(old: Old) -> None:
    assert (
        send(
            old.port,
            "POST",
            "/v1.0/publish/orders",
            '{"order":"first"}',
            (("Content-Type", "application/json"),),
        ).status
        == 204
    )
    event = old.app.got('"first"')
    assert (event.target, event.all("Pubsubname")) == ("/orders", ["messagebus"])


def test_a_delete_names_its_etag_in_the_etag_header(old: Old) -> None:
    assert send(old.port, "POST", "/v1.0/state/statestore", '[{"key":"k","value":1}]').status == 204
    etag = send(old.port, "GET", "/v1.0/state/statestore/k").one("Etag") or ""
    assert send(old.port, "DELETE", "/v1.0/state/statestore/k", headers=(("ETag", "999"),)).status == 409
    assert send(old.port, "GET", "/v1.0/state/statestore/k").status == 200
    assert send(old.port, "DELETE", "/v1.0/state/statestore/k", headers=(("ETag", etag),)).status == 204
    assert send(old.port, "GET", "/v1.0/state/statestore/k").status == 204


def test_options_that_are_no_more_are_passed_over(old: Old) -> None:
    options = '{"consistency":"strong","retryPolicy":{"interval":100,"threshold":3,"pattern":"linear"}}'
    assert (
        send(
            old.port, "POST", "/v1.0/state/statestore", f'[{{"key":"r","value":1,"options":{options}}}]'
        ).status
        == 204
    )


def test_a_binding_takes_its_request_in_pascal_case(old: Old) -> None:
    body = '{"Data":"hi","Operation":"create","Metadata":{"fileName":"f"}}'
    heard = send(old.port, "POST", "/v1.0/bindings/files", body)
    assert (heard.status, heard.text) == (200, '{"fileName":"f"}')
