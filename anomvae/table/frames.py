"""pandas, polars and Arrow tables that a caller hands in, and DataFrames that are handed back.

Tables to compare become typed columns: floats with NaN for missing, or text with "" for missing. Tables to learn from
or to score become cells of text through the Arrow C stream, which all three libraries speak, so that one reading of
cells serves files and frames. polars is never imported, and pandas only where a DataFrame is asked for.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from anomvae.errors import DataError
from anomvae.model.schema import Column, Schema, Values
from anomvae.table import parquet


class Cells(msgspec.Struct, frozen=True):
    """A table as text: the cells (n,) of every column by name, and which columns it declares to be `categories`."""

    columns: dict[str, list[str]]
    categories: frozenset[str]


def is_table(table: Any) -> bool:
    """Whether this is a pandas, polars or Arrow table with named columns rather than an array."""
    return hasattr(table, "columns") and hasattr(table, "__arrow_c_stream__")


def cells(table: Any) -> Cells:
    """The cells of a table as a CSV file would have them, "" where missing.

    Args:
        table: anything with named columns that speaks the Arrow C stream.

    Raises:
        DataError: `empty_table`, `duplicate_columns`, or `non_finite`: a number is infinite.
    """
    import pyarrow as pa

    found = _arrow(table)
    rows = len(found[0][1]) if found else 0
    if not rows:
        raise DataError("empty_table", f"a table of {rows} rows and {len(found)} columns has nothing to read")
    _check_names([name for name, _ in found])
    columns = {name: _texts(name, column) for name, column in found}
    return Cells(columns, frozenset(name for name, column in found if pa.types.is_dictionary(column.type)))


def frame(schema: Schema, columns: Mapping[str, Values]) -> Any:
    """Typed columns as a pandas DataFrame with integer, boolean, datetime and string columns, as the schema says."""
    import pandas as pd

    return pd.DataFrame({column.name: _series(column, columns[column.name]) for column in schema.modelled})


def _series(column: Column, values: Values) -> Any:
    import pandas as pd

    if values.dtype == object:
        return pd.Series([text or None for text in values.tolist()], dtype="str")
    numbers = pd.Series(np.asarray(values, dtype=np.float64))
    gaps = bool(numbers.isna().any())
    if column.kind == "datetime":
        return pd.to_datetime((numbers * 1e6).round().astype("Int64"), unit="us")
    if column.kind == "boolean":
        return numbers.astype("boolean" if gaps else "bool")
    if column.kind == "integer" or (column.kind == "counter" and column.digits == 0):
        return numbers.round().astype("Int64" if gaps else "int64")
    return numbers if column.digits is None else numbers.round(column.digits)


def _arrow(table: Any) -> list[tuple[str, Any]]:
    """Named Arrow columns. pandas goes column by column: its stream would add the index and refuse mixed objects."""
    import pyarrow as pa

    if is_frame(table):
        return [(str(name), _from_series(table.iloc[:, j])) for j, name in enumerate(table.columns)]
    arrow = pa.table(table)
    return list(zip(arrow.column_names, arrow.columns, strict=True))


def _from_series(series: Any) -> Any:
    import pyarrow as pa

    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # an object column of several types
        gaps = series.isna().tolist()
        values = zip(series.tolist(), gaps, strict=True)
        return pa.array([None if gap else parquet.cell_text(value) for value, gap in values], pa.string())


def _texts(name: str, column: Any) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_floating(column.type):
        if pc.any(pc.is_inf(column)).as_py():
            raise DataError("non_finite", f"column '{name}' has infinity, which is no number to learn from or to score")
        return [_number(value) for value in column.to_pylist()]
    return [parquet.cell_text(value) for value in column.to_pylist()]


def _number(value: float | None) -> str:
    """Whole numbers without a point, which pandas adds to a column of integers as soon as it has a gap."""
    if value is None or math.isnan(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 1 << 53 else repr(value)


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError("duplicate_columns", f"column '{twice}' stands twice in the table", column=twice)


def is_frame(table: Any) -> bool:
    """Whether a table is a DataFrame rather than a path."""
    return hasattr(table, "columns") and hasattr(table, "iloc")


def typed(frame: Any) -> tuple[dict[str, Values], dict[str, str]]:
    """Columns by name, and the kind of each: `numeric`, `datetime` (seconds since 1970) or `categorical`.

    Raises:
        DataError: `duplicate_columns`, two columns have one name.
    """
    _check_names([str(name) for name in frame.columns])
    columns: dict[str, Values] = {}
    kinds: dict[str, str] = {}
    for name in frame.columns:
        columns[str(name)], kinds[str(name)] = _column(frame[name])
    return columns, kinds


def _column(series: Any) -> tuple[Values, str]:
    kind = getattr(series.dtype, "kind", "O")
    missing = series.isna().to_numpy(dtype=bool)
    if kind in "iuf":
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan)), "numeric"
    if kind == "M":
        moments = series.to_numpy(dtype="datetime64[us]").astype(np.int64)
        return np.where(missing, np.nan, moments / 1e6), "datetime"
    texts = np.array([_text(value) for value in series.tolist()], dtype=object)
    texts[missing] = ""
    return texts, "categorical"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)  # booleans as files have them
