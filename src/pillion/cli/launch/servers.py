"""Which servers a folder of resources counts on, and whether they answer."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pillion.resources import folder
from pillion.resources.component import Component
from pillion.toolbox.lazily import dataclass

PATIENCE = 0.5
_HOSTS = frozenset(
    {
        "redishost",
        "host",
        "hosts",
        "server",
        "servers",
        "brokers",
        "endpoint",
        "url",
        "endpoints",
        "connectionstring",
    }
)
_PORTS = {"redis": 6379, "postgresql": 5432, "kafka": 9092, "rabbitmq": 5672, "mongodb": 27017, "mqtt": 1883}
_PLAIN = re.compile(r"\[?([A-Za-z0-9_.:-]+?)\]?:(\d{1,5})(?:/.*)?")
_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_WORD = re.compile(r"\b(host|port)=([^\s;]+)")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a component's server should be."""

    component: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port} of {self.component}"


def has_components(path: Path) -> bool:
    """Whether a folder declares anything at all."""
    return path.is_dir() and bool(folder.load([path]).components)


async def silent(path: Path) -> Sequence[Address]:
    """The servers that the components of a folder name and that do not answer."""
    wanted = list(dict.fromkeys(addresses(folder.load([path]).components)))
    answers = await asyncio.gather(*(_answers(each) for each in wanted))
    return [each for each, answered in zip(wanted, answers, strict=True) if not answered]


def addresses(components: Iterable[Component]) -> Iterator[Address]:
    """The servers that components name in settings which look like an address."""
    for component in components:
        kind = component.type.rpartition(".")[2]
        for setting in component.settings:
            if setting.name.lower() not in _HOSTS or not setting.value:
                continue
            for part in setting.value.split(","):
                if found := _address(part.strip(), _PORTS.get(kind, 0)):
                    yield Address(component.name, *found)


def _address(text: str, usual: int) -> tuple[str, int] | None:
    """Host and port of `host:port`, of a URL, of `host=… port=…`; of a bare host where the kind has a usual port."""
    if "://" in text:
        try:
            parts = urlsplit(text)
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, usual)
        except ValueError:
            return None
        return (parts.hostname, port) if parts.hostname and port else None
    words = dict(_WORD.findall(text))
    if "host" in words:
        port = words.get("port", str(usual))
        return (words["host"], int(port)) if port.isdecimal() and int(port) else None
    if found := _PLAIN.fullmatch(text):
        return found[1], int(found[2])
    return (text, usual) if usual and _BARE.fullmatch(text) else None


async def _answers(address: Address) -> bool:
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError, OverflowError):
        return False
    writer.close()
    return True
