"""The lists of APIs that a sidecar serves."""

import pytest

from pillion.edge.allowed import ApiRule, gate


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("version", ["", "v1", "v1.0", "V1"])
@pytest.mark.parametrize("name", ["state", "State"])
def test_a_denied_api_is_closed_however_its_rule_is_spelled(name: str, version: str, protocol: str) -> None:
    admits = gate([], [ApiRule(name, version, protocol)], protocol)
    assert admits is not None
    assert not admits("state.v1") and admits("invoke.v1") and admits("healthz.v1")
    assert admits("state.v1alpha1") is (version != "")


def test_only_what_is_on_an_allow_list_is_open() -> None:
    admits = gate([ApiRule("state", "v1.0-alpha1", "http")], [], "http")
    assert admits is not None and admits("state.v1alpha1")
    assert not admits("state.v1") and not admits("invoke.v1")


def test_rules_of_the_other_transport_restrict_nothing() -> None:
    assert gate([ApiRule("state", "", "grpc")], [ApiRule("invoke", "", "grpc")], "http") is None
