"""File system events, by the library watchdog. They only wake the inbox, and it does no harm when they fail.

Event libraries can lose events without an error (a paused reader, a full queue, a folder that was made again), so files
are found by scanning, and events only make that happen sooner. An observer that has died is started again.
"""

import contextlib
import threading
from pathlib import Path
from typing import Any

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds between attempts to start again
CALM = 300.0  # seconds without a failure after which pauses start again at the shortest


class Events:
    """Sets an event when something happens in a folder.

    Args:
        folder: the folder.
        wake: set on every event of the file system.
        recursive: whether folders inside count.
        native: whether to use the system's events at all; else files are found by scanning alone.

    Attributes:
        restarts: how often the observer was started again; -1 before the first start.
    """

    def __init__(self, folder: Path, wake: threading.Event, *, recursive: bool, native: bool) -> None:
        self.folder, self.wake, self.recursive, self.native = folder, wake, recursive, native
        self._observer: Any = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0
        self.restarts = -1

    @property
    def mode(self) -> str:
        """`native`, `poll` (by choice), or `degraded` (events should come and do not)."""
        if not self.native:
            return "poll"
        return "native" if self._alive() else "degraded"

    def check(self, now: float, *, suspicious: bool) -> None:
        """Start the observer where it is not running, and stop one that did not report new files.

        Args:
            now: monotonic seconds.
            suspicious: whether scans have found new files without an event.
        """
        if not self.native:
            return
        if suspicious:
            self.stop()
            self._back_off(now)
        elif self._alive():
            self._pause = FIRST_PAUSE if now > self._not_before + CALM else self._pause
        elif now >= self._not_before:
            self.restarts += 1
            self._back_off(now)
            self._start()

    def _back_off(self, now: float) -> None:
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def stop(self) -> None:
        """Stop the observer's threads."""
        observer, self._observer = self._observer, None
        if observer is not None:
            with contextlib.suppress(Exception):  # whatever it died of, it is not needed any more
                observer.stop()
                observer.join(timeout=2)

    def _alive(self) -> bool:
        try:
            observer = self._observer
            return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters)
        except Exception:  # as above: a broken observer is a dead one
            return False

    def _start(self) -> None:
        self.stop()
        try:
            from watchdog import events, observers

            wake = self.wake

            class Wake(events.FileSystemEventHandler):
                def on_any_event(self, event: Any) -> None:
                    wake.set()

            kinds = [
                *(events.FileCreatedEvent, events.FileClosedEvent, events.FileMovedEvent, events.DirCreatedEvent),
                *(events.DirDeletedEvent, events.DirMovedEvent),
            ]
            observer = observers.Observer()
            observer.schedule(Wake(), str(self.folder), recursive=self.recursive, event_filter=kinds)
            observer.daemon = True
            observer.start()
            self._observer = observer
        except Exception:  # no descriptors, no watches left, no such folder: the rescan goes on without it
            self._observer = None
