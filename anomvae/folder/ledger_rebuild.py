"""Rebuild a lost ledger from the files that it described: manifests, quarantine reasons and the alert log.

Files that are there are not written again. Where the alert lines of an old delivery are gone, because the log was
rotated, they stay gone. Only the newest delivery can have been interrupted before its alert lines were written: it is
left out of the ledger, so that its file is processed again, with the same bytes as the result.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from anomvae import durable_io
from anomvae.folder.ledger import Ledger
from anomvae.records.folder import Manifest, Quarantined
from anomvae.records.results import RowResult

Judged = Manifest | Quarantined


class Segment(msgspec.Struct):
    """The lines of one delivery in the alert log: the byte position behind the last of them, and their hash."""

    end: int
    sha256: str


def rebuild(out: Path, ledger: Ledger) -> int:
    """Fill a ledger that is empty, or that a rebuild has filled in part; returns how many deliveries were added."""
    log = out / "alerts.jsonl"
    segments = _segments(log)
    end = max((segment.end for segment in segments.values()), default=0)
    order = sorted((fact.sequence, str(path)) for path, fact in _facts(out))
    last = added = 0
    for place, (_, name) in enumerate(order):
        fact = _read(Path(name))
        segment = segments.get(fact.delivery_id) if fact else None
        if fact is None or not _whole(out, fact, segment, newest=place == len(order) - 1):
            continue
        last = max(last + 1, fact.sequence)
        if ledger.has(fact.delivery_id):
            continue
        ledger.commit(msgspec.structs.replace(fact, sequence=last), None, end)
        added += 1
    return added


def _files(out: Path) -> Iterator[Path]:
    yield from (out / "results").glob("*.manifest.json")
    yield from (out / "quarantine").glob("*.reason.json")


def _facts(out: Path) -> Iterator[tuple[Path, Judged]]:
    for path in _files(out):
        if fact := _read(path):
            yield path, fact


def _read(path: Path) -> Judged | None:
    try:
        found: Judged = msgspec.json.decode(path.read_bytes(), type=Judged)
    except (msgspec.DecodeError, OSError):
        return None
    return found


def _whole(out: Path, fact: Judged, segment: Segment | None, *, newest: bool) -> bool:
    """Whether a fact's result is there, unchanged, and with its alerts."""
    if isinstance(fact, Quarantined):
        return True
    result = out / "results" / Path(fact.result_name).name
    if not result.is_file() or durable_io.sha256(result) != fact.result_sha256:
        return False
    told = segment is not None and segment.sha256 == fact.alerts_sha256
    return told or fact.result.flagged == 0 or not newest


def _segments(log: Path) -> dict[str, Segment]:
    """Every delivery's lines in the alert log; a torn last line does not count."""
    found: dict[str, Segment] = {}
    name, digest, at = "", hashlib.sha256(), 0
    for line in _lines(log):
        owner = _owner(line)
        if owner != name:
            if name:
                found[name] = Segment(at, digest.hexdigest())
            name, digest = owner, hashlib.sha256()
        digest.update(line)
        at += len(line)
    if name:
        found[name] = Segment(at, digest.hexdigest())
    return found


def _lines(log: Path) -> Iterator[bytes]:
    if log.is_file():
        with log.open("rb") as lines:
            yield from (line for line in lines if line.endswith(b"\n"))


def _owner(line: bytes) -> str:
    try:
        return msgspec.json.decode(line, type=RowResult).delivery_id
    except msgspec.DecodeError:
        return ""
