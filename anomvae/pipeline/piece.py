"""A batch of typed rows to what it adds to its file, as plain data: any thread, process or machine can do it.

A file's pieces are put together in order, by `score.Scoring`. A stretch is a part of a long file that somebody else
reads, judges and renders; its pieces are those that the whole file has there, to the bit.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import msgspec
import numpy as np

from anomvae.data.reader import Reject, TextBatch, batches_of
from anomvae.data.writer import ScoredRows, Writer, open_writer
from anomvae.model.anomaly_score import Scores
from anomvae.model.calibration import Decision
from anomvae.model.detector import Detector
from anomvae.model.explanation import reasons
from anomvae.model.schema import Values
from anomvae.pipeline.columns import typed
from anomvae.pipeline.tally import Counts, counts_of, row_result
from anomvae.results import Reason, RowResult
from anomvae.settings import ScoreSettings

Rows = tuple[TextBatch, Mapping[str, Values]]


class Piece(msgspec.Struct, frozen=True):
    """A judged batch: its counts, its flagged rows, and its rows as the writer appends them."""

    counts: Counts
    flagged: list[RowResult]
    rendered: bytes


class Stretch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Judge some rows of a file.

    `file`: its name, for people. `names`: its columns; `positions`: where the model's stand. `suffix`: of the output,
    empty where no rows are written. `rows`: a stretch of `reader.Table.stretches`; `line`: of the first of them.
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
    rejects: list[Reject]


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
        self, file: str, detector: Detector, settings: ScoreSettings, positions: list[int], writer: Writer | None
    ) -> None:
        self.file, self.detector, self.settings, self.positions = file, detector, settings, positions
        self.alpha, self._writer = alpha_of(detector, settings), writer

    def __call__(self, rows: Rows) -> Piece:
        """Judge one batch."""
        batch, columns = rows
        encoded = self.detector.encode(columns)
        scores = self.detector.score_encoded(encoded)
        decision = self.detector.decide(scores, self.alpha)
        chosen = np.flatnonzero(decision.flagged)
        texts = [[cells[at] for at in self.positions] for cells in batch.take(chosen.tolist()).rows]
        told = reasons(self.detector, encoded, scores, chosen, texts)
        why = dict(zip(chosen.tolist(), told, strict=True))
        return Piece(
            counts_of(self.detector, columns, encoded, scores, decision),
            [row_result((self.file, batch.lines[i]), scores, decision, i, reason) for i, reason in why.items()],
            self._writer.render(self._rows(batch, scores, decision, why)) if self._writer else b"",
        )

    def _rows(
        self, batch: TextBatch, scores: Scores, decision: Decision, why: dict[int, tuple[Reason, ...]]
    ) -> ScoredRows:
        """The rows to write."""
        numbers = np.column_stack([scores.score, scores.recon, scores.kl, decision.p, decision.severity])
        flags = decision.flagged
        if self.settings.emit == "all":
            return ScoredRows(batch.rows, batch.lines, numbers.tolist(), flags.tolist(), why)
        part, told = batch.take(list(why)), dict(enumerate(why.values()))
        return ScoredRows(part.rows, part.lines, numbers[flags].tolist(), [True] * len(why), told)


def judged(stretch: Stretch, detector: Detector) -> Part:
    """Judge a stretch.

    Raises:
        DataError: a value cannot be told.
    """
    settings, names = stretch.settings, stretch.names
    writer = writer_of(io.BytesIO(), stretch.suffix, names, detector, settings) if stretch.suffix else None
    judging = Judging(stretch.file, detector, settings, stretch.positions, writer)
    part = Part([], [])
    for batch in batches_of(stretch.rows, stretch.line, len(names)):
        kept, columns = typed(batch, lambda *bad: part.rejects.append(Reject(*bad)), stretch.positions, detector.schema)
        if kept.rows:
            part.pieces.append(judging((kept, columns)))
    return part


def writer_of(out: IO[bytes], suffix: str, names: Sequence[str], detector: Detector, settings: ScoreSettings) -> Writer:
    """A writer of scored rows; text cells are guarded where the settings say so."""
    return open_writer(out, suffix, names, _text_positions(names, detector) if settings.spreadsheet_safe else None)


def _text_positions(names: Sequence[str], detector: Detector) -> list[int]:
    """Columns whose cells are text: those the model does not know to be numbers or dates."""
    kinds = ("numeric", "integer", "datetime", "boolean")
    safe = {column.name for column in detector.schema.modelled if column.kind in kinds}
    return [j for j, name in enumerate(names) if name not in safe]


def alpha_of(detector: Detector, settings: ScoreSettings) -> float:
    """The false-alarm rate of a run: the settings' own, or the model's."""
    return detector.calibration.alpha if settings.alpha is None else settings.alpha
