"""The past of a watched folder from its ledger: sums by day, or by hour where little time is asked for."""

from datetime import datetime, timedelta
from typing import Any

from anomvae.deliveries import Period
from anomvae.storage.ledger import Ledger

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
