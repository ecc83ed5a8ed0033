"""What apps may read of secret stores."""

import pytest
from support.stores import Noted

from pillion.contracts.secrets import SecretStore
from pillion.contracts.words import Unavailable
from pillion.model.call import PLAIN
from pillion.model.errors import ApiError
from pillion.plug.component import Context
from pillion.rules.secrets import Scope
from pillion.services.mount import Mount
from pillion.services.secrets import SecretsService


class Lost(SecretStore[None]):
    """A store whose server is gone."""

    async def get(self, name: str, metadata: object = None) -> dict[str, str]:
        raise Unavailable("connection refused")

    async def all(self, metadata: object = None) -> dict[str, dict[str, str]]:
        raise Unavailable("connection refused")


class Fixed(SecretStore[None]):
    """Two secrets."""

    async def get(self, name: str, metadata: object = None) -> dict[str, str]:
        return {name: "v"}

    async def all(self, metadata: object = None) -> dict[str, dict[str, str]]:
        return {"a": {"a": "v"}, "b": {"b": "v"}}


def service(store: SecretStore[None], noted: Noted | None = None, **scopes: Scope) -> SecretsService:
    return SecretsService({"sf": Mount("sf", "secretstores.test", "v1", store, noted or Noted())}, scopes)


def made(kind: type[SecretStore[None]]) -> SecretStore[None]:
    return kind(None, Context(name="sf"))


async def test_reads_are_measured_by_their_operation() -> None:
    noted = Noted()
    secrets = service(made(Fixed), noted)
    assert await secrets.get(PLAIN, "sf", "a") == {"a": "v"}
    assert set(await secrets.all(PLAIN, "sf")) == {"a", "b"}
    assert noted.told == [("get", True), ("bulk_get", True)]


async def test_a_scope_hides_what_it_does_not_allow() -> None:
    secrets = service(made(Fixed), sf=Scope(allowed=frozenset({"a"})))
    assert set(await secrets.all(PLAIN, "sf")) == {"a"}
    with pytest.raises(ApiError, match='access denied by policy to get "b" from "sf"'):
        await secrets.get(PLAIN, "sf", "b")


async def test_what_is_hidden_is_not_even_asked_for() -> None:
    secrets = service(made(Lost), sf=Scope(default_allow=False))
    with pytest.raises(ApiError, match="access denied"):
        await secrets.get(PLAIN, "sf", "k")


async def test_a_scope_of_another_store_means_nothing() -> None:
    secrets = service(made(Fixed), other=Scope(default_allow=False))
    assert await secrets.get(PLAIN, "sf", "a") == {"a": "v"}


async def test_a_store_that_is_gone_says_so() -> None:
    secrets = service(made(Lost))
    with pytest.raises(ApiError, match="failed getting secret with key k from secret store sf: connection"):
        await secrets.get(PLAIN, "sf", "k")
    with pytest.raises(ApiError, match="failed getting secrets from secret store sf: connection"):
        await secrets.all(PLAIN, "sf")
