"""Turns tables in memory into rows for the model: typed columns, and cells as text for explanations.

A table with named columns is read as the text that a CSV file of it would have, so that files and tables make the same
model (docs/decisions.md, "A table in memory is read as the text of its CSV file"). An array holds numbers, and its
columns are known by position.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import DataError
from anomvae.model.counters import with_counters, with_steps
from anomvae.model.detector import Origin
from anomvae.model.infer_column import infer
from anomvae.model.schema import NUMERIC, Column, Schema, Values
from anomvae.records.sentences import ColumnReason
from anomvae.table.frames import Cells
from anomvae.table.typed_reader import parse_columns
from anomvae.training.model_card import versions


class Rows(msgspec.Struct, frozen=True):
    """n rows for the model.

    `columns`: typed values (n,) by name, and the steps of counters. `cells`: text (n,) of those columns that were read
    from text.
    """

    columns: dict[str, Values]
    cells: dict[str, Sequence[str]]

    def texts(self, names: Iterable[str], most: int | None = None) -> dict[str, list[str]]:
        """The cells of the named columns as text, the first `most` of them. Numbers are formatted only here."""
        return {
            name: list(self.cells[name][:most]) if name in self.cells else _written(self.columns[name][:most])
            for name in names
        }


def inferred(table: Cells) -> Schema:
    """The schema of a table: categories where the table declares them, else what the cells suggest.

    A number that never falls is a counter, as in a file. A date has no step: rows of a frame are scored in any order
    and alone, and a date says enough without.
    """
    stated = {
        name: Column(name=name, kind="categorical", modelled=True, reason=ColumnReason(code="table_category"))
        for name in table.categories
    }
    columns = [stated.get(name) or infer(name, texts).column for name, texts in table.columns.items()]
    found = with_counters(columns, table.columns.__getitem__)
    return Schema(
        columns=tuple(was if is_.kind == "datetime" else is_ for was, is_ in zip(columns, found, strict=True))
    )


def from_cells(schema: Schema, table: Cells) -> Rows:
    """Type the cells of a table, whose columns are in the order of the schema; its rows follow each other.

    Raises:
        DataError: a cell cannot be read as what its column is.
    """
    names = (column.name for column in schema.columns)  # a table to score may have other names for them
    cells: dict[str, Sequence[str]] = dict(zip(names, table.columns.values(), strict=True))
    typed = parse_columns(schema.modelled, cells.__getitem__)
    for column, errors in typed.errors.items():
        for row, error in errors.items():
            raise DataError(error.code, f"row {row}, column '{column}': {error.message}")
    return Rows(with_steps(schema, typed.columns), {name: cells[name] for name in typed.columns})


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
