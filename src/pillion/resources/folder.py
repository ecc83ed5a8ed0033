"""Every resource in some files and folders, with all that is wrong in them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from pillion.resources import document
from pillion.resources.component import Component, component
from pillion.resources.document import Node
from pillion.resources.endpoint import HttpEndpoint, endpoint
from pillion.resources.header import Header, header, opened
from pillion.resources.problems import Problem, Report, Source
from pillion.resources.resiliency import Resiliency, resiliency
from pillion.resources.subscription import Subscription, subscription
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Other:
    """A resource that is recognised and whose feature this version does not have."""

    kind: str
    name: str
    namespace: str
    scopes: tuple[str, ...]
    source: Source


@dataclass(frozen=True, slots=True)
class Resources:
    """What was loaded, in the order it was found, and what was wrong."""

    components: tuple[Component, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    endpoints: tuple[HttpEndpoint, ...] = ()
    resiliencies: tuple[Resiliency, ...] = ()
    others: tuple[Other, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def fatal(self) -> tuple[Problem, ...]:
        """The problems that end start-up."""
        return tuple(problem for problem in self.problems if problem.fatal)


class Scoped(Protocol):
    """A resource that may name the apps and the namespace it is for."""

    @property
    def scopes(self) -> tuple[str, ...]: ...

    @property
    def namespace(self) -> str: ...


R = TypeVar("R", bound=Scoped)
Resource = Component | Subscription | HttpEndpoint | Resiliency | Other


def is_for(resource: Scoped, app_id: str) -> bool:
    """Whether an app may use it: no scopes means every app."""
    return not resource.scopes or app_id in resource.scopes


def is_in(resource: Scoped, namespace: str | None) -> bool:
    """Whether it is of a namespace: checked only if the process has one and the manifest names one."""
    return not namespace or not resource.namespace or resource.namespace == namespace


def for_app(resources: Resources, app_id: str) -> Resources:
    """The resources that an app may use; the problems of all."""
    return replace(
        resources,
        components=_scoped(resources.components, app_id),
        subscriptions=_scoped(resources.subscriptions, app_id),
        endpoints=_scoped(resources.endpoints, app_id),
        resiliencies=_scoped(resources.resiliencies, app_id),
        others=_scoped(resources.others, app_id),
    )


def _scoped(resources: Sequence[R], app_id: str) -> tuple[R, ...]:
    return tuple(each for each in resources if is_for(each, app_id))


def load(paths: Iterable[Path], *, namespace: str | None = None) -> Resources:
    """Load files and folders, not the folders in them. `namespace` is the process's own, if it has one.

    | mistake                                                | what follows                                |
    |--------------------------------------------------------|---------------------------------------------|
    | a path is missing, two resources have one kind and name | fatal                                       |
    | not YAML, a wrong type, a needed field missing         | that resource is left out, the others stay  |
    | unknown field, unknown kind, a file that is not YAML   | told, with the closest right word           |
    """
    report = Report()
    found: dict[tuple[str, str, str], Resource] = {}
    merged: list[Resource] = []
    for file in _files(paths, report):
        for node in document.read(file, report):
            head, resource = _resource(node, report)
            if head is None or resource is None or not is_in(resource, namespace):
                continue
            key = (head.kind, head.version, head.name)
            if head.kind == "Resiliency":
                merged.append(resource)  # Dapr merges these: a name may come again
            elif key in found:
                before = found[key]
                said = f"{head.kind} name {_label(resource)} with existing {_label(before)}, {before.source}"
                report.fail(head.source, "metadata.name", f"duplicate definition of {said}")
            else:
                found[key] = resource
    return _sorted([*found.values(), *merged], report)


def _files(paths: Iterable[Path], report: Report) -> Iterable[Path]:
    for path in dict.fromkeys(paths):
        try:
            files = sorted(each for each in path.iterdir() if not each.is_dir()) if path.is_dir() else [path]
            path.stat()
        except FileNotFoundError:
            report.fail(
                Source(str(path)), "", f"failed to load components: open {path}: no such file or directory"
            )
            continue
        except OSError as error:
            report.fail(Source(str(path)), "", f"failed to load components: open {path}: {error.strerror}")
            continue
        for file in files:
            if file.suffix.lower() in (".yaml", ".yml"):
                yield file
            else:
                said = f"A non-YAML Component file {file.name} was detected, it will not be loaded"
                report.warn(Source(str(file)), "", said)


def _resource(node: Node, report: Report) -> tuple[Header | None, Resource | None]:
    before = report.spoiled
    fields = opened(node, report)
    head = header(fields) if isinstance(node.value, dict) else None
    if head is None:
        return None, None
    made: Resource | None = None
    match head.kind:
        case "Component":
            made = component(fields, head)
        case "Subscription":
            made = subscription(fields, head)
        case "HTTPEndpoint":
            made = endpoint(fields, head)
        case "Resiliency":
            made = resiliency(fields, head)
        case "MCPServer" | "WorkflowAccessPolicy":
            made = Other(head.kind, head.name, head.namespace, fields.texts("scopes"), head.source)
    if report.spoiled > before:
        report.warn(head.source, "", f"{head.kind} {head.name} is not loaded because of this")
        return head, None
    return head, made


def _label(resource: Resource) -> str:
    return resource.label if isinstance(resource, Component) else resource.name


def _sorted(resources: Sequence[Resource], report: Report) -> Resources:
    return Resources(
        components=tuple(each for each in resources if isinstance(each, Component)),
        subscriptions=tuple(each for each in resources if isinstance(each, Subscription)),
        endpoints=tuple(each for each in resources if isinstance(each, HttpEndpoint)),
        resiliencies=tuple(each for each in resources if isinstance(each, Resiliency)),
        others=tuple(each for each in resources if isinstance(each, Other)),
        problems=tuple(report.problems),
    )
