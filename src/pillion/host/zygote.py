"""`pilliond --zygote`: one warm process, everything imported and nothing opened, that sidecars are forked from.

`pillion run -f` starts it with a Unix socket as standard input and asks over it for one sidecar after the other. Each
order is one packet: JSON with the command line, the environment and the folder, and beside it the three files that
become standard input, output and error. The answer comes from the child itself.

A child is forked twice over, so that the run, which adopts the orphans among its descendants, becomes its parent: the
run is told of its end by the kernel, and the zygote may die without anybody else noticing. No loop, no thread and
no SQLite handle may exist here: none of them survives a fork.
"""

import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from pillion.host import title
from pillion.host.catalogue import Catalogue, ExtraMissing, UnknownType
from pillion.host.rehearsal import Unsafe as Unsafe
from pillion.host.rehearsal import rehearse
from pillion.toolbox.lazily import dataclass
from pillion.wire.proto import warm

LARGEST = 1 << 20
"""Bytes of an order; the kernel's own bound for one packet is lower."""
FILES = 3
ADOPTED_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Birth:
    """What this process, a fork of the zygote, is to be."""

    args: tuple[str, ...]
    environ: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Order:
    """One sidecar asked for: `words` is its command line as others are to see it, `args` what it acts on."""

    words: Sequence[str]
    args: Sequence[str]
    env: Mapping[str, str]
    folder: str
    files: Sequence[int]


class NotOurs(Exception):
    """Standard input is not a socket that this user holds the other end of."""


def stand_by(args: Sequence[str]) -> Birth | None:
    """Fork for whoever holds the other end of standard input until it lets go: None then.

    Returns in every child as well, with what that is to be. Words of `args` such as `state.redis/v1` name the drivers
    that will be wanted. Raises `NotOurs` and `Unsafe`.
    """
    link = _link()
    try:
        owner = _owner(link)
        _warm(word for word in args if "/" in word)
        rehearse()
        gc.collect()
        gc.freeze()  # nobody looks at it any more, so it stays shared
        title.show(["pilliond", "--zygote"])
        while (order := _order(link)) is not None:
            if _fork(order):
                return _become(order, link, owner)
    finally:
        link.close()
    return None


def _link() -> socket.socket:
    """The socket on standard input, which is then nothing."""
    try:
        link = socket.socket(fileno=os.dup(0))
    except OSError as error:
        raise NotOurs(
            "--zygote is for `pillion run -f`, which gives it a socket as standard input"
        ) from error
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    return link


def _owner(link: socket.socket) -> int:
    """The process that made the socket."""
    try:
        told = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except (AttributeError, OSError) as error:
        raise NotOurs("--zygote needs a Unix socket of Linux as standard input") from error
    pid, user, _ = struct.unpack("3i", told)
    if user != os.getuid() or not pid:
        raise NotOurs("the socket on standard input belongs to another user")
    return int(pid)


def _warm(types: Iterable[str]) -> None:
    """Import what sidecars will use."""
    import pillion.resources.events  # noqa: F401

    catalogue = Catalogue()
    for row in {*types, "nameresolution.sqlite/v1", "nameresolution.mdns/v1"}:
        try:
            catalogue.find(*row.split("/", 1))
        except (UnknownType, ExtraMissing):
            continue  # the sidecar that names it says so
    try:
        import uvloop  # noqa: F401
    except ImportError:
        pass
    warm()


def _order(link: socket.socket) -> Order | None:
    """The next one; None when nobody is there any more."""
    try:
        packet, files, _, _ = socket.recv_fds(link, LARGEST, FILES)
    except ConnectionError:
        return None
    if not packet:
        return None
    told: dict[str, Any] = json.loads(packet)
    return Order(told["words"], told["args"], told["env"], told["folder"], files)


def _fork(order: Order) -> bool:
    """Whether this is the child. Its parent for a moment ends at once, which makes it an orphan."""
    between = os.fork()
    if between:
        for number in order.files:
            os.close(number)
        os.waitpid(between, 0)
        return False
    if os.fork():
        os._exit(0)
    return True


def _become(order: Order, link: socket.socket, owner: int) -> Birth:
    """Take on everything that a process started afresh would have been given."""
    os.setsid()
    try:
        _be_adopted(owner)
        for target, number in enumerate(order.files):
            os.dup2(number, target)
            os.close(number)
        os.chdir(order.folder)
    except OSError as error:
        _stillborn(link, str(error))
    os.environ.clear()
    os.environ.update(order.env)
    time.tzset()
    title.show(order.words)
    sys.argv = ["pilliond", *order.args]
    try:
        link.send(json.dumps({"pid": os.getpid()}).encode())
    except OSError:
        os._exit(1)  # nobody waits for it any more
    return Birth(tuple(order.args), os.environ)


def _be_adopted(owner: int) -> None:
    """Wait until the run is our parent, and end with it from then on."""
    deadline = time.monotonic() + ADOPTED_WITHIN
    while os.getppid() != owner:
        if time.monotonic() > deadline:
            raise TimeoutError("the run did not adopt its sidecar")
        time.sleep(0.0002)
    title.die_with_parent(signal.SIGKILL)
    if os.getppid() != owner:
        os._exit(1)


def _stillborn(link: socket.socket, reason: str) -> NoReturn:
    try:
        link.send(json.dumps({"error": reason}).encode())
    finally:
        os._exit(1)
