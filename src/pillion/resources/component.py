"""A Component: one named piece of technology, its type and its settings."""

from datetime import timedelta

from pillion.resources.fields import Fields
from pillion.resources.header import TOP_LEVEL, Header
from pillion.resources.problems import Source
from pillion.toolbox import suggest
from pillion.toolbox.lazily import dataclass

CATEGORIES = (
    "state", "pubsub", "bindings", "secretstores", "configuration", "lock", "crypto", "conversation",
    "middleware.http", "nameresolution", "workflow",
)  # fmt: skip
BUILT_IN = {
    "state": (
        "keyPrefix", "actorStateStore", "primaryEncryptionKey", "secondaryEncryptionKey",
        "outboxPublishPubsub", "outboxPublishTopic", "outboxPubsub", "outboxDiscardWhenMissingState",
    ),
    "pubsub": ("consumerID", "allowedTopics", "protectedTopics", "publishingScopes", "subscriptionScopes"),
    "bindings": ("direction", "route"),
    "lock": ("keyPrefix",),
}  # fmt: skip
"""Metadata that the runtime reads itself, by category: no driver declares it."""
INIT_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A secret's name in its store, and which of its keys."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One metadata item as written: a value, or where to find it. `value` is None when it has none."""

    name: str
    value: str | None
    secret: SecretRef | None
    env: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """As declared; references and templates are not yet resolved."""

    name: str
    namespace: str
    type: str
    version: str
    settings: tuple[Setting, ...] = ()
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    ignore_errors: bool = False
    init_timeout: timedelta = INIT_TIMEOUT
    source: Source = Source("")

    @property
    def category(self) -> str:
        """`state` of `state.redis`, `middleware.http` of `middleware.http.oauth2`."""
        first, _, rest = self.type.partition(".")
        return f"{first}.{rest.partition('.')[0]}" if first == "middleware" else first

    @property
    def label(self) -> str:
        """How messages name it: `orders (state.redis/v1)`."""
        return f"{self.name} ({self.type}/{self.version})" if self.version else f"{self.name} ({self.type})"

    @property
    def secrets(self) -> tuple[SecretRef, ...]:
        """The secrets its settings refer to."""
        return tuple(each.secret for each in self.settings if each.secret is not None)

    def where(self, setting: str) -> Source:
        """The line of a setting; the component's own when it has none of that name."""
        for each in self.settings:
            if each.name.lower() == setting.lower():
                return each.source
        return self.source


def component(fields: Fields, head: Header) -> Component:
    """Read the rest of the document."""
    spec = fields.section("spec")
    made = Component(
        name=head.name,
        namespace=head.namespace,
        type=_type(spec),
        version=spec.text("version"),
        settings=settings(spec, "metadata"),
        secret_store=secret_store(fields),
        scopes=fields.texts("scopes"),
        ignore_errors=spec.flag("ignoreErrors"),
        init_timeout=spec.span("initTimeout") or INIT_TIMEOUT,
        source=head.source,
    )
    spec.done(TOP_LEVEL)
    fields.done()
    return made


def _type(spec: Fields) -> str:
    """The type. A category that cannot be right is told here, with its line; the host refuses it."""
    kind = spec.text("type")
    category = kind.rpartition(".")[0] if kind.startswith("middleware.") else kind.partition(".")[0]
    if not kind:
        spec.report.warn(spec.where("type"), spec.name_of("type"), "is required, such as state.redis")
    elif not any(kind.startswith(f"{each}.") for each in CATEGORIES):
        said = f'"{kind}" has an unknown category{suggest.hint(category, CATEGORIES)}'
        spec.report.warn(spec.where("type"), spec.name_of("type"), said)
    return kind


def secret_store(fields: Fields) -> str:
    """`auth.secretStore` of any resource that may refer to secrets."""
    auth = fields.section("auth")
    store = auth.text("secretStore")
    auth.done()
    return store


def settings(parent: Fields, name: str) -> tuple[Setting, ...]:
    """A list of `{name, value | secretKeyRef | envRef}`. Of two with one name the later counts."""
    found: dict[str, Setting] = {}
    for item in parent.sections(name):
        setting = _setting(item)
        if setting.name.lower() in found:
            before = found[setting.name.lower()].source
            parent.report.warn(
                item.source,
                item.path,
                f'"{setting.name}" is given twice, first at {before}: the later counts',
            )
        if setting.name:
            found[setting.name.lower()] = setting
    return tuple(found.values())


def _setting(item: Fields) -> Setting:
    name = item.needed("name")
    value = item.verbatim("value")
    secret = secret_ref(item)
    env = item.text("envRef")
    item.done()
    return Setting(name, value, secret, env, item.source)


def secret_ref(item: Fields) -> SecretRef | None:
    """`secretKeyRef`; its key is its name when left out."""
    if "secretKeyRef" not in item:
        item.node("secretKeyRef")
        return None
    reference = item.section("secretKeyRef")
    name = reference.needed("name")
    made = SecretRef(name, reference.text("key") or name)
    reference.done()
    return made
