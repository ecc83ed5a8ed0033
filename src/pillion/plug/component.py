"""What every driver is: settings in, a context lent by the host, opened once, closed safely."""

import logging
from collections.abc import Callable, Coroutine
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from pillion.toolbox.clock import Clock, SystemClock
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

S = TypeVar("S")
D = TypeVar("D", bound="type[Component[Any]]")
Status = Literal["alpha", "beta", "stable"]


@dataclass(frozen=True, slots=True)
class Spec:
    """A driver's identity card; the manual, the schema and the dashboard print it."""

    type_name: str
    version: str
    status: Status
    title: str
    settings: type[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the host lends a driver for its lifetime.

    `metadata` is the component's raw metadata after references and templates were resolved, names as written: for
    drivers that pass unknown keys on. `data_home` is the folder for embedded files, None where nothing is writable.
    """

    name: str
    app_id: str = ""
    namespace: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("pillion.driver"))
    crew: Crew = field(default_factory=lambda: Crew("driver"))
    health: Callable[[bool, str], None] = lambda ok, reason: None
    """Tell the host that the server was lost (False, why) or is back (True, "")."""
    data_home: Path | None = None

    def start(self, work: Coroutine[Any, Any, Any], name: str = "") -> None:
        """Run a background task that ends with the driver."""
        self.crew.start(work, f"{self.name}: {name}" if name else self.name)


class Component(Generic[S]):
    """The root of every driver.

    The constructor keeps its arguments and nothing else: I/O and the import of a vendor's client begin in `open`.
    """

    spec: ClassVar[Spec]
    immediate: ClassVar[bool] = False
    """No operation ever waits on a future: callers may step them without a task."""
    stepped: bool = False
    """Operations wait on futures, but never by `asyncio.timeout` or what else needs a task: callers may run them
    without one. May be set on the instance, in `open`."""

    def __init__(self, settings: S, context: Context) -> None:
        self.settings = settings
        self.context = context

    async def open(self) -> None:
        """Connect. Called once before any other operation; the host gives it `initTimeout` and retries within it.
        Raises a word of `contracts.words` when it cannot."""

    async def close(self) -> None:
        """Let go. Safe unopened, and safe twice."""


def driver(
    type_name: str, *, settings: type[Any], title: str, version: str = "v1", status: Status = "alpha"
) -> Callable[[D], D]:
    """Give a driver class its identity card. Nothing is registered: `drivers/index.py` is the list."""

    def mark(cls: D) -> D:
        if not cls.__doc__:
            raise TypeError(f"{cls.__name__} needs a docstring: it becomes its page of the manual")
        cls.spec = Spec(type_name, version, status, title, settings)
        return cls

    return mark
