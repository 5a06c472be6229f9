"""The heartbeat for a monitor that rings when it stops, in the manner of healthchecks.io.

`/start` when a run begins, the address itself while `watch` runs and when a run has ended well, `/CODE` when it ended
with another exit code. A ping that is lost is not sent again: that it is missing is the message.
"""

import threading
import time
from types import TracebackType
from typing import Self

from anomvae.errors import AnomvaeError
from anomvae.outlets.secret import Secret
from anomvae.outlets.web import UndeliveredError, post

EVERY = 60.0  # seconds between two pings of a watch
PATIENCE = 2.0  # seconds that the last ping may hold the end


class Pulse:
    """Pings an address around a run.

    Args:
        to: the address; None for no ping at all.

    Attributes:
        code: the exit code that the run will have.
    """

    def __init__(self, to: Secret | None) -> None:
        self._to, self.code = to, 0
        self._last = float("-inf")
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._ping("/start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            other = 70 if isinstance(error, Exception) else 130
            self.code = error.exit_code if isinstance(error, AnomvaeError) else other
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._ping(f"/{self.code}" if self.code else "")
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def beat(self) -> None:
        """The run is alive; told once a minute, and not while the last ping is on its way."""
        if time.monotonic() - self._last >= EVERY and not (self._thread and self._thread.is_alive()):
            self._ping("")

    def _ping(self, below: str) -> None:
        if self._to is None:
            return
        self._last = time.monotonic()
        self._thread = threading.Thread(target=self._send, args=(self._to, below), name="ping", daemon=True)
        self._thread.start()

    @staticmethod
    def _send(to: Secret, below: str) -> None:
        try:
            post(to, b"", {}, below=below)
        except UndeliveredError:
            return
