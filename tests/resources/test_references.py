"""From a setting as written to the text a driver sees."""

from collections.abc import Mapping

import pytest

from pillion.resources.component import Component, SecretRef, Setting
from pillion.resources.problems import Report, Source
from pillion.resources.references import TemplateError, Templates, awaited, may_read, order, resolve

HERE = Source("a.yaml", 3)


def templates(pod: str = "") -> Templates:
    counter = iter(range(100))
    return Templates(app_id="shop", namespace="prod", uuid=lambda: f"u{next(counter)}", pod_name=pod)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{uuid}-{uuid}", "u0-u1"),
        ("{namespace}/x", "prod.shop/x"),
        ("{appID}", "shop"),
        ("{podName}", "pod-1"),
        ("{other} {appid}", "{other} {appid}"),
    ],
)
def test_templates_are_filled(text: str, filled: str) -> None:
    assert templates("pod-1").fill(text) == filled


def test_a_pod_name_that_is_not_set_cannot_be_filled() -> None:
    with pytest.raises(TemplateError, match="POD_NAME"):
        templates().fill("{podName}")


@pytest.mark.parametrize(
    ("name", "listed", "allowed"),
    [
        ("REDIS_USER", "", True),
        ("redis_user", "", True),
        ("APP_API_TOKEN", "", False),
        ("app_api_token", "", False),
        ("DAPR_HTTP_PORT", "", False),
        ("dapr_x", "", False),
        ("A B", "", False),
        ("", "", False),
        ("REDIS_USER", "OTHER REDIS_USER", True),
        ("REDIS", "OTHER REDIS_USER", False),
    ],
)
def test_envref_may_read_only_what_is_harmless(name: str, listed: str, allowed: bool) -> None:
    assert may_read(name, {"DAPR_ENV_KEYS": listed}) is allowed


def component(
    *settings: Setting, store: str = "vault", name: str = "a", type: str = "state.redis"
) -> Component:
    return Component(name=name, namespace="", type=type, version="v1", settings=settings, secret_store=store)


def resolved(
    setting: Setting, *, store: str = "vault", environ: Mapping[str, str] | None = None
) -> tuple[str, list[str], bool]:
    report = Report()
    secrets = {("s", "k"): "hush", ("s", "empty"): ""}
    found = resolve(
        component(setting, store=store),
        templates=templates(),
        environ=environ or {},
        secret=lambda name, key: secrets.get((name, key)),
        report=report,
    )
    return (
        found["x"],
        [problem.message for problem in report.problems],
        any(each.fatal for each in report.problems),
    )


def setting(value: str | None = None, secret: tuple[str, str] | None = None, env: str = "") -> Setting:
    return Setting("x", value, SecretRef(*secret) if secret else None, env, HERE)


@pytest.mark.parametrize(
    ("given", "environ", "text"),
    [
        (setting("v"), {}, "v"),
        (setting(), {}, ""),
        (setting("{appID}"), {}, "shop"),
        (setting(secret=("s", "k")), {}, "hush"),
        (setting("v", secret=("s", "k")), {}, "hush"),
        (setting(env="E"), {"E": "{appID}!"}, "shop!"),
        (setting("v", env="E"), {"E": "e"}, "v"),
    ],
)
def test_a_setting_is_found_where_it_says(given: Setting, environ: dict[str, str], text: str) -> None:
    assert resolved(given, environ=environ) == (text, [], False)


@pytest.mark.parametrize(
    ("given", "store", "said"),
    [
        (setting(secret=("s", "nope")), "vault", 'has no secret "s"'),
        (setting(secret=("s", "empty")), "vault", 'has no secret "s"'),
        (setting(secret=("s", "k")), "", "without auth.secretStore"),
        (setting(env="DAPR_API_TOKEN"), "vault", "may not be read"),
        (setting(env="GONE"), "vault", "is not set"),
    ],
)
def test_what_is_not_found_stays_empty_and_is_told(given: Setting, store: str, said: str) -> None:
    text, problems, fatal = resolved(given, store=store, environ={"DAPR_API_TOKEN": "t"})
    assert text == "" and not fatal
    assert said in problems[0]


def test_a_template_that_cannot_be_filled_is_fatal() -> None:
    assert resolved(setting("{podName}"))[2]


def needing(name: str, store: str, type: str = "state.redis") -> Component:
    return component(setting(secret=("s", "k")), store=store, name=name, type=type)


def test_a_component_waits_only_if_a_setting_refers_to_a_secret() -> None:
    assert awaited(needing("a", "vault")) == "vault"
    assert awaited(component(setting("v"))) is None
    assert awaited(needing("a", "")) is None


def test_stores_are_opened_before_whoever_needs_them() -> None:
    plain = component(setting("v"), name="plain")
    vault, inner = component(name="vault", type="secretstores.a"), needing("inner", "vault", "secretstores.b")
    found = order([needing("one", "inner"), plain, inner, needing("two", "vault"), vault])
    assert [[each.name for each in stage] for stage in found.stages] == [
        ["vault"],
        ["inner"],
        ["one", "plain", "two"],
    ]
    assert found.parked == ()


def test_a_store_that_is_open_already_counts() -> None:
    assert order([needing("one", "kubernetes")], ready={"kubernetes"}).parked == ()


def test_who_waits_for_ever_is_named_with_its_store() -> None:
    circle = [needing("x", "y", "secretstores.a"), needing("y", "x", "secretstores.a")]
    found = order([needing("one", "nope"), *circle])
    assert found.stages == ()
    assert [each.why for each in found.parked] == [
        "Component one references a secret store that isn't loaded: nope",
        "Component x references a secret store that isn't loaded: y, which itself waits for a secret store",
        "Component y references a secret store that isn't loaded: x, which itself waits for a secret store",
    ]
