"""The environment as a secret store."""

import pytest

from pillion.drivers.secrets.env import EnvSecrets, EnvSecretsSettings
from pillion.plug.component import Context


def store(prefix: str = "") -> EnvSecrets:
    return EnvSecrets(EnvSecretsSettings(prefix=prefix), Context(name="env"))


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOP_KEY", "SHOP_", "APP_API_TOKEN", "DAPR_API_TOKEN", "Dapr_Low"):
        monkeypatch.setenv(name, f"value of {name}")


async def test_a_prefix_is_added_to_names_and_taken_off_again() -> None:
    assert await store("SHOP_").get("KEY") == {"KEY": "value of SHOP_KEY"}
    assert await store("SHOP_").all() == {"KEY": {"KEY": "value of SHOP_KEY"}}


async def test_names_outside_the_prefix_are_empty() -> None:
    assert await store("SHOP_").get("SHOP_KEY") == {"SHOP_KEY": ""}


@pytest.mark.parametrize("name", ["APP_API_TOKEN", "DAPR_API_TOKEN", "Dapr_Low", "app_api_token"])
async def test_the_tokens_of_the_runtime_are_hidden(name: str) -> None:
    assert await store().get(name) == {name: ""}
    assert name not in await store().all()


@pytest.mark.parametrize(
    ("prefix", "name"), [("DAPR_", "API_TOKEN"), ("APP_", "API_TOKEN"), ("D", "APR_API_TOKEN")]
)
async def test_a_prefix_does_not_uncover_them(prefix: str, name: str) -> None:
    assert await store(prefix).get(name) == {name: ""}
    assert name not in await store(prefix).all()


@pytest.mark.parametrize("name", ["A=B", "A\0B", ""])
async def test_a_name_that_no_variable_can_have_is_empty(name: str) -> None:
    assert await store().get(name) == {name: ""}
