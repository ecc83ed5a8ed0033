"""What any secret store must do, as named coroutines: usable from outside this repository, with any test runner."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pillion.contracts.secrets import Feature, SecretMissing, SecretStore
from pillion.toolbox.lazily import dataclass

UNKNOWN = "pillion-nobody-has-this"


@dataclass(frozen=True, slots=True)
class Bench:
    """An open store, and what the rig has put into it (the store may hold more)."""

    store: SecretStore[Any]
    secrets: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and which stores it is asked of."""

    name: str
    needs: Feature
    lacks: Feature
    run: Callable[[Bench], Awaitable[None]]

    def applies_to(self, features: Feature) -> bool:
        return self.needs in features and not (self.lacks & features)


CHECKS: list[Check] = []

Run = Callable[[Bench], Awaitable[None]]


def check(*, needs: Feature = Feature.NONE, lacks: Feature = Feature.NONE) -> Callable[[Run], Run]:
    """List a check."""

    def keep(run: Run) -> Run:
        CHECKS.append(Check(getattr(run, "__name__", "check"), needs, lacks, run))
        return run

    return keep


@check()
async def a_secret_has_its_keys_and_values(b: Bench) -> None:
    for name, secret in b.secrets.items():
        assert dict(await b.store.get(name)) == dict(secret)


@check()
async def all_of_them_are_told_at_once(b: Bench) -> None:
    found = await b.store.all()
    assert {name: dict(found[name]) for name in b.secrets} == {
        name: dict(secret) for name, secret in b.secrets.items()
    }


@check()
async def names_keys_and_values_are_texts(b: Bench) -> None:
    for name, secret in (await b.store.all()).items():
        assert type(name) is str
        assert all(isinstance(part, str) for pair in secret.items() for part in pair)


@check()
async def an_unknown_secret_has_no_value(b: Bench) -> None:
    try:
        found = await b.store.get(UNKNOWN)
    except SecretMissing as error:
        assert UNKNOWN in str(error)
    else:
        assert not any(found.values())
    assert UNKNOWN not in await b.store.all()


@check(lacks=Feature.MULTIPLE_KEY_VALUES_PER_SECRET)
async def a_secret_has_one_key_which_is_its_name(b: Bench) -> None:
    assert all(list(secret) == [name] for name, secret in (await b.store.all()).items())


@check(needs=Feature.MULTIPLE_KEY_VALUES_PER_SECRET)
async def a_secret_may_have_several_keys(b: Bench) -> None:
    assert any(len(secret) > 1 for secret in (await b.store.all()).values())


@check()
async def a_store_closes_twice(b: Bench) -> None:
    await b.store.close()
    await b.store.close()
