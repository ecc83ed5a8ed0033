"""Odd requests, answered by a daprd and by a `pilliond` with the same status and the same bytes."""

import re
from collections.abc import Iterator

import pytest
from scenes.golden_apps.client import send
from support.daprd import DAPRD, neighbour
from support.sidecar import PILLIOND, Sidecar, Stage, component

pytestmark = pytest.mark.needs("daprd")

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Where Dapr's newer versions answer otherwise than the 1.14 of this binary, ours follow those: such rows are not here.
REQUESTS = [
    ("GET", "/v1.0/state/nope/k", None), ("POST", "/v1.0/state/nope", "[]"), ("POST", "/v1.0/state/mem", '{"key":"a"}'),
    ("POST", "/v1.0/state/mem", '[{"value":1}]'), ("POST", "/v1.0/state/mem", '[{"key":"a||b","value":1}]'),
    ("POST", "/v1.0/state/mem", '[{"key":5,"value":1}]'), ("POST", "/v1.0/state/mem", '[{"key":"a","value":1,"etag":"5"}]'),
    ("POST", "/v1.0/state/mem", '[{"key":"a","value":1,"options":{"concurrency":"odd"}}]'),
    ("POST", "/v1.0/state/mem", '[{"key":"a","value":1,"metadata":{"ttlInSeconds":"x"}}]'),
    ("POST", "/v1.0/state/mem", '[{"key":"a","value":1,"metadata":{"ttlInSeconds":5}}]'),
    ("GET", "/v1.0/state/mem/", None), ("GET", "/v1.0/state/mem/a/b", None), ("PATCH", "/v1.0/state/mem", "[]"),
    ("DELETE", "/v1.0/state/mem/ci?concurrency=odd", None), ("GET", "/v1.0/state/mem/a%7C%7Cb", None),
    ("GET", "/v1.0/state/mem/%zz", None), ("POST", "/v1.0/state/mem/bulk", '{"keys":"x"}'),
    ("POST", "/v1.0/state/mem/transaction", '{"operations":[{"operation":"odd","request":{"key":"a"}}]}'),
    ("POST", "/v1.0/state/mem/transaction", '{"operations":[{"operation":"upsert","request":{"key":"a","value":1,"etag":"7"}}]}'),
    ("POST", "/v1.0/state/mem/query", "{}"), ("POST", "/v1.0-alpha1/state/mem/query", "{}"),
    ("POST", "/v1.0/publish/nope/t", "x"), ("POST", "/v1.0/publish/ps", "x"), ("GET", "/v1.0/publish/ps/t", None),
    ("POST", "/v1.0/publish/ps/t?metadata.rawPayload=odd", "{}"), ("POST", "/v1.0/publish/scoped/t", "x"),
    ("POST", "/v1.0-alpha1/publish/bulk/nope/t", "[]"), ("POST", "/v1.0/bindings/nope", '{"operation":"create"}'),
    ("GET", "/v1.0/secrets/nope/x", None), ("GET", "/v1.0/secrets/env/NOTTHERE", None), ("POST", "/v1.0/secrets/env/a", None),
    ("GET", "/", None), ("GET", "/nosuch", None), ("GET", "/v2.0/state/mem/a", None), ("GET", "/v1.0/healthz?appid=x", None),
    ("GET", "/v1.0/x/../healthz", None), ("POST", "/v1.0/metadata/foo", "bar"), ("GET", "/v1.0/shutdown", None),
    ("GET", "/v1.0/invoke/nobody/method/x", None), ("GET", "/v1.0/invoke/a.b.c/method/x", None),
    ("GET", "/v1.0/invoke/me/method/x", None), ("GET", "/v1.0/invoke/me", None),
    ("GET", "/v1.0/configuration/c?key=a", None), ("POST", "/v1.0-alpha1/lock/l", "{}"), ("PUT", "/v1.0-alpha1/crypto/c/encrypt", "x"),
]  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sidecar, Sidecar]]:
    with Stage(tmp_path_factory.mktemp("answers")) as stage:
        resources = stage.resources(
            component("mem", "state.in-memory"),
            component("ps", "pubsub.in-memory"),
            component("scoped", "pubsub.in-memory", allowedTopics="ok"),
            component("env", "secretstores.local.env"),
        )
        yield (
            neighbour(stage, "me", DAPRD, resources=resources),
            neighbour(stage, "me", PILLIOND, resources=resources),
        )


@pytest.mark.parametrize("method, path, body", REQUESTS)
def test_both_answer_alike(both: tuple[Sidecar, Sidecar], method: str, path: str, body: str | None) -> None:
    heard = [send(each.ports.http, method, path, body) for each in both]
    daprs, ours = ((each.status, UUID.sub("{uuid}", each.text)) for each in heard)
    assert ours == daprs
