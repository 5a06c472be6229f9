"""The past of a watched folder from its ledger: sums by day, or by hour where little time is asked for."""

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from anomvae.folder import locks
from anomvae.folder.health import boot_id
from anomvae.folder.ledger import Ledger
from anomvae.folder.output_folder import path_text
from anomvae.records.folder import HealthResult, Line, Period, StatusResult

HOURLY = 2 * 86400.0  # seconds up to which hours are told
DAY, HOUR = len("2026-11-25"), len("2026-11-25T12")


def past(ledger: Ledger, now: datetime, since: float) -> tuple[Period, ...]:
    """What was judged in the last seconds, the oldest first; a period without files is there as well.

    Args:
        ledger: an open ledger.
        now: the time of day in UTC.
        since: how many seconds to look back; from the begin of that day or hour on.
    """
    step, width = (timedelta(hours=1), HOUR) if since <= HOURLY else (timedelta(days=1), DAY)
    at = (now - timedelta(seconds=since)).replace(minute=0, second=0, microsecond=0)
    at = at if width == HOUR else at.replace(hour=0)
    found = ledger.periods(at.isoformat(timespec="seconds"), width)
    periods = []
    while at <= now:
        begin = at.isoformat()[: HOUR + 3 if width == HOUR else DAY]  # an hour with its minutes
        periods.append(_period(begin, found.get(begin[:width])))
        at += step
    return tuple(periods)


def _period(at: str, sums: dict[str, Any] | None) -> Period:
    if sums is None:
        nothing = dict.fromkeys(("files", "drifted", "quarantined", "rows", "scored", "flagged", "critical"), 0)
        return Period(at=at, flag_rate=None, models=(), **nothing)
    return Period(
        at=at,
        files=sums["committed"],
        drifted=sums["drifted"],
        quarantined=sums["quarantined"],
        rows=sums["total"],
        scored=sums["scored"],
        flagged=sums["flagged"],
        critical=sums["critical"],
        flag_rate=round(sums["flagged"] / sums["scored"], 6) if sums["scored"] else None,
        models=tuple(sums["models"]),
    )


LISTED = 10


def status(out: Path, since: float | None = None) -> StatusResult:
    """Look at an output folder from outside, while a run may be writing it.

    Args:
        out: the output folder.
        since: seconds of history to include; None for no history.

    Raises:
        UsageError: it holds no ledger.
    """
    ledger = Ledger(out / "ledger.sqlite", read_only=True)
    try:
        told, run, totals = locks.read(out), ledger.last_run(), ledger.totals()
        recent = tuple(_line(row) for row in ledger.newest("committed", LISTED))
        refused = tuple(_line(row) for row in ledger.newest("quarantined", LISTED))
        messages = ledger.outbox.messages()
        history = past(ledger, datetime.now(UTC), since) if since else ()
    finally:
        ledger.close()
    age = _age(told) if told else None
    problems = _problems(told, age, run)
    if (trouble := messages.problem()) and (told is None or told.state == "stopped"):  # a run tells it itself
        problems = (*problems, trouble)
    return StatusResult(
        out=str(out),
        healthy=not problems,
        problems=problems,
        health=told,
        age_seconds=age,
        files=totals["files"],
        rows=totals["total"],
        scored=totals["scored"],
        rejected=totals["rejected"],
        flagged=totals["flagged"],
        critical=totals["critical"],
        anomalous=totals["anomalous"],
        drifted=totals["drifted"],
        quarantined=totals["quarantined"],
        recent=recent,
        in_quarantine=refused,
        messages=messages,
        history=history,
    )


def _problems(told: HealthResult | None, age: float | None, run: dict[str, Any] | None) -> tuple[str, ...]:
    if told is None or age is None:
        return ("no run has told its health yet",)
    if told.state == "stopped":
        return (
            ()
            if run is None or run["clean"]
            else ("the last run did not end by itself; the next one will redo its file",)
        )
    found = list(told.problems)
    if not _alive(told):
        found.insert(0, f"the {told.mode} run (pid {told.pid}) has died; start it again, nothing is lost")
    elif age > 2 * locks.BEAT:
        found.insert(0, f"the {told.mode} run (pid {told.pid}) has given no sign of life for {age:.0f} s")
    return tuple(found)


def _alive(told: HealthResult) -> bool:
    """Whether the process still runs; where it cannot be asked, its age alone decides."""
    if told.host != socket.gethostname() or told.boot != boot_id():
        return told.host != socket.gethostname()
    with suppress(PermissionError):
        try:
            os.kill(told.pid, 0)
        except ProcessLookupError:
            return False
    return True


def _age(told: HealthResult) -> float:
    """Seconds since the last sign of life, by the monotonic clock where it is the same machine and start."""
    if told.boot and told.boot == boot_id():
        return round(max(time.monotonic() - told.clock, 0.0), 1)
    return round(max((datetime.now(UTC) - datetime.fromisoformat(told.at_utc)).total_seconds(), 0.0), 1)


def _line(row: dict[str, Any]) -> Line:
    quarantined = row["state"] == "quarantined"
    return Line(
        delivery_id=row["delivery_id"],
        at=row["committed_utc"],
        file=path_text(bytes(row["path"])),
        verdict="failed" if quarantined else row["verdict"],
        rows=row["rows_total"] or 0,
        flagged=row["rows_flagged"] or 0,
        critical=row["rows_critical"] or 0,
        told=f"{row['message']} [{row['reason_code']}]" if quarantined else (row["top"] or ""),
    )
