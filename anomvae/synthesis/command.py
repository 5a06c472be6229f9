"""Makes synthetic rows from a model and writes them: what `anomvae generate` and `anomvae.generate` do.

The settings become constraints on columns. Rows that meet them are drawn in blocks, the privacy filter refuses those
that are unlike training or copy a training row, some rows get a labelled fault if faults were asked for, and the writer
puts them into the file. Each block has a random stream of its own, so that the rows depend on the model, the seed and
the settings alone, and the first n rows are the same however many are asked for. Memory holds one block.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae import durable_io
from anomvae.config import Dialect, GenerateSettings
from anomvae.config_errors import near
from anomvae.errors import UsageError
from anomvae.formats import open_writer, output_suffix
from anomvae.model.arrays import Bools
from anomvae.model.conditions import Condition
from anomvae.model.detector import Detector
from anomvae.model.fault_injection import KINDS, FaultInjector
from anomvae.model.schema import Schema
from anomvae.model.value_formatting import format_values
from anomvae.records.sentences import selection
from anomvae.synthesis.complete_rows import PartialRows, read_partial_rows, row_constraints
from anomvae.synthesis.generator import BLOCK, Columns, Generator
from anomvae.synthesis.pictures import image_side, picture_of
from anomvae.synthesis.privacy_filter import PrivacyFilter
from anomvae.synthesis.records import Added, GenerateResult, Picture
from anomvae.table.training_rows import parse_condition
from anomvae.table.writer import SyntheticRows, TableStyle

Progress = Callable[[str, int, int], None]

DEFAULT_ROWS = 10
MAX_POOR_BLOCKS = 20  # blocks; if fewer than a hundredth of their rows passed the filter, that is an error
MAX_ATTEMPTS = 20  # draws of one row of `--like` before it is kept although the filter refuses it
PARTIAL_BLOCK, CANDIDATES = 256, 64  # rows of `--like` that are completed together, and candidates for each of them
MAX_PICTURES = 6
FAULT_STREAM = 1 << 20  # keeps the random streams of faults apart from those of rows
TRUTH_COLUMNS = ("_av_kind", "_av_column")


class Counts(msgspec.Struct):
    """Rows drawn so far, those refused as unlike training or as copies, and those kept although they were refused."""

    drawn: int = 0
    unlike: int = 0
    copies: int = 0
    kept: int = 0


class RowSource(msgspec.Struct, frozen=True):
    """What rows are drawn with.

    `generator` draws them and `privacy_filter` refuses some (None: it refuses none). `seed` and `temperature` are those
    of the settings, `training_rows` is the size of the training table, and `counts` adds up what happened.
    """

    generator: Generator
    privacy_filter: PrivacyFilter | None
    seed: int
    temperature: float
    training_rows: int
    counts: Counts

    def find_refused(self, columns: Columns) -> tuple[Bools, Bools]:
        """Which rows (n,) are unlike training, and which copy a training row."""
        if self.privacy_filter is not None:
            return self.privacy_filter.find_refused(columns)
        n = len(next(iter(columns.values())))
        return np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)

    def count_refused(self, unlike: Bools, copies: Bools) -> None:
        """Add refused rows (n,) to the counts."""
        self.counts.unlike += int(unlike.sum())
        self.counts.copies += int(copies.sum())


def generate(
    detector: Detector,
    n: int | None = None,
    settings: GenerateSettings | None = None,
    output: str | None = None,
    *,
    model: str = "",
    stdout: IO[bytes] | None = None,
    show: bool = False,
    progress: Progress = lambda stage, done, total: None,
) -> GenerateResult:
    """Make synthetic rows.

    Args:
        detector: a model with a generator.
        n: how many rows; 10 where nothing else sets their number.
        settings: conditions, balance, privacy filter, faults, seed.
        output: a .csv, .jsonl or .parquet file, `-` for CSV on `stdout`, None for no rows.
        model: the model's name, for the result.
        stdout: where `-` goes.
        show: also return the first rows as pictures.
        progress: called with a stage, rows so far and rows in all.

    Returns:
        Counts of the rows that were made and refused, and the pictures if there are any; the rows are in the file.

    Raises:
        UsageError: the settings contradict each other, or no row can meet them.
        DataError: the file of `like` is refused.
    """
    settings = settings or GenerateSettings()
    started = time.monotonic()
    generator, schema = detector.generator, detector.schema
    if not isinstance(generator, Generator):
        raise UsageError("this model has no generator; fit it again without --no-generator.")
    dialect = detector.about.dialect if detector.about else Dialect()
    style = TableStyle(schema, dialect.settled.delimiter)
    conditions = tuple(map(parse_condition, settings.where))
    faults = FaultInjector(schema, [item.column for item in generator.dependencies])
    kinds = _fault_kinds(faults, settings)
    partial = _partial_rows(detector, generator, n, settings)
    classes = _rows_to_add(schema, generator, n, settings)
    if n is not None and n < 1:
        raise UsageError(f"-n {n}: ask for at least one row.")
    suffix = ".csv" if output in (None, "-") else output_suffix(str(output))
    side = image_side(schema) if show else None

    source = RowSource(
        generator=generator,
        privacy_filter=PrivacyFilter(detector) if settings.gate else None,
        seed=settings.seed,
        temperature=settings.temperature,
        training_rows=len(detector.calibration.scores),
        counts=Counts(),
    )
    if partial is not None:
        total, batches = partial.rows, _completed_rows(source, partial)
    else:
        if settings.balance is not None:
            total, drawn = sum(classes.values()), _balanced_rows(source, conditions, settings.balance, classes)
        else:
            total = DEFAULT_ROWS if n is None else n
            drawn = _rows_where(source, conditions, total, stream=0)
        batches = map(generator.running_counters().advance, drawn)

    first = list(islice(batches, 1))  # what cannot be made is an error before anything is written
    faulty = _with_faults(chain(first, batches), faults, kinds, settings, source.counts)
    done, pictures, fault_counts = 0, list[Picture](), Counter[str]()
    with _target(output, stdout) as file:
        extra = TRUTH_COLUMNS if settings.truth else ()
        writer = open_writer(file, suffix, style.columns(extra), style.delimiter) if file else None
        try:
            for columns, truth in faulty:
                rows = len(next(iter(columns.values())))
                fault_counts.update(filter(None, truth["_av_kind"]))
                if side is not None:
                    shown = range(min(rows, MAX_PICTURES - len(pictures)))
                    pictures += [picture_of(columns, i, side, generator, style) for i in shown]
                if writer:
                    writer.write(SyntheticRows(style, columns, {name: truth[name] for name in extra}))
                done += rows
                progress("rows", done, total)
        finally:
            if writer:
                writer.close()
    took = round(time.monotonic() - started, 3)
    return GenerateResult(
        model=model,
        model_id=detector.model_id,
        rows=done,
        conditions=selection(conditions),
        seed=settings.seed,
        temperature=settings.temperature,
        gate=settings.gate,
        drawn=source.counts.drawn,
        unlike=source.counts.unlike,
        copies=source.counts.copies,
        kept=source.counts.kept,
        classes=tuple(Added(name=name, rows=rows) for name, rows in classes.items()),
        anomalies=tuple(Added(name=name, rows=rows) for name, rows in sorted(fault_counts.items())),
        typical=None if side is None else picture_of(generator.most_typical(), 0, side, generator, style),
        pictures=tuple(pictures),
        output=output or "",
        seconds=took,
    )


def _target(output: str | None, stdout: IO[bytes] | None) -> AbstractContextManager[IO[bytes] | None]:
    """The open file that rows are written to; None where no rows are written."""
    if output is None or output == "-":
        return nullcontext(stdout if output else None)
    return durable_io.replacing(Path(output))


def _rows_where(source: RowSource, conditions: Sequence[Condition], rows: int, stream: int) -> Iterator[Columns]:
    """Batches of rows that meet the conditions and pass the privacy filter, `rows` of them together.

    Args:
        source: what rows are drawn with.
        conditions: what every row meets.
        rows: how many are made.
        stream: number of the random stream; two calls of one run have different ones.

    Raises:
        UsageError: the conditions cannot be met, or the filter refuses nearly every row.
    """
    constraints, made, block = source.generator.constraints(conditions), 0, 0
    source.generator.check(constraints, source.training_rows)
    while made < rows:
        rng = np.random.default_rng([source.seed, stream, block])
        columns = source.generator.block(rng, constraints, source.temperature)
        passed = _passing(source, columns, rows - made)
        made, block = made + len(passed), block + 1
        if block >= MAX_POOR_BLOCKS and made < 0.01 * block * BLOCK and made < rows:
            where = f" where {selection(conditions)}" if conditions else ""
            raise UsageError(f"nearly every row{where} is unlike training or a copy of a training row; see --no-gate.")
        if len(passed):
            yield {name: values[passed] for name, values in columns.items()}


def _passing(source: RowSource, columns: Columns, most: int) -> NDArray[np.intp]:
    """Positions of the first `most` rows that pass the filter; what lies behind the last of these is not counted."""
    unlike, copies = source.find_refused(columns)
    passed = np.flatnonzero(~unlike & ~copies)[:most]
    used = int(passed[-1]) + 1 if len(passed) == most else len(unlike)
    source.counts.drawn += used
    source.count_refused(unlike[:used], copies[:used])
    return passed


def _balanced_rows(
    source: RowSource, conditions: Sequence[Condition], column: str, classes: dict[str, int]
) -> Iterator[Columns]:
    """Batches of rows for each class of a column that lacks some, class by class."""
    for stream, (level, rows) in enumerate(classes.items()):
        yield from _rows_where(source, (*conditions, Condition(column, "==", level)), rows, stream)


def _completed_rows(source: RowSource, partial: PartialRows) -> Iterator[Columns]:
    """Batches of the file's rows, completed; a refused row is drawn again, and kept when every attempt was refused."""
    running = source.generator.running_counters()
    for block, start in enumerate(range(0, partial.rows, PARTIAL_BLOCK)):
        batch = partial.select(slice(start, start + PARTIAL_BLOCK))
        out: Columns = {}
        left = np.arange(batch.rows)
        for attempt in range(MAX_ATTEMPTS):
            rng = np.random.default_rng([source.seed, block, attempt])
            missing = batch.select(left)
            constraints = row_constraints(missing, source.generator)
            drawn = source.generator.completed(missing.rows, CANDIDATES, constraints, rng, source.temperature)
            made = missing.fixed_in(drawn)
            out = out or {name: values.copy() for name, values in made.items()}
            for name, values in made.items():
                out[name][left] = values
            unlike, copies = source.find_refused(made)
            source.counts.drawn += len(left)
            source.count_refused(unlike, copies)
            left = left[unlike | copies]
            if not len(left):
                break
        source.counts.kept += len(left)
        yield running.advance(out, batch.counters)


def _with_faults(
    batches: Iterable[Columns], faults: FaultInjector, kinds: Sequence[str], settings: GenerateSettings, counts: Counts
) -> Iterator[tuple[Columns, dict[str, list[str]]]]:
    """Batches of rows with faults in a share of them, and the columns of text that label the faults.

    Args:
        batches: typed columns (n,) by name.
        faults: makes the faults.
        kinds: the kinds of fault to make.
        settings: the share of the rows that get one (`anomalies`), and the seed.
        counts: the number of rows drawn so far is part of the seed of a batch, as is the number of faults so far.

    Returns:
        The rows as they are written, and the kind of fault and the column of each row ("": none).
    """
    made = 0
    for columns in batches:
        rows = len(next(iter(columns.values())))
        if settings.anomalies > 0:
            rng = np.random.default_rng([settings.seed, FAULT_STREAM, made, counts.drawn])
            changed, kind, where = faults.inject(columns, settings.anomalies, kinds, rng)
            made += int(np.count_nonzero(kind != ""))
            yield changed, dict(zip(TRUTH_COLUMNS, (kind.tolist(), where.tolist()), strict=True))
        else:
            yield columns, {name: [""] * rows for name in TRUTH_COLUMNS}


def _partial_rows(
    detector: Detector, generator: Generator, n: int | None, settings: GenerateSettings
) -> PartialRows | None:
    """The rows of `--like`; None without it."""
    if settings.like is None:
        return None
    if n is not None or settings.where or settings.balance:
        raise UsageError("--like sets the rows and what they hold: it goes without -n, --where and --balance.")
    return read_partial_rows(settings.like, detector, generator)


def _rows_to_add(schema: Schema, generator: Generator, n: int | None, settings: GenerateSettings) -> dict[str, int]:
    """How many rows each class lacks, by `--balance` and `--to`; classes that lack none are left out.

    Args:
        schema: what the columns are.
        generator: it has the classes and the number of training rows of each.
        n: the number of rows that was asked for; with `--balance` there must be none.
        settings: the column and the number of rows that every class should reach.

    Returns:
        The number of rows by class, each written as `--where` would name it.

    Raises:
        UsageError: the settings contradict each other, or the column has no classes.
    """
    name, to = settings.balance, settings.to
    if name is None:
        if to != "majority":
            raise UsageError("--to says how many rows a class should reach: it goes with --balance COL.")
        return {}
    if n is not None:
        raise UsageError("--balance sets how many rows are made: give --to N instead of -n.")
    columns = {column.name: column for column in schema.modelled}
    if name not in columns:
        raise UsageError(f"--balance '{name}': the model has no such column{near(name, list(columns))}")
    levels = generator.levels(name)
    if not levels:
        raise UsageError(f"--balance '{name}' is not a column of classes, but a number or a date.")
    if to != "majority" and not (to.isascii() and to.isdigit()):
        raise UsageError(f"--to '{to}' is neither 'majority' nor a number of rows.")
    target = max(levels.values()) if to == "majority" else int(to)
    lacking = {level: target - rows for level, rows in levels.items() if rows < target}
    if name in generator.texts:
        return lacking
    return {format_values(columns[name], np.array([float(level)]))[0]: rows for level, rows in lacking.items()}


def _fault_kinds(faults: FaultInjector, settings: GenerateSettings) -> tuple[str, ...]:
    """The kinds of fault to make: those of `--kinds`, else all that this table can have."""
    possible = faults.possible()
    for kind in settings.kinds:
        if kind not in KINDS:
            raise UsageError(f"--kinds '{kind}' is no kind of fault{near(kind, KINDS)}")
        if kind not in possible:
            raise UsageError(f"--kinds {kind}: this table has no column where that could happen.")
    if settings.truth and not settings.anomalies:
        raise UsageError("--truth goes with --anomalies SHARE.")
    return settings.kinds or possible
