"""`--embedded`: an embedded engine in the place of a component whose server does not answer."""

import logging
from dataclasses import replace
from typing import Final

from pillion.contracts.words import DriverError, Unavailable
from pillion.resources.component import Component, Setting

log = logging.getLogger("dapr.runtime.processor")

_ENGINES: Final = {"state": "state.sqlite", "pubsub": "pubsub.sqlite"}
_KEPT: Final = frozenset(
    name.lower()
    for name in (
        "keyPrefix", "actorStateStore", "primaryEncryptionKey", "secondaryEncryptionKey", "consumerID", "allowedTopics",
        "protectedTopics", "publishingScopes", "subscriptionScopes",
    )
)  # fmt: skip


class Stand:
    """Names what to open instead; says so loudly, since data then lives elsewhere than the manifest says."""

    def knows(self, component: Component) -> bool:
        """Whether there is an engine for it: its server is then not waited for."""
        return _ENGINES.get(component.category, component.type) != component.type

    def __call__(self, component: Component, error: DriverError) -> Component | None:
        if not self.knows(component) or not isinstance(error, Unavailable):
            return None
        engine = _ENGINES[component.category]
        log.warning(
            "%s: %s does not answer (%s). --embedded: %s runs on %s in the local data folder instead; "
            "nothing is written to the server the manifest names",
            component.source, component.label, error, component.name, engine,
        )  # fmt: skip
        return replace(component, type=engine, version="v1", settings=_kept(component))


def _kept(component: Component) -> tuple[Setting, ...]:
    """The settings that are the runtime's own: scopes and keys hold whatever the engine."""
    return tuple(setting for setting in component.settings if setting.name.lower() in _KEPT)
