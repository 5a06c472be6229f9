"""What the columns of a training table are, found or stated: for `fit`, and for `schema`, which shows it."""

from collections.abc import Mapping, Sequence
from itertools import islice

import msgspec

from anomvae.config import FitSettings, SchemaSettings
from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model.counters import group_texts, training_steps, with_counters
from anomvae.model.far_off import far_off
from anomvae.model.infer_column import InferredColumn, declared, infer, separators_of
from anomvae.model.schema import Column, Schema, Values, as_floats
from anomvae.records.sentences import ColumnReason, ReasonCode
from anomvae.table.training_rows import TrainingTable, rejection
from anomvae.table.typed_reader import parse_columns, rejected_row

MOST_LOST = 0.1  # share of training rows that may be rejected for their cells
TOLD = 3  # rows that are told for a column


class TypedTable(msgspec.Struct, frozen=True):
    """The training rows as typed columns.

    Attributes:
        schema: what the columns are.
        columns: the values (n,) of the modelled columns by name, with their marks and steps.
        kept: (n,) the position in the training table of every row whose cells could all be read.
    """

    schema: Schema
    columns: dict[str, Values]
    kept: list[int]


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
    left_out = _left_out(settings, chosen)
    for name in [*left_out, *chosen.columns, *chosen.redact]:
        if name not in table.names:
            raise UsageError(
                f"column '{name}' of --drop, --id or [schema] is not in the training file{near(name, table.names)}"
            )
    columns = [_column(table, name, settings, chosen, left_out) for name in table.names]
    columns = with_counters(columns, table.column, table.starts())
    return Schema(columns=tuple(column.masked() if column.name in chosen.redact else column for column in columns))


def _left_out(settings: FitSettings, chosen: SchemaSettings) -> dict[str, ReasonCode]:
    found: dict[str, ReasonCode] = dict.fromkeys(chosen.drop, "dropped")
    found |= dict.fromkeys(chosen.id, "id")
    return found | ({settings.label: "label"} if settings.label is not None else {})


def _column(
    table: TrainingTable,
    name: str,
    settings: FitSettings,
    chosen: SchemaSettings,
    left_out: Mapping[str, ReasonCode],
) -> Column:
    if name in left_out or not name:
        reason = ColumnReason(code=left_out.get(name, "no_name"))
        return Column(name=name, kind="ignore", modelled=False, reason=reason)
    texts, separators = table.column(name), separators_of(settings)
    stated = chosen.columns.get(name)
    found: InferredColumn = (
        infer(name, texts, separators) if stated is None else declared(name, stated, texts, separators)
    )
    return found.column


def typed_table(
    table: TrainingTable, settings: FitSettings, chosen: SchemaSettings, paths: Sequence[str]
) -> TypedTable:
    """The rows of the training table whose every cell can be read; the others are counted and told.

    Rows with a number that is far off are left out first, so that the others decide what a column is.

    Args:
        table: the training rows as text.
        settings: how the table is written, and its label.
        chosen: what the user states about columns.
        paths: of the training files.

    Raises:
        UsageError: a column that is stated is not there.
        DataError: a column cannot be what is stated of it, or more than `MOST_LOST` of the rows cannot be read.
    """
    found = _readable(find_schema(table, settings, chosen), table, paths)
    far = far_off(found.schema, found.columns)
    if not far:
        return found
    for i, name in far.items():
        cell = "a number" if name in found.schema.redacted else f"{as_floats(found.columns[name])[i]:.6g}"
        error = DataError("far_off", f"{cell} is far off all others", column=name)
        line, file = int(table.line[found.kept[i]]), paths[table.file[found.kept[i]]]
        table.warnings.append(rejection(file, rejected_row(line, error)))
    table.rejected += len(far)
    left = {row for i, row in enumerate(found.kept) if i not in far}
    table.keep([row in left for row in range(len(table.rows))])
    return _readable(find_schema(table, settings, chosen), table, paths)


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
    groups = group_texts(map(table.column, schema.counter_group)) if schema.counter_group else None
    columns = training_steps(schema, typed.columns, groups, table.starts())
    columns = {name: values[kept] for name, values in columns.items()} if bad else columns
    return TypedTable(schema, columns, kept)
