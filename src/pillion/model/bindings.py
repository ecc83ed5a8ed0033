"""Bindings: what an app asks of an outside system, and what such a system brings."""

from collections.abc import Mapping
from dataclasses import field

from pillion.model.state import NOTHING
from pillion.toolbox.lazily import dataclass


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. `data` None is "nothing to say" (HTTP 204), b"" is an empty answer."""

    data: bytes | None = None
    metadata: Mapping[str, str] = field(default=NOTHING)
    content_type: str = ""
    to: tuple[str, ...] = ()
    """Output bindings that the app wants `data` sent to (an app's answer to a trigger only)."""
    parallel: bool = False
    """Whether they may be called at once."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One event of an input binding."""

    data: bytes
    metadata: Mapping[str, str] = field(default=NOTHING)
    content_type: str = ""
