"""Checks of one file: whether a process is writing it, and whether its last line ends.

Linux refuses a read lease while any process has the file open for writing, even when it pauses. Network file systems
do not support this, so they are recognised by their mount.
"""

import contextlib
import fcntl
import os
import signal
from pathlib import Path

import msgspec

NETWORK = ("nfs", "cifs", "smb", "9p", "fuse", "vboxsf", "ceph", "glusterfs", "afs", "lustre")
MOUNTS = Path("/proc/self/mountinfo")
PLAIN = (b".gz", b".parquet")


class Probe(msgspec.Struct, frozen=True):
    """`written`: a process has the file open for writing; None where that cannot be told. `ended`: its last
    byte ends a line, or the format has no lines.
    """  # noqa: D205

    written: bool | None
    ended: bool


def probe(descriptor: int, path: bytes) -> Probe:
    """Ask about an open file."""
    return Probe(_written(descriptor), path.endswith(PLAIN) or _line_ends(descriptor))


def _written(descriptor: int) -> bool | None:
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    with contextlib.suppress(ValueError):  # only the main thread may; a writer that comes now sends SIGIO
        signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def _line_ends(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) in (b"\n", b"\r", b"\0", b"\x1a")


def on_network(folder: Path) -> bool:
    """Whether a folder lies on a network or user-space file system, by the longest mount point above it."""
    return file_system(folder).startswith(NETWORK)


def file_system(folder: Path) -> str:
    """Type of the file system that holds a folder; empty where the system does not tell."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        fields = line.split(" ")
        mount = Path(fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape"))
        if (mount == place or mount in place.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), fields[fields.index("-") + 1]
    return kind
