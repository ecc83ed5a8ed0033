"""Counters and histograms: what a scraper reads is what was told, whenever it asks."""

import pytest

from pillion.host.metrics import KEPT_SAMPLES, LATENCY_MS, MOST_SERIES, Histogram
from pillion.host.telemetry import Metrics


def value(text: str, start: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(start)).rpartition(" ")[2])


@pytest.mark.parametrize("told", [1, KEPT_SAMPLES - 1, KEPT_SAMPLES, KEPT_SAMPLES + 1, 3 * KEPT_SAMPLES])
def test_every_call_is_counted_at_every_moment(told: int) -> None:
    metrics = Metrics("appa")
    for _ in range(told):
        metrics.rpc_served(b"/a.B/C", 0, 0.0025, 100, 3000)
    text = metrics.text()
    labels = '{app_id="appa",grpc_server_method="/a.B/C",grpc_server_status="OK"}'
    assert value(text, f"dapr_grpc_io_server_completed_rpcs{labels}") == told
    assert value(text, f"dapr_grpc_io_server_server_latency_count{labels}") == told
    assert value(text, f"dapr_grpc_io_server_server_latency_sum{labels}") == pytest.approx(2.5 * told)
    labels = '{app_id="appa",grpc_server_method="/a.B/C"}'
    assert value(text, f"dapr_grpc_io_server_received_bytes_per_rpc_sum{labels}") == 100 * told
    assert value(text, f"dapr_grpc_io_server_sent_bytes_per_rpc_sum{labels}") == 3000 * told


def test_asking_twice_counts_nothing_twice() -> None:
    metrics = Metrics("appa")
    metrics.http_served("GET", "/v1.0/state/mem", 200, 0.001, 0, 5)
    assert [line for line in metrics.text().splitlines() if "http_server" in line] == [
        line for line in metrics.text().splitlines() if "http_server" in line
    ]


def test_samples_counted_together_fall_where_each_would() -> None:
    samples = [0, 0.5, 1, 1.001, 2, 2, 99, 100, 100.5, 100_000, 100_001, 7, 10**9]
    alone, together = Histogram(LATENCY_MS), Histogram(LATENCY_MS)
    for sample in samples:
        alone.observe(sample)
    together.observe_all(samples)
    together.observe_all([0.1, 1])
    for sample in (0.1, 1):
        alone.observe(sample)
    assert list(together.lines("m", "")) == list(alone.lines("m", ""))


def test_paths_past_the_cap_are_counted_under_other() -> None:
    metrics = Metrics("appa")
    for number in range(MOST_SERIES + 3):
        metrics.http_served("GET", f"/{number}", 200, 0.001, 0, 0)
    metrics.http_served("GET", "/one-more", 200, 0.001, 0, 0)
    labels = '{app_id="appa",method="other",path="other",status="other"}'
    assert value(metrics.text(), f"dapr_http_server_request_count{labels}") == 4


def test_publishes_and_deliveries_are_counted_by_topic_and_outcome() -> None:
    metrics = Metrics("appa", "ns")
    for ok in (True, True, False):
        metrics.egress("bus", "orders", ok, 0.0001)
    metrics.egress("bus", "orders", True, 0.5)
    metrics.ingress("bus", "orders", "success", "", 0.0001)
    metrics.ingress("bus", "orders", "success", "", 0.002)
    text = metrics.text()
    labels = 'app_id="appa",component="bus",namespace="ns"'
    assert value(text, f'dapr_component_pubsub_egress_count{{{labels},success="true",topic="orders"}}') == 3
    assert (
        value(text, f'dapr_component_pubsub_egress_latencies_count{{{labels},success="true",topic="orders"}}')
        == 1
    )
    counted = (
        f'dapr_component_pubsub_ingress_count{{{labels},process_status="success",status="",topic="orders"}}'
    )
    assert value(text, counted) == 2


ADMITTED = 'dapr_runtime_acl_global_policy_action_allowed_total{app_id="",namespace="",trustDomain=""}'


def test_without_a_policy_whoever_calls_counts_as_admitted() -> None:
    metrics = Metrics("appa")
    assert "acl" not in metrics.text()
    for caller in ("b", "b", "c"):
        metrics.invocation_received(caller)
    assert value(metrics.text(), ADMITTED) == value(metrics.text(), ADMITTED) == 3


def test_with_a_policy_only_what_it_decided_is_counted() -> None:
    metrics = Metrics("appa", policy=True)
    metrics.invocation_received("b")
    assert "acl" not in metrics.text()
    metrics.access_decided("global", False)
    assert value(metrics.text(), ADMITTED.replace("allowed", "blocked")) == 1
