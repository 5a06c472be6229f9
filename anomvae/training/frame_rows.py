"""Turns tables in memory into rows for the model: typed columns, and cells as text for explanations.

A table with named columns is read as the text that a CSV file of it would have, so that files and tables make the same
model (docs/decisions.md, "A table in memory is read as the text of its CSV file"). An array holds numbers, and its
columns are known by position.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import ColumnSettings, SchemaSettings, build, read_config, refuse_unknown
from anomvae.errors import DataError, UsageError
from anomvae.model.column_writing import ASKED, settings_to_keep
from anomvae.model.counters import with_counters, with_steps
from anomvae.model.detector import Origin
from anomvae.model.infer_column import settled_together
from anomvae.model.schema import NUMERIC, Column, Schema, Values, from_arrays
from anomvae.model.stated_columns import found_column, reasons_to_leave_out, with_stated, without
from anomvae.records.sentences import ColumnReason, column_reason
from anomvae.table.frames import Cells
from anomvae.table.typed_reader import parse_columns
from anomvae.training.model_card import versions


class Rows(msgspec.Struct, frozen=True):
    """n rows for the model.

    `columns`: typed values (n,) by name. `cells`: text (n,) of those columns that were read from text.
    """

    columns: dict[str, Values]
    cells: dict[str, Sequence[str]]

    def texts(self, names: Iterable[str], most: int | None = None) -> dict[str, list[str]]:
        """The cells of the named columns as text, the first `most` of them. Numbers are formatted only here."""
        return {
            name: list(self.cells[name][:most]) if name in self.cells else _written(self.columns[name][:most])
            for name in names
        }


def schema_of(table: Cells, chosen: SchemaSettings) -> Schema:
    """The schema of a table: what the user states, categories where the table declares them, else what cells suggest.

    A number that never falls is a counter, as in a file. A date has no step: rows of a frame are scored in any order
    and alone, and a date says enough without.

    Raises:
        UsageError: a column that is stated is not there, or what is stated contradicts itself.
        DataError: a column cannot be what is stated.
    """
    left_out = reasons_to_leave_out(list(table.columns), chosen)
    known = {*left_out, *chosen.columns}
    declared = {
        name: Column(name=name, kind="categorical", modelled=True, reason=ColumnReason(code="table_category"))
        for name in table.categories - known
    }
    cells = table.columns.__getitem__
    columns = [declared.get(name) or found_column(name, cells(name), chosen, left_out) for name in table.columns]
    columns = settled_together(columns, cells)

    def counted(columns: list[Column]) -> list[Column]:
        found = with_counters(columns, cells)
        return [was if now.kind == "datetime" else now for was, now in zip(columns, found, strict=True)]

    return Schema(columns=tuple(with_stated(columns, cells, chosen, counted)))


def schema_of_array(X: NDArray[np.float64], chosen: SchemaSettings) -> Schema:
    """The schema of an array (n, columns): numbers, but for columns that the user leaves out.

    Raises:
        UsageError: a column that is named is not there, or kinds of columns are stated.
    """
    names = numbered(X.shape[1])
    if chosen.columns:
        raise UsageError("schema= is for tables with named columns; an array holds numbers, and drop= leaves some out.")
    left_out = reasons_to_leave_out(names, chosen)
    found = from_arrays(dict(zip(names, X.T, strict=True)))
    return Schema(columns=tuple(without(column.name, left_out) or column for column in found.columns))


def stated_settings(
    schema: Mapping[str, str | Mapping[str, Any]] | str | Path | None, drop: Sequence[str], ids: Sequence[str]
) -> SchemaSettings:
    """What the parameters of the estimator state about columns.

    Args:
        schema: by column a kind, or its settings; or a configuration file.
        drop: columns to leave out, or one.
        ids: identifiers, or one.

    Raises:
        UsageError: a value is not allowed, or the file cannot be read.
    """
    if isinstance(schema, str | Path):
        stated = read_config(Path(schema)).schema
    else:
        columns = {name: {"kind": one} if isinstance(one, str) else dict(one) for name, one in (schema or {}).items()}
        for name, one in columns.items():
            refuse_unknown(one, ColumnSettings, f"AnomVAE(schema=...), column '{name}'")
        stated = build(SchemaSettings, {"columns": columns}, _spelled)
    more = {"drop": (*stated.drop, *_names(drop)), "id": (*stated.id, *_names(ids))}
    return msgspec.structs.replace(stated, **more)


def _names(names: Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _spelled(keys: tuple[str, ...], value: Any) -> str:
    """How a user of the estimator wrote a key of the settings of a column."""
    column, name = keys[1], keys[-1]
    return (
        f"AnomVAE(schema={{{column!r}: ...}})"
        if value is None
        else f"AnomVAE(schema=...), {column!r}: {name}={value!r}"
    )


def left_out_message(schema: Schema) -> str:
    """Which columns are left out though nobody asked for it, why, and how to keep them; empty where there are none.

    Where all are, it is empty as well: then nothing can be learnt, which is an error of its own.
    """
    missed = [column for column in schema.columns if not column.modelled and column.reason.code not in ASKED]
    if not missed or not schema.modelled:
        return ""
    listed = ", ".join(f"{column.name!r} ({column_reason(column.reason)})" for column in missed)
    kept = {column.name: keep.kind for column in missed if (keep := settings_to_keep(column))}
    way = f"schema={kept!r} keeps {'it' if len(kept) == 1 else 'them'}, " if kept else ""
    verb = "is" if len(missed) == 1 else "are"
    return f"{listed} {verb} left out of the model; {way}drop={[column.name for column in missed]!r} agrees."


def from_cells(schema: Schema, table: Cells) -> Rows:
    """Type the cells of a table, whose columns are in the order of the schema.

    Raises:
        DataError: a cell cannot be read as what its column is.
    """
    names = (column.name for column in schema.columns)  # a table to score may have other names for them
    cells: dict[str, Sequence[str]] = dict(zip(names, table.columns.values(), strict=True))
    typed = parse_columns(schema.modelled, cells.__getitem__)
    for column, errors in typed.errors.items():
        for row, error in errors.items():
            raise DataError(error.code, f"row {row}, column '{column}': {error.message}")
    return Rows(with_steps(schema, typed.columns), {column.name: cells[column.name] for column in schema.modelled})


def from_array(X: NDArray[np.float64], schema: Schema) -> Rows:
    """Take the columns of an array (n, columns) by position.

    Raises:
        DataError: `array_of_a_table`, the schema has columns that are not numbers.
    """
    text = [column for column in schema.modelled if column.kind not in NUMERIC]
    if text:
        message = f"column '{text[0].name}' is {text[0].kind}: give a table as in fit, an array has only numbers"
        raise DataError("array_of_a_table", message)
    return Rows({column.name: X[:, j] for j, column in enumerate(schema.columns)}, {})


def numbered(count: int) -> list[str]:
    """The names that scikit-learn gives to columns without names: x0, x1 and so on."""
    return [f"x{j}" for j in range(count)]


def _written(values: Values) -> list[str]:
    """Numbers (n,) as text, "" where missing."""
    return ["" if np.isnan(value) else f"{value:.12g}" for value in values.tolist()]


def origin(columns: Mapping[str, Values], seed: int) -> Origin:
    """Where a model of a table in memory comes from: a hash of its values and the versions of libraries."""
    digest = hashlib.sha256()
    for name, values in columns.items():
        digest.update(name.encode())
        digest.update("\0".join(values).encode() if values.dtype == object else np.ascontiguousarray(values).tobytes())
    rows = len(next(iter(columns.values())))
    return Origin(
        files=("a table in memory",),
        data_sha256=digest.hexdigest(),
        rows_read=rows,
        rows_used=rows,
        seed=seed,
        versions=versions(),
    )
