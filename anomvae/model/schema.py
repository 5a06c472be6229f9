"""What a column is and how its text is read: fixed when a model is fitted, and the same from then on.

A column is numeric, integer, categorical, boolean, datetime or a counter, or it is left out for a reason that is kept
as a code. How its cells were written in training (separators, units, dates, words for true and false, marks of gaps) is
part of it, so that cells are read strictly, and generated cells are written as training wrote them.
`infer_column.py` finds all of this from training cells.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import Kind
from anomvae.errors import DataError
from anomvae.model import value_parsing
from anomvae.model.arrays import Floats
from anomvae.model.date_format import DateFormat
from anomvae.model.number_format import NumberFormat
from anomvae.model.value_parsing import GAP_MARKS, MISSING
from anomvae.records.sentences import ColumnReason

Values = NDArray[np.float64] | NDArray[np.object_]
Marks = NDArray[np.object_]

NO_VALUES = ColumnReason(code="no_values")
MASK = "***"  # in place of a cell that no output may show
USUAL = "usual"  # the mark of a value that is written as nearly all are
EMPTY = "empty"  # the mark of a cell without any text
NUMERIC = ("numeric", "integer", "counter")
_LIMIT = re.compile(r"(<=|>=|<|>|\u2264|\u2265)[ \u00a0]*(.+)", re.DOTALL).fullmatch
_ZERO_DATE = re.compile(r"0000([-/.]?)00\1?00(?:[T ].*)?|00([-/.])00\2(?:0000|00)(?: .*)?").fullmatch


def part_key(column: str, part: str) -> str:
    """The key under which typed columns hold a second array of a column: its marks (text) or its steps (numbers)."""
    return f"{column}\0{part}"


def as_marks(columns: Mapping[str, Values], name: str) -> Marks:
    """The marks (n,) of a column among typed columns."""
    return np.asarray(columns[part_key(name, "mark")], dtype=object)


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


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One column: its kind, how its text is read and written, and why it is or is not modelled.

    Attributes:
        name: of the column.
        kind: what its values are.
        modelled: whether the model sees it.
        reason: why it is left out, or what is worth knowing about it.
        redacted: whether no output may show its cells.
        number: how numbers are written, for the kinds in `NUMERIC`.
        dates: how dates are written; two formats while the order of day and month is open, the likelier one first.
        gaps: texts that stand for a missing value in this column, besides those that do so everywhere.
        marks: how training cells were written, the commonest first, where there was more than plain values and empty
            cells: `USUAL`, `EMPTY`, the text of a gap, the sign of a limit of detection such as `<`, another unit.
        true: the word for true.
        false: the word for false.
        counter: whether the step from the row before is modelled (`counters.py`): of a `counter` alone, of a date
            besides.
    """

    name: str
    kind: Kind
    modelled: bool
    reason: ColumnReason = ColumnReason()
    redacted: bool = False
    number: NumberFormat = NumberFormat(digits=None)
    dates: tuple[DateFormat, ...] = ()
    gaps: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    true: str = "true"
    false: str = "false"
    counter: bool = False

    @property
    def constant(self) -> bool:
        """Whether all training rows have the same value."""
        return self.reason.code == "constant"

    @property
    def digits(self) -> int | None:
        """Decimals of its numbers; None where these are as many as a number needs."""
        return self.number.digits

    def masked(self) -> "Column":
        """The same column, whose cells no output may show."""
        reason = msgspec.structs.replace(self.reason, value="") if self.constant else self.reason
        return msgspec.structs.replace(self, redacted=True, reason=reason)

    def read(self, text: str) -> tuple[float, str]:
        """One cell of a column that is not a category, as a number and its mark.

        Returns:
            The value (seconds since 1970 of a date, 1 and 0 for true and false, NaN for a gap), and how it is written.

        Raises:
            DataError: the cell cannot be read as what the column is.
        """
        text = text.strip(" \u00a0")
        if self.is_gap(text):
            return math.nan, text or EMPTY
        if self.kind == "boolean":
            return value_parsing.parse_boolean(text), USUAL
        if self.kind == "datetime":
            return self._date(text), USUAL
        return self._number(text)

    def is_gap(self, text: str) -> bool:
        """Whether the text of a cell, without the spaces around it, stands for a missing value."""
        return text in self.known_gaps or (self.kind == "datetime" and bool(self.marks) and is_zero_date(text))

    @cached_property
    def known_gaps(self) -> frozenset[str]:
        """The texts that stand for a missing value: more of them where training cells had marks of gaps."""
        return (GAP_MARKS if self.marks else MISSING).union(self.gaps)

    def _date(self, text: str) -> float:
        for written in self.dates[1:]:
            try:
                return self.dates[0].read(text)
            except DataError:
                return written.read(text)
        return self.dates[0].read(text)

    def _number(self, text: str) -> tuple[float, str]:
        sign, number = (limit_of(text) if self.marks else None) or ("", text)
        value, strange = self.number.read(number)
        mark = " ".join(filter(None, (sign, strange))) or USUAL
        if mark != USUAL and not self.marks:
            raise DataError("not_a_number", f"{value_parsing.quoted(text)} is not written like the training data")
        return value, mark


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All columns of the training table, in order.

    `counter_group`: the columns whose cells together name the group within which counters step; empty for none.
    """

    columns: tuple[Column, ...]
    counter_group: tuple[str, ...] = ()

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that the model sees, in order."""
        return tuple(column for column in self.columns if column.modelled)

    def with_marks(self) -> "Schema":
        """The same with a category of its own for the marks of every column that has any, as typed columns have it."""
        columns: list[Column] = []
        for column in self.columns:
            if column.marks:
                key = part_key(column.name, "mark")
                columns.append(Column(name=key, kind="categorical", modelled=True, redacted=column.redacted))
            columns.append(column)
        return msgspec.structs.replace(self, columns=tuple(columns))

    @property
    def unfilled(self) -> tuple[Column, ...]:
        """The columns that had no value in training, and so are left out, in order."""
        return tuple(column for column in self.columns if column.reason.code == "no_values")

    @property
    def redacted(self) -> frozenset[str]:
        """Names of the columns whose cells no output may show."""
        return frozenset(column.name for column in self.columns if column.redacted)


class FilledCells(msgspec.Struct, frozen=True):
    """Cells of a column that are no gaps: how many, and the text of the first."""

    count: int
    first: str


def filled_cells(counts: Mapping[str, int]) -> FilledCells | None:
    """The cells that are no gaps, from how often each text stands in a column; None where all are gaps."""
    filled = [text for text, count in counts.items() if count and text.strip(" ") not in MISSING]
    return FilledCells(sum(counts[text] for text in filled), filled[0]) if filled else None


class ParsedColumn(msgspec.Struct, frozen=True):
    """The cells (n) of one column, typed.

    Attributes:
        values: (n,) float64 with NaN for missing, or str objects with "" for missing.
        marks: (n,) how each cell is written; None for a column without marks.
        errors: why a cell could not be read, by row index; its value is missing.
    """

    values: Values
    marks: Marks | None
    errors: dict[int, DataError]


def parse(column: Column, texts: Sequence[str]) -> ParsedColumn:
    """Read the cells (n,) of one column."""
    if column.kind == "categorical":
        return ParsedColumn(np.array(texts, dtype=object), None, {})
    known = column.known_gaps
    filled = [i for i, text in enumerate(texts) if text not in known]
    marks = np.array([text or EMPTY for text in texts], dtype=object) if column.marks else None
    values = np.full(len(texts), np.nan)
    errors: dict[int, DataError] = {}
    if (numbers := _read_at_once(column, [texts[i] for i in filled])) is not None:
        values[filled] = numbers
        if marks is not None:
            marks[filled] = USUAL
        return ParsedColumn(values, marks, errors)
    for i in filled:
        try:
            values[i], mark = column.read(texts[i])
        except DataError as error:
            error.column = column.name
            errors[i] = _unquoted(error, column) if column.redacted else error
            mark = USUAL
        if marks is not None:
            marks[i] = mark
    return ParsedColumn(values, marks, errors)


def _read_at_once(column: Column, texts: Sequence[str]) -> list[float] | None:
    """All cells by the fast way of their format; None where one of them needs a closer look."""
    if column.kind in NUMERIC:
        return column.number.read_column(texts)
    return column.dates[0].read_column(texts) if len(column.dates) == 1 else None


def agree(column: Column, values: Floats, marks: Marks) -> tuple[Floats, Marks]:
    """Make drawn values and drawn marks (n,) agree on which cells are gaps: the mark decides.

    A gap whose mark is that of a value gets the commonest mark of a gap.
    """
    gap_marks = {mark: mark == EMPTY or column.is_gap(mark) for mark in {*column.marks, *marks.tolist()}}
    usual_gap = next((mark for mark in column.marks if gap_marks[mark]), EMPTY)
    marked = np.array([gap_marks[mark] for mark in marks.tolist()], dtype=bool)
    agreed = np.where(np.isnan(values) & ~marked, usual_gap, marks)
    return np.where(marked, np.nan, values), agreed


def _unquoted(error: DataError, column: Column) -> DataError:
    """The same error without the cell."""
    return DataError(error.code, f"a cell cannot be read as {column.kind} (redacted)", column=column.name)


def is_zero_date(text: str) -> bool:
    """Whether a text is a date of zeros, with which databases write that there is none."""
    return bool(_ZERO_DATE(text))


def limit_of(text: str) -> tuple[str, str] | None:
    """The sign and the number of a limit of detection such as `<0.05`; None for any other text."""
    found = _LIMIT(text)
    return (found[1], found[2]) if found else None


def from_arrays(values: Mapping[str, NDArray[np.float64]]) -> Schema:
    """The schema of a table that is all numbers already: every column that has any is numeric."""
    return Schema(columns=tuple(_numbers(name, column) for name, column in values.items()))


def _numbers(name: str, values: NDArray[np.float64]) -> Column:
    if np.isnan(values).all():
        return Column(name=name, kind="ignore", modelled=False, reason=NO_VALUES)
    return Column(name=name, kind="numeric", modelled=True)
