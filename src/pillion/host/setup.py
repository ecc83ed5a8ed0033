"""What one run of a sidecar is given: flags, environment, configuration and resources, checked together."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from pillion.host import flags as flag_rules
from pillion.host import home
from pillion.host.flags import Flags
from pillion.resources import configuration, folder
from pillion.resources.configuration import Configuration
from pillion.resources.folder import Resources
from pillion.resources.problems import Problem
from pillion.toolbox.lazily import dataclass

log = logging.getLogger("dapr.runtime")


class Fatal(Exception):
    """The sidecar cannot run; each sentence says why and what to do."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


class LoadError(Exception):
    """Components that could not be loaded and may not be left out: a sentence for each."""

    def __init__(self, *sentences: str) -> None:
        self.sentences = sentences
        super().__init__("; ".join(sentences))


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything decided before the first socket is opened."""

    flags: Flags
    environ: Mapping[str, str]
    configuration: Configuration
    resources: Resources
    data_home: Path | None

    @property
    def declares_something(self) -> bool:
        """Whether there is anything to open that could be refused."""
        found = self.resources
        return bool(
            found.components
            or found.endpoints
            or found.subscriptions
            or self.configuration.name_resolution is not None
        )


def prepare(flags: Flags, environ: Mapping[str, str]) -> Setup:
    """Read what the flags name. Every problem is logged; raises Fatal with all that end start-up."""
    conf, problems = configuration.load(flags.config, environ=environ)
    _tell(problems)
    found = folder.load(flags.resources_paths, namespace=flags.own_namespace)
    _tell(found.problems)
    found = folder.for_app(found, flags.app_id)
    fatal = [str(problem) for problem in (*problems, *found.problems) if problem.fatal]
    refused = flag_rules.refusals(flags, conf, found.components)
    if fatal or refused:
        raise Fatal([*fatal, *refused])
    for line in flag_rules.warnings(flags, conf):
        log.warning("%s", line)
    _tell_absent(found)
    return Setup(flags, environ, conf, found, _data_home(flags, environ))


def _data_home(flags: Flags, environ: Mapping[str, str]) -> Path | None:
    return home.find(str(flags.pillion_home) if flags.pillion_home else "", environ)


def _tell(problems: Iterable[Problem]) -> None:
    for problem in problems:
        log.log(logging.ERROR if problem.fatal else logging.WARNING, "%s", problem)


def _tell_absent(found: Resources) -> None:
    for each in found.resiliencies:
        targets = ", ".join((*each.apps, *each.actors, *each.components)) or "none"
        log.warning(
            "%s: Resiliency %s has no effect in this version; its targets run without policies: %s",
            each.source, each.name, targets,
        )  # fmt: skip
    for other in found.others:
        log.warning("%s: %s %s has no effect in this version", other.source, other.kind, other.name)
