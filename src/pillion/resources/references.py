"""From a setting as written to the text a driver sees: secrets, the environment, templates."""

from collections.abc import Callable, Collection, Mapping, Sequence

from pillion.resources.component import Component, Setting
from pillion.resources.problems import Report
from pillion.toolbox.lazily import dataclass

SecretLookup = Callable[[str, str], str | None]
"""A secret's name and key to its value, None when its store has none. The host fetched them beforehand."""


class TemplateError(ValueError):
    """A template names something this process does not have."""


@dataclass(frozen=True, slots=True)
class Templates:
    """What `{uuid}`, `{podName}`, `{namespace}` and `{appID}` stand for here."""

    app_id: str
    namespace: str
    uuid: Callable[[], str]
    pod_name: str = ""

    def fill(self, text: str) -> str:
        """Replace every template; each `{uuid}` is a new one."""
        if "{" not in text:
            return text
        while "{uuid}" in text:
            text = text.replace("{uuid}", self.uuid(), 1)
        if "{podName}" in text:
            if not self.pod_name:
                raise TemplateError("{podName} is used but the variable POD_NAME is not set")
            text = text.replace("{podName}", self.pod_name)
        text = text.replace("{namespace}", f"{self.namespace}.{self.app_id}")
        return text.replace("{appID}", self.app_id)


def may_read(name: str, environ: Mapping[str, str]) -> bool:
    """Whether `envRef` may name a variable: never the tokens or Dapr's own, and only listed ones where
    DAPR_ENV_KEYS is set."""
    name = name.upper()
    if name in ("", "APP_API_TOKEN") or name.startswith("DAPR_") or " " in name:
        return False
    allowed = environ.get("DAPR_ENV_KEYS", "")
    return not allowed or name in allowed.upper().split()


def resolve(
    component: Component,
    *,
    templates: Templates,
    environ: Mapping[str, str],
    secret: SecretLookup,
    report: Report,
) -> dict[str, str]:
    """The component's settings as its driver gets them, by the names written.

    A secret wins over a value, a value over the environment. A missing secret leaves the value empty and is
    told, as in Dapr; a template that cannot be filled is fatal.
    """
    resolved: dict[str, str] = {}
    for setting in component.settings:
        text = _found(component, setting, environ, secret, report)
        try:
            resolved[setting.name] = templates.fill(text)
        except TemplateError as error:
            resolved[setting.name] = text
            report.fail(setting.source, setting.name, str(error))
    return resolved


def _found(
    component: Component, setting: Setting, environ: Mapping[str, str], secret: SecretLookup, report: Report
) -> str:
    if setting.secret is not None:
        held = secret(setting.secret.name, setting.secret.key) if component.secret_store else None
        if not held:  # an empty secret counts as missing, as in Dapr
            report.warn(setting.source, setting.name, _missing(component, setting))
        return held or setting.value or ""
    if setting.value or not setting.env:
        return setting.value or ""
    if not may_read(setting.env, environ):
        report.warn(
            setting.source, setting.name, f"the variable {setting.env} may not be read by envRef: left empty"
        )
        return ""
    if setting.env not in environ:
        report.warn(setting.source, setting.name, f"the variable {setting.env} is not set: left empty")
    return environ.get(setting.env, "")


def _missing(component: Component, setting: Setting) -> str:
    if not component.secret_store:
        return "secretKeyRef without auth.secretStore: no store to ask, left empty"
    name = setting.secret.name if setting.secret else ""
    return f'the secret store {component.secret_store} has no secret "{name}" with that key: left empty'


@dataclass(frozen=True, slots=True)
class Parked:
    """A component that can never be loaded, and the secret store it waits for."""

    component: Component
    store: str
    why: str


@dataclass(frozen=True, slots=True)
class Order:
    """Components in stages: a stage needs only the stores before it and may be opened side by side."""

    stages: tuple[tuple[Component, ...], ...]
    parked: tuple[Parked, ...]


def awaited(component: Component) -> str | None:
    """The secret store a component waits for: the one it names, if any setting refers to a secret."""
    return component.secret_store or None if component.secrets else None


def order(components: Sequence[Component], *, ready: Collection[str] = ()) -> Order:
    """Who is opened after whom. `ready`: names of secret stores that are open already."""
    stores = {each.name for each in components if each.category == "secretstores"}
    opened, waiting, stages = set(ready), list(components), []
    while True:
        stage = [each for each in waiting if (awaited(each) or "") in opened | {""}]
        # Stores go first, alone: whoever needs them can then follow at once.
        stage = [each for each in stage if each.category == "secretstores"] or stage
        if not stage:
            break
        stages.append(tuple(stage))
        opened |= {each.name for each in stage if each.category == "secretstores"}
        waiting = [each for each in waiting if each not in stage]
    return Order(tuple(stages), tuple(_parked(each, stores) for each in waiting))


def _parked(component: Component, stores: Collection[str]) -> Parked:
    store = awaited(component) or ""
    why = f"Component {component.name} references a secret store that isn't loaded: {store}"
    if store in stores:
        why += ", which itself waits for a secret store"
    return Parked(component, store, why)
