"""Rebuild a lost ledger from the files that it described: manifests, quarantine reasons and the alert log.

Files that are there are not written again. Where the alert lines of an old delivery are gone, because the log was
rotated, they stay gone. Only the newest delivery can have been interrupted before its alert lines were written: it is
left out of the ledger, so that its file is processed again, with the same bytes as the result.
"""

import hashlib
from itertools import chain
from pathlib import Path

import msgspec

from anomvae import durable_io
from anomvae.folder.ledger import Ledger
from anomvae.records.folder import Manifest, Quarantined
from anomvae.records.results import RowResult

Fact = Manifest | Quarantined


class Segment(msgspec.Struct):
    """The lines of one delivery in the alert log: the byte position behind the last of them, and their hash."""

    end: int
    sha256: str


def rebuild(out: Path, ledger: Ledger) -> int:
    """Fill a ledger that is empty, or that a rebuild has filled in part; returns how many deliveries were added."""
    log = out / "alerts.jsonl"
    segments = _segments(log)
    end = max((segment.end for segment in segments.values()), default=0)
    files = chain((out / "results").glob("*.manifest.json"), (out / "quarantine").glob("*.reason.json"))
    order = sorted((fact.sequence, str(path)) for path in files if (fact := _read(path)))
    last = added = 0
    for index, (_, name) in enumerate(order):
        fact = _read(Path(name))  # again, since all of them together may not fit into memory
        segment = segments.get(fact.delivery_id) if fact else None
        if fact is None or not _whole(out, fact, segment, newest=index == len(order) - 1):
            continue
        last = max(last + 1, fact.sequence)
        if ledger.has(fact.delivery_id):
            continue
        ledger.commit(msgspec.structs.replace(fact, sequence=last), None, end)
        added += 1
    return added


def _read(path: Path) -> Fact | None:
    try:
        found: Fact = msgspec.json.decode(path.read_bytes(), type=Fact)
    except (msgspec.DecodeError, OSError):
        return None
    return found


def _whole(out: Path, fact: Fact, segment: Segment | None, *, newest: bool) -> bool:
    """Whether the result of a fact is there and unchanged, and its alert lines are in the log."""
    if isinstance(fact, Quarantined):
        return True
    result = out / "results" / Path(fact.result_name).name
    if not result.is_file() or durable_io.sha256(result) != fact.result_sha256:
        return False
    logged = segment is not None and segment.sha256 == fact.alerts_sha256
    return logged or fact.result.flagged == 0 or not newest


def _segments(log: Path) -> dict[str, Segment]:
    """Every delivery's lines in the alert log; a torn last line does not count."""
    found: dict[str, Segment] = {}
    name, digest, at = "", hashlib.sha256(), 0
    if not log.is_file():
        return found
    with log.open("rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break
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


def _owner(line: bytes) -> str:
    """The delivery that a line of the alert log belongs to; empty where the line cannot be read."""
    try:
        return msgspec.json.decode(line, type=RowResult).delivery_id
    except msgspec.DecodeError:
        return ""
