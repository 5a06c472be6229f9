"""The sender: a thread beside the work that sends the messages of the outbox.

After a failure an outlet is left alone for a while: longer after every failure, up to five minutes, and at random a
little more or less, so that many senders do not try at the same moment (exponential backoff with jitter). Nothing that
goes wrong here stops or delays a run.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from anomvae.errors import AnomvaeError
from anomvae.folder.ledger import Ledger
from anomvae.folder.outbox import Outbox, OutboxMessage
from anomvae.notify.http_outlets import UndeliveredError

POLL = 0.5  # seconds between two looks into the outbox
LONGEST = 300.0  # seconds between two tries
AGE = 3 * 86400.0  # seconds after which a message is given up
KEPT = 7 * 86400.0  # seconds for which a message that was given up stays in the outbox, to be shown by `status`
BATCH = 50  # messages sent to one outlet before it is the next one's turn; at most these are sent twice after a kill


class Outlet(Protocol):
    """A receiver of messages.

    Attributes:
        name: identifies it in the outbox and in notes.
    """

    name: str

    def send(self, message: OutboxMessage, now: float) -> None:
        """Send a message, at a time in Unix seconds.

        Raises:
            UndeliveredError: it was not taken.
        """
        ...


class Sender:
    """Sends the messages of a ledger's outbox.

    Args:
        ledger: the database file.
        outlets: where messages are sent.
        say: called with notes for the user, from the thread.
        clock: the time of day, in Unix seconds.

    Attributes:
        given_up: how many messages this sender has given up.
    """

    def __init__(
        self,
        ledger: Path,
        outlets: Sequence[Outlet],
        say: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._outlets, self._say, self._clock = ledger, outlets, say, clock
        self.given_up = 0
        self._failures = dict.fromkeys((outlet.name for outlet in outlets), 0)
        self._until = dict.fromkeys(self._failures, 0.0)
        self._end, self._cut = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="outlets", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Try once more whatever waits, but not for longer than `seconds`; then stop."""
        self._end.set()
        self._thread.join(seconds)
        self._cut.set()

    def _run(self) -> None:
        warned = ""
        while not self._cut.is_set():
            try:
                self._work()
                return
            except Exception as error:  # a full disk, or a bug: neither may end the run, nor the sending for good
                what = str(error) if isinstance(error, AnomvaeError) else type(error).__name__
                if what != warned:
                    self._say(f"warning: messages cannot be sent now: {what}")
                warned = what
                if self._end.wait(10 * POLL):
                    return

    def _work(self) -> None:
        ledger = Ledger(self._ledger)
        try:
            outbox, now = ledger.outbox, self._clock()
            self._count_given_up(
                outbox.give_up_unconfigured(tuple(self._failures), now), "their outlet is not configured now"
            )
            outbox.forget(now - KEPT)
            while not self._cut.is_set():
                last, now = self._end.is_set(), self._clock()
                self._count_given_up(outbox.give_up_old(now - AGE, now), "they are too old")
                for outlet in self._outlets:
                    self._serve(outbox, outlet, last=last)
                if last:
                    return
                self._end.wait(POLL)
        finally:
            ledger.close()

    def _serve(self, outbox: Outbox, outlet: Outlet, *, last: bool) -> None:
        """Send one batch of what is due; at the end of the run, send everything, as long as it is taken."""
        while not self._cut.is_set():
            now = self._clock()
            messages = outbox.due(outlet.name, float("inf") if last else now, BATCH)
            if not messages or (now < self._until[outlet.name] and not last):
                return
            taken: list[OutboxMessage] = []
            try:
                fine = all(self._send(outbox, outlet, message, taken) for message in messages)
            finally:
                outbox.sent(taken)  # in one transaction, since each waits for the disk
            if not fine or not last:
                return

    def _send(self, outbox: Outbox, outlet: Outlet, message: OutboxMessage, taken: list[OutboxMessage]) -> bool:
        """Send one message and add it to `taken` if it was; false where the outlet failed, or no time is left."""
        name, failures = outlet.name, self._failures[outlet.name]
        if self._cut.is_set():
            return False
        try:
            outlet.send(message, self._clock())
        except UndeliveredError as error:
            return self._not_taken(outbox, message, error)
        taken.append(message)
        if failures:
            self._say(f"{name}: takes messages again")
            self._failures[name] = 0
        return True

    def _not_taken(self, outbox: Outbox, message: OutboxMessage, error: UndeliveredError) -> bool:
        """Give a message up, or have it and its outlet wait; returns whether the next message may be tried."""
        name, now, reason = message.outlet, self._clock(), f"{message.outlet}: {error}"
        if error.final:
            outbox.failed(message, reason, given_up=now)
            self._count_given_up(1, reason)
            return True
        failures = self._failures[name]
        wait = min(2.0**failures, LONGEST) * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
        self._failures[name], self._until[name] = min(failures + 1, 10), now + wait
        outbox.failed(message, reason, next_try=now + wait)
        if not failures:
            self._say(f"warning: {reason}; its messages wait and are sent later")
        return False

    def _count_given_up(self, count: int, why: str) -> None:
        self.given_up += count
        if count:
            self._say(f"warning: {count:,} message{'s' * (count > 1)} given up ({why})")
