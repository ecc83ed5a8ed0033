"""Where keys lie."""

import pytest

from pillion.rules.keys import IllegalKey, prefix, stored_key


@pytest.mark.parametrize(
    ("strategy", "namespace", "expected"),
    [
        ("", "", "app||"),
        ("appid", "ns", "app||"),
        ("AppID", "", "app||"),
        ("name", "", "store||"),
        ("namespace", "ns", "ns.app||"),
        ("namespace", "", "app||"),
        ("none", "ns", ""),
        ("NONE", "", ""),
        ("MyPrefix", "", "myprefix||"),
    ],
)
def test_a_strategy_names_the_owner(strategy: str, namespace: str, expected: str) -> None:
    assert prefix(strategy, app_id="app", namespace=namespace, store="store") == expected


def test_without_an_app_id_keys_are_bare() -> None:
    assert prefix("", app_id="", namespace="ns", store="store") == ""
    assert prefix("namespace", app_id="", namespace="ns", store="store") == ""


def test_neither_a_key_nor_a_prefix_holds_the_separator() -> None:
    with pytest.raises(IllegalKey):
        prefix("a||b", app_id="app", namespace="", store="store")
    with pytest.raises(IllegalKey, match="a||b"):
        stored_key("app||", "a||b")
    assert stored_key("app||", "a|b") == "app||a|b"
