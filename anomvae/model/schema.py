"""What a column is, and why: inferred once from training text, fixed from then on.

A column is numeric, integer, a counter, categorical, boolean or datetime, or it is left out for a reason that is kept
as a code.
A constant column stays in the model, because a change of a constant is surprising.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import Kind
from anomvae.errors import DataError
from anomvae.model import value_parsing
from anomvae.model.value_parsing import NumberFormat
from anomvae.records.sentences import ColumnReason

Values = NDArray[np.float64] | NDArray[np.object_]

NUMBERS = ("numeric", "integer", "counter")  # kinds whose cells are written as numbers
STRAY_SHARE = 0.005  # so few cells that are no numbers are faults of the file, not a category
NO_VALUES = ColumnReason(code="no_values")
CONFIGURED = ColumnReason(code="configured")
MASK = "***"  # in place of a cell that no output may show
MAX_LEVELS = 1000  # a category with more values than this is an identifier or free text


def part_key(column: str, part: str) -> str:
    """The key under which typed columns hold a second array of a column: its marks (text) or its steps (numbers)."""
    return f"{column}\0{part}"


def gaps(values: Values) -> NDArray[np.bool_]:
    """Which cells (n,) are missing."""
    return np.asarray(values == "" if values.dtype == object else np.isnan(values.astype(np.float64)), dtype=bool)


def as_floats(values: Values) -> NDArray[np.float64]:
    """Return a column of numbers, dates or booleans (n,) as float64, NaN where a cell is missing."""
    return np.asarray(values, dtype=np.float64)


def as_texts(values: Values) -> NDArray[np.object_]:
    """Return any typed column (n,) as text, "" where a cell is missing; equal values have equal text."""
    if values.dtype == object:
        return np.asarray(values, dtype=object)
    unique, index = np.unique(as_floats(values), return_inverse=True)
    names = np.array(["" if np.isnan(v) else repr(float(v) + 0.0) for v in unique], dtype=object)
    return np.asarray(names[index])


def rounded(values: NDArray[np.float64], digits: int | None) -> NDArray[np.float64]:
    """Round numbers to the decimals of their column, with 0.0 in place of -0.0; None leaves them as they are."""
    return values if digits is None else np.round(values, digits) + 0.0


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One column: its kind, how its text is read, why it is or is not modelled, and whether no output may show it.

    `counter`: the step from the row before is modelled (`counters.py`): of a `counter` alone, of a date besides.
    """

    name: str
    kind: Kind
    modelled: bool
    reason: ColumnReason = ColumnReason()
    date_format: str = ""
    digits: int | None = None
    redacted: bool = False
    counter: bool = False

    @property
    def constant(self) -> bool:
        """Whether all training rows have the same value."""
        return self.reason.code == "constant"

    def masked(self) -> "Column":
        """The same column, whose cells no output may show."""
        reason = msgspec.structs.replace(self.reason, value="") if self.constant else self.reason
        return msgspec.structs.replace(self, redacted=True, reason=reason)


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All columns of the training table, in order, and the number format of its text.

    `counter_group`: the columns whose cells together name the group within which counters step; empty for none.
    """

    columns: tuple[Column, ...]
    decimal: str = "."
    thousands: str = ""
    counter_group: tuple[str, ...] = ()

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that the model sees, in order."""
        return tuple(column for column in self.columns if column.modelled)

    @property
    def redacted(self) -> frozenset[str]:
        """Names of the columns whose cells no output may show."""
        return frozenset(column.name for column in self.columns if column.redacted)

    @property
    def numbers(self) -> NumberFormat:
        """How this table writes numbers."""
        return NumberFormat(self.decimal, self.thousands)


def parse(column: Column, texts: Sequence[str], numbers: NumberFormat) -> tuple[Values, dict[int, DataError]]:
    """Parse the cells of one column.

    Args:
        column: what the column is.
        texts: its cells (n,).
        numbers: how numbers are written.

    Returns:
        Values of shape (n,): float64 with NaN for missing, or str objects with "" for missing; and the
        errors by row index (their value is missing).
    """
    if column.kind == "categorical":
        return np.array(texts, dtype=object), {}
    if column.kind in NUMBERS and (plain := numbers.parse_column(texts)) is not None:
        return np.array(plain), {}
    values, errors = np.full(len(texts), np.nan), {}
    for i, text in enumerate(texts):
        try:
            values[i] = parse_cell(column, text, numbers)
        except DataError as error:
            error.column = column.name
            errors[i] = _unquoted(error, column) if column.redacted else error
    return values, errors


def _unquoted(error: DataError, column: Column) -> DataError:
    """The same error without the cell."""
    return DataError(error.code, f"a cell cannot be read as {column.kind} (redacted)", column=column.name)


def parse_cell(column: Column, text: str, numbers: NumberFormat) -> float:
    """One cell of a numeric, integer, counter, boolean or datetime column as a float; NaN where missing."""
    if column.kind == "boolean":
        return value_parsing.parse_boolean(text)
    if column.kind == "datetime":
        return value_parsing.parse_date(text, column.date_format)
    return numbers.parse(text)


def from_arrays(values: Mapping[str, NDArray[np.float64]]) -> Schema:
    """The schema of a table that is all numbers already: every column that has any is numeric."""
    return Schema(columns=tuple(_numbers(name, column) for name, column in values.items()))


def _numbers(name: str, values: NDArray[np.float64]) -> Column:
    if np.isnan(values).all():
        return Column(name=name, kind="ignore", modelled=False, reason=NO_VALUES)
    return Column(name=name, kind="numeric", modelled=True)


def infer(name: str, texts: Sequence[str], numbers: NumberFormat) -> Column:
    """Infer what a column is from all its training cells.

    Args:
        name: the name of the column.
        texts: its cells (n,).
        numbers: how numbers are written.
    """
    counts = Counter(text.strip(" ") for text in texts)
    present = [text for text in counts if text not in value_parsing.MISSING]
    if not present:
        return Column(name=name, kind="ignore", modelled=False, reason=NO_VALUES)
    plain = [p for text in present if value_parsing.is_number(p := numbers.plain(text))]
    strange = [text for text in present if not value_parsing.is_number(numbers.plain(text))]
    if sum(counts[text] for text in strange) <= STRAY_SHARE * sum(counts[text] for text in present):
        return _number(name, texts, plain, numbers)
    if _is_boolean({text.lower() for text in present}):
        return Column(name=name, kind="boolean", modelled=True, reason=_constancy(present))
    for style in value_parsing.DATE_FORMATS:
        if _is_date(present, style):
            reason = ColumnReason(code="dates", value=style)
            return Column(name=name, kind="datetime", modelled=True, date_format=style, reason=reason)
    return _text(name, texts)


def _is_boolean(words: set[str]) -> bool:
    """True and false in some spelling; one letter alone may be a category, such as F of F and M."""
    known = words <= value_parsing.TRUE | value_parsing.FALSE
    return known and (len(words) > 1 or len(min(words)) > 1)


def declared(name: str, kind: Kind, style: str | None, texts: Sequence[str], numbers: NumberFormat) -> Column:
    """A column whose kind the user has stated.

    Args:
        name: the name of the column.
        kind: the stated kind.
        style: the stated format of dates, if any.
        texts: its training cells (n,).
        numbers: how numbers are written.

    Raises:
        DataError: `bad_date` where no known date format fits.
    """
    if kind == "ignore":
        return Column(name=name, kind="ignore", modelled=False, reason=ColumnReason(code="ignored"))
    if kind == "categorical":
        return Column(name=name, kind=kind, modelled=True, reason=CONFIGURED)
    if kind in NUMBERS:
        plain = [p for t in set(texts) if value_parsing.is_number(p := numbers.plain(t))]
        counter = kind == "counter"
        return Column(name=name, kind=kind, modelled=True, digits=_digits(plain), reason=CONFIGURED, counter=counter)
    if kind == "datetime":
        found = style or infer(name, texts, numbers).date_format
        if not found:
            raise DataError("bad_date", "no known date format fits; give one as format = ...", column=name)
        return Column(name=name, kind=kind, modelled=True, date_format=found, reason=CONFIGURED)
    return Column(name=name, kind=kind, modelled=True, reason=CONFIGURED)


def _number(name: str, texts: Sequence[str], plain: list[str], numbers: NumberFormat) -> Column:
    whole = all(map(value_parsing.is_integer, plain))
    if whole and _counts_up(texts, numbers):
        return Column(name=name, kind="ignore", modelled=False, reason=ColumnReason(code="running_number"))
    digits = 0 if whole else _digits(plain)
    return Column(
        name=name,
        kind="integer" if whole else "numeric",
        modelled=True,
        digits=digits,
        reason=_constancy(plain),
    )


def _digits(plain: list[str]) -> int | None:
    """Decimals to write; None where the cells use exponents or more than a float can hold."""
    most = max(map(value_parsing.decimals, plain), default=0)
    return None if most > 12 or any("e" in text.lower() for text in plain) else most


def _counts_up(texts: Sequence[str], numbers: NumberFormat) -> bool:
    """A strictly rising whole number in nearly every row is a key, not a measurement."""
    plain = [numbers.plain(text) for text in texts]
    if len(plain) < 20 or not all(map(value_parsing.is_number, plain)):
        return False
    values = [float(text) for text in plain]
    return all(a < b for a, b in pairwise(values))


def _text(name: str, texts: Sequence[str]) -> Column:
    present = [text for text in texts if text]
    distinct = len(set(present))
    if distinct > MAX_LEVELS or (distinct > 20 and distinct > 0.5 * len(present)):
        wordy = np.mean([" " in text for text in present[:1000]]) > 0.5
        code: Literal["free_text", "identifier"] = "free_text" if wordy else "identifier"
        return Column(
            name=name,
            kind="ignore",
            modelled=False,
            reason=ColumnReason(code=code, distinct=distinct, rows=len(present)),
        )
    return Column(name=name, kind="categorical", modelled=True, reason=_constancy(present))


def _constancy(values: list[str]) -> ColumnReason:
    """The reason of a column whose values are all the same; no reason for any other column."""
    return ColumnReason(code="constant", value=values[0]) if len(set(values)) == 1 else ColumnReason()


def _is_date(texts: list[str], style: str) -> bool:
    try:
        for text in texts:
            value_parsing.parse_date(text, style)
    except DataError:
        return False
    return True
