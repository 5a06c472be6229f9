"""What ends a run over a folder: a signal, a time limit, or that nothing has arrived for a while."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from anomvae.folder.run_context import RunContext
from anomvae.folder.settle import UNREADABLE
from anomvae.workers.delivery import DroppedError

GRACE = 8.0  # seconds that the files under way get to finish after a signal


class StopConditions:
    """Decides when a run ends. The inbox yields no more files once its `stop` is set.

    Args:
        context: the run.
        timeout: seconds that the run may take; None for no limit. Files under way are then dropped at once.
        idle: seconds without any work after which the run ends; None for never.

    Attributes:
        why: why the run has ended, for people.
        signal: the number of the signal that ended it; 0 where none did.
    """

    def __init__(self, context: RunContext, timeout: float | None, idle: float | None) -> None:
        self._context, self._timeout, self._idle = context, timeout, idle
        self._drop_at: float | None = None
        self.why, self.signal = "nothing more to do", 0

    def check(self) -> None:
        """End the run where it is time to; called between any two steps of the work.

        Raises:
            DroppedError: the files under way must be given up now.
        """
        now, progress, inbox = self._context.clock(), self._context.progress, self._context.inbox
        if self.signal and self._drop_at is None:
            self._drop_at = now + GRACE
        if self._timeout is not None and now - progress.started >= self._timeout and self._drop_at is None:
            self.why, self._drop_at, inbox.stop = "--timeout", now, True
        if self._idle is not None and now - progress.last_work >= self._idle and not self._files_will_settle():
            self.why, inbox.stop = "--idle-exit", True
        if self._drop_at is not None and now >= self._drop_at:
            inbox.stop = True
            raise DroppedError

    def _files_will_settle(self) -> bool:
        """Whether files wait that will be processed once they are still."""
        waiting = self._context.inbox.settler.waiting.values()
        return any(one.reason != UNREADABLE for one in waiting)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Handle signals: SIGTERM, SIGINT and SIGHUP end the run, a second one at once; SIGUSR1 scans the folder."""

        def end(number: int, frame: Any) -> None:
            if self.signal:
                os._exit(130)
            self.signal, self.why = number, signal.Signals(number).name
            self._context.inbox.stop = True

        def scan_now(number: int, frame: Any) -> None:
            self._context.inbox.rescan = True

        handlers = {signal.SIGTERM: end, signal.SIGINT: end, signal.SIGHUP: end, signal.SIGUSR1: scan_now}
        before = {}
        with suppress(ValueError):  # not the main thread, which alone gets signals
            for number, handler in handlers.items():
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, handler)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
