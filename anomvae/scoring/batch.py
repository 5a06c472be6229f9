"""A batch of typed rows to what it adds to its file, as plain data: any thread, process or machine can do it.

A file's pieces are put together in order, by `score.Scoring`. A stretch is a part of a long file that somebody else
reads, judges and renders; its pieces are those that the whole file has there, to the bit.
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
from anomvae.model.detector import Detector
from anomvae.model.explain import reasons
from anomvae.records.results import Reason, RejectedRow, RowResult
from anomvae.scoring.summary import Counts, counts_of, row_result
from anomvae.table.reader import chunk_batches
from anomvae.table.typed_reader import TypedBatch, typed_batch
from anomvae.table.writer import ScoredRows, scored_columns


class Piece(msgspec.Struct, frozen=True):
    """A judged batch: its counts, its flagged rows, and its rows as the writer appends them."""

    counts: Counts
    flagged: list[RowResult]
    rendered: bytes


class Stretch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Judge some rows of a file.

    `file`: its name, for people. `names`: its columns; `positions`: where the model's stand. `suffix`: of the output,
    empty where no rows are written. `rows`: a chunk of `reader.TableReader.chunks`; `line`: of the first of them.
    """

    file: str
    settings: ScoreSettings
    names: list[str]
    positions: list[int]
    suffix: str
    line: int
    rows: bytes


class Part(msgspec.Struct, frozen=True):
    """What became of a stretch."""

    pieces: list[Piece]
    rejects: list[RejectedRow]


# Stretches in, their parts out, in the same order.
Helpers = Callable[[Iterator[Stretch]], Iterator[Part]]


class Judging:
    """Judges batches of a file; nothing is changed by it, so that several may be in work.

    Args:
        file: the file's name, for people.
        detector: the fitted model.
        settings: what to write and tell.
        positions: where the model's columns stand.
        writer: renders rows; None where none are written.
    """

    def __init__(
        self, file: str, detector: Detector, settings: ScoreSettings, positions: list[int], writer: TableWriter | None
    ) -> None:
        self.file, self.detector, self.settings, self.positions = file, detector, settings, positions
        self.alpha, self._writer = alpha_of(detector, settings), writer

    def __call__(self, batch: TypedBatch) -> Piece:
        """Judge one batch."""
        encoded = self.detector.encode(batch.columns)
        scores = self.detector.score_encoded(encoded)
        decision = self.detector.decide(scores, self.alpha)
        chosen = np.flatnonzero(decision.flagged)
        rows = [batch.rows[i] for i in chosen.tolist()]
        texts = [[cells[at] for at in self.positions] for cells in rows]
        told = reasons(self.detector, encoded, scores, chosen, texts)
        why = dict(zip(chosen.tolist(), told, strict=True))
        return Piece(
            counts_of(self.detector, batch.columns, encoded, scores, decision),
            [row_result((self.file, batch.lines[i]), scores, decision, i, reason) for i, reason in why.items()],
            self._writer.render(self._rows(batch, scores, decision, why)) if self._writer else b"",
        )

    def _rows(
        self, batch: TypedBatch, scores: Scores, decision: Decision, why: dict[int, tuple[Reason, ...]]
    ) -> ScoredRows:
        """The rows to write."""
        numbers = np.column_stack([scores.score, scores.recon, scores.kl, decision.p, decision.severity])
        flags = decision.flagged
        if self.settings.emit == "all":
            return ScoredRows(batch.rows, batch.lines, numbers.tolist(), flags.tolist(), why)
        rows, lines = [batch.rows[i] for i in why], [batch.lines[i] for i in why]
        return ScoredRows(rows, lines, numbers[flags].tolist(), [True] * len(why), dict(enumerate(why.values())))


def judged(stretch: Stretch, detector: Detector) -> Part:
    """Judge a stretch.

    Raises:
        DataError: a value cannot be told.
    """
    settings, names = stretch.settings, stretch.names
    writer = writer_of(io.BytesIO(), stretch.suffix, names, detector, settings) if stretch.suffix else None
    judging = Judging(stretch.file, detector, settings, stretch.positions, writer)
    part = Part([], [])
    for text in chunk_batches(stretch.rows, stretch.line, len(names)):
        batch = typed_batch(text, detector.schema, stretch.positions)
        part.rejects.extend(batch.rejected)
        if batch.rows:
            part.pieces.append(judging(batch))
    return part


def writer_of(
    out: IO[bytes], suffix: str, names: Sequence[str], detector: Detector, settings: ScoreSettings
) -> TableWriter:
    """A writer of scored rows; text cells are guarded where the settings say so."""
    guarded = _text_positions(names, detector) if settings.spreadsheet_safe else ()
    return open_writer(out, suffix, scored_columns(names, guarded))


def _text_positions(names: Sequence[str], detector: Detector) -> list[int]:
    """Columns whose cells are text: those the model does not know to be numbers or dates."""
    kinds = ("numeric", "integer", "datetime", "boolean")
    safe = {column.name for column in detector.schema.modelled if column.kind in kinds}
    return [j for j, name in enumerate(names) if name not in safe]


def alpha_of(detector: Detector, settings: ScoreSettings) -> float:
    """The false-alarm rate of a run: the settings' own, or the model's."""
    return detector.calibration.alpha if settings.alpha is None else settings.alpha
