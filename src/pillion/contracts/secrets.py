"""The secret-store contract."""

import enum
from collections.abc import Mapping

from pillion.contracts.words import DriverError
from pillion.model.state import NOTHING
from pillion.plug.component import Component, S


class Feature(enum.Flag):
    """Abilities a secret store may claim."""

    NONE = 0
    MULTIPLE_KEY_VALUES_PER_SECRET = enum.auto()


class SecretMissing(DriverError):
    """There is no such secret."""


class SecretStore(Component[S]):
    """Names to small maps of strings. Values never reach a log."""

    features: Feature = Feature.NONE

    async def get(self, name: str, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """One secret's keys and values; most have the one key that is their name. Raises SecretMissing."""
        raise NotImplementedError

    async def all(self, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, Mapping[str, str]]:
        """Every secret the store lets us see."""
        raise NotImplementedError
