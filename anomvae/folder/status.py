"""The status of an output folder, seen from outside: the health of its run, sums, newest files, and its history.

History is summed by day, or by hour where it reaches back two days at most.
"""

import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from anomvae.folder.health import INTERVAL, boot_id, read_health
from anomvae.folder.ledger import Ledger
from anomvae.folder.output_folder import path_text
from anomvae.records.folder import HealthResult, Line, Period, StatusResult

LISTED = 10  # newest files, and newest files in quarantine, that are listed
STREAK = 3  # deliveries that were refused one after the other, or all of a day, that call for attention
ONE_DAY = 86400.0
HOURLY = 2 * 86400.0  # seconds of history up to which it is summed by hour
DAY, HOUR = len("2026-11-25"), len("2026-11-25T12")  # characters of a time in ISO 8601 that name its day, its hour


def status(out: Path, since: float | None = None) -> StatusResult:
    """The status of an output folder, which a run may be writing.

    Args:
        out: the output folder.
        since: seconds of history to include; None for no history.

    Raises:
        UsageError: it holds no ledger.
    """
    ledger = Ledger(out / "ledger.sqlite", read_only=True)
    try:
        health, run, totals = read_health(out), ledger.last_run(), ledger.totals()
        recent = tuple(_line(row) for row in ledger.newest("committed", LISTED))
        refused = tuple(_line(row) for row in ledger.newest("quarantined", LISTED))
        trouble = _refusals(refused, *ledger.refused_since_committed(), datetime.now(UTC))
        messages = ledger.outbox.messages()
        history = history_of(ledger, datetime.now(UTC), since) if since else ()
    finally:
        ledger.close()
    age = _age(health) if health else None
    problems = (*_problems(health, age, run), *trouble)
    if (unsent := messages.problem()) and (health is None or health.state == "stopped"):  # else it is in the record
        problems = (*problems, unsent)
    return StatusResult(
        out=str(out),
        healthy=not problems,
        problems=problems,
        health=health,
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


def _problems(health: HealthResult | None, age: float | None, run: dict[str, Any] | None) -> tuple[str, ...]:
    """What calls for attention, as sentences for people; `age` is of the health record, in seconds."""
    if health is None or age is None:
        return ("no run has told its health yet",)
    if health.state == "stopped":
        ended_by_itself = run is None or run["clean"]
        return () if ended_by_itself else ("the last run did not end by itself; the next one will redo its file",)
    if not _alive(health):
        death = f"the {health.mode} run (pid {health.pid}) has died; start it again, nothing is lost"
        return (death, *health.problems)
    if age > 2 * INTERVAL:
        silence = f"the {health.mode} run (pid {health.pid}) has given no sign of life for {age:.0f} s"
        return (silence, *health.problems)
    return health.problems


def _refusals(refused: tuple[Line, ...], count: int, scored_at: str, now: datetime) -> tuple[str, ...]:
    """Whether everything that came lately was refused, as a sentence.

    Args:
        refused: the newest deliveries in quarantine, the newest first.
        count: deliveries that were refused since the last one that was scored.
        scored_at: when that was, in UTC; empty where none ever was.
        now: the time of day in UTC.
    """
    since = (now - timedelta(seconds=ONE_DAY)).isoformat(timespec="seconds")
    if not count or not refused or (count < STREAK and (scored_at >= since or refused[0].at < since)):
        return ()
    what = f"the newest {count:,} deliveries were all refused" if count > 1 else "the only delivery of 24 h was refused"
    return (f"{what}; the last, {refused[0].file}: {refused[0].told}",)


def _alive(health: HealthResult) -> bool:
    """Whether the process still runs; true for one on another machine, where the age of its record decides alone."""
    if health.host != socket.gethostname():
        return True
    if health.boot != boot_id():
        return False
    with suppress(PermissionError):
        try:
            os.kill(health.pid, 0)
        except ProcessLookupError:
            return False
    return True


def _age(health: HealthResult) -> float:
    """Seconds since the record was made, by the monotonic clock if the machine has not been restarted since."""
    if health.boot and health.boot == boot_id():
        return round(max(time.monotonic() - health.clock, 0.0), 1)
    return round(max((datetime.now(UTC) - datetime.fromisoformat(health.at_utc)).total_seconds(), 0.0), 1)


def _line(row: dict[str, Any]) -> Line:
    """A row of the ledger as a line of a list."""
    quarantined = row["state"] == "quarantined"
    return Line(
        delivery_id=row["delivery_id"],
        at=row["committed_utc"],
        file=path_text(bytes(row["path"])),
        verdict="failed" if quarantined else row["verdict"],
        rows=row["rows_total"] or 0,
        flagged=row["rows_flagged"] or 0,
        critical=row["rows_critical"] or 0,
        told=f"{row['message']} [{row['reason_code']}]" if quarantined else _told(row),
    )


def _told(row: dict[str, Any]) -> str:
    """Of a scored delivery: how many rows could not be read, where any could not, and the column to blame."""
    rejected = row["rows_rejected"]
    unreadable = f"{rejected:,} of {row['rows_total']:,} rows cannot be read" if rejected else ""
    return "; ".join(part for part in (unreadable, row["top"]) if part)


def history_of(ledger: Ledger, now: datetime, since: float) -> tuple[Period, ...]:
    """What was processed lately, summed by day or hour.

    Args:
        ledger: an open ledger.
        now: the time of day in UTC.
        since: how many seconds to look back; from the begin of that day or hour on.

    Returns:
        The periods, the oldest first, with those in which no file came.
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
