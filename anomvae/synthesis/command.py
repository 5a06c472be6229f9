"""generate: model -> synthetic rows -> gate -> (faults) -> writer, and one GenerateResult.

Rows come in blocks, each from a random stream of its own, so that the output depends on the model, the seed and the
settings alone, and the first n rows are the same however many are asked for. Memory holds one block.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from anomvae import durable_io
from anomvae.config import Dialect, GenerateSettings
from anomvae.config_errors import near
from anomvae.errors import UsageError
from anomvae.formats import TableWriter, open_writer, output_suffix
from anomvae.model.conditions import Condition
from anomvae.model.detector import Detector
from anomvae.model.fault_injection import KINDS, Faults
from anomvae.model.schema import Values
from anomvae.synthesis.complete_rows import PartialRows, read_partial_rows, row_constraints
from anomvae.synthesis.generator import BLOCK, Generator
from anomvae.synthesis.privacy_filter import PrivacyFilter
from anomvae.synthesis.records import Added, GenerateResult, Picture
from anomvae.table.training_rows import conditions_text, parse_condition
from anomvae.table.writer import SyntheticRows, TableStyle

Columns = dict[str, Values]
Progress = Callable[[str, int, int], None]

PATIENCE = 20  # blocks without a hundredth of rows that pass the gate
TRIES = 20  # for each row of `--like`
LIKE_ROWS, LIKE_CANDIDATES = 256, 64
SHOWN = 6  # pictures drawn at most


class Counts(msgspec.Struct):
    """What happened on the way."""

    drawn: int = 0
    unlike: int = 0
    copies: int = 0
    kept: int = 0


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
        settings: conditions, balance, gate, faults, seed.
        output: a .csv, .jsonl or .parquet file, `-` for CSV on `stdout`, None for no rows.
        model: the model's name, for the result.
        stdout: where `-` goes.
        show: also return the first rows as pictures.
        progress: called with a stage, rows so far and rows in all.

    Raises:
        UsageError: the settings contradict each other, or no row can meet them.
        DataError: the file of `like` is refused.
    """
    settings = settings or GenerateSettings()
    started = time.monotonic()
    job = _Job(detector, n, settings)
    suffix = ".csv" if output in (None, "-") else output_suffix(str(output))
    extra = ("_av_kind", "_av_column") if settings.truth else ()
    pictures: list[Picture] | None = None
    if show:
        job.side()
        pictures = []
    batches = job.rows()
    first = list(islice(batches, 1))  # what cannot be made is told before anything is written
    done = 0
    with _target(output, stdout) as file:
        writer = open_writer(file, suffix, job.form.columns(extra), job.form.delimiter) if file else None
        try:
            for columns in chain(first, batches):
                done += job.emit(columns, writer, pictures)
                progress("rows", done, job.total)
        finally:
            if writer:
                writer.close()
    took = round(time.monotonic() - started, 3)
    return job.result(done, pictures, model=model, output=output or "", seconds=took)


def _target(output: str | None, stdout: IO[bytes] | None) -> AbstractContextManager[IO[bytes] | None]:
    if output is None or output == "-":
        return nullcontext(stdout if output else None)
    return durable_io.replacing(Path(output))


class _Job:
    """One run: what is wanted, and what was counted."""

    def __init__(self, detector: Detector, n: int | None, settings: GenerateSettings) -> None:
        if not isinstance(detector.generator, Generator):
            raise UsageError("this model has no generator; fit it again without --no-generator.")
        self.detector, self.settings = detector, settings
        self.generator = detector.generator
        dialect = detector.about.dialect if detector.about else Dialect()
        self.form = TableStyle(detector.schema, self.generator.styles, dialect.delimiter)
        self.conditions = tuple(map(parse_condition, settings.where))
        self.gate = PrivacyFilter(detector) if settings.gate else None
        self.counts, self.spoilt = Counts(), Counter[str]()
        self.faults = Faults(detector.schema, [item.column for item in self.generator.dependencies])
        self.kinds = self._kinds()
        self.partial = self._partial_rows(n)
        self.classes = self._classes(n)
        self.number = 10 if n is None else n
        if self.number < 1:
            raise UsageError(f"-n {n}: ask for at least one row.")
        self.total = (
            self.partial.rows if self.partial else sum(self.classes.values()) if settings.balance else self.number
        )

    def rows(self) -> Iterator[Columns]:
        """Batches of typed columns, gated."""
        if self.partial is not None:
            yield from self._completed(self.partial)
        elif self.settings.balance is not None:
            for stream, (level, rows) in enumerate(self.classes.items()):
                yield from self._stream((*self.conditions, (self.settings.balance, "==", level)), rows, stream)
        else:
            yield from self._stream(self.conditions, self.number, 0)

    def emit(self, columns: Columns, writer: TableWriter | None, pictures: list[Picture] | None) -> int:
        """Spoil, draw and write a batch; returns its rows."""
        count = len(next(iter(columns.values())))
        extra: dict[str, list[str]] = {}
        if self.settings.anomalies > 0:
            rng = np.random.default_rng([self.settings.seed, 1 << 20, self.spoilt.total(), self.counts.drawn])
            columns, kind, where = self.faults.spoil(columns, self.settings.anomalies, self.kinds, rng)
            self.spoilt.update(name for name in kind.tolist() if name)
            extra = {"_av_kind": kind.tolist(), "_av_column": where.tolist()}
        if pictures is not None:
            pictures += [self.picture(columns, i) for i in range(min(count, SHOWN - len(pictures)))]
        if writer:
            empty = {"_av_kind": [""] * count, "_av_column": [""] * count}
            writer.write(SyntheticRows(self.form, columns, (extra or empty) if self.settings.truth else {}))
        return count

    def result(
        self, rows: int, pictures: list[Picture] | None, *, model: str, output: str, seconds: float
    ) -> GenerateResult:
        """What was made, as a record."""
        return GenerateResult(
            model=model,
            model_id=self.detector.model_id,
            rows=rows,
            conditions=conditions_text(self.conditions),
            seed=self.settings.seed,
            temperature=self.settings.temperature,
            gate=self.settings.gate,
            drawn=self.counts.drawn,
            unlike=self.counts.unlike,
            copies=self.counts.copies,
            kept=self.counts.kept,
            classes=tuple(Added(name=name, rows=rows) for name, rows in self.classes.items()),
            anomalies=tuple(Added(name=name, rows=rows) for name, rows in sorted(self.spoilt.items())),
            typical=None if pictures is None else self.picture(self.generator.most_typical(), 0),
            pictures=tuple(pictures or ()),
            output=output,
            seconds=seconds,
        )

    def _stream(self, conditions: Sequence[Condition], rows: int, stream: int) -> Iterator[Columns]:
        """`rows` rows that meet the conditions and pass the gate."""
        constraints, made, block = self.generator.constraints(conditions), 0, 0
        self.generator.check(constraints, len(self.detector.calibration.scores))
        while made < rows:
            rng = np.random.default_rng([self.settings.seed, stream, block])
            columns = self.generator.block(rng, constraints, self.settings.temperature)
            good = self._gated(columns, rows - made)
            made, block = made + len(good), block + 1
            if block >= PATIENCE and made < 0.01 * block * BLOCK and made < rows:
                told = f" where {conditions_text(conditions)}" if conditions else ""
                raise UsageError(
                    f"nearly every row{told} is unlike training or a copy of a training row; see --no-gate."
                )
            if len(good):
                yield {name: values[good] for name, values in columns.items()}

    def _gated(self, columns: Columns, most: int) -> np.ndarray:
        """Positions of the first `most` rows that pass; refused rows before the last of them are counted."""
        if self.gate is None:
            good = np.arange(min(BLOCK, most))
            self.counts.drawn += len(good)
            return good
        unlike, copies = self.gate.find_refused(columns)
        good = np.flatnonzero(~unlike & ~copies)[:most]
        used = int(good[-1]) + 1 if len(good) == most else len(unlike)
        self.counts.drawn += used
        self.counts.unlike += int(unlike[:used].sum())
        self.counts.copies += int(copies[:used].sum())
        return good

    def _completed(self, partial: PartialRows) -> Iterator[Columns]:
        """The file's rows, completed; a refused row is drawn again, and kept at last."""
        for block, start in enumerate(range(0, partial.rows, LIKE_ROWS)):
            some = partial.take(slice(start, start + LIKE_ROWS))
            out: Columns = {}
            left = np.arange(some.rows)
            for attempt in range(TRIES):
                rng = np.random.default_rng([self.settings.seed, block, attempt])
                part = some.take(left)
                constraints = row_constraints(part, self.generator)
                made = part.fixed_in(
                    self.generator.completed(part.rows, LIKE_CANDIDATES, constraints, rng, self.settings.temperature)
                )
                self.counts.drawn += len(left)
                out = out or {name: values.copy() for name, values in made.items()}
                for name, values in made.items():
                    out[name][left] = values
                left = left[self._refused(made)]
                if not len(left):
                    break
            self.counts.kept += len(left)
            yield out

    def _refused(self, columns: Columns) -> np.ndarray:
        if self.gate is None:
            return np.zeros(0, dtype=np.intp)
        unlike, copies = self.gate.find_refused(columns)
        self.counts.unlike += int(unlike.sum())
        self.counts.copies += int(copies.sum())
        return np.flatnonzero(unlike | copies)

    def _partial_rows(self, n: int | None) -> PartialRows | None:
        if self.settings.like is None:
            return None
        if n is not None or self.settings.where or self.settings.balance:
            raise UsageError("--like sets the rows and what they hold: it goes without -n, --where and --balance.")
        return read_partial_rows(self.settings.like, self.detector, self.generator)

    def _classes(self, n: int | None) -> dict[str, int]:
        """Rows to add to each class, by `--balance` and `--to`."""
        name, to = self.settings.balance, self.settings.to
        if name is None:
            if to != "majority":
                raise UsageError("--to says how many rows a class should reach: it goes with --balance COL.")
            return {}
        if n is not None:
            raise UsageError("--balance sets how many rows are made: give --to N instead of -n.")
        if name not in (known := [column.name for column in self.detector.schema.modelled]):
            raise UsageError(f"--balance '{name}': the model has no such column{near(name, known)}")
        levels = self.generator.levels(name)
        if not levels:
            raise UsageError(f"--balance '{name}' is not a column of classes, but a number or a date.")
        if to != "majority" and not (to.isascii() and to.isdigit()):
            raise UsageError(f"--to '{to}' is neither 'majority' nor a number of rows.")
        target = max(levels.values()) if to == "majority" else int(to)
        return {self._said(name, level): target - rows for level, rows in levels.items() if rows < target}

    def _said(self, name: str, level: str) -> str:
        """A level as --where would name it."""
        if name in self.generator.texts:
            return level
        column = next(column for column in self.detector.schema.modelled if column.name == name)
        return self.form.text(column, np.array([float(level)]))[0]

    def _kinds(self) -> tuple[str, ...]:
        possible = self.faults.possible()
        for kind in self.settings.kinds:
            if kind not in KINDS:
                raise UsageError(f"--kinds '{kind}' is no kind of fault{near(kind, KINDS)}")
            if kind not in possible:
                raise UsageError(f"--kinds {kind}: this table has no column where that could happen.")
        if self.settings.truth and not self.settings.anomalies:
            raise UsageError("--truth goes with --anomalies SHARE.")
        return self.settings.kinds or possible

    def side(self) -> int:
        """Pixels on one side, where rows are images.

        Raises:
            UsageError: they are not.
        """
        modelled = self.detector.schema.modelled
        side = round(len(modelled) ** 0.5)
        if side < 4 or side * side != len(modelled) or any(c.kind not in ("numeric", "integer") for c in modelled):
            raise UsageError("--show draws rows of 16, 25, ... 64 ... numbers as square images; these rows are none.")
        return int(side)

    def picture(self, columns: Columns, i: int) -> Picture:
        """One row as an image; shades go from the smallest to the largest value of any training pixel."""
        row = {name: values[i : i + 1] for name, values in columns.items()}
        values = np.array([float(row[column.name][0]) for column in self.detector.schema.modelled])
        low, high = self.generator.span()
        shades = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0.0, 1.0)
        cells = [texts[0] for texts in self.form.texts(row)]
        return Picture(side=self.side(), cells=tuple(cells), shades=tuple(np.round(shades, 3).tolist()))
