"""When files are complete: a file is settled once it has been still for a while and no process is writing it.

On Linux a read lease is refused while any process has the file open for writing, even when that process pauses. Network
file systems do not support leases and are recognised by their mount; files there have to be still for longer.
"""

import contextlib
import fcntl
import heapq
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from anomvae.folder.scanner import Scan, Stat

NETWORK = ("nfs", "cifs", "smb", "9p", "fuse", "vboxsf", "ceph", "glusterfs", "afs", "lustre")  # file system types
MOUNTS = Path("/proc/self/mountinfo")
WITHOUT_LINES = (b".gz", b".parquet")  # formats of which the last byte says nothing
BLIND = 3  # times longer where writers cannot be seen
UNENDED = 5  # times longer, beyond settling, where the last line has no end
REPROBE = 0.5  # seconds until a writer is looked for again
REOPEN = 10.0  # seconds until a file that may not be read is tried again
MOST_READY = 10_000  # files that one scan yields at most

# Codes of why a file waits, and the sentences for people. A code that is not listed is shown as it is.
SETTLING, UNENDED_LINE, WRITTEN = "settling", "unended_line", "written"
UNREADABLE, CHANGED = "unreadable", "changed"
SENTENCES = {
    UNENDED_LINE: "its last line has no end",
    WRITTEN: "open by a writer",
    CHANGED: "changed while it was read",
    "scorer_died": "its scorer died, will be tried again",
    "scorer_failed": "failed, will be tried again",
}


class Arrival(msgspec.Struct, frozen=True):
    """A settled file.

    Attributes:
        path: its path below the input folder.
        stat: its state.
        quiet: for how many seconds it has been still.
    """

    path: bytes
    stat: Stat
    quiet: float


class Waiting(msgspec.Struct):
    """A file that is not settled, or not processed. Times are monotonic seconds.

    Attributes:
        stat: its state at the newest scan.
        since: when it was first seen in that state.
        seen: when it was first seen at all.
        reason: the code of why it waits.
        due: when it is looked at again.
    """

    stat: Stat
    since: float
    seen: float
    reason: str = SETTLING
    due: float = 0.0

    def sentence(self) -> str:
        """Why the file waits, for people."""
        return SENTENCES.get(self.reason, self.reason)


class Probe(msgspec.Struct, frozen=True):
    """What an open file shows of being complete.

    Attributes:
        written: whether a process has it open for writing; None where that cannot be found out.
        ended: whether its last byte ends a line, or the format has no lines.
    """

    written: bool | None
    ended: bool


class Settler:
    """Decides which files are complete.

    Args:
        settle: seconds for which a file must be still.
        known: whether this state of a path was processed before.
        probe: looks at one file for signs of a writer; None where it cannot be opened now.
        trusted: whether files are complete as soon as they are seen, because their producer marks them.

    Attributes:
        waiting: files that are not settled, or not processed, by path.
        vanished: files that were removed after they had been still for `settle` seconds, before they were processed.
        first_seen: files that the newest scan saw for the first time.
    """

    def __init__(
        self,
        settle: float,
        known: Callable[[bytes, Stat], bool],
        probe: Callable[[bytes], Probe | None],
        *,
        trusted: bool = False,
    ) -> None:
        self.settle, self.trusted = settle, trusted
        self.known, self._probe = known, probe
        self.waiting: dict[bytes, Waiting] = {}
        self.vanished = 0
        self.first_seen = 0

    def update(self, now: float, scan: Scan) -> list[Arrival]:
        """Take in a scan.

        Args:
            now: monotonic seconds.
            scan: what is in the folder.

        Returns:
            The settled files, the oldest first by time of change, then by name; at most 10,000.
        """
        self.first_seen = 0
        for path, stat in scan.files.items():
            self._notice(now, path, stat)
        if scan.complete:
            for path in [path for path in self.waiting if path not in scan.files]:
                gone = self.waiting.pop(path)
                self.vanished += now - gone.since >= self.settle
        due = ((w.stat.mtime_ns, path) for path, w in self.waiting.items() if w.due <= now and path in scan.files)
        ready = []
        for _, path in heapq.nsmallest(MOST_READY, due):
            if self._settled(now, path):
                ready.append(Arrival(path, self.waiting[path].stat, now - self.waiting[path].since))
        return ready

    def next_due(self) -> float | None:
        """When the next file may be settled; None where nothing waits."""
        return min((waiting.due for waiting in self.waiting.values()), default=None)

    def done(self, path: bytes) -> None:
        """Forget a file that was processed, or has vanished."""
        self.waiting.pop(path, None)

    def hold(self, path: bytes, reason: str, until: float) -> None:
        """Keep a file waiting. A change of the file starts its waiting afresh.

        Args:
            path: the file.
            reason: the code of why it waits.
            until: when it is looked at again, in monotonic seconds.
        """
        if path in self.waiting:
            self.waiting[path].reason, self.waiting[path].due = reason, until

    def _notice(self, now: float, path: bytes, stat: Stat) -> None:
        waiting = self.waiting.get(path)
        if waiting is not None and waiting.stat == stat:
            return
        if self.known(path, stat):
            self.waiting.pop(path, None)
            return
        self.first_seen += waiting is None
        due = now if self.trusted else now + self.settle
        seen = now if waiting is None else waiting.seen
        self.waiting[path] = Waiting(stat, since=now, seen=seen, due=due)

    def _settled(self, now: float, path: bytes) -> bool:
        waiting = self.waiting[path]
        if self.trusted:
            return True
        answer = self._probe(path)
        if answer is None:
            waiting.reason, waiting.due = UNREADABLE, now + max(self.settle, REOPEN)
            return False
        if answer.written:
            waiting.reason, waiting.due = WRITTEN, now + REPROBE
            return False
        needed = self.settle * (BLIND if answer.written is None else 1)
        needed += 0.0 if answer.ended else UNENDED * self.settle
        if now - waiting.since < needed:
            waiting.reason = SETTLING if answer.ended else UNENDED_LINE
            waiting.due = waiting.since + needed
            return False
        return True


def probe(descriptor: int, path: bytes) -> Probe:
    """Look at an open file for signs of a writer; `path` shows its format."""
    size = os.fstat(descriptor).st_size
    line_ends = size > 0 and os.pread(descriptor, 1, size - 1) in (b"\n", b"\r", b"\0", b"\x1a")
    return Probe(_written(descriptor), line_ends or path.endswith(WITHOUT_LINES))


def _written(descriptor: int) -> bool | None:
    """Whether a process has the file open for writing; None where that cannot be found out."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    with contextlib.suppress(ValueError):  # only the main thread may do this; a writer that comes now sends SIGIO
        signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


def on_network(folder: Path) -> bool:
    """Whether a folder lies on a network or user-space file system, by the longest mount point above it."""
    return file_system(folder).startswith(NETWORK)


def file_system(folder: Path) -> str:
    """Type of the file system that holds a folder; empty where that cannot be found out."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    target = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        fields = line.split(" ")
        mount = Path(fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape"))
        if (mount == target or mount in target.parents) and len(mount.parts) >= best:
            best, kind = len(mount.parts), fields[fields.index("-") + 1]
    return kind
