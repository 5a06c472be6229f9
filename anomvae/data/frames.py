"""DataFrames that a caller hands in, as typed columns: floats with NaN for missing, or text with "" for missing.

Only what a frame can do is used; pandas itself is not imported, so that a caller without frames never pays for it.
"""

from typing import Any

import numpy as np

from anomvae.errors import DataError
from anomvae.model.schema import Values


def is_frame(table: Any) -> bool:
    """Whether a table is a DataFrame rather than a path."""
    return hasattr(table, "columns") and hasattr(table, "iloc")


def typed(frame: Any) -> tuple[dict[str, Values], dict[str, str]]:
    """Columns by name, and the kind of each: `numeric`, `datetime` (seconds since 1970) or `categorical`.

    Raises:
        DataError: `duplicate_columns`, two columns have one name.
    """
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError("duplicate_columns", f"column '{twice}' stands twice in the data frame", column=twice)
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
