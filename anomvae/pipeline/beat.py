"""The heartbeat of a run over a folder: what `health.json`, the live screen and `--json` health lines say."""

import os
import socket
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from anomvae.deliveries import HealthResult, Messages
from anomvae.errors import EnvironmentFault
from anomvae.inbox.settler import UNREADABLE
from anomvae.pipeline.model import Reloading
from anomvae.pipeline.watch import Run
from anomvae.storage import health

STUCK = 600.0  # seconds after which a file that does not settle is worth a word
LITTLE = 64 << 20  # bytes of free disk that are worth a word
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Beat:
    """Publishes health every five seconds, and hands it to a screen more often.

    Args:
        folder, out: the input and output folder.
        mode: `watch` or `score`.
        model: where the detector comes from.
        started: when the run began, in UTC.
        show: called with the newest health; None where there is no screen.
        every: seconds between two calls of `show`.
        check: called at every beat; it may end the run.
        told: called with every health that was written.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        mode: str,
        model: Reloading,
        started: datetime,
        *,
        show: Callable[[HealthResult], None] | None = None,
        every: float = 0.25,
        check: Callable[[Run], None] = lambda run: None,
        told: Callable[[HealthResult], None] = lambda health: None,
    ) -> None:
        self.folder, self.out, self.mode, self.model = folder, out, mode, model
        self.started, self.show, self.every, self.check = started, show, every, check
        self._told = told
        self._published = self._shown = float("-inf")

    def __call__(self, run: Run) -> None:
        """One step of the work is done."""
        self.check(run)
        now = run.clock()
        if now - self._published >= health.BEAT:
            self._published = now
            self.publish(run, "paused" if run.paused else "running")
            health.notify(f"WATCHDOG=1\nSTATUS={run.counters.files:,} files, {run.counters.flagged:,} rows flagged")
        if self.show and now - self._shown >= self.every:
            self._shown = now
            self.show(self.health(run, "paused" if run.paused else "running"))

    def publish(self, run: Run, state: str) -> HealthResult:
        """Write the health file."""
        told = self.health(run, state)
        health.publish(self.out, told)
        self._told(told)
        return told

    def health(self, run: Run, state: str) -> HealthResult:
        """How the run is doing."""
        inbox = run.inbox
        waiting = run.waiting()
        detector = self.model.detector
        counters = msgspec.structs.replace(run.counters, vanished=inbox.settler.vanished)
        messages = _messages(run)
        return HealthResult(
            folder=str(self.folder),
            out=str(self.out),
            mode=self.mode,
            state=state,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot=boot_id(),
            clock=time.monotonic(),
            started_utc=self.started.isoformat(timespec="seconds"),
            at_utc=run.now().isoformat(timespec="seconds"),
            model=self.model.name,
            model_id=detector.model_id,
            alpha=run.alpha(),
            watcher="off" if self.mode == "score" else inbox.events.mode,
            restarts=max(inbox.events.restarts, 0),
            last_scan_seconds=round(run.clock() - inbox.last_scan, 1),
            backlog=len(inbox.ready),
            oldest_wait_seconds=waiting[0].seconds if waiting else 0.0,
            inflight=run.inflight,
            paused=run.paused,
            problems=self._problems(run, messages),
            counters=counters,
            waiting=waiting,
            skipped=inbox.skipped,
            recent=tuple(run.recent),
            rates=tuple(round(rate, 5) for rate in run.rates),
            messages=messages,
        )

    def _problems(self, run: Run, messages: Messages) -> tuple[str, ...]:
        inbox, now = run.inbox, run.clock()
        waiting = inbox.settler.waiting.values()
        unreadable = sum(w.reason == UNREADABLE for w in waiting)
        stuck = sum(now - w.seen > STUCK for w in waiting)
        free = health.free_bytes(self.out)
        found = {
            f"paused: {run.paused}": bool(run.paused),
            "the folder cannot be looked into": not inbox.reachable,
            "no events come from the file system; the folder is looked at every two seconds": self.mode == "watch"
            and inbox.events.mode == "degraded",
            self.model.problem: bool(self.model.problem),
            f"{unreadable} files may not be read": unreadable > 0,
            f"{stuck} files have not settled for ten minutes": stuck > 0,
            f"{free >> 20} MiB are left on the disk": free < LITTLE,
            messages.problem(): bool(messages.problem()),
        }
        return tuple(text for text, so in found.items() if so)


def _messages(run: Run) -> Messages:
    """What waits in the outbox; a beat must not fail where the ledger does."""
    try:
        return run.store.ledger.outbox.messages()
    except EnvironmentFault:
        return Messages()


def boot_id() -> str:
    """Names this start of the machine, so that monotonic times can be compared; empty where unknown."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
