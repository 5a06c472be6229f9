"""Several batches at once, on threads: numpy lets go of the interpreter while it multiplies."""

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO, BinaryIO, Literal, TypeVar

from anomvae import durable_io
from anomvae.config import ScoreSettings
from anomvae.errors import AnomvaeError, DataError, UsageError
from anomvae.formats import output_suffix, suffixes
from anomvae.model.calibration import file_p_value, verdict
from anomvae.model.detector import Detector
from anomvae.records.results import REMEMBERED, ColumnBlame, ErrorResult, Evidence, FileResult, RowResult, ScoreResult
from anomvae.records.sentences import table_warning
from anomvae.scoring.batch import Helpers, Judging, Piece, Stretch, alpha_of, writer_of
from anomvae.scoring.summary import Tally
from anomvae.scoring.verdict import compared, in_sequence, left
from anomvae.table.csv_decode import ResumePoint
from anomvae.table.typed_reader import TypedReader, dialect_of

A = TypeVar("A")
B = TypeVar("B")

MOST = 4  # threads that `auto` takes at most: reading, on one more, keeps about so many busy


def count(threads: int | Literal["auto"]) -> int:
    """How many threads a setting means on this machine."""
    if threads != "auto":
        return threads
    with suppress(AttributeError):  # not on every system
        return min(len(os.sched_getaffinity(0)), MOST)
    return min(os.cpu_count() or 1, MOST)


def in_order(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """`work` of every item, in their order; up to `threads` at once, and no more than these held.

    The first item is done alone: most files have no second one, and starting threads costs imports.
    """
    items = iter(items)
    yield from map(work, islice(items, 1 if threads > 1 else None))
    if (second := next(items, None)) is not None:
        yield from _side_by_side(work, chain([second], items), threads)


def _side_by_side(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    from concurrent.futures import Future, ThreadPoolExecutor

    begun: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                begun.append(pool.submit(work, item))
                if len(begun) > threads:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for one in begun:
                one.cancel()


def targets(files: Sequence[str], output: str | None) -> list[str | None]:
    """The output of each input.

    Raises:
        UsageError: two inputs would write one file, or the output's name sets no format.
    """
    if output is None:
        return [None] * len(files)
    if len(files) == 1 and not (output != "-" and Path(output).is_dir()):
        if output != "-":
            output_suffix(output)
        return [output]
    if output == "-":
        raise UsageError("-o - takes one input; give a folder for several.")
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{output}: with several inputs -o is a folder, and this is a file.")
    folder.mkdir(parents=True, exist_ok=True)
    named = [str(folder / _scored_name(file)) for file in files]
    twice = [name for name, count in Counter(named).items() if count > 1]
    if twice:
        raise UsageError(f"two inputs would both write {twice[0]}; score them apart.")
    return list(named)


def _scored_name(file: str) -> str:
    """The name of an input's rows in a folder: in the input's own format, or CSV."""
    stem = "stdin" if file == "-" else Path(file).name.removesuffix(".gz")
    known = suffixes(readable=True)
    suffix = next((suffix for suffix in known if stem.endswith(suffix)), ".csv")
    for end in reversed(known):  # of NAME.csv.parquet both go
        stem = stem.removesuffix(end)
    return f"{stem}.scored{suffix}"


LONG = 200_000  # rows of a Parquet file from which helpers are asked
STRETCH = 1 << 20  # cells that a helper takes at a time: a second or two

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
        with durable_io.replacing(Path(target)) as out:
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


class Scoring:
    """One file on its way through a detector.

    Args:
        file: the path, or `-`.
        detector: the fitted model.
        settings: what to write and tell.
        progress: called with the file and rows so far.
        opened: the file, opened by the caller; None to open it by name.
        resume: of a grown file, score only the rows after this part.
        flagged: called with every flagged row; which rows are critical is known only at the end.
        helpers: judge the stretches of a long Parquet file; None: all is judged here.
    """

    def __init__(
        self,
        file: str,
        detector: Detector,
        settings: ScoreSettings,
        progress: Progress,
        *,
        opened: BinaryIO | None = None,
        resume: ResumePoint | None = None,
        flagged: Callable[[RowResult], None] = lambda row: None,
        helpers: Helpers | None = None,
    ) -> None:
        self.file, self.detector, self.settings, self.progress = file, detector, settings, progress
        self.alpha = alpha_of(detector, settings)
        self.tally = Tally(shown(file), settings.top)
        self._opened, self._resume, self._flagged, self._helpers = opened, resume, flagged, helpers

    def into(self, out: IO[bytes] | None, target: str = "", suffix: str = "") -> FileResult:
        """Score every batch; rows go to `out`, if there is one.

        Raises:
            DataError: the file is refused.
        """
        started = time.monotonic()
        reader = TypedReader(
            self.file, self.detector.schema, dialect_of(self.detector),
            extra=self.settings.on_schema, file=self._opened, resume=self._resume,
        )  # fmt: skip
        self.table, self.positions = reader.table, reader.positions
        writer = writer_of(out, suffix, self.table.names, self.detector, self.settings) if out else None
        if self._helpers and self.table.announced >= LONG:
            pieces = self._helped(self._helpers, suffix if out else "")
        else:
            judging = Judging(self.tally.file, self.detector, self.settings, self.positions, writer)
            pieces = in_order(judging, reader.batches(), count(self.settings.threads))
        for piece in pieces:
            self._add(piece)
            if writer:
                writer.append(piece.rendered)
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

    def _helped(self, helpers: Helpers, suffix: str) -> Iterator[Piece]:
        """The same pieces, judged elsewhere."""
        for part in helpers(self._stretches(suffix)):
            for row in part.rejects:
                self.table.reject(row)
            yield from part.pieces

    def _stretches(self, suffix: str) -> Iterator[Stretch]:
        for line, rows in self.table.chunks(STRETCH):
            yield Stretch(
                file=self.tally.file,
                settings=self.settings,
                names=self.table.names,
                positions=self.positions,
                suffix=suffix,
                line=line,
                rows=rows,
            )

    def _add(self, piece: Piece) -> None:
        """Count one batch, and remember its flagged rows."""
        self.tally.add(piece.counts)
        for row in piece.flagged:
            self.tally.remember(row)
            self._flagged(row)

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
            rejects=tuple(table.rejects),
            warnings=tuple(map(table_warning, (*table.warnings, *tally.warnings(self.detector)))),
        )
        return compared(result, self.detector, tally.counts, tally.newest())


def shown(file: str) -> str:
    """An input's name for people."""
    return "standard input" if file == "-" else file
