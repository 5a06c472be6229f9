"""What the columns of a training table are, found or stated: for `fit`, and for `schema`, which shows it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import msgspec

from anomvae.commands.schema_file import configuration
from anomvae.config import FitSettings, SchemaSettings
from anomvae.errors import DataError
from anomvae.model.column_writing import ASKED, sentinels_of, unit_of, units_of
from anomvae.model.conditions import Condition
from anomvae.model.infer_column import separators_of
from anomvae.model.schema import Column, Schema, Values, as_marks
from anomvae.model.stated_columns import column_of, reasons_to_leave_out
from anomvae.records.columns import ColumnReport, Misfits
from anomvae.records.schema import SchemaResult
from anomvae.records.sentences import TableWarning, WarningCode, cut, selection
from anomvae.table.training_rows import (
    TrainingTable,
    read_training_table,
    rejection,
    row_conditions,
    training_files,
)
from anomvae.table.typed_reader import parse_columns, rejected_row
from anomvae.training.model_card import column_reports

MOST_LOST = 0.1  # share of training rows that may be rejected for their cells
LOST_LOUDLY = 0.01  # share of training rows of which more is said loudly
LOOKED_AT = 2000  # rows that examples are taken from
EXAMPLES = 2  # of a column
LONGEST = 200  # characters of a cell that is shown
TOLD = 3  # rows that are told for a column


class SchemaPreview(msgspec.Struct, frozen=True):
    """What `schema` finds: the record that it prints, and the same as a configuration file."""

    result: SchemaResult
    toml: str


class TypedTable(msgspec.Struct, frozen=True):
    """The training rows as typed columns.

    Attributes:
        schema: what the columns are.
        columns: the values (n,) of the modelled columns by name, with their marks.
        kept: (n,) the position in the training table of every row whose cells could all be read.
        errors: why cells could not be read, by column and by the position of the row in the training table.
    """

    schema: Schema
    columns: dict[str, Values]
    kept: list[int]
    errors: dict[str, dict[int, DataError]]


def find_schema(table: TrainingTable, settings: FitSettings, chosen: SchemaSettings) -> Schema:
    """What each column of a training table is, in the order of the table.

    Args:
        table: the training rows.
        settings: how the table is written, and its label.
        chosen: what the user states about columns.

    Raises:
        UsageError: a column that is stated is not there.
        DataError: a column cannot be what is stated of it.
    """
    left_out = reasons_to_leave_out(table.names, chosen, settings.label)
    separators = separators_of(settings)
    return Schema(
        columns=tuple(column_of(name, table.column(name), chosen, left_out, separators) for name in table.names)
    )


def typed_table(schema: Schema, table: TrainingTable, paths: Sequence[str]) -> TypedTable:
    """The rows of the training table whose every cell can be read; the others are counted and told.

    Args:
        schema: what the columns are.
        table: the training rows as text.
        paths: of the training files.

    Raises:
        DataError: `too_many_bad_rows`, more than `MOST_LOST` of the rows cannot be read.
    """
    typed = parse_columns(schema.modelled, table.column)
    bad = typed.row_errors()
    for errors in typed.errors.values():
        table.warnings += [
            rejection(paths[table.file[row]], rejected_row(int(table.line[row]), error))
            for row, error in islice(errors.items(), TOLD)
        ]
    if len(bad) > MOST_LOST * len(table.rows):
        row, first = next(iter(bad.items()))
        worst = max(typed.errors, key=lambda name: len(typed.errors[name]))
        raise DataError(
            "too_many_bad_rows",
            f"{len(bad):,} of {len(table.rows):,} rows have cells that cannot be read, most of them in "
            f"column '{worst}'; "
            f'the first: {first.message}; state what the column is ([schema.columns."{worst}"]), or leave it out '
            f"(--drop '{worst}')",
            line=int(table.line[row]),
        )
    table.rejected += len(bad)
    kept = [i for i in range(len(table.rows)) if i not in bad]
    columns = {name: values[kept] for name, values in typed.columns.items()} if bad else typed.columns
    return TypedTable(schema, columns, kept, typed.errors)


def schema(
    files: Sequence[str],
    settings: FitSettings,
    chosen: SchemaSettings,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> SchemaPreview:
    """How `fit` would read the columns of training files. Nothing is trained.

    Args:
        files: CSV or Parquet files, or folders of them.
        settings: how the files are written, and which rows are meant.
        chosen: what the user states about columns.
        progress: called with a stage, what is done and the total (0: unknown).

    Raises:
        AnomvaeError: with the exit code of the command line.
    """
    started = time.monotonic()
    paths = training_files(files)
    conditions = row_conditions(settings)
    table = selected_rows(paths, settings, conditions, progress)
    found = find_schema(table, settings, chosen)
    typed = parse_columns(found.modelled, table.column)
    columns = with_cells(column_reports(found), shown_cells(found, table, paths, typed.errors))
    warnings = schema_warnings(found, typed.columns, typed.errors, len(table.rows))
    result = SchemaResult(
        files=tuple(paths),
        rows_read=table.rows_read,
        rows=len(table.rows),
        rows_rejected=table.rejected + len(typed.row_errors()),
        selection=selection(conditions),
        columns=columns,
        warnings=(*warnings, *table.warnings),
        seconds=round(time.monotonic() - started, 2),
    )
    return SchemaPreview(result, configuration(files, settings, chosen, found, columns))


def selected_rows(
    paths: Sequence[str],
    settings: FitSettings,
    conditions: Sequence[Condition],
    progress: Callable[[str, int, int], None],
) -> TrainingTable:
    """The training rows that meet the conditions.

    Args:
        paths: of the training files.
        settings: how these are written, and bounds.
        conditions: that rows must meet.
        progress: called with the stage `reading`, the rows read so far, and 0.

    Raises:
        DataError: a file is refused, or no row is left.
    """
    table = read_training_table(paths, settings, conditions, lambda _, rows: progress("reading", rows, 0))
    if not len(table.rows):
        message = f"no row meets {selection(conditions)}" if table.rows_read else "no rows to learn from"
        raise DataError("too_few_rows", message).within(paths[0])
    return table


class ShownCells(msgspec.Struct, frozen=True):
    """Of one column: examples of its cells, and what does not fit."""

    examples: tuple[str, ...]
    misfits: Misfits | None


def shown_cells(
    schema: Schema, table: TrainingTable, paths: Sequence[str], errors: Mapping[str, Mapping[int, DataError]]
) -> list[ShownCells]:
    """What is shown of the cells of each column.

    Args:
        schema: what the columns are.
        table: the training rows as text.
        paths: of the training files.
        errors: why cells could not be read, by column and by the position of the row in the training table.
    """
    shown = []
    for at, column in enumerate(schema.columns):
        wrong = errors.get(column.name, {})
        examples = _examples(column, table.rows.head(at, LOOKED_AT), wrong)
        shown.append(ShownCells(examples, _misfits(column, at, table, paths, wrong)))
    return shown


def with_cells(reports: Sequence[ColumnReport], shown: Sequence[ShownCells]) -> tuple[ColumnReport, ...]:
    """The records of columns with what is shown of their cells."""
    return tuple(
        msgspec.structs.replace(report, examples=cells.examples, misfits=cells.misfits)
        for report, cells in zip(reports, shown, strict=True)
    )


def _examples(column: Column, texts: Sequence[str], errors: Mapping[int, DataError]) -> tuple[str, ...]:
    """The first cells that differ and fit; none where no output may show them, or where the user left them out."""
    if column.redacted or column.reason.code in ASKED:
        return ()
    fitting = (text for row, text in enumerate(texts) if row not in errors and text.strip() and not column.is_gap(text))
    return tuple(cut(text, LONGEST) for text in islice(dict.fromkeys(fitting), EXAMPLES))


def _misfits(
    column: Column, at: int, table: TrainingTable, paths: Sequence[str], errors: Mapping[int, DataError]
) -> Misfits | None:
    """The cells of a column that cannot be read; None where there are none.

    Args:
        column: what the column is.
        at: its position in the table.
        table: the training rows as text.
        paths: of the training files.
        errors: by the position of the row.
    """
    if not errors:
        return None
    row, error = min(errors.items())
    return Misfits(
        cells=len(errors),
        share=len(errors) / len(table.rows),
        file=paths[table.file[row]],
        line=int(table.line[row]),
        cell="" if column.redacted else cut(table.rows.head(at, row + 1)[row], LONGEST),
        message=error.message,
    )


def schema_warnings(
    schema: Schema, values: Mapping[str, Values], errors: Mapping[str, Mapping[int, DataError]], rows: int
) -> list[TableWarning]:
    """What a user should look at before a model rests on it, the loudest first.

    Args:
        schema: what the columns are.
        values: the typed columns with their marks.
        errors: why cells could not be read, by column and by the position of the row in the training table.
        rows: of the training table.
    """
    found = _lost_rows(errors, rows)
    for column in schema.modelled:
        if len(column.dates) > 1:
            readings = " or ".join(map(str, column.dates))
            found.append(TableWarning(code="open_dates", column=column.name, value=readings))
        if column.marks and not column.redacted:
            found += _unusual_marks(column, Counter(as_marks(values, column.name).tolist()))
    return found


def _lost_rows(errors: Mapping[str, Mapping[int, DataError]], rows: int) -> list[TableWarning]:
    """The warning of too many rows with a cell that cannot be read; none where these are few."""
    lost = len({row for column in errors.values() for row in column})
    if lost <= LOST_LOUDLY * rows:
        return []
    worst = max(errors, key=lambda name: len(errors[name]))
    code: WarningCode = "rows_refused" if lost > MOST_LOST * rows else "rows_lost"
    return [TableWarning(code=code, column=worst, count=lost, total=rows)]


def _unusual_marks(column: Column, marks: Mapping[str, int]) -> list[TableWarning]:
    """Warnings of values that were taken as gaps, and of values with another unit than usual."""
    found = []
    if column.reason.code != "configured" and (sentinels := sentinels_of(column)):
        count = sum(marks.get(text, 0) for text in sentinels)
        found.append(TableWarning(code="sentinels", column=column.name, value=", ".join(sentinels), count=count))
    if units := units_of(column):
        count = sum(count for mark, count in marks.items() if unit_of(column, mark))
        found.append(TableWarning(code="mixed_units", column=column.name, value=", ".join(units), count=count))
    return found
