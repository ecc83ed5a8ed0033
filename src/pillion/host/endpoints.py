"""HTTPEndpoint resources: services outside that apps call by name, with headers and certificates of their own."""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Final

from pillion.contracts.words import Refused
from pillion.host.components import Loader
from pillion.host.setup import Fatal, LoadError
from pillion.resources.component import Component, Setting
from pillion.resources.endpoint import ClientTls, HttpEndpoint, Pem
from pillion.services.invoke import Endpoint
from pillion.toolbox.lazily import dataclass

_BEGINS: Final = "-----BEGIN "


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints by name, and the TLS contexts of those that declare `clientTLS`."""

    named: dict[str, Endpoint] = field(default_factory=dict)
    trust: dict[str, ssl.SSLContext] = field(default_factory=dict)


async def resolve(declared: Iterable[HttpEndpoint], loader: Loader) -> Endpoints:
    """Fill in secrets and variables of headers and certificates. Raises Fatal, with a sentence for each endpoint whose
    certificates cannot be used: its calls would trust, or be made by, somebody else than its author thinks."""
    found, problems = Endpoints(), list[str]()
    for each in declared:
        values = await loader.resolved(_as_component(each, each.headers))
        headers = [(name.lower().encode(), value.encode()) for name, value in values.items()]
        trust = ""
        if each.tls is not None:
            trust = each.name
            try:
                found.trust[trust] = await _context(each, each.tls, loader)
            except (Refused, LoadError) as error:
                problems.append(f"{each.source}: HTTPEndpoint {each.name}: clientTLS: {error}")
        found.named[each.name] = Endpoint(each.base_url.rstrip("/"), headers, trust)
    if problems:
        raise Fatal(problems)
    return found


async def _context(endpoint: HttpEndpoint, tls: ClientTls, loader: Loader) -> ssl.SSLContext:
    """How the endpoint's calls speak TLS. Raises Refused."""
    from pillion.drivers.clients.http import trust

    if not endpoint.base_url.lower().startswith("https://"):
        raise Refused(f"calls to {endpoint.base_url} would not be encrypted: let baseUrl begin with https://")
    held = await _held(endpoint, tls, loader)
    if ("certificate" in held) != ("privateKey" in held):
        absent = "privateKey" if "certificate" in held else "certificate"
        raise Refused(f"{absent} is missing: a certificate is shown with its key")
    # Without an authority of its own, the system's are read: that takes a tenth of a second.
    return await asyncio.to_thread(
        trust,
        authorities=held.get("rootCA", ""),
        certificate=held.get("certificate", ""),
        key=held.get("privateKey", ""),
        renegotiation=tls.renegotiation not in ("", "RenegotiateNever"),
    )


async def _held(endpoint: HttpEndpoint, tls: ClientTls, loader: Loader) -> Mapping[str, str]:
    """The PEM texts that are declared. Raises Refused for one that is empty or no PEM."""
    declared = {"rootCA": tls.root_ca, "certificate": tls.certificate, "privateKey": tls.private_key}
    settings = tuple(_setting(name, pem) for name, pem in declared.items() if pem is not None)
    held = await loader.resolved(_as_component(endpoint, settings))
    for name, text in held.items():
        if _BEGINS not in text:
            raise Refused(f"{name} is {'no PEM text' if text.strip() else 'empty'}")
    return held


def _setting(name: str, pem: Pem) -> Setting:
    return Setting(name, pem.value, pem.secret, "", pem.source)


def _as_component(endpoint: HttpEndpoint, settings: tuple[Setting, ...]) -> Component:
    """Headers and certificates are resolved as a component's metadata is."""
    return Component(
        name=endpoint.name,
        namespace=endpoint.namespace,
        type="httpendpoint",
        version="",
        settings=settings,
        secret_store=endpoint.secret_store,
        source=endpoint.source,
    )
