"""Tables as a model takes them: opened in the model's dialect, its columns found by name, its cells typed.

Every command that reads rows for a model reads them here, so that a cell means the same to all of them, and a row with
a cell that cannot be read is rejected with the same words.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, Literal

import msgspec

from anomvae.config import Dialect
from anomvae.errors import DataError
from anomvae.model.arrays import Floats
from anomvae.model.counters import CounterState, Steps, counters_of, group_texts
from anomvae.model.detector import Detector
from anomvae.model.schema import Column, FilledCells, Schema, Values, filled_cells, parse, part_key
from anomvae.records.results import RejectedRow
from anomvae.records.sentences import not_in_training
from anomvae.table import header
from anomvae.table.csv_decode import ResumePoint
from anomvae.table.csv_fast import FastCsvParser, unfilled_positions
from anomvae.table.parquet import chunk_columns
from anomvae.table.reader import TableReader, TextBatch, columns_of

ExtraColumns = Literal["ignore", "warn", "strict"]


class TypedColumns(msgspec.Struct, frozen=True):
    """Columns of text cells as typed values.

    `columns` holds the values of every column, (n,), by its name, and its marks by `part_key`; `errors`
    holds, by the name of a column and the
    index of a row, why a cell could not be read. The value of such a cell is missing.
    """

    columns: dict[str, Values]
    errors: dict[str, dict[int, DataError]]

    def row_errors(self) -> dict[int, DataError]:
        """The first error of every row that has one, by the row's index, in the order of the rows."""
        first: dict[int, DataError] = {}
        for errors in self.errors.values():
            for row, error in errors.items():
                first.setdefault(row, error)
        return dict(sorted(first.items()))


class TypedBatch(msgspec.Struct, frozen=True):
    """Rows (n) of a table whose every modelled cell could be read.

    `rows` are their cells as text, in the file's column order; `lines` are the lines that they start on; `columns`
    are the modelled columns, (n,) each, by name, and the steps of the counters among them. `filled` are cells of
    columns that had no value in training, by name; these are not modelled. `rejected` are the rows that stood among
    them and could not be read.
    """

    rows: Sequence[list[str]]
    lines: Sequence[int]
    columns: Mapping[str, Values]
    filled: Mapping[str, FilledCells]
    rejected: Sequence[RejectedRow] = ()


class FileSteps:
    """The steps of the counters of one file, from its rows of text in their order.

    A row that is rejected for another cell still has its place among the values of a counter.

    Args:
        schema: of the model.
        names: the columns of the file.
        positions: of the modelled columns among them.
        state: what is left of the rows before the first; None at the start of the file.
    """

    def __init__(
        self, schema: Schema, names: Sequence[str], positions: Sequence[int], state: CounterState | None = None
    ) -> None:
        at = dict(zip((column.name for column in schema.modelled), positions, strict=True))
        self._steps = Steps(counters_of(schema), state)
        self._counters = [at[column.name] for column in self._steps.counters]
        group = schema.counter_group if self._counters else ()
        self._group = [at[name] if name in at else names.index(name) for name in group]

    @property
    def positions(self) -> list[int]:
        """Of the columns of the file that steps are made from."""
        return [*self._counters, *self._group]

    def add_to(self, columns: Mapping[str, Values], rows: Sequence[Sequence[str]]) -> dict[str, Values]:
        """The typed columns (n,) of the next rows, with the steps of their counters."""
        if not self._counters:
            return dict(columns)
        groups = group_texts(columns_of(rows, self._group))
        return {**columns, **self._steps.take(columns, groups)}

    def of_texts(self, cells: Sequence[Sequence[str]]) -> dict[str, Floats]:
        """The steps of the next rows, from the cells (n,) of each column at `positions`; nothing else is read."""
        columns, texts = self._steps.counters, dict(zip(self.positions, cells, strict=True))
        typed = {
            column.name: parse(column, texts[at]).values for column, at in zip(columns, self._counters, strict=True)
        }
        groups = group_texts([texts[at] for at in self._group])
        return self._steps.take(typed, groups)

    def state(self) -> CounterState:
        """What is left of the rows so far, for those that follow."""
        return self._steps.state()


class TypedReader:
    """Reads the rows of one input for a model.

    Args:
        name: a path, or `-` for standard input.
        schema: of the model.
        dialect: of the model: how text becomes cells.
        extra: whether columns that the model's training table lacks are ignored, warned of, or a reason to refuse.
        file: the input, opened by the caller and left open; None to open `name`.
        resume: of a grown file, read only the rows after this part.

    Attributes:
        table: the rows as text, with what was rejected and noticed so far.
        positions: of the modelled columns in the file.
        header_warnings: what was noticed about the columns; `table.warnings` has it, too.
        steps: of the counters, as far as the rows were read.

    Raises:
        DataError: the input cannot be read, or lacks a column of the model.
    """

    def __init__(
        self,
        name: str,
        schema: Schema,
        dialect: Dialect,
        *,
        extra: ExtraColumns = "warn",
        file: BinaryIO | None = None,
        resume: ResumePoint | None = None,
    ) -> None:
        self.schema = schema
        needed = [column.name for column in schema.modelled]
        needed += [name for name in schema.counter_group if name not in needed]
        self.table = TableReader(name, dialect, file, resume, needed=needed)
        names, line = self.table.names, self.table.header_line
        known = names if extra == "ignore" else [column.name for column in schema.columns]
        positions, self.header_warnings = header.locate(names, needed, known, self.table.dialect.delimiter, line)
        self.positions = positions[: len(schema.modelled)]
        if extra == "strict" and (unknown := header.extra_columns(names, known)):
            raise DataError("extra_columns", not_in_training(unknown), line=line)
        self.table.warnings.extend(self.header_warnings)
        self.steps = FileSteps(schema, names, self.positions, resume.counters if resume else None)

    def batches(self) -> Iterator[TypedBatch]:
        """The rows that can be read, in order; the others are rejected. No batch is empty.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        unfilled = unfilled_positions(self.schema, self.table.names)
        fast = FastCsvParser(self.schema, self.table.names, self.positions, self.table.dialect.delimiter)
        for text in self.table.batches(fast):
            batch = typed_batch(text, self.schema, self.positions, unfilled, self.steps)
            for row in batch.rejected:
                self.table.reject(row)
            if batch.rows:
                yield batch

    def chunks(self, cells: int) -> Iterator[tuple[int, bytes, CounterState]]:
        """The rows of a Parquet file in place of `batches`, for whoever scores them elsewhere.

        Args:
            cells: about so many in a chunk.

        Returns:
            The line of the first row of each chunk, the chunk, and the state of the counters before it.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        for line, rows in self.table.chunks(cells):
            yield line, rows, self.steps.state()
            if positions := self.steps.positions:
                self.steps.of_texts(chunk_columns(rows, positions, line))


def dialect_of(detector: Detector) -> Dialect:
    """How the training table of a model was written; the usual dialect where the model does not say."""
    return detector.about.dialect if detector.about else Dialect()


def typed_batch(
    text: TextBatch, schema: Schema, positions: Sequence[int], unfilled: Mapping[str, int], steps: FileSteps
) -> TypedBatch:
    """Rows of text as typed columns, without the rows that have a cell which cannot be read.

    Args:
        text: the rows.
        schema: of the model.
        positions: of the modelled columns in the rows.
        unfilled: positions of the columns that had no value in training, by name.
        steps: of the counters in the rows before these; it goes on to the rows after these.
    """
    if text.parsed is not None:
        return TypedBatch(text.rows, text.lines, steps.add_to(text.parsed.columns, text.rows), text.parsed.filled)
    cells = dict(zip((column.name for column in schema.modelled), columns_of(text.rows, positions), strict=True))
    typed = parse_columns(schema.modelled, cells.__getitem__)
    errors, columns = typed.row_errors(), steps.add_to(typed.columns, text.rows)
    if not errors:
        return TypedBatch(text.rows, text.lines, columns, _filled(text.rows, unfilled))
    kept = [i for i in range(len(text.rows)) if i not in errors]
    rows = [text.rows[i] for i in kept]
    return TypedBatch(
        rows,
        [text.lines[i] for i in kept],
        {name: values[kept] for name, values in columns.items()},
        _filled(rows, unfilled),
        [rejected_row(text.lines[i], error) for i, error in errors.items()],
    )


def _filled(rows: Sequence[Sequence[str]], unfilled: Mapping[str, int]) -> dict[str, FilledCells]:
    """The cells of rows that stand in columns without a value in training; their positions are given by name."""
    found = ((name, filled_cells(Counter(row[at] for row in rows))) for name, at in unfilled.items())
    return {name: cells for name, cells in found if cells}


def parse_columns(columns: Sequence[Column], cells: Callable[[str], Sequence[str]]) -> TypedColumns:
    """Read the cells of some columns, one column after the other.

    Args:
        columns: what each of them is.
        cells: the cells (n,) of a column by its name; asked once for each, so that only one column need be in memory.
    """
    typed = TypedColumns({}, {})
    for column in columns:
        parsed = parse(column, cells(column.name))
        typed.columns[column.name], typed.errors[column.name] = parsed.values, parsed.errors
        if parsed.marks is not None:
            typed.columns[part_key(column.name, "mark")] = parsed.marks
    return typed


def rejected_row(line: int, error: DataError) -> RejectedRow:
    """The record of a row that has a cell which cannot be read."""
    return RejectedRow(
        line=line, code=error.code, message=f"column '{error.column}': {error.message}", column=error.column
    )
