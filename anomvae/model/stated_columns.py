"""What a user states about columns, beside what their cells say: for files and for tables in memory."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from anomvae.config import SchemaSettings
from anomvae.config_errors import near
from anomvae.errors import UsageError
from anomvae.model.column_writing import settings_of
from anomvae.model.infer_column import FOUND, Separators, declared, infer
from anomvae.model.schema import Column, Schema
from anomvae.records.sentences import ColumnReason, ReasonCode

BY_NAME = frozenset({"dropped", "id", "label", "no_name"})  # reasons of columns that are left out whatever they are


def reasons_to_leave_out(
    names: Sequence[str], chosen: SchemaSettings, label: str | None = None
) -> dict[str, ReasonCode]:
    """The columns that are not to be modelled, by name, each with the reason.

    Args:
        names: of the columns of the table.
        chosen: what the user states about columns.
        label: the label column.

    Raises:
        UsageError: a column that is named is not in the table.
    """
    found: dict[str, ReasonCode] = dict.fromkeys(chosen.drop, "dropped")
    found |= dict.fromkeys(chosen.id, "id")
    found |= {} if label is None else {label: "label"}
    known = set(names)
    for name in [*found, *chosen.columns, *chosen.redact]:
        if name not in known:
            raise UsageError(
                f"column '{name}' of --drop, --id or [schema] is not in the training file{near(name, names)}"
            )
    return found


def found_column(
    name: str,
    texts: Sequence[str],
    chosen: SchemaSettings,
    left_out: Mapping[str, ReasonCode],
    separators: Separators = FOUND,
) -> Column:
    """What a column is by its cells, or that it is left out; `with_stated` adds what the user states of its kind.

    Args:
        name: of the column.
        texts: its training cells (n,), in the order of the rows.
        chosen: what the user states about columns.
        left_out: columns that are not to be modelled, and why; see `reasons_to_leave_out`.
        separators: of numbers, where the user has stated them for the whole table.
    """
    return without(name, left_out) or _masked(infer(name, texts, separators).column, chosen)


def with_stated(
    columns: Sequence[Column],
    cells: Callable[[str], Sequence[str]],
    chosen: SchemaSettings,
    counted: Callable[[list[Column]], list[Column]],
    separators: Separators = FOUND,
) -> list[Column]:
    """The columns of a table: as the user states them where that differs from what cells say, else as cells say.

    Which columns are counters depends on the others, so that a column that is stated may change another one.

    Args:
        columns: what each of them is by its cells; see `found_column`.
        cells: the training cells (n,) of a column by its name.
        chosen: what the user states about columns.
        counted: makes counters of those among some columns that are.
        separators: of numbers, where the user has stated them for the whole table.

    Raises:
        UsageError: what is stated contradicts itself.
        DataError: a column cannot be what is stated.
    """
    now, differing = list(columns), set[str]()
    while True:
        found = counted(now)
        agreed = {one.name for one in found if chosen.columns.get(one.name) in (None, settings_of(one))}
        left_out = {one.name for one in found if one.reason.code in BY_NAME}
        changed = set(chosen.columns) - agreed - left_out - differing
        if not changed:
            return found
        differing |= changed
        for i, column in enumerate(now):
            if column.name in changed:
                stated = declared(column.name, chosen.columns[column.name], cells(column.name), separators)
                now[i] = _masked(stated.column, chosen)


def _masked(column: Column, chosen: SchemaSettings) -> Column:
    return column.masked() if column.name in chosen.redact else column


def without(name: str, left_out: Mapping[str, ReasonCode]) -> Column | None:
    """The column where it is not to be modelled, as it is named so or has no name; else None."""
    if name and name not in left_out:
        return None
    return Column(name=name, kind="ignore", modelled=False, reason=ColumnReason(code=left_out.get(name, "no_name")))


def decisive(schema: Schema, chosen: SchemaSettings) -> SchemaSettings:
    """What the user states about columns, in the order of these, without what says no more than their cells do.

    So a model is the same, byte for byte, whether its columns were found or read from the file that `schema` wrote.
    """
    stated = [column.name for column in schema.columns if column.reason.code in ("configured", "ignored")]
    return msgspec.structs.replace(chosen, columns={name: chosen.columns[name] for name in stated})
