"""What the columns of a training table are, found or stated: for `fit`, and for `schema`, which shows it."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice

import msgspec

from anomvae.commands.schema_file import configuration
from anomvae.config import FitSettings, SchemaSettings, toml_key
from anomvae.errors import DataError
from anomvae.model.column_writing import ASKED, sentinels_of, unit_of, units_of
from anomvae.model.conditions import Condition
from anomvae.model.counters import group_texts, training_steps, with_counters
from anomvae.model.far_off import far_off
from anomvae.model.infer_column import separators_of, settled_together
from anomvae.model.schema import Column, Schema, Values, as_floats, as_marks
from anomvae.model.stated_columns import found_column, reasons_to_leave_out, with_stated
from anomvae.records.columns import ColumnReport, Misfits
from anomvae.records.schema import SchemaResult
from anomvae.records.sentences import TableWarning, WarningCode, selection, shortened
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
        columns: the values (n,) of the modelled columns by name, with their marks and steps.
        kept: (n,) the position in the training table of every row whose cells could all be read.
        misfits: what does not fit, by column.
        lost: how many rows have such cells.
        rows: of the training table, with those.
    """

    schema: Schema
    columns: dict[str, Values]
    kept: list[int]
    misfits: dict[str, Misfits]
    lost: int
    rows: int


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
    columns = [found_column(name, table.column(name), chosen, left_out, separators) for name in table.names]
    columns = settled_together(columns, table.column)
    named = tuple(name for name in settings.group if name in table.names)  # an unknown one is refused with the folds
    groups = group_texts(map(table.column, named))
    counted = partial(with_counters, cells=table.column, starts=table.starts(), groups=groups)
    columns = with_stated(columns, table.column, chosen, counted, separators)
    return Schema(columns=tuple(columns), counter_group=named)


def typed_table(
    table: TrainingTable, settings: FitSettings, chosen: SchemaSettings, paths: Sequence[str]
) -> TypedTable:
    """The rows of the training table whose every cell can be read; see `read_cells`.

    Args:
        table: the training rows as text.
        settings: how the table is written, and its label.
        chosen: what the user states about columns.
        paths: of the training files.

    Raises:
        UsageError: a column that is stated is not there.
        DataError: a column cannot be what is stated of it, or more than `MOST_LOST` of the rows cannot be read.
    """
    found = read_cells(table, settings, chosen, paths)
    if found.lost > MOST_LOST * found.rows:
        worst = _worst(found.misfits)
        first = found.misfits[worst]
        raise DataError(
            "too_many_bad_rows",
            f"{found.lost:,} of {found.rows:,} rows have cells that cannot be read, most of them in "
            f"column '{worst}'; the first: {first.message}; state what the column is "
            f"([schema.columns.{toml_key(worst)}]), or leave it out (--drop '{worst}')",
            file=first.file,
            line=first.line,
        )
    return found


def read_cells(table: TrainingTable, settings: FitSettings, chosen: SchemaSettings, paths: Sequence[str]) -> TypedTable:
    """The rows of the training table whose every cell can be read; the others are counted and told.

    Rows with a number that is far off are left out first, so that the others decide what a column is.

    Args:
        table: the training rows as text.
        settings: how the table is written, and its label.
        chosen: what the user states about columns.
        paths: of the training files.

    Raises:
        UsageError: a column that is stated is not there.
        DataError: a column cannot be what is stated of it.
    """
    found = _readable(find_schema(table, settings, chosen), table, paths)
    far = far_off(found.schema, found.columns)
    if not far:
        return found
    errors: dict[str, dict[int, DataError]] = {}
    for i, name in far.items():
        row = found.kept[i]
        cell = "a number" if name in found.schema.redacted else f"{as_floats(found.columns[name])[i]:.6g}"
        error = DataError("far_off", f"{cell} is far off all others", column=name)
        errors.setdefault(name, {})[row] = error
        table.warnings.append(rejection(paths[table.file[row]], rejected_row(int(table.line[row]), error)))
    misfits = _misfits(found.schema, table, paths, errors) | found.misfits
    table.rejected += len(far)
    left = {row for i, row in enumerate(found.kept) if i not in far}
    table.keep([row in left for row in range(len(table.rows))])
    again = _readable(find_schema(table, settings, chosen), table, paths)
    lost = found.lost + len(far) + again.lost
    return msgspec.structs.replace(again, misfits=again.misfits | misfits, lost=lost, rows=found.rows)


def _readable(schema: Schema, table: TrainingTable, paths: Sequence[str]) -> TypedTable:
    """The rows whose every cell can be read with a schema; the others are counted and told.

    Args:
        schema: what the columns are.
        table: the training rows as text.
        paths: of the training files.
    """
    typed = parse_columns(schema.modelled, table.column)
    bad = typed.row_errors()
    for errors in typed.errors.values():
        table.warnings += [
            rejection(paths[table.file[row]], rejected_row(int(table.line[row]), error))
            for row, error in islice(errors.items(), TOLD)
        ]
    table.rejected += len(bad)
    kept = [i for i in range(len(table.rows)) if i not in bad]
    groups = group_texts(map(table.column, schema.counter_group))
    columns = training_steps(schema, typed.columns, groups, table.starts())
    columns = {name: values[kept] for name, values in columns.items()} if bad else columns
    misfits = _misfits(schema, table, paths, typed.errors)
    return TypedTable(schema, columns, kept, misfits, lost=len(bad), rows=len(table.rows))


def _misfits(
    schema: Schema, table: TrainingTable, paths: Sequence[str], errors: Mapping[str, Mapping[int, DataError]]
) -> dict[str, Misfits]:
    """What does not fit, by column.

    Args:
        schema: what the columns are.
        table: the training rows as text.
        paths: of the training files.
        errors: why cells cannot be used, by column and by the position of the row.
    """
    found = {}
    for at, column in enumerate(schema.columns):
        if wrong := errors.get(column.name):
            row, error = min(wrong.items())
            found[column.name] = Misfits(
                cells=len(wrong),
                share=len(wrong) / len(table.rows),
                file=paths[table.file[row]],
                line=int(table.line[row]),
                cell="" if column.redacted else shortened(table.rows.head(at, row + 1)[row], LONGEST),
                message=error.message,
            )
    return found


def _worst(misfits: Mapping[str, Misfits]) -> str:
    """The column in which most cells do not fit."""
    return max(misfits, key=lambda name: misfits[name].cells)


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
    settings = settings.read_as(table.dialect)
    typed = read_cells(table, settings, chosen, paths)
    columns = with_cells(column_reports(typed.schema), shown_cells(typed, table))
    result = SchemaResult(
        files=tuple(paths),
        rows_read=table.rows_read,
        rows=typed.rows,
        rows_rejected=table.rejected,
        selection=selection(conditions),
        columns=columns,
        warnings=(*schema_warnings(typed), *table.warnings),
        seconds=round(time.monotonic() - started, 2),
    )
    return SchemaPreview(result, configuration(files, settings, chosen, typed.schema, columns))


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


def shown_cells(typed: TypedTable, table: TrainingTable) -> list[ShownCells]:
    """What is shown of the cells of each column."""
    rows = [row for row in typed.kept[:LOOKED_AT] if row < LOOKED_AT]
    shown = []
    for at, column in enumerate(typed.schema.columns):
        texts = table.rows.head(at, LOOKED_AT)
        shown.append(ShownCells(_examples(column, [texts[row] for row in rows]), typed.misfits.get(column.name)))
    return shown


def with_cells(reports: Sequence[ColumnReport], shown: Sequence[ShownCells]) -> tuple[ColumnReport, ...]:
    """The records of columns with what is shown of their cells."""
    return tuple(
        msgspec.structs.replace(report, examples=cells.examples, misfits=cells.misfits)
        for report, cells in zip(reports, shown, strict=True)
    )


def _examples(column: Column, texts: Sequence[str]) -> tuple[str, ...]:
    """The first cells that differ; none where no output may show them, or where the user left them out."""
    if column.redacted or column.reason.code in ASKED:
        return ()
    filled = (text for text in texts if text.strip() and not column.is_gap(text))
    return tuple(shortened(text, LONGEST) for text in islice(dict.fromkeys(filled), EXAMPLES))


def schema_warnings(typed: TypedTable) -> list[TableWarning]:
    """What a user should look at before a model rests on it, the loudest first."""
    found = []
    if typed.lost > LOST_LOUDLY * typed.rows:
        code: WarningCode = "rows_refused" if typed.lost > MOST_LOST * typed.rows else "rows_lost"
        worst = _worst(typed.misfits)
        found.append(TableWarning(code=code, column=worst, count=typed.lost, total=typed.rows))
    for column in typed.schema.modelled:
        if len(column.dates) > 1:
            readings = " or ".join(map(str, column.dates))
            found.append(TableWarning(code="open_dates", column=column.name, value=readings))
        if column.marks and not column.redacted:
            found += _unusual_marks(column, Counter(as_marks(typed.columns, column.name).tolist()))
    return found


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
