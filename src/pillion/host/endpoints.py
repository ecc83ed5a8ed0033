"""HTTPEndpoint resources: services outside that apps call by name, with headers of their own."""

from collections.abc import Iterable

from pillion.host.components import Loader
from pillion.host.setup import Fatal
from pillion.resources.component import Component
from pillion.resources.endpoint import HttpEndpoint
from pillion.services.invoke import Endpoint


async def resolve(declared: Iterable[HttpEndpoint], loader: Loader) -> dict[str, Endpoint]:
    """Endpoints by name, their headers' secrets and variables filled in. Raises Fatal for TLS settings, which would not be applied."""
    found: dict[str, Endpoint] = {}
    for each in declared:
        if each.tls is not None:
            raise Fatal(
                [
                    f"{each.source}: HTTPEndpoint {each.name} sets clientTLS, which this version does not apply: calls would "
                    "go without the certificate. Remove it if the system's authorities are enough"
                ]
            )
        values = await loader.resolved(_as_component(each))
        headers = [(name.lower().encode(), value.encode()) for name, value in values.items()]
        found[each.name] = Endpoint(each.base_url.rstrip("/"), headers)
    return found


def _as_component(endpoint: HttpEndpoint) -> Component:
    """Headers are written and resolved as a component's metadata is."""
    return Component(
        name=endpoint.name,
        namespace=endpoint.namespace,
        type="httpendpoint",
        version="",
        settings=endpoint.headers,
        secret_store=endpoint.secret_store,
        source=endpoint.source,
    )
