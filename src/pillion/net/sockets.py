"""Unix sockets as files: who may take a path, and how it is left."""

import asyncio
import errno
import os
import stat


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
