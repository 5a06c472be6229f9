"""Score a batch of rows, or a chunk of a long file: rows in, and out what they add to the file's summary and output.

Everything here is data between two steps that share nothing, so that a thread, another process or a machine of a
cluster can do the work. `scoring.file` puts the results together in the order of the file.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import IO

import msgspec
import numpy as np

from anomvae.config import ScoreSettings
from anomvae.formats import TableWriter, open_writer
from anomvae.model.anomaly_score import Scores
from anomvae.model.calibration import Decision
from anomvae.model.counters import CounterState
from anomvae.model.detector import Detector
from anomvae.model.explain import reasons
from anomvae.records.results import Reason, RejectedRow, RowResult
from anomvae.scoring.summary import BatchCounts, count_batch
from anomvae.table.csv_fast import unfilled_positions
from anomvae.table.reader import chunk_batches
from anomvae.table.typed_reader import FileSteps, TypedBatch, typed_batch
from anomvae.table.writer import ScoredRows, scored_columns


class ScoredBatch(msgspec.Struct, frozen=True):
    """A scored batch: its counts, its flagged rows, and its output rows as `TableWriter.append` takes them."""

    counts: BatchCounts
    flagged: list[RowResult]
    rendered: bytes


class Chunk(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Some consecutive rows of a long file, with all that another process needs to score them.

    Attributes:
        file: the file's name, for people.
        settings: of the run.
        names: the columns of the file.
        positions: where the model's columns stand among them.
        suffix: of the output, which sets its format; empty where no rows are written.
        line: of the first row.
        rows: the rows as a chunk of `TableReader.chunks`.
        counters: the state of the counters before the first row.
    """

    file: str
    settings: ScoreSettings
    names: list[str]
    positions: list[int]
    suffix: str
    line: int
    rows: bytes
    counters: CounterState


class ScoredChunk(msgspec.Struct, frozen=True):
    """The batches of a chunk, as the whole file has them there, and the rows that could not be read."""

    batches: list[ScoredBatch]
    rejects: list[RejectedRow]


# Scores chunks elsewhere and gives the results in the same order.
ChunkScorer = Callable[[Iterator[Chunk]], Iterator[ScoredChunk]]


class BatchScorer:
    """Scores batches of one file. A call changes nothing, so that several threads may call it at once.

    Args:
        file: the file's name, for people.
        detector: the fitted model.
        settings: which rows are written, and the false-alarm rate.
        positions: where the model's columns stand in the file.
        writer: renders the output rows; None where none are written.
    """

    def __init__(
        self, file: str, detector: Detector, settings: ScoreSettings, positions: list[int], writer: TableWriter | None
    ) -> None:
        self._file, self._detector, self._positions, self._writer = file, detector, positions, writer
        self._emit_all, self._alpha = settings.emit == "all", alpha_of(detector, settings)

    def __call__(self, batch: TypedBatch) -> ScoredBatch:
        """Score one batch: encode its rows, score them, decide which are flagged, and give reasons for these."""
        detector = self._detector
        encoded = detector.encode(batch.columns)
        scores = detector.score_encoded(encoded)
        decision = detector.decide(scores, self._alpha)
        flagged = np.flatnonzero(decision.flagged)
        cells = [[row[at] for at in self._positions] for row in (batch.rows[i] for i in flagged.tolist())]
        why = dict(zip(flagged.tolist(), reasons(detector, encoded, scores, flagged, cells), strict=True))
        return ScoredBatch(
            count_batch(detector, batch, encoded, scores, decision),
            [self._row_result(batch.lines[i], i, scores, decision, reason) for i, reason in why.items()],
            self._writer.render(self._output_rows(batch, scores, decision, why)) if self._writer else b"",
        )

    def _row_result(self, line: int, i: int, scores: Scores, decision: Decision, why: tuple[Reason, ...]) -> RowResult:
        """Row i of a batch, which stands on this line, as a record. Whether it is critical only the whole file says."""
        return RowResult(
            file=self._file,
            line=line,
            score=float(scores.score[i]),
            recon=float(scores.recon[i]),
            kl=float(scores.kl[i]),
            p=float(decision.p[i]),
            estimated=bool(decision.estimated[i]),
            severity=float(decision.severity[i]),
            critical=False,
            reasons=why,
        )

    def _output_rows(
        self, batch: TypedBatch, scores: Scores, decision: Decision, why: dict[int, tuple[Reason, ...]]
    ) -> ScoredRows:
        """The rows to write: all of the batch, or the flagged ones."""
        numbers = np.column_stack([scores.score, scores.recon, scores.kl, decision.p, decision.severity])
        flags = decision.flagged
        if self._emit_all:
            return ScoredRows(batch.rows, batch.lines, numbers.tolist(), flags.tolist(), why)
        rows, lines = [batch.rows[i] for i in why], [batch.lines[i] for i in why]
        return ScoredRows(rows, lines, numbers[flags].tolist(), [True] * len(why), dict(enumerate(why.values())))


def score_chunk(chunk: Chunk, detector: Detector) -> ScoredChunk:
    """Score a chunk of a long file.

    Raises:
        DataError: the rows cannot be read as those of a table.
    """
    settings, names = chunk.settings, chunk.names
    writer = open_scored_writer(io.BytesIO(), chunk.suffix, names, detector, settings) if chunk.suffix else None
    score = BatchScorer(chunk.file, detector, settings, chunk.positions, writer)
    unfilled, scored = unfilled_positions(detector.schema, names), ScoredChunk([], [])
    steps = FileSteps(detector.schema, names, chunk.positions, chunk.counters)
    for text in chunk_batches(chunk.rows, chunk.line, len(names)):
        batch = typed_batch(text, detector.schema, chunk.positions, unfilled, steps)
        scored.rejects.extend(batch.rejected)
        if batch.rows:
            scored.batches.append(score(batch))
    return scored


def open_scored_writer(
    out: IO[bytes], suffix: str, names: Sequence[str], detector: Detector, settings: ScoreSettings
) -> TableWriter:
    """A writer of scored rows.

    Args:
        out: where they go.
        suffix: of the output, which sets its format.
        names: the columns of the input.
        detector: says which columns are text.
        settings: `spreadsheet_safe` guards the cells of these against being run as formulas.
    """
    guarded: list[int] = []
    if settings.spreadsheet_safe:
        kinds = ("numeric", "integer", "counter", "datetime", "boolean")
        safe = {column.name for column in detector.schema.modelled if column.kind in kinds}
        guarded = [j for j, name in enumerate(names) if name not in safe]
    return open_writer(out, suffix, scored_columns(names, guarded))


def alpha_of(detector: Detector, settings: ScoreSettings) -> float:
    """The false-alarm rate of a run: the settings' own, or the model's."""
    return detector.calibration.alpha if settings.alpha is None else settings.alpha
