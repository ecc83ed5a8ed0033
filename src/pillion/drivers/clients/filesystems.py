"""Which file systems keep their promises to only one machine."""

from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mounts")
NETWORK: Final = frozenset(
    (
        "nfs",
        "nfs4",
        "cifs",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "coda",
        "ceph",
        "glusterfs",
        "lustre",
        "gpfs",
        "beegfs",
    )
    + (
        "ocfs2",
        "davfs",
        "fuse.davfs",
        "fuse.sshfs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
    )
)


def network_filesystem(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of network file system that holds `path`, "" when it is local or the system does not tell."""
    try:
        table = mounts.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    kind = _kind_of_mount(path.resolve(), table)
    return kind if kind in NETWORK else ""


def _kind_of_mount(path: Path, table: str) -> str:
    best, found = -1, ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        depth = len(point.parts)
        if depth >= best and (path == point or point in path.parents):
            best, found = depth, fields[2]
    return found
