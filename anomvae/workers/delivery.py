"""Score one open file of a watched folder into temporary files: the output rows, and the lines for the alert log.

A file is read twice, first for its hash and then for its rows, and both hashes must agree, so that the rows never come
from a mixture of two contents. With the first hash the ledger is asked: a content that was processed before is not
scored again, and of a file that has grown only the new rows are.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from anomvae import durable_io
from anomvae.config import ScoreSettings
from anomvae.errors import DataError
from anomvae.model.counters import CounterState, shown_state
from anomvae.model.detector import Detector
from anomvae.records.results import RowResult
from anomvae.scoring.batch import ChunkScorer
from anomvae.scoring.file import FileScorer
from anomvae.scoring.summary import FileSummary, Tenths
from anomvae.table.csv_decode import ResumePoint

CHUNK = 1 << 20
ALL = 1 << 62


class ChangedError(Exception):
    """The file changed while it was read; what was read must not be used."""


class DroppedError(Exception):
    """The files under way are given up, because the run has to end; the next run will process them."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with one open file, as data, so that another process can do it.

    Attributes:
        name: of the file, for people.
        delivery_id: of this content of the file.
        sha256: of the content.
        settings: of the run.
        suffix: of the output, which sets its format.
        result: the temporary file for the output rows.
        alerts: the temporary file for the lines of the alert log.
        target: the path that the output will have.
        base_size, base_lines: bytes and physical lines that were scored before, of a file that has grown.
        base_counters: the state of the counters behind these.
    """

    name: str
    delivery_id: str
    sha256: str
    settings: ScoreSettings
    suffix: str
    result: str
    alerts: str
    target: str
    base_size: int = 0
    base_lines: int = 0
    base_counters: CounterState = {}

    @property
    def spool(self) -> str:
        """The file of flagged rows; which of them are critical is known only at the end of the input file."""
        return self.alerts + ".rows"

    def temporary(self) -> tuple[str, ...]:
        """The files that the work writes."""
        return self.result, self.alerts, self.spool


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a job.

    Attributes:
        summary: what the rows of the file add up to; the verdict is decided where the files before it are known.
        result_sha256: the hash of the scored rows at `Job.result`.
        alerts_sha256: the hash of the lines at `Job.alerts`; empty where no row is flagged.
        tenths: counts of severities, which add up over the files of a run to find the rows critical in all of it.
        lines: physical lines of the file.
        continues: whether a grown version of the file may be scored from its new rows on.
        counters: the state of the counters behind the file, for those rows; without what no output may show.
    """

    summary: FileSummary
    result_sha256: str
    alerts_sha256: str
    tenths: Tenths
    lines: int
    continues: bool
    counters: CounterState = {}


class Fingerprint(msgspec.Struct, frozen=True):
    """Hash of a whole content, and the hash state after its first `base_size` bytes."""

    sha256: str
    base: Any


def fingerprint(file: BinaryIO, base_size: int, tick: Callable[[], None]) -> Fingerprint:
    """Hash an open file from its start; `base` is None where it is shorter than `base_size`."""
    digest = hashlib.sha256()
    file.seek(0)
    whole = _feed(digest, file, base_size, tick) == base_size
    base = digest.copy() if whole else None
    _feed(digest, file, ALL, tick)
    return Fingerprint(digest.hexdigest(), base)


def _feed(digest: Any, file: BinaryIO, size: int, tick: Callable[[], None]) -> int:
    """Hash the next `size` bytes of a file; returns how many there were."""
    left = size
    while left and (chunk := file.read(min(CHUNK, left))):
        digest.update(chunk)
        left -= len(chunk)
        tick()
    return size - left


def score_delivery(
    file: BinaryIO, job: Job, detector: Detector, tick: Callable[[], None], chunk_scorer: ChunkScorer | None = None
) -> Scored:
    """Score an open file into `job.result` and `job.alerts`.

    Args:
        file: the open file.
        job: what to do with it.
        detector: the fitted model.
        tick: called between any two steps; it may raise to give the file up.
        chunk_scorer: scores the chunks of a long file elsewhere; None: all of it is scored here.

    Raises:
        DataError: the file is refused.
        ChangedError: its content is no longer the one of `job.sha256`.
        EnvironmentFault: a result could not be written.
    """
    resume, spool = _resume_point(file, job, tick) if job.base_size else None, Path(job.spool)
    encode = msgspec.json.Encoder().encode
    with durable_io.faults("the result could not be written"), durable_io.create(spool) as rows:

        def spooled(row: RowResult) -> None:
            rows.write(encode(row) + b"\n")

        scorer = FileScorer(
            job.name, detector, job.settings, lambda name, count: tick(),
            opened=file, resume=resume, on_flagged=spooled, chunk_scorer=chunk_scorer,
        )  # fmt: skip
        try:
            with durable_io.create(Path(job.result)) as out:
                summary = scorer.score(out, job.target, job.suffix)
                durable_io.sync(out)
        except DataError:
            if fingerprint(file, 0, tick).sha256 != job.sha256:  # refused for what it was while it changed
                raise ChangedError(job.name) from None
            raise
        if scorer.table.sha256 != job.sha256:
            raise ChangedError(job.name)
        rows.seek(0)
        alerts = ""
        if summary.flagged:
            alerts = _write_alerts(rows, Path(job.alerts), job.delivery_id, scorer.severities.limit)
    durable_io.remove(spool)
    return Scored(
        summary=msgspec.structs.replace(summary, delivery_id=job.delivery_id, continues=resume is not None),
        result_sha256=durable_io.sha256(Path(job.result)),
        alerts_sha256=alerts,
        tenths=scorer.severities.tenths(),
        lines=scorer.table.lines,
        continues=scorer.table.continues,
        counters=shown_state(detector.schema, scorer.steps.state()) if scorer.table.continues else {},
    )


def _resume_point(file: BinaryIO, job: Job, tick: Callable[[], None]) -> ResumePoint:
    digest = hashlib.sha256()
    file.seek(0)
    _feed(digest, file, job.base_size, tick)
    return ResumePoint(job.base_size, job.base_lines, digest, job.base_counters)


def _write_alerts(rows: Any, path: Path, delivery_id: str, critical: float) -> str:
    """Flagged rows as lines of the alert log, now that critical ones are known; returns their hash."""
    decoder, encoder, digest = msgspec.json.Decoder(RowResult), msgspec.json.Encoder(), hashlib.sha256()
    with durable_io.create(path) as out:
        for line in rows:
            row = decoder.decode(line)
            row = msgspec.structs.replace(row, delivery_id=delivery_id, critical=round(row.severity * 10) >= critical)
            data = encoder.encode(row) + b"\n"
            digest.update(data)
            out.write(data)
    return digest.hexdigest()
