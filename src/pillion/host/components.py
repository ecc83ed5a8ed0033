"""Components from their manifests to open drivers: order, secrets, time limits, and clear words when one fails."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pillion.contracts.secrets import SecretStore
from pillion.contracts.words import DriverError, Refused
from pillion.host.catalogue import Catalogue, ExtraMissing, UnknownType, canonical
from pillion.host.setup import LoadError
from pillion.host.telemetry import Metrics
from pillion.plug import settings as plug_settings
from pillion.plug.component import Component as Driver
from pillion.plug.component import Context
from pillion.plug.settings import SettingProblem, SettingsError
from pillion.resources import references
from pillion.resources.component import BUILT_IN, CATEGORIES, Component
from pillion.resources.problems import Report
from pillion.resources.references import Templates
from pillion.toolbox.backoff import Backoff
from pillion.toolbox.clock import Clock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime.processor")
_PROTECTING = frozenset(
    (
        "primaryencryptionkey", "secondaryencryptionkey", "allowedtopics", "protectedtopics", "publishingscopes",
        "subscriptionscopes",
    )
)  # fmt: skip
"""Metadata that protects something, and nothing where it is empty."""
_REOPEN = Backoff(timedelta(seconds=0.2), timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Loaded:
    """An open driver with the manifest and the resolved metadata it came from."""

    component: Component
    driver: Driver[Any]
    metadata: Mapping[str, str]

    def word(self, name: str) -> str:
        """A built-in metadata word, names compared without case; "" when absent."""
        return next((value for key, value in self.metadata.items() if key.lower() == name.lower()), "")


@dataclass(slots=True)
class Loader:
    """Opens the components of one runtime, and closes them in reverse."""

    app_id: str
    namespace: str
    environ: Mapping[str, str]
    catalogue: Catalogue
    metrics: Metrics
    clock: Clock
    data_home: Path | None
    templates: Templates
    denied: frozenset[str] = frozenset()
    """Types the Configuration refuses, as `type` or `type/version`."""
    replace: Callable[[Component, DriverError], Component | None] = lambda component, error: None
    """May name an embedded component to open in the place of one whose server does not answer (`--embedded`)."""
    patient: Callable[[Component], bool] = lambda component: True
    """Whether to wait within the initTimeout for a server that does not answer yet."""
    loaded: list[Loaded] = field(default_factory=list)

    async def load(self, components: Sequence[Component]) -> None:
        """Open all, stage by stage. Raises LoadError for all of a stage that fail and do not say `ignoreErrors`."""
        order = references.order([each for each in components if self._admits(each)])
        for stage in order.stages:
            before, places = len(self.loaded), {each.name: place for place, each in enumerate(stage)}
            outcomes = await asyncio.gather(*(self._one(each) for each in stage), return_exceptions=True)
            # In the manifests' order, not in that in which their servers answered: clients see it.
            self.loaded[before:] = sorted(
                self.loaded[before:], key=lambda each: places.get(each.component.name, 0)
            )
            if failures := [each for each in outcomes if isinstance(each, BaseException)]:
                raise _together(failures)
        for parked in order.parked:
            log.error("%s: the component is not loaded", parked.why)

    async def close(self) -> None:
        """Close every driver, last opened first; one that fails does not keep the others open."""
        while self.loaded:
            loaded = self.loaded.pop()
            log.info("Shutting down component %s", loaded.component.label)
            await shut(loaded.driver)

    async def _one(self, component: Component) -> None:
        try:
            await self._open(component)
        except LoadError as error:
            self.metrics.component_failed(component.type, "init", component.name)
            if not component.ignore_errors:
                raise
            log.error("Ignoring error processing component: %s", error)

    async def _open(self, component: Component) -> None:
        self._check(component)
        try:
            loaded = await self._opened(component)
        except DriverError as error:
            other = self.replace(component, error)
            if other is None:
                raise LoadError(_failure(component, error)) from error
            loaded = await self._stood_in(other)
        self.loaded.append(loaded)
        self.metrics.component_loaded(component.type)
        log.info("Component loaded: %s", loaded.component.label)

    async def _stood_in(self, other: Component) -> Loaded:
        try:
            return await self._opened(other)
        except DriverError as error:
            raise LoadError(_failure(other, error)) from error

    def _check(self, component: Component) -> None:
        if component.category not in CATEGORIES:
            raise LoadError(
                f"process component {component.name} error: incorrect type {component.type} ({component.source})"
            )

    def _admits(self, component: Component) -> bool:
        """Whether the Configuration lets the component in; one it does not is left out, as on Dapr, and named."""
        if not self._is_denied(component):
            return True
        log.warning("%s: %s is not loaded: the Configuration denies it", component.source, component.label)
        return False

    def _is_denied(self, component: Component) -> bool:
        """Compared as types and versions are looked up: without case, v0 being v1. A list refuses what names no version."""
        if not (self.denied and component.version):
            return bool(self.denied)
        kind, version = component.type.lower(), canonical(component.version)
        for entry in self.denied:
            barred, slash, which = entry.lower().partition("/")
            if kind == barred and (not slash or version == canonical(which)):
                return True
        return False

    async def _opened(self, component: Component) -> Loaded:
        try:
            cls = self.catalogue.find(component.type, component.version)
        except (UnknownType, ExtraMissing) as error:
            raise LoadError(_failure(component, error, "CREATE_COMPONENT_FAILURE")) from error
        metadata = await self.resolved(component)
        _check_protection(component, metadata)
        driver = cls(self._settings(component, cls, metadata), self._context(component, metadata))
        try:
            await self._attempt(component, driver)
        except BaseException:
            await shut(driver)
            raise
        return Loaded(component, driver, metadata)

    async def _attempt(self, component: Component, driver: Driver[Any]) -> None:
        """Open within the component's initTimeout, trying again while the server does not answer."""
        attempt = 0
        limit = component.init_timeout.total_seconds()
        last: DriverError | None = None
        try:
            async with asyncio.timeout(limit):
                while True:
                    try:
                        return await driver.open()
                    except Refused:
                        raise
                    except DriverError as error:
                        if not self.patient(component):
                            raise
                        last = error
                        log.debug("%s could not be opened yet: %s", component.label, error)
                    await asyncio.sleep(_REOPEN.seconds(attempt))
                    attempt += 1
        except TimeoutError:
            raise last or Refused(
                f"init timeout for component {component.name} exceeded after {limit:g}s"
            ) from None

    async def resolved(self, component: Component) -> dict[str, str]:
        """A manifest's settings as texts: secrets from the stores opened so far, variables, templates. Raises LoadError."""
        secrets = await self._secrets(component)
        report = Report()
        resolved = references.resolve(
            component,
            templates=self.templates,
            environ=self.environ,
            secret=lambda name, key: secrets.get(name, {}).get(key),
            report=report,
        )
        for problem in report.problems:
            log.log(logging.ERROR if problem.fatal else logging.WARNING, "%s", problem)
        if any(problem.fatal for problem in report.problems):
            raise LoadError(_failure(component, ValueError(str(report.problems[-1]))))
        if component.category == "pubsub" and not any(key.lower() == "consumerid" for key in resolved):
            resolved["consumerID"] = self.app_id
        return resolved

    async def _secrets(self, component: Component) -> dict[str, Mapping[str, str]]:
        store = next(
            (each.driver for each in self.loaded if each.component.name == component.secret_store), None
        )
        found: dict[str, Mapping[str, str]] = {}
        if not isinstance(store, SecretStore):
            return found
        for reference in component.secrets:
            if reference.name not in found:
                try:
                    found[reference.name] = await store.get(reference.name)
                except DriverError as error:
                    log.warning("%s: %s", component.label, error)
        return found

    def _settings(self, component: Component, cls: type[Driver[Any]], metadata: Mapping[str, str]) -> Any:
        def remark(problem: SettingProblem) -> None:
            log.warning("%s: %s: %s", component.where(problem.name), component.label, problem)

        try:
            also = BUILT_IN.get(component.category, ())
            return plug_settings.read(cls.spec.settings, metadata, also=also, remark=remark)
        except SettingsError as error:
            lines = "; ".join(f"{component.where(each.name)}: {each}" for each in error.problems)
            raise LoadError(_failure(component, ValueError(lines))) from error

    def _context(self, component: Component, metadata: Mapping[str, str]) -> Context:
        def health(ok: bool, reason: str) -> None:
            if ok:
                log.info("%s answers again", component.label)
            else:
                log.warning("%s lost its server: %s", component.label, reason)

        return Context(
            name=component.name,
            app_id=self.app_id,
            namespace=self.namespace,
            metadata=dict(metadata),
            clock=self.clock,
            log=logging.getLogger(f"dapr.contrib.{component.type}"),
            crew=Crew(component.name),
            health=health,
            data_home=self.data_home,
        )


def _check_protection(component: Component, metadata: Mapping[str, str]) -> None:
    """A reference that leads nowhere must not turn off what it was to protect."""
    for each in component.settings:
        refers = each.secret is not None or each.env or each.name.lower().endswith("encryptionkey")
        if refers and each.name.lower() in _PROTECTING and not metadata[each.name]:
            why = f"{each.source}: {each.name} is empty, so it would protect nothing: give it a value or remove it"
            raise LoadError(_failure(component, ValueError(why)))


async def shut(driver: Driver[Any]) -> None:
    """Close a driver and end its tasks, whatever it says."""
    try:
        await driver.close()
    except Exception as error:  # the root of a driver's life: the others must still be closed
        log.error("%s did not close: %s", driver.context.name, error, exc_info=error)
    await driver.context.crew.close()


def _together(failures: Sequence[BaseException]) -> BaseException:
    """One error for several; a mistake of ours, or the end of the start, goes before what a manifest did."""
    sentences: list[str] = []
    for failure in failures:
        if not isinstance(failure, LoadError):
            return failure
        sentences += failure.sentences
    return LoadError(*sentences)


def _failure(component: Component, error: Exception, inner: str = "INIT_COMPONENT_FAILURE") -> str:
    """Dapr's sentence, with the place in the manifest behind it."""
    prefix = (
        f"initialization error occurred for {component.name} ({component.type}/{component.version or 'v1'})"
    )
    text = f"process component {component.name} error: [INIT_COMPONENT_FAILURE]: {prefix}: [{inner}]: {prefix}: {error}"
    return f"{text} ({component.source})"
