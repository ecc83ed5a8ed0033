"""Bindings mounted for tests of the rooms above them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pillion.contracts.bindings import Binding, Bring, InvocationFailed, Listening
from pillion.contracts.words import Refused, Unavailable
from pillion.drivers.bindings.cron import CronBinding, CronSettings
from pillion.drivers.bindings.localstorage import LocalStorageBinding, LocalStorageSettings
from pillion.model.bindings import Reply
from pillion.plug.component import Context, driver
from pillion.services.bindings import BindingMount
from pillion.services.mount import Mount
from pillion.testing.clock import HandClock
from support.stores import Noted


class EchoSettings:
    """None."""


@driver("bindings.echo", settings=EchoSettings, title="Echo")
class Echo(Binding[Any]):
    """Answers with what it was given, or as its operation says."""

    operations = ("create", "fail", "refuse", "lose", "nothing")

    def __init__(self, context: Context) -> None:
        super().__init__(EchoSettings(), context)
        self.got: list[tuple[str, bytes, dict[str, str]]] = []

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Reply | None:
        self.got.append((operation, data, dict(metadata)))
        match operation:
            case "create":
                return Reply(data, {"Content-Length": str(len(data)), "X-Hb": "v", "statusCode": "200"})
            case "fail":
                raise InvocationFailed("received status code 500", Reply(b"boom", {"statusCode": "500"}))
            case "refuse":
                raise Refused("this cannot be")
            case "lose":
                raise Unavailable("nobody there")
        return None


@driver("bindings.spring", settings=EchoSettings, title="Spring")
class Spring(Binding[Any]):
    """An input whose events the test makes."""

    is_input = True

    def __init__(self, context: Context) -> None:
        super().__init__(EchoSettings(), context)
        self.bring: Bring | None = None
        self.closed = 0

    async def listen(self, bring: Bring) -> Listening:
        if self.context.name == "broken":
            raise Unavailable("nothing to listen to")
        self.bring = bring
        return self

    async def close(self) -> None:
        self.closed += 1


class Quay:
    """Bindings by name."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.noted = Noted()
        self.arrived = Noted()
        self.strangers: list[tuple[str, str]] = []
        self.mounts: dict[str, BindingMount] = {}

    def mount(self, name: str, binding: Binding[Any], **metadata: str) -> None:
        mount: Mount[Binding[Any]] = Mount(name, "bindings.test", "v1", binding, self.noted)
        self.mounts[name] = BindingMount.of(mount, metadata, self.arrived)

    def context(self, name: str) -> Context:
        return Context(name=name, clock=self.clock)

    def echo(self, name: str = "echo", **metadata: str) -> Echo:
        made = Echo(self.context(name))
        self.mount(name, made, **metadata)
        return made

    def spring(self, name: str = "spring", **metadata: str) -> Spring:
        made = Spring(self.context(name))
        self.mount(name, made, **metadata)
        return made

    async def cron(self, name: str = "tick") -> CronBinding:
        made = CronBinding(CronSettings(schedule="@every 1s"), self.context(name))
        await made.open()
        self.mount(name, made)
        return made

    async def files(self, folder: Path, name: str = "files") -> LocalStorageBinding:
        made = LocalStorageBinding(LocalStorageSettings(root_path=str(folder)), self.context(name))
        await made.open()
        self.mount(name, made)
        return made

    def component(self, kind: str, name: str) -> Noted:
        """The telemetry of names that are mounted nowhere."""
        self.strangers.append((kind, name))
        return self.noted
