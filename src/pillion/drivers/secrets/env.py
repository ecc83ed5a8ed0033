"""secretstores.local.env: the environment of the sidecar's own process."""

import os
import sys
from collections.abc import Mapping

from pillion.contracts.secrets import SecretStore
from pillion.model.state import NOTHING
from pillion.plug.component import driver
from pillion.plug.settings import setting
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSecretsSettings:
    prefix: str = setting(
        "Only variables that begin so are secrets; they are named without it.", default="", example="SHOP_"
    )


@driver("secretstores.local.env", settings=EnvSecretsSettings, title="Local environment", status="stable")
class EnvSecrets(SecretStore[EnvSecretsSettings]):
    """Reads environment variables. For development: whoever can see the process can see them.

    A variable that is not set reads as an empty text. The runtime's own tokens (`DAPR_…`, `APP_API_TOKEN`) are never given away.
    """

    async def get(self, name: str, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        variable = self.settings.prefix + name
        if _is_hidden(variable):
            self.context.log.warning("Access to env var %s is forbidden", name)
            return {name: ""}
        return {name: _value(variable)}

    async def all(self, metadata: Mapping[str, str] = NOTHING) -> Mapping[str, Mapping[str, str]]:
        start = len(self.settings.prefix)
        return {
            name[start:]: {name[start:]: value}
            for name, value in os.environ.items()
            if self._is_ours(name) and not _is_hidden(name)
        }

    def _is_ours(self, name: str) -> bool:
        prefix = self.settings.prefix
        if sys.platform == "win32":  # where names of variables have no case
            name, prefix = name.upper(), prefix.upper()
        return not prefix or (name.startswith(prefix) and name != prefix)


def _is_hidden(name: str) -> bool:
    name = name.upper()
    return name == "APP_API_TOKEN" or name.startswith("DAPR_")


def _value(variable: str) -> str:
    try:
        return os.environ.get(variable, "")
    except ValueError:  # no name a variable could have
        return ""
