"""The health of a run over a folder, as `health.json`, the live screen and systemd get it."""

import heapq
import os
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from anomvae import durable_io
from anomvae.errors import EnvironmentFault
from anomvae.folder.inbox import Inbox
from anomvae.folder.output_folder import path_text
from anomvae.folder.run_context import RunContext
from anomvae.folder.settle import UNREADABLE
from anomvae.records.folder import HealthResult, Messages
from anomvae.records.results import Waits

HEALTH_FILE = "health.json"
INTERVAL = 5.0  # seconds between two health records
REDRAW = 0.25  # seconds between two pictures of a live screen
STUCK = 600.0  # seconds after which a file that does not settle is reported
LITTLE = 64 << 20  # bytes of free disk below which that is reported
LISTED = 50  # waiting files that a health record names
BOOT = Path("/proc/sys/kernel/random/boot_id")


class HealthReporter:
    """Publishes the health of a run every five seconds, and hands it to a live screen more often.

    Args:
        context: the run.
        publish: called with every health record that was written.
        show: called with the newest health record, for a live screen; None where there is none.
    """

    def __init__(
        self,
        context: RunContext,
        publish: Callable[[HealthResult], None],
        show: Callable[[HealthResult], None] | None = None,
    ) -> None:
        self._context, self._hand_on, self._show = context, publish, show
        self._published_at = self._shown_at = float("-inf")

    def beat(self) -> None:
        """Publish and show health, where it is time to; called between any two steps of the work."""
        progress, now = self._context.progress, self._context.clock()
        state = "paused" if progress.paused else "running"
        if now - self._published_at >= INTERVAL:
            self._published_at = now
            self.publish(state)
            counters = progress.counters
            notify_systemd(f"WATCHDOG=1\nSTATUS={counters.files:,} files, {counters.flagged:,} rows flagged")
        if self._show and now - self._shown_at >= REDRAW:
            self._shown_at = now
            self._show(self.health(state))

    def publish(self, state: str) -> HealthResult:
        """Write the health file and hand the record on; `state` is `running`, `paused` or `stopped`."""
        record = self.health(state)
        with suppress(OSError):  # the work goes on without it
            content = msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"
            durable_io.publish(self._context.output.out / HEALTH_FILE, content)
        self._hand_on(record)
        return record

    def health(self, state: str) -> HealthResult:
        """How the run is doing; `state` is `running`, `paused` or `stopped`."""
        context, inbox, progress = self._context, self._context.inbox, self._context.progress
        waiting = waiting_files(inbox, context.clock(), LISTED)
        try:
            messages = context.output.ledger.outbox.messages()
        except EnvironmentFault:  # health is published even where the ledger cannot be read
            messages = Messages()
        return HealthResult(
            folder=str(inbox.folder),
            out=str(context.output.out),
            mode=context.mode,
            state=state,
            pid=os.getpid(),
            host=socket.gethostname(),
            boot=boot_id(),
            clock=time.monotonic(),
            started_utc=progress.started_utc.isoformat(timespec="seconds"),
            at_utc=context.now().isoformat(timespec="seconds"),
            model=context.model.name,
            model_id=context.model.detector.model_id,
            alpha=context.alpha(),
            watcher="off" if context.mode == "score" else inbox.events.mode,
            restarts=max(inbox.events.restarts, 0),
            last_scan_seconds=round(context.clock() - inbox.last_scan, 1),
            backlog=len(inbox.ready),
            oldest_wait_seconds=waiting[0].seconds if waiting else 0.0,
            inflight=progress.inflight,
            paused=progress.paused,
            problems=self._problems(messages),
            counters=msgspec.structs.replace(progress.counters, vanished=inbox.settler.vanished),
            waiting=waiting,
            skipped=inbox.skipped,
            recent=tuple(progress.recent),
            rates=tuple(round(rate, 5) for rate in progress.rates),
            messages=messages,
        )

    def _problems(self, messages: Messages) -> tuple[str, ...]:
        """What calls for attention, as sentences for people."""
        context, inbox, now = self._context, self._context.inbox, self._context.clock()
        waiting = inbox.settler.waiting.values()
        unreadable = sum(w.reason == UNREADABLE for w in waiting)
        stuck = sum(now - w.seen > STUCK for w in waiting)
        free = shutil.disk_usage(context.output.out).free
        problems = {
            f"paused: {context.progress.paused}": bool(context.progress.paused),
            "the folder cannot be looked into": not inbox.reachable,
            "no events come from the file system; the folder is looked at every two seconds": context.mode == "watch"
            and inbox.events.mode == "degraded",
            context.model.problem: bool(context.model.problem),
            f"{unreadable} files may not be read": unreadable > 0,
            f"{stuck} files have not settled for ten minutes": stuck > 0,
            f"{free >> 20} MiB are left on the disk": free < LITTLE,
            messages.problem(): bool(messages.problem()),
        }
        return tuple(text for text, present in problems.items() if present)


def waiting_files(inbox: Inbox, now: float, most: int) -> tuple[Waits, ...]:
    """Files that are not processed yet, those first that have waited longest.

    Args:
        inbox: the input folder.
        now: monotonic seconds.
        most: how many files at most.

    Returns:
        Name, reason and waiting time of each.
    """
    items = heapq.nsmallest(most, inbox.settler.waiting.items(), key=lambda item: item[1].seen)
    return tuple(Waits(file=path_text(p), reason=w.sentence(), seconds=round(now - w.seen, 1)) for p, w in items)


def read_health(out: Path) -> HealthResult | None:
    """The last health record in an output folder; None where there is none."""
    try:
        return msgspec.json.decode((out / HEALTH_FILE).read_bytes(), type=HealthResult)
    except (OSError, msgspec.DecodeError):
        return None


def notify_systemd(text: str) -> None:
    """Send a state to systemd, where it listens (sd_notify(3)): READY=1, WATCHDOG=1, STATUS=..., STOPPING=1."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(text.encode())


def boot_id() -> str:
    """Identifies this start of the machine, since monotonic times can be compared within one only; empty if unknown."""
    try:
        return BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
