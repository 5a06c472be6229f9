"""score: file -> batches -> detector -> rows out, and one FileResult."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae import disk
from anomvae.data.plain import Plain
from anomvae.data.reader import Table, TextBatch
from anomvae.data.source import Base
from anomvae.data.writer import ScoredRows, open_writer, output_suffix
from anomvae.drift import REMEMBERED, Evidence
from anomvae.errors import AnomvaeError, DataError
from anomvae.model.calibration import file_p_value, verdict
from anomvae.model.detector import Detector, Scores
from anomvae.model.encoding import Encoded
from anomvae.model.explanation import reasons
from anomvae.model.schema import Values
from anomvae.pipeline.ahead import count, in_order
from anomvae.pipeline.columns import positions_of, typed
from anomvae.pipeline.drift import compared, in_sequence, left
from anomvae.pipeline.tally import Tally, row_result
from anomvae.pipeline.targets import targets
from anomvae.results import (
    ColumnBlame,
    ErrorResult,
    FileResult,
    Reason,
    RejectedRow,
    RowResult,
    ScoreResult,
)
from anomvae.settings import Dialect, ScoreSettings

Progress = Callable[[str, int], None]
# Files and their outputs in, what became of each out, in the same order.
Scorer = Callable[[Sequence[str], Sequence[str | None]], Iterable[FileResult | DataError]]


def score(
    files: Sequence[str],
    detector: Detector,
    settings: ScoreSettings | None = None,
    output: str | None = None,
    *,
    model: str = "",
    stdout: IO[bytes] | None = None,
    progress: Progress = lambda file, rows: None,
    scorer: Scorer | None = None,
) -> ScoreResult:
    """Score files once.

    A file that cannot be read is refused and listed; the others are scored.

    Args:
        files: CSV or Parquet files, or `-` for standard input.
        detector: the fitted model.
        settings: what to write and tell.
        output: a file for one input, a folder for several, `-` for CSV on `stdout`, None for no rows.
        model: the model's name, for the result.
        stdout: where `-` goes.
        progress: called with the file and rows so far.
        scorer: scores the files, with several processes for example; None: one after the other, here.

    Raises:
        AnomvaeError: where nothing can go on: usage, the disk.
    """
    settings = settings or ScoreSettings()
    started = time.monotonic()
    done: list[FileResult] = []
    refused: list[ErrorResult] = []
    before: list[Evidence] = []
    scorer = scorer or _one_by_one(detector, settings, stdout, progress)
    for file, outcome in zip(files, scorer(files, targets(files, output)), strict=True):
        if isinstance(outcome, DataError):
            refused.append(error_result(outcome.within(shown(file))))
        else:
            done.append(in_sequence(outcome, detector, before))
            before = [*before, *left(done[-1])][-REMEMBERED:]
    return ScoreResult(
        model=model,
        model_id=detector.model_id,
        alpha=alpha_of(detector, settings),
        rows=sum(one.rows for one in done),
        scored=sum(one.scored for one in done),
        rejected=sum(one.rejected for one in done),
        flagged=sum(one.flagged for one in done),
        critical=sum(one.critical for one in done),
        files=tuple(done),
        refused=tuple(refused),
        seconds=round(time.monotonic() - started, 3),
    )


def _one_by_one(detector: Detector, settings: ScoreSettings, stdout: IO[bytes] | None, progress: Progress) -> Scorer:
    def scored(file: str, target: str | None) -> FileResult | DataError:
        try:
            return score_file(file, detector, settings, target, stdout=stdout, progress=progress)
        except DataError as error:
            return error

    return lambda files, targets: map(scored, files, targets)


def error_result(error: AnomvaeError) -> ErrorResult:
    """An error as a record."""
    place = {name: getattr(error, name, None) for name in ("file", "line", "column")}
    message = getattr(error, "message", str(error))
    return ErrorResult(code=error.code, message=message, exit_code=error.exit_code, **place)


def score_file(
    file: str,
    detector: Detector,
    settings: ScoreSettings,
    target: str | None = None,
    *,
    stdout: IO[bytes] | None = None,
    progress: Progress = lambda file, rows: None,
) -> FileResult:
    """Score one file; its output appears whole, and only when the file has ended well.

    Raises:
        DataError: the file is refused; nothing was written.
    """
    run = Scoring(file, detector, settings, progress)
    if target is None:
        return run.into(None)
    if target != "-":
        with disk.replacing(Path(target)) as out:
            return run.into(out, target, output_suffix(target))
    import shutil  # of all outputs only this one needs them
    import tempfile

    with tempfile.SpooledTemporaryFile(max_size=8 << 20) as spool:
        result = run.into(spool, "-", ".csv")
        spool.seek(0)
        if stdout is not None:
            shutil.copyfileobj(spool, stdout)
            stdout.flush()
    return result


class _Judged(msgspec.Struct, frozen=True):
    """A scored batch; `why`: the reasons of its flagged rows, by place in the batch."""

    batch: TextBatch
    columns: Mapping[str, Values]
    encoded: Encoded
    scores: Scores
    flags: NDArray[np.bool_]
    why: dict[int, tuple[Reason, ...]]


class Scoring:
    """One file on its way through a detector.

    Args:
        file: the path, or `-`.
        detector: the fitted model.
        settings: what to write and tell.
        progress: called with the file and rows so far.
        opened: the file, opened by the caller; None to open it by name.
        base: of a grown file, score only the rows after this part.
        flagged: called with every flagged row; which rows are critical is known only at the end.
    """

    def __init__(
        self,
        file: str,
        detector: Detector,
        settings: ScoreSettings,
        progress: Progress,
        *,
        opened: BinaryIO | None = None,
        base: Base | None = None,
        flagged: Callable[[RowResult], None] = lambda row: None,
    ) -> None:
        self.file, self.detector, self.settings, self.progress = file, detector, settings, progress
        self.alpha = alpha_of(detector, settings)
        self.reference = detector.about.reference if detector.about else None
        self.tally = Tally(shown(file), settings.top)
        self._opened, self._base, self._flagged = opened, base, flagged

    def into(self, out: IO[bytes] | None, target: str = "", suffix: str = "") -> FileResult:
        """Score every batch; rows go to `out`, if there is one.

        Raises:
            DataError: the file is refused.
        """
        started = time.monotonic()
        about = self.detector.about
        self.table = Table(self.file, about.dialect if about else Dialect(), self._opened, self._base)
        self.positions = positions_of(self.table, self.detector, self.settings)
        writer = open_writer(out, suffix, self.table.names, self._text_positions()) if out else None
        plain = Plain(self.detector.schema, self.table.names, self.positions, self.table.dialect.delimiter)
        for judged in in_order(self._judge, self._typed(plain), count(self.settings.threads)):
            self._add(judged)
            if writer:
                writer.write(self._told(judged))
            self.progress(self.file, self.table.rows)
        if self.settings.bad_rows == "quarantine" and self.table.rejected:
            first = self.table.rejects[0]
            raise DataError(first.code, first.message, line=first.line, column=first.column)
        self.table.check_rejects()
        if writer:
            writer.close()
        return self._result((target,) if out else (), round(time.monotonic() - started, 3))

    @property
    def critical(self) -> float:
        """The severity tenth from which flagged rows are critical."""
        return self.tally.severities.limit

    def _typed(self, plain: Plain) -> Iterator[tuple[TextBatch, Mapping[str, Values]]]:
        for batch in self.table.batches(plain):
            kept, columns = typed(batch, self.table, self.positions, self.detector.schema)
            if kept.rows:
                yield kept, columns

    def _judge(self, rows: tuple[TextBatch, Mapping[str, Values]]) -> "_Judged":
        """Score one batch; nothing but the batch is touched, so that several may be in work."""
        batch, columns = rows
        encoded = self.detector.encode(columns)
        scores = self.detector.score_encoded(encoded)
        flags = scores.p <= self.alpha
        chosen = np.flatnonzero(flags)
        texts = [[cells[at] for at in self.positions] for cells in batch.take(chosen.tolist()).rows]
        told = reasons(self.detector, encoded, scores, chosen, texts)
        return _Judged(batch, columns, encoded, scores, flags, dict(zip(chosen.tolist(), told, strict=True)))

    def _add(self, judged: "_Judged") -> None:
        """Count one batch, and remember its flagged rows."""
        self.tally.add(judged.scores, judged.flags)
        self.tally.notice(self.detector, judged.encoded, judged.columns)
        if self.reference is not None:
            encoding = self.detector.scorer.encoding
            self.tally.compare(self.reference, encoding, judged.columns, judged.encoded, judged.scores)
        for i, why in judged.why.items():
            row = row_result(self.tally.file, judged.batch.lines[i], judged.scores, i, why)
            self.tally.remember(row)
            self._flagged(row)

    def _told(self, judged: "_Judged") -> ScoredRows:
        """The rows to write."""
        batch, scores, why = judged.batch, judged.scores, judged.why
        numbers = np.column_stack([scores.score, scores.recon, scores.kl, scores.p, scores.severity])
        if self.settings.emit == "all":
            return ScoredRows(batch.rows, batch.lines, numbers.tolist(), judged.flags.tolist(), why)
        part, told = batch.take(list(why)), dict(enumerate(why.values()))
        return ScoredRows(part.rows, part.lines, numbers[judged.flags].tolist(), [True] * len(why), told)

    def _text_positions(self) -> list[int] | None:
        """Columns whose cells are text: those the model does not know to be numbers or dates."""
        if not self.settings.spreadsheet_safe:
            return None
        kinds = ("numeric", "integer", "datetime", "boolean")
        safe = {column.name for column in self.detector.schema.modelled if column.kind in kinds}
        return [j for j, name in enumerate(self.table.names) if name not in safe]

    def _result(self, outputs: tuple[str, ...], seconds: float) -> FileResult:
        table, tally = self.table, self.tally
        critical = self.critical
        known = self.detector.calibration
        p_file = file_p_value(tally.scored, tally.flagged, self.alpha, known.effective, known.design)
        result = FileResult(
            file=tally.file,
            sha256=table.sha256,
            model_id=self.detector.model_id,
            alpha=self.alpha,
            rows=table.rows,
            scored=tally.scored,
            rejected=table.rejected,
            flagged=tally.flagged,
            critical=tally.severities.critical,
            expected_flags=self.alpha * tally.scored,
            verdict=verdict(p_file),
            p_file=p_file,
            severities=tally.severities.bins(),
            seconds=seconds,
            outputs=outputs,
            worst=tally.worst(critical),
            blame=tuple(ColumnBlame(column=name, rows=rows) for name, rows in tally.blame.most_common(8)),
            rejects=tuple(
                RejectedRow(line=bad.line, code=bad.code, message=bad.message, column=bad.column)
                for bad in table.rejects
            ),
            warnings=(*table.warnings, *tally.warnings(self.detector)),
        )
        return compared(result, self.detector, tally.counts, tally.newest())


def alpha_of(detector: Detector, settings: ScoreSettings) -> float:
    """The false-alarm rate of a run: the settings' own, or the model's."""
    return detector.calibration.alpha if settings.alpha is None else settings.alpha


def shown(file: str) -> str:
    """An input's name for people."""
    return "standard input" if file == "-" else file
