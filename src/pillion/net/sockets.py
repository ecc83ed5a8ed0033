"""Sockets before somebody serves them: who may take an address or a path, and how a path is left."""

import asyncio
import errno
import os
import socket
import ssl
import stat
import sys
from collections.abc import Callable


async def serve(
    accept: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    backlog: int,
) -> asyncio.Server:
    """Listen on the addresses of a host, on all where it is empty. Raises OSError if one is taken."""
    loop = asyncio.get_running_loop()
    own = _bound(host, port)
    if own is None:
        return await loop.create_server(accept, host or None, port, ssl=tls, backlog=backlog)
    return await loop.create_server(accept, sock=own, ssl=tls, backlog=backlog)


async def opened(host: str, port: int, *, backlog: int) -> list[socket.socket]:
    """Sockets on the addresses of a host. Who connects waits until somebody accepts. Raises OSError if one is taken."""
    own = _bound(host, port)
    made = [own] if own is not None else await _bound_by_name(host, port)
    try:
        for each in made:
            each.listen(backlog)
    except OSError:
        for each in made:
            each.close()
        raise
    return made


async def opened_unix(path: str, *, backlog: int) -> socket.socket:
    """A Unix socket to connect to; one left there by a process that is gone is replaced."""
    await remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(path)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


async def _bound_by_name(host: str, port: int) -> list[socket.socket]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    made: list[socket.socket] = []
    try:
        for address in dict.fromkeys(str(each[4][0]) for each in found):
            if (one := _bound(address, port)) is not None:
                made.append(one)
    except OSError:
        for each in made:
            each.close()
        raise
    return made


def _bound(host: str, port: int) -> socket.socket | None:
    """A socket at an address written in numbers; None for a name, which must be looked up.

    Event loops look up numbers as well, and load the tables of Unicode for it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except OSError:
        return None
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


async def remove_stale(path: str) -> None:
    """Remove a socket nobody listens on. Raises OSError for one that is in use."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, path)
    except ConnectionRefusedError:
        unlink(path)
    else:
        transport.close()
        raise OSError(errno.EADDRINUSE, f"address already in use: {path}")


def unlink(path: str) -> None:
    """Remove a socket that may be gone already."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


_TCP_INFO_BYTES = 152
_MIN_RTT = slice(148, 152)


def round_trip(transport: asyncio.BaseTransport) -> float:
    """Seconds to the peer and back, the shortest that the kernel has seen; 0 where it does not say (Linux' TCP does)."""
    link = transport.get_extra_info("socket")
    if link is None or link.family == getattr(socket, "AF_UNIX", None) or not hasattr(socket, "TCP_INFO"):
        return 0.0
    try:
        info = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return 0.0
    micros = int.from_bytes(info[_MIN_RTT], sys.byteorder)
    return micros / 1e6 if micros < 2**32 - 1 else 0.0
