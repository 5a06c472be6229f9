"""The inbox: scans the input folder until it is stopped, and yields its files one by one as they settle."""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from anomvae.folder.events import Events
from anomvae.folder.scanner import Scanner, Stat
from anomvae.folder.settle import CHANGED, UNREADABLE, WRITTEN, Arrival, Probe, Settler, on_network, probe

NETWORK_SETTLE = 15.0  # seconds; attributes of network files come late
POLL = 2.0  # seconds between scans where no events come
TICK = 0.25  # seconds of waiting after which None is yielded, so that the caller can do other work
SHARE = 10  # scans may take at most one SHAREth of the time
LEAST = 0.1  # seconds between two scans
LEFT = (WRITTEN, UNREADABLE, CHANGED)  # codes of files that one pass over a folder leaves for the next


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What counts as a file of the folder, and when it is complete.

    Attributes:
        patterns: globs on a file's name, of which one must match.
        settle: seconds for which a file must be unchanged.
        rescan: seconds between two scans where the file system's events wake the inbox.
        recursive: whether files in folders inside count.
        marker: the suffix of a marker file that says that a file is complete; None where there are none.
        native: whether to use the file system's events; None: wherever they work.
    """

    patterns: tuple[str, ...]
    settle: float
    rescan: float
    recursive: bool = False
    marker: str | None = None
    native: bool | None = None


def opened(folder: Path, rules: Rules) -> Scanner:
    """Open a folder to scan it by these rules.

    Raises:
        OSError: it cannot be opened.
    """
    return Scanner(folder, rules.patterns, recursive=rules.recursive, marker=rules.marker)


class Inbox:
    """A folder's files, as they settle.

    Args:
        scanner: the opened folder; see `opened`.
        rules: what counts as a file, and when it is complete.
        known: whether this state of a path was processed before.
        replaced: called when the folder itself was replaced by another one of the same name.
        clock: the monotonic clock, in seconds.

    Attributes:
        stop: set it to end the iteration.
        rescan: set it to scan the folder at once.
        ready: settled files that were not yielded yet.
        skipped: how many entries the newest scan found that are no candidates, by reason.
        present: the paths that the newest scan found.
        last_scan: when that was, in monotonic seconds.
        reachable: whether everything in the folder could be looked at.
    """

    def __init__(
        self,
        scanner: Scanner,
        rules: Rules,
        known: Callable[[bytes, Stat], bool],
        replaced: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder = scanner.folder
        network = on_network(folder)
        native = not network if rules.native is None else rules.native
        settle = max(rules.settle, NETWORK_SETTLE) if network else rules.settle
        self.folder, self.clock, self.rules = folder, clock, rules
        self.wake = threading.Event()
        self.stop = self.rescan = False  # set by signal handlers, which must not touch a lock
        self.scanner = scanner
        self.settler = Settler(settle, known, self._probe, trusted=rules.marker is not None)
        self.events = Events(folder, self.wake, recursive=rules.recursive, native=native)
        self.ready: deque[Arrival] = deque()
        self.skipped: dict[str, int] = {}
        self.present: frozenset[bytes] = frozenset()
        self.last_scan = clock()
        self.reachable = True
        self._replaced = replaced
        self._missed = 0
        self._scan_seconds = 0.0

    def close(self) -> None:
        """Stop listening to the file system's events. The scanner is closed by whoever opened it."""
        self.events.stop()

    def listen(self) -> None:
        """Start listening to the file system's events, or make sure that it still works."""
        self.events.check(self.clock(), suspicious=self._missed >= 2)
        self._missed = 0 if self._missed >= 2 else self._missed

    def open(self, path: bytes) -> int:
        """A descriptor of one of the files, for reading."""
        return self.scanner.open(path)

    def once(self) -> Iterator[Arrival | None]:
        """The files that are in the folder now: scans until each has either settled, or changed since the first scan.

        Yields None while it waits, and before it decides that nothing is left.
        """
        self._scan()
        first = {path: waiting.stat for path, waiting in self.settler.waiting.items()}
        while not self.stop:
            yield from self._drain()
            yield None
            open_still = {
                path: waiting.due
                for path, waiting in self.settler.waiting.items()
                if first.get(path) == waiting.stat and waiting.reason not in LEFT
            }
            if not open_still or self.stop:
                return
            yield from self._sleep(min(open_still.values()))
            self._scan()

    def forever(self) -> Iterator[Arrival | None]:
        """Files as they settle, until `stop` is set. Yields None while it waits."""
        while not self.stop:
            self.listen()
            self._scan()
            yield from self._drain()
            yield None
            yield from self._sleep(self._next_scan())

    def done(self, path: bytes) -> None:
        """Forget a file that was processed, or has vanished."""
        self.settler.done(path)

    def hold(self, path: bytes, reason: str, seconds: float) -> None:
        """Keep a file waiting; it is yielded again after some time, or when it has changed.

        Args:
            path: the file.
            reason: the code of why it waits.
            seconds: how long to wait.
        """
        self.settler.hold(path, reason, self.clock() + seconds)

    def _drain(self) -> Iterator[Arrival]:
        while self.ready and not self.stop:
            yield self.ready.popleft()
            if self.ready and self.clock() >= (self._earliest() if self.wake.is_set() else self._rescan_due()):
                self._scan()

    def _sleep(self, until: float) -> Iterator[None]:
        while (left := until - self.clock()) > 0 and not self.stop:
            if self.wake.wait(min(left, TICK)) or self.rescan:
                until = min(until, self._earliest())
                time.sleep(max(min(until - self.clock(), TICK), 0.0))
            yield None

    def _next_scan(self) -> float:
        due = self.settler.next_due()
        return self._rescan_due() if due is None else min(self._rescan_due(), max(due, self._earliest()))

    def _rescan_due(self) -> float:
        interval = self.rules.rescan if self.events.mode == "native" else min(self.rules.rescan, POLL)
        return max(self.last_scan + interval, self._earliest())

    def _earliest(self) -> float:
        """When the next scan may begin; large folders are scanned less often, so that files get most of the time."""
        return self.last_scan + max(LEAST, SHARE * self._scan_seconds)

    def _scan(self) -> None:
        woken = self.wake.is_set() or self.rescan
        self.wake.clear()
        self.rescan = False
        started = self.clock()
        scan = self.scanner.scan()
        if scan.replaced:
            self.events.stop()
            self._replaced()
        self.ready = deque(self.settler.update(started, scan))
        self.skipped, self.reachable, self.present = dict(scan.skipped), scan.complete, frozenset(scan.files)
        # A scan by the clock that finds new files means that events were lost; after two, the observer starts anew.
        events_lost = not woken and self.settler.first_seen and self.events.mode == "native"
        self._missed = self._missed + 1 if events_lost else 0
        self.last_scan = self.clock()
        self._scan_seconds = self.last_scan - started

    def _probe(self, path: bytes) -> Probe | None:
        try:
            descriptor = self.open(path)
        except OSError:
            return None
        try:
            return probe(descriptor, path)
        except OSError:
            return None
        finally:
            os.close(descriptor)
