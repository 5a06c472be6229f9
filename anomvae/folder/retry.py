"""Retry: take quarantined deliveries back, so that their files are processed again."""

from collections.abc import Sequence
from pathlib import Path

from anomvae import durable_io
from anomvae.errors import UsageError
from anomvae.folder.archive import bring_back
from anomvae.folder.ledger import Entry, Ledger
from anomvae.folder.output_folder import REASON, path_text


def retry(out: Path, ids: Sequence[str]) -> list[str]:
    """Take deliveries back; a `watch` that is running notices it, else the next run does.

    Args:
        out: the output folder.
        ids: ids of deliveries, or the first characters of ids.

    Returns:
        The paths of their files, for display.

    Raises:
        UsageError: an id is unknown, ambiguous, or not in quarantine.
    """
    if not (out / "ledger.sqlite").is_file():
        raise UsageError(f"{out}: holds no ledger; name the output folder of 'watch' or 'score FOLDER'.")
    ledger = Ledger(out / "ledger.sqlite")
    try:
        entries = [_in_quarantine(ledger, prefix) for prefix in ids]
        folder = Path(ledger.meta("folder") or ".")
        for entry in entries:
            bring_back(out, folder, entry.path, entry.delivery_id)
            ledger.retract(entry.delivery_id)
            durable_io.remove(out / "quarantine" / (entry.delivery_id + REASON))
    finally:
        ledger.close()
    return [path_text(entry.path) for entry in entries]


def _in_quarantine(ledger: Ledger, prefix: str) -> Entry:
    """The one delivery in quarantine whose id begins so."""
    found = ledger.named(prefix) if prefix.isalnum() else []
    if len(found) != 1:
        problem = "is the beginning of several deliveries' ids" if found else "is no delivery's id"
        raise UsageError(f"'{prefix}' {problem}; 'anomvae status OUT' lists what is in quarantine.")
    if found[0].state != "quarantined":
        raise UsageError(f"'{prefix}' was scored; only what is in quarantine can be retried.")
    return found[0]
