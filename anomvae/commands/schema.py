"""What the columns of a training table are, found or stated: for `fit`, and for `schema`, which shows it."""

from collections.abc import Mapping

import msgspec

from anomvae.config import FitSettings, SchemaSettings
from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model.infer_column import separators_of
from anomvae.model.schema import Schema, Values
from anomvae.model.stated_columns import column_of, reasons_to_leave_out
from anomvae.table.training_rows import TrainingTable
from anomvae.table.typed_reader import parse_columns

MOST_LOST = 0.1  # share of training rows that may be rejected for their cells


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


def typed_table(schema: Schema, table: TrainingTable) -> TypedTable:
    """The rows of the training table whose every cell can be read; the others are counted and told.

    Raises:
        DataError: `too_many_bad_rows`, more than `MOST_LOST` of the rows cannot be read.
    """
    typed = parse_columns(schema.modelled, table.column)
    bad = typed.row_errors()
    for name, errors in typed.errors.items():
        for row, error in list(errors.items())[:1]:
            more = f" and {len(errors) - 1:,} more" if len(errors) > 1 else ""
            table.warnings.append(f"column '{name}': line {table.line[row]}: {error.message}{more}; rows left out")
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
