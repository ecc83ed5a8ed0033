"""Every resource in some files and folders, with all that is wrong in them."""

from datetime import timedelta
from pathlib import Path

import pytest

from pillion.resources.component import SecretRef
from pillion.resources.folder import Resources, for_app, load

COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: orders
spec:
  type: state.redis
  version: v1
  ignoreErrors: true
  initTimeout: 10s
  metadata:
  - name: redisHost
    value: localhost:6379
  - name: enableTLS
    value: false
  - name: redisPassword
    secretKeyRef: {name: redis, key: password}
  - name: other
    secretKeyRef: {name: whole}
  - name: user
    envRef: REDIS_USER
  - name: nested
    value: {a: [1, true]}
auth:
  secretStore: vault
scopes: [shop, kitchen]
"""
HEAD = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: a}\n"


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def one(tmp_path: Path, text: str) -> Resources:
    return load([folder(tmp_path, one=text)])


def told(resources: Resources) -> list[str]:
    return [str(problem).rpartition("/")[2] if not problem.line else
            f"{problem.line}: {problem.field}: {problem.message}" for problem in resources.problems]  # fmt: skip


def test_a_component_is_read_whole(tmp_path: Path) -> None:
    resources = one(tmp_path, COMPONENT)
    assert resources.problems == ()
    orders = resources.components[0]
    assert (orders.name, orders.type, orders.version, orders.category) == (
        "orders",
        "state.redis",
        "v1",
        "state",
    )
    assert orders.ignore_errors and orders.init_timeout == timedelta(seconds=10)
    assert orders.secret_store == "vault" and orders.scopes == ("shop", "kitchen")
    values = {each.name: each.value for each in orders.settings}
    assert values["redisHost"] == "localhost:6379"
    assert values["enableTLS"] == "false"
    assert values["nested"] == '{"a":[1,true]}'
    assert orders.secrets == (SecretRef("redis", "password"), SecretRef("whole", "whole"))
    assert orders.settings[4].env == "REDIS_USER"
    assert orders.where("REDISHOST").line == 11 and orders.where("nothing").line == 1
    assert orders.label == "orders (state.redis/v1)"


def test_defaults_fill_what_a_component_leaves_out(tmp_path: Path) -> None:
    made = one(tmp_path, HEAD + "spec: {type: middleware.http.oauth2}\n").components[0]
    assert made.init_timeout == timedelta(seconds=5)
    assert (made.scopes, made.settings, made.ignore_errors) == ((), (), False)
    assert made.category == "middleware.http"
    assert made.label == "a (middleware.http.oauth2)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "spec: {type: state.redis, metdata: []}", '4: spec.metdata: unknown field; did you mean "metadata"?'),
        (HEAD + "spec: {type: state.redis, scopes: [a]}", "4: spec.scopes: unknown field: it belongs at the top level, beside spec"),
        (HEAD + "spec: {type: state.redis}\nscope: [a]", '5: scope: unknown field; did you mean "scopes"?'),
        (HEAD + "spec: {type: exporters.zipkin}", '4: spec.type: "exporters.zipkin" has an unknown category'),
        (HEAD + "spec: {type: stat.redis}", '4: spec.type: "stat.redis" has an unknown category; did you mean "state"?'),
        (
            HEAD + "spec: {type: state.redis, initTimeout: soon}",
            '4: spec.initTimeout: "soon" is not a duration such as 1h30m, 10s or 500ms: ignored',
        ),
        (HEAD + "spec: {version: v1}", "4: spec.type: is required, such as state.redis"),
        (HEAD + "spec:\n  type: state.redis\n  metadata:\n  - {name: a, value: 1}\n  - {name: A, value: 2}", None),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}", None),
    ],
)  # fmt: skip
def test_what_is_odd_is_told_and_loaded_all_the_same(tmp_path: Path, text: str, said: str | None) -> None:
    resources = one(tmp_path, text)
    assert resources.fatal == ()
    if said is not None:
        assert told(resources) == [said]
        assert len(resources.components) == 1


def test_of_two_settings_with_one_name_the_later_counts(tmp_path: Path) -> None:
    resources = one(
        tmp_path,
        HEAD + "spec:\n  type: state.redis\n  metadata:\n  - {name: a, value: 1}\n  - {name: A, value: 2}",
    )
    assert [(each.name, each.value) for each in resources.components[0].settings] == [("A", "2")]
    assert "is given twice" in told(resources)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "apiVersion: dapr.io/v1alpha1\nkind: Componnet\nmetadata: {name: a}",
            'kind: "Componnet" is not a kind of resource; did you mean "Component"?: not loaded',
        ),
        ("apiVersion: dapr.io/v1alpha1\nmetadata: {name: a}", "kind: is required: not loaded"),
        (
            "apiVersion: dapr.io/v1\nkind: Component\nmetadata: {name: a}",
            'apiVersion: "dapr.io/v1" is not a version of Component: write dapr.io/v1alpha1; not loaded',
        ),
        ("kind: Component\nmetadata: {name: a}", "apiVersion: is required: write dapr.io/v1alpha1; not loaded"),
        ("apiVersion: dapr.io/v1alpha1\nkind: Component", "metadata.name: is required: this Component is not loaded"),
        (HEAD + "spec: {type: [a]}", "spec.type: must be text, not a list"),
        (HEAD + "spec: {type: state.a, ignoreErrors: 'yes'}", 'spec.ignoreErrors: must be true or false, not the text "yes"'),
        (HEAD + "spec: {type: state.a, metadata: {a: b}}", "spec.metadata: must be a list, not fields"),
        (HEAD + "spec: {type: state.a, metadata: [{value: b}]}", "spec.metadata[0].name: is required"),
        (HEAD + "spec: {type: state.a}\nscopes: a", 'scopes: must be a list, not the text "a"'),
        (HEAD + "spec: 5", "spec: must be fields, not 5"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_left_out_and_the_rest_stays(tmp_path: Path, text: str, said: str) -> None:
    resources = one(tmp_path, f"{text}\n---\n{COMPONENT}")
    assert [each.name for each in resources.components] == ["orders"]
    assert resources.fatal == ()
    assert said in [line.partition(": ")[2] for line in told(resources)]


def test_all_mistakes_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    folder(tmp_path, a=HEAD + "spec: {typ: x, metadata: [{nam: a}]}\nauht: {}\n", b="a: [", c=COMPONENT)
    (tmp_path / "README.md").write_text("hello")
    resources = load([tmp_path, tmp_path / "nope"])
    text = "\n".join(map(str, resources.problems))
    for part in (
        'a.yaml:4: spec.typ: unknown field; did you mean "type"?',
        'a.yaml:4: spec.metadata[0].nam: unknown field; did you mean "name"?',
        'a.yaml:5: auht: unknown field; did you mean "auth"?',
        "not valid YAML",
        "A non-YAML Component file README.md was detected, it will not be loaded",
        f"failed to load components: open {tmp_path / 'nope'}: no such file or directory",
    ):
        assert part in text
    assert len(resources.fatal) == 1


def test_field_names_are_taken_in_any_case_as_dapr_does(tmp_path: Path) -> None:
    resources = one(
        tmp_path, "apiversion: dapr.io/v1alpha1\nKind: Component\nMetadata: {Name: a}\nspec: {Type: state.a}"
    )
    assert resources.problems == () and resources.components[0].type == "state.a"


def test_a_name_defined_twice_is_fatal(tmp_path: Path) -> None:
    folder(
        tmp_path,
        a=HEAD + "spec: {type: state.in-memory, version: v1}",
        b=HEAD + "spec: {type: pubsub.in-memory, version: v1}",
    )
    resources = load([tmp_path])
    assert len(resources.fatal) == 1
    assert resources.fatal[0].message.startswith(
        "duplicate definition of Component name a (pubsub.in-memory/v1) with existing a (state.in-memory/v1)"
    )
    assert resources.fatal[0].file.endswith("b.yaml")


def test_folders_are_not_searched_for_folders_and_files_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    folder(tmp_path / "deep", one=COMPONENT)
    assert load([tmp_path]).components == ()
    assert len(load([tmp_path / "deep" / "one.yaml"]).components) == 1
    assert load([tmp_path / "deep", tmp_path / "deep"]).fatal == ()


@pytest.mark.parametrize(("own", "named"), [(None, 2), ("", 2), ("default", 1), ("prod", 2), ("test", 1)])
def test_a_namespace_counts_only_where_both_sides_name_one(
    tmp_path: Path, own: str | None, named: int
) -> None:
    there = HEAD.replace("{name: a}", "{name: a, namespace: prod}")
    folder(
        tmp_path,
        a=there + "spec: {type: state.a}",
        b=HEAD.replace("name: a", "name: b") + "spec: {type: state.a}",
    )
    assert len(load([tmp_path], namespace=own).components) == named


def test_scopes_say_which_apps_may_use_a_resource(tmp_path: Path) -> None:
    resources = one(tmp_path, COMPONENT + "---\n" + HEAD + "spec: {type: state.a}")
    assert [each.name for each in for_app(resources, "shop").components] == ["orders", "a"]
    assert [each.name for each in for_app(resources, "garden").components] == ["a"]


SUBSCRIPTION_V2 = """\
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: s2}
spec:
  pubsubname: ps
  topic: t
  routes:
    rules:
    - match: event.type == "a"
      path: /a
    default: /other
  metadata: {rawPayload: true, n: 5}
  deadLetterTopic: dead
  bulkSubscribe: {enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 40}
scopes: [shop]
"""


def test_both_versions_of_a_subscription_have_one_shape(tmp_path: Path) -> None:
    v1 = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: s1}\nspec: {pubsubname: ps, topic: t, route: /r}"
    resources = one(tmp_path, f"{v1}\n---\n{SUBSCRIPTION_V2}")
    assert resources.problems == ()
    first, second = resources.subscriptions
    assert (first.default_route, first.rules) == ("/r", ())
    assert second.default_route == "/other" and second.scopes == ("shop",)
    assert [(rule.match, rule.path, rule.source.line) for rule in second.rules] == [
        ('event.type == "a"', "/a", 14)
    ]
    assert dict(second.metadata) == {"rawPayload": "true", "n": "5"}
    assert second.dead_letter_topic == "dead"
    assert (second.bulk.enabled, second.bulk.max_messages, second.bulk.max_await_ms) == (True, 10, 40)


def test_a_field_of_the_other_version_is_pointed_at(tmp_path: Path) -> None:
    text = SUBSCRIPTION_V2.replace("v2alpha1", "v1alpha1")
    assert told(one(tmp_path, text)) == [
        "7: spec.routes: unknown field: it belongs in apiVersion dapr.io/v2alpha1"
    ]


def test_a_subscription_without_topic_is_left_out(tmp_path: Path) -> None:
    resources = one(tmp_path, SUBSCRIPTION_V2.replace("  topic: t\n", ""))
    assert resources.subscriptions == ()
    assert told(resources)[0] == "4: spec.topic: is required"


def test_an_endpoint_is_read_whole(tmp_path: Path) -> None:
    resources = one(
        tmp_path,
        """\
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: e}
spec:
  baseUrl: https://example.com
  headers:
  - {name: Accept-Language, value: en}
  - {name: Token, secretKeyRef: {name: t}}
  clientTLS:
    rootCA: {secretKeyRef: {name: ca, key: pem}}
    certificate: {value: x}
    renegotiation: renegotiateNever
auth: {secretStore: vault}
""",
    )
    assert resources.problems == ()
    made = resources.endpoints[0]
    assert made.base_url == "https://example.com" and made.secret_store == "vault"
    assert made.tls is not None and made.tls.renegotiation == "RenegotiateNever"
    assert (
        made.tls.certificate is not None
        and made.tls.certificate.value == "x"
        and made.tls.private_key is None
    )
    assert made.secrets == (SecretRef("t", "t"), SecretRef("ca", "pem"))


def test_resiliency_is_recognised_by_its_targets_and_may_come_twice(tmp_path: Path) -> None:
    text = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: r}
spec:
  policies: {timeouts: {fast: 1s}}
  targets:
    apps: {shop: {timeout: fast}}
    actors: {Cart: {}}
    components: {orders: {outbound: {timeout: fast}}}
"""
    resources = one(tmp_path, f"{text}---\n{text}")
    assert resources.problems == ()
    first = resources.resiliencies[0]
    assert (first.apps, first.actors, first.components) == (("shop",), ("Cart",), ("orders",))
    assert resources.resiliencies[1].policies["timeouts"] == {"fast": "1s"}


def test_newer_kinds_are_recognised_with_their_scopes(tmp_path: Path) -> None:
    text = "apiVersion: dapr.io/v1alpha1\nkind: WorkflowAccessPolicy\nmetadata: {name: w}\nspec: {rules: []}\nscopes: [a]"
    other = one(tmp_path, text).others[0]
    assert (other.kind, other.name, other.scopes) == ("WorkflowAccessPolicy", "w", ("a",))


def test_a_configuration_in_a_resource_folder_is_passed_over(tmp_path: Path) -> None:
    text = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {whatever: 1}"
    assert one(tmp_path, text) == Resources()
