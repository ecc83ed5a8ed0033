"""Which topics an app may publish and subscribe to, and under which name a broker knows them."""

from collections.abc import Mapping

from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class TopicScopes:
    """What a component's metadata allows one app.

    `allowed` and `protected` hold for every app, empty is no limit. `publishing` and `subscribing` are this app's own lists:
    None where the component names no topic for it, which for a protected topic means no.
    """

    allowed: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    publishing: frozenset[str] | None = None
    subscribing: frozenset[str] | None = None

    def may_publish(self, topic: str) -> bool:
        """Whether the app may publish to the topic."""
        return self._permits(topic, self.publishing)

    def may_subscribe(self, topic: str) -> bool:
        """Whether the app may receive the topic."""
        return self._permits(topic, self.subscribing)

    def _permits(self, topic: str, own: frozenset[str] | None) -> bool:
        if self.allowed and topic not in self.allowed:
            return False
        if own is None:
            return topic not in self.protected
        return topic in own


OPEN = TopicScopes()
"""Every topic for everybody."""


def scopes(metadata: Mapping[str, str], app_id: str) -> TopicScopes:
    """Read a component's four words on topics; names are compared without case."""
    words = {key.lower(): value for key, value in metadata.items()}
    found = TopicScopes(
        _listed(words.get("allowedtopics", "")),
        _listed(words.get("protectedtopics", "")),
        _own(words.get("publishingscopes", ""), app_id),
        _own(words.get("subscriptionscopes", ""), app_id),
    )
    return OPEN if found == OPEN else found


def _listed(text: str) -> frozenset[str]:
    return frozenset(name for part in text.split(",") if (name := part.strip()))


def _own(text: str, app_id: str) -> frozenset[str] | None:
    """This app's entry of `app1=t1,t2;app2=`. An entry without a topic is there, and allows nothing."""
    found: frozenset[str] | None = None
    for entry in text.split(";"):
        name, equals, topics = entry.partition("=")
        if equals and name.strip() == app_id:
            found = frozenset(part.strip() for part in topics.split(","))
    return found
