"""secretstores.local.file: a JSON file."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pillion.contracts.secrets import Feature, SecretMissing, SecretStore
from pillion.contracts.words import Refused
from pillion.model.state import NOTHING
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSecretsSettings:
    secrets_file: str = setting("Path of the JSON file.", example="secrets.json")
    nested_separator: str = setting("What stands between the names of nested members.", default=":")
    multi_valued: bool = setting(
        "Whether a member that is an object is one secret with several keys, not one secret for each.",
        default="false",
    )


@driver("secretstores.local.file", settings=FileSecretsSettings, title="Local file", status="stable")
class FileSecrets(SecretStore[FileSecretsSettings]):
    """Reads secrets from a JSON file, once, when it is opened. For development: nothing protects the file but its owner.

    Nested members are flattened: `{"db": {"user": "u", "ports": [1]}}` holds `db:user` and `db:ports:0`. With `multiValued`
    it holds one secret `db` with the keys `user` and `ports:0`; beside objects only texts count then.
    """

    features = Feature.MULTIPLE_KEY_VALUES_PER_SECRET

    async def open(self) -> None:
        if not self.settings.multi_valued:
            self.features = Feature.NONE
        given = await asyncio.to_thread(_read, self.settings.secrets_file)
        self._secrets = self._grouped(given) if self.settings.multi_valued else self._single(given)

    async def get(self, name: str, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        found = self._secrets.get(name)
        if found is None:
            raise SecretMissing(f"secret {name} not found")
        return found

    async def all(self, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, Mapping[str, str]]:
        return self._secrets

    def _single(self, given: dict[str, Any]) -> Mapping[str, Mapping[str, str]]:
        return {name: {name: text} for name, text in self._flat(given).items()}

    def _grouped(self, given: dict[str, Any]) -> Mapping[str, Mapping[str, str]]:
        made: dict[str, Mapping[str, str]] = {}
        for name, value in given.items():
            match value:
                case str() if not isinstance(value, _Number):
                    made[name] = {name: value}
                case dict():
                    made[name] = self._flat(value)
        return made

    def _flat(self, given: dict[str, Any]) -> dict[str, str]:
        flat: dict[str, str] = {}
        for name, text in _leaves(given, "", self.settings.nested_separator or ":"):
            if name in flat:
                raise Refused(f"{self.settings.secrets_file}: two members are both called {name}")
            flat[name] = text
        return flat


class _Number(str):
    """A number as it was spelled."""


def _leaves(value: Any, path: str, separator: str) -> Iterator[tuple[str, str]]:
    """Every value that holds no others, with the way to it."""
    match value:
        case dict():
            members: Any = value.items()
        case list():
            members = enumerate(value)
        case _:
            yield path, _text(value)
            return
    for name, member in members:
        yield from _leaves(member, f"{path}{separator}{name}" if path else str(name), separator)


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case _:
            return str(value)


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8-sig")
        given = json.loads(text, parse_float=_Number, parse_int=_Number)
    except OSError as error:
        raise Refused(f"the secrets file {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"the secrets file {path} is not JSON{_place(error)}") from None
    if not isinstance(given, dict):
        raise Refused(f"the secrets file {path} must hold a JSON object")
    return given


def _place(error: BaseException) -> str:
    """Where the mistake is; what is there may be a secret and is not repeated."""
    if isinstance(error, json.JSONDecodeError):
        return f": line {error.lineno}, column {error.colno}: {error.msg}"
    return ""
