"""Sockets before somebody listens on them: who may take an address or a path, and how a path is left."""

import asyncio
import errno
import os
import socket
import ssl
import stat
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
