"""The binding contract: an output to invoke, an input that brings events, or both."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Protocol

from pillion.contracts.words import DriverError, Unsupported
from pillion.model.bindings import Reply, Trigger
from pillion.plug.component import Component, S


class NotDelivered(Exception):
    """The app did not take an event; a driver that can, brings it again."""


class InvocationFailed(DriverError):
    """The outside system answered, but with a failure; its answer goes along."""

    def __init__(self, text: str, reply: Reply) -> None:
        super().__init__(text)
        self.reply = reply


Bring = Callable[[Trigger], Awaitable[Reply]]
"""Hand an event to the app; raises NotDelivered."""


class Listening(Protocol):
    """A running input."""

    async def close(self) -> None:
        """Take no more events, then wait for those in flight (bounded). Safe twice."""


class Binding(Component[S]):
    """An output (it has `operations`), an input (`is_input`), or both."""

    operations: tuple[str, ...] = ()
    is_input: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.is_input != (cls.listen is not Binding.listen):
            raise TypeError(f"{cls.__name__}: is_input={cls.is_input} does not match `listen`")
        if bool(cls.operations) != (cls.invoke is not Binding.invoke):
            raise TypeError(f"{cls.__name__}: operations={cls.operations} do not match `invoke`")

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Reply | None:
        """Do one of `operations` (checked by the caller). None and a Reply without data are both "no content"."""
        raise Unsupported("output")

    async def listen(self, bring: Bring) -> Listening:
        """Start bringing events."""
        raise Unsupported("input")
