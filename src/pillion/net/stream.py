"""Moved by the lead: `Stream`, `Body`… live in `pillion.toolbox.stream` (services need them too). Import from there; this file goes away."""

from pillion.toolbox.stream import *  # noqa: F403
