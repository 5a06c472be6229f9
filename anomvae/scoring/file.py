"""Score files: batch by batch through the detector, into an output that appears whole, and up to a verdict.

`score` is the public function. `FileScorer` does it for one file: it reads the rows, has their batches scored side by
side on threads (numpy lets go of the interpreter while it multiplies), writes the output rows in the order of the file,
and adds up the summary from which `scoring.verdict` decides.
"""

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
from anomvae.model.detector import Detector
from anomvae.records.results import REMEMBERED, ErrorResult, Evidence, FileResult, RowResult, ScoreResult
from anomvae.records.sentences import table_warning
from anomvae.scoring.batch import BatchScorer, Chunk, ChunkScorer, ScoredBatch, alpha_of, open_scored_writer
from anomvae.scoring.summary import FileSummary, SummaryBuilder
from anomvae.scoring.verdict import assess_file, evidence_of
from anomvae.table.csv_decode import ResumePoint
from anomvae.table.typed_reader import TypedReader, dialect_of

A = TypeVar("A")
B = TypeVar("B")

MAX_THREADS = 4  # that `auto` takes: reading, on one more, keeps about so many busy
LONG_ROWS = 200_000  # rows of a Parquet file from which it is scored in chunks elsewhere, where that is possible
CHUNK_CELLS = 1 << 20  # cells of such a chunk: a second or two of work

Progress = Callable[[str, int], None]
# Scores files into outputs, and gives the summary of each, or why it is refused, in the same order.
FilesScorer = Callable[[Sequence[str], Sequence[str | None]], Iterable[FileSummary | DataError]]


def score(
    files: Sequence[str],
    detector: Detector,
    settings: ScoreSettings | None = None,
    output: str | None = None,
    *,
    model: str = "",
    stdout: IO[bytes] | None = None,
    progress: Progress = lambda file, rows: None,
    scorer: FilesScorer | None = None,
) -> ScoreResult:
    """Score files once.

    A file that cannot be read is refused and listed; the others are scored.

    Args:
        files: CSV or Parquet files, or `-` for standard input.
        detector: the fitted model.
        settings: what to write, and the false-alarm rate.
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
    previous: list[Evidence] = []
    scorer = scorer or _one_by_one(detector, settings, stdout, progress)
    for file, outcome in zip(files, scorer(files, output_paths(files, output)), strict=True):
        if isinstance(outcome, DataError):
            refused.append(error_result(outcome.within(shown(file))))
        else:
            done.append(assess_file(outcome, detector, previous))
            previous = [*previous, *evidence_of(done[-1])][-REMEMBERED:]
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


def _one_by_one(
    detector: Detector, settings: ScoreSettings, stdout: IO[bytes] | None, progress: Progress
) -> FilesScorer:
    """Scores one file after the other in this process."""

    def scored(file: str, path: str | None) -> FileSummary | DataError:
        try:
            return score_file(file, detector, settings, path, stdout=stdout, progress=progress)
        except DataError as error:
            return error

    return lambda files, paths: map(scored, files, paths)


def error_result(error: AnomvaeError) -> ErrorResult:
    """An error as a record."""
    place = {name: getattr(error, name, None) for name in ("file", "line", "column")}
    message = getattr(error, "message", str(error))
    return ErrorResult(code=error.code, message=message, exit_code=error.exit_code, **place)


def output_paths(files: Sequence[str], output: str | None) -> list[str | None]:
    """The path of the output of each input; None where no rows are written.

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
    paths = [str(folder / _output_name(file)) for file in files]
    twice = [name for name, count in Counter(paths).items() if count > 1]
    if twice:
        raise UsageError(f"two inputs would both write {twice[0]}; score them apart.")
    return list(paths)


def _output_name(file: str) -> str:
    """The name of an input's rows in a folder: in the input's own format, or CSV."""
    stem = "stdin" if file == "-" else Path(file).name.removesuffix(".gz")
    known = suffixes(readable=True)
    suffix = next((suffix for suffix in known if stem.endswith(suffix)), ".csv")
    for end in reversed(known):  # of NAME.csv.parquet both go
        stem = stem.removesuffix(end)
    return f"{stem}.scored{suffix}"


def score_file(
    file: str,
    detector: Detector,
    settings: ScoreSettings,
    output: str | None = None,
    *,
    stdout: IO[bytes] | None = None,
    progress: Progress = lambda file, rows: None,
) -> FileSummary:
    """Score one file; its output appears whole, and only when the file has ended well.

    Args:
        file: a path, or `-` for standard input.
        detector: the fitted model.
        settings: what to write, and the false-alarm rate.
        output: a path, `-` for CSV on `stdout`, None for no rows.
        stdout: where `-` goes.
        progress: called with the file and rows so far.

    Raises:
        DataError: the file is refused; nothing was written.
    """
    scorer = FileScorer(file, detector, settings, progress)
    if output is None:
        return scorer.score(None)
    if output != "-":
        with durable_io.replacing(Path(output)) as out:
            return scorer.score(out, output, output_suffix(output))
    import shutil  # of all outputs only this one needs them
    import tempfile

    with tempfile.SpooledTemporaryFile(max_size=8 << 20) as spool:
        summary = scorer.score(spool, "-", ".csv")
        spool.seek(0)
        if stdout is not None:
            shutil.copyfileobj(spool, stdout)
            stdout.flush()
    return summary


class FileScorer:
    """Scores one file, once.

    Args:
        file: the path, or `-`.
        detector: the fitted model.
        settings: what to write, and the false-alarm rate.
        progress: called with the file and rows so far.
        opened: the file, opened by the caller; None to open it by name.
        resume: of a grown file, score only the rows after this part.
        on_flagged: called with every flagged row; which rows are critical is known only at the end.
        chunk_scorer: scores the chunks of a long Parquet file elsewhere; None: all of it is scored here.

    Attributes:
        table: the rows as text, with what was rejected and noticed; there once `score` has begun.
        steps: of the counters, there once `score` has begun.
        severities: of the rows so far; all of them are needed to know which are critical.
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
        on_flagged: Callable[[RowResult], None] = lambda row: None,
        chunk_scorer: ChunkScorer | None = None,
    ) -> None:
        self._file, self._detector, self._settings, self._progress = file, detector, settings, progress
        self._opened, self._resume, self._on_flagged, self._chunk_scorer = opened, resume, on_flagged, chunk_scorer
        self._builder = SummaryBuilder(settings.top)
        self.severities = self._builder.severities

    def score(self, out: IO[bytes] | None, path: str = "", suffix: str = "") -> FileSummary:
        """Score every batch.

        Args:
            out: where the output rows go; None where none are written.
            path: of the output, for the summary.
            suffix: of the output, which sets its format.

        Raises:
            DataError: the file is refused.
        """
        started = time.monotonic()
        settings, detector = self._settings, self._detector
        reader = TypedReader(
            self._file, detector.schema, dialect_of(detector),
            extra=settings.on_schema, file=self._opened, resume=self._resume,
        )  # fmt: skip
        table, self.steps = reader.table, reader.steps
        self.table = table
        writer = open_scored_writer(out, suffix, table.names, detector, settings) if out else None
        if self._chunk_scorer and table.announced >= LONG_ROWS:
            batches = self._scored_elsewhere(self._chunk_scorer, reader, suffix if out else "")
        else:
            score_batch = BatchScorer(shown(self._file), detector, settings, reader.positions, writer)
            batches = map_in_order(score_batch, reader.batches(), thread_count(settings.threads))
        for batch in batches:
            self._builder.add(batch.counts, batch.flagged)
            for row in batch.flagged:
                self._on_flagged(row)
            if writer:
                writer.append(batch.rendered)
            self._progress(self._file, table.rows)
        if settings.bad_rows == "quarantine" and table.rejected:
            first = table.rejects[0]
            raise DataError(first.code, first.message, line=first.line, column=first.column)
        table.check_rejects()
        if writer:
            writer.close()
        return self._summary((path,) if out else (), round(time.monotonic() - started, 3))

    def _scored_elsewhere(self, chunk_scorer: ChunkScorer, reader: TypedReader, suffix: str) -> Iterator[ScoredBatch]:
        """The same batches in the same order, scored in chunks by somebody else."""
        chunks = (
            Chunk(
                file=shown(self._file),
                settings=self._settings,
                names=self.table.names,
                positions=reader.positions,
                suffix=suffix,
                line=line,
                rows=rows,
                counters=counters,
            )
            for line, rows, counters in reader.chunks(CHUNK_CELLS)
        )
        for scored in chunk_scorer(chunks):
            for row in scored.rejects:
                self.table.reject(row)
            yield from scored.batches

    def _summary(self, outputs: tuple[str, ...], seconds: float) -> FileSummary:
        table, found, alpha = self.table, self._builder, alpha_of(self._detector, self._settings)
        return FileSummary(
            file=shown(self._file),
            sha256=table.sha256,
            model_id=self._detector.model_id,
            alpha=alpha,
            rows=table.rows,
            scored=found.scored,
            rejected=table.rejected,
            flagged=found.flagged,
            critical=found.severities.critical,
            expected_flags=alpha * found.scored,
            severities=found.severities.bins(),
            seconds=seconds,
            outputs=outputs,
            worst=found.worst(),
            blame=found.blame(),
            rejects=tuple(table.rejects),
            warnings=tuple(map(table_warning, (*table.warnings, *found.warnings(self._detector)))),
            bins=tuple(tuple(counts.tolist()) for counts in found.bins),
            unseen=found.unseen(),
        )


def shown(file: str) -> str:
    """An input's name for people."""
    return "standard input" if file == "-" else file


def thread_count(threads: int | Literal["auto"]) -> int:
    """How many threads a setting means on this machine."""
    if threads != "auto":
        return threads
    with suppress(AttributeError):  # not on every system
        return min(len(os.sched_getaffinity(0)), MAX_THREADS)
    return min(os.cpu_count() or 1, MAX_THREADS)


def map_in_order(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
    """The results of `work` for every item, in the order of the items.

    The first item is done alone: most files have no second one, and starting threads costs imports.

    Args:
        work: what is done with an item, on a thread.
        items: taken one by one, on the caller's thread.
        threads: so many items are in work at once, and no more results are held.
    """
    items = iter(items)
    yield from map(work, islice(items, 1 if threads > 1 else None))
    if (second := next(items, None)) is not None:
        yield from _map_on_threads(work, chain([second], items), threads)


def _map_on_threads(work: Callable[[A], B], items: Iterable[A], threads: int) -> Iterator[B]:
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
