"""Finds what a column is, and how it is written, from its training cells.

The rule: a column is what nearly all of its cells are, and a few strange cells never change that.

1. Cells without text, and marks of gaps that are known everywhere (`GAP_MARKS`), say nothing about a column.
2. A column is numbers or dates where at least nine in ten of the other cells are (`NEARLY_ALL`).
3. A strange text that repeats in such a column is a mark of a gap as well, up to `MOST_MARKS` of them, which may then
   take half of the cells. The remaining strange cells are rejected with their rows.
4. A number or date far from all the rest that people write for "no value" (-999, 1900-01-01) is a gap.
5. Else the column is true and false, a category, or is left out as an identifier or free text.

A constant column stays in the model, because a change of a constant is surprising.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from anomvae.config import ColumnSettings, Dialect
from anomvae.errors import DataError, UsageError
from anomvae.model import date_format, value_parsing
from anomvae.model.date_format import DateFormat
from anomvae.model.date_inference import find_date_formats, settle_order
from anomvae.model.number_format import Affix, FormatFit, NumberFormat, find_number_format
from anomvae.model.schema import EMPTY, NO_VALUES, NUMERIC, USUAL, Column, is_zero_date, limit_of
from anomvae.model.value_parsing import GAP_MARKS
from anomvae.records.sentences import ColumnReason

NEARLY_ALL = 0.9  # share of cells that must be numbers or dates where no text repeats
STRAY_SHARE = 0.01  # so few cells of another nature change nothing, whatever else the column holds
MOST_MARKS = 5  # different texts that stand for a gap
MOST_MARKED = 0.5  # share of cells that these may take
FEW_NUMBERS = 20  # so few different numbers beside words are a category, such as sizes 38, 40, L, XL
GROUP = 3  # digits between thousands separators
MAX_LEVELS = 1000  # a category with more values than this is an identifier or free text
_SENTINEL = re.compile(r"[+-]?9{2,}(?:\.0+|\.9+)?|[+-]1(?:\.0+)?").fullmatch
FAR_RANGES = 1.0  # a sentinel lies at least so many ranges of the other numbers away from them
NO_DATE_YEARS = ("0001", "1900", "1899", "1970", "2099", "2100", "9999")
YEAR = 365.25 * 86400


class Separators(msgspec.Struct, frozen=True):
    """The marks of numbers that the user has stated for a whole table; None for what the cells decide."""

    decimal: Literal[".", ","] | None = None
    thousands: str | None = None


FOUND = Separators()


class InferredColumn(msgspec.Struct, frozen=True):
    """A column, and the texts (different ones) that do not fit what it is: their rows are rejected."""

    column: Column
    strange: tuple[str, ...] = ()


def separators_of(dialect: Dialect) -> Separators:
    """The marks of numbers that the user has stated."""
    decimal = None if dialect.decimal == "auto" else dialect.decimal
    return Separators(decimal=decimal, thousands=None if dialect.thousands == "auto" else dialect.thousands)


def number_of(texts: Sequence[str], separators: Separators) -> NumberFormat | None:
    """How the numbers of some cells are written; None where they are not nearly all numbers."""
    counts = _counted(texts)
    present = {text: count for text, count in counts.items() if text not in GAP_MARKS}
    found = find_number_format(present, decimal=separators.decimal, thousands=separators.thousands) if present else None
    return None if found is None or _gap_marks(present, set(found[1].strange)) is None else found[0]


def infer(name: str, texts: Sequence[str], separators: Separators = FOUND) -> InferredColumn:
    """Infer what a column is from all its training cells.

    Args:
        name: the name of the column.
        texts: its cells (n,), in the order of the rows.
        separators: of numbers, where the user has stated them.
    """
    counts = _counted(texts)
    present = {text: count for text, count in counts.items() if text not in GAP_MARKS and not is_zero_date(text)}
    if not present:
        return InferredColumn(Column(name=name, kind="ignore", modelled=False, reason=NO_VALUES))
    words = {text.lower() for text in present}
    found = (
        _numbers(name, present, texts, separators)
        or (InferredColumn(_boolean(name, present)) if _is_boolean(words) else None)
        or _dates(name, present, texts)
    )
    if found is None:
        return InferredColumn(_text(name, texts))
    return msgspec.structs.replace(found, column=_with_marks(found.column, counts))


def _counted(texts: Sequence[str]) -> Counter[str]:
    """How often each text stands in a column, without the spaces around it."""
    return Counter(text.strip(" \u00a0") for text in texts)


def settled_together(columns: Sequence[Column], cells: Callable[[str], Sequence[str]]) -> list[Column]:
    """The columns of one table, where what stays open in one of them is taken from the others.

    Dates that are written alike have one order of day and month. Where a column has decimal commas, 1.234 in another
    is a whole number.

    Args:
        columns: what each of them is by its own cells.
        cells: the training cells (n,) of a column by its name.
    """
    ordered = [column.dates[0] for column in columns if len(column.dates) == 1]
    commas = any(column.kind in NUMERIC and column.digits and column.number.decimal == "," for column in columns)
    settled = []
    for column in columns:
        if len(column.dates) > 1 and column.modelled:
            settled.append(_in_the_order_of(column, cells(column.name), ordered))
        elif commas and column.kind == "numeric" and column.digits == GROUP and column.number.decimal == ".":
            settled.append(_with_decimal_comma(column, cells(column.name)))
        else:
            settled.append(column)
    return settled


def _in_the_order_of(column: Column, texts: Sequence[str], others: Sequence[DateFormat]) -> Column:
    """A column of dates whose order is open, in that of the first of the others that is written alike."""
    for other in others:
        found = settle_order(column.dates, texts, other)
        if len(found) == 1:
            reason = ColumnReason(code="dates", value=str(found[0]))
            return msgspec.structs.replace(column, dates=found, reason=reason)
    return column


def _with_decimal_comma(column: Column, texts: Sequence[str]) -> Column:
    """A column of numbers such as 1.234 as whole numbers, where all of its cells can be read so."""
    found = infer(column.name, texts, Separators(decimal=","))
    same = found.column.kind == "integer" and not found.strange
    return msgspec.structs.replace(found.column, redacted=column.redacted) if same else column


def declared(name: str, stated: ColumnSettings, texts: Sequence[str], separators: Separators = FOUND) -> InferredColumn:
    """A column of which the user has stated the kind, and maybe how it is written.

    Args:
        name: the name of the column.
        stated: what the user says of it.
        texts: its training cells (n,), in the order of the rows.
        separators: of numbers, where the user has stated them for the whole table.

    Raises:
        DataError: `bad_date` or `not_a_number`, where the cells are no dates or numbers in any known spelling.
    """
    reason = ColumnReason(code="ignored" if stated.kind == "ignore" else "configured")
    if stated.kind in ("ignore", "categorical"):
        return InferredColumn(Column(name=name, kind=stated.kind, modelled=stated.kind != "ignore", reason=reason))
    counts = _counted(texts)
    known = GAP_MARKS.union(stated.gaps)
    present = {text: count for text, count in counts.items() if text not in known and not is_zero_date(text)}
    if stated.kind == "boolean":
        found = InferredColumn(_boolean(name, present))
    elif stated.kind == "datetime":
        found = _declared_dates(name, stated, present, texts)
    else:
        found = _declared_numbers(name, stated, present, separators)
    column = msgspec.structs.replace(found.column, kind=stated.kind, reason=reason, gaps=stated.gaps)
    return InferredColumn(_with_marks(column, counts), found.strange)


def _declared_dates(
    name: str, stated: ColumnSettings, present: Mapping[str, int], texts: Sequence[str]
) -> InferredColumn:
    formats: tuple[DateFormat, ...] = ()
    if stated.format:
        try:
            formats = (date_format.parse_pattern(stated.format),)
        except ValueError as error:
            raise UsageError(f"[schema.columns.{name}] format: {error}.") from error
    elif found := find_date_formats(present, texts):
        formats = found[0]
    if not formats:
        raise DataError("bad_date", "no known date format fits; give one as format = ...", column=name)
    return InferredColumn(Column(name=name, kind="datetime", modelled=True, dates=formats))


def _declared_numbers(
    name: str, stated: ColumnSettings, present: Mapping[str, int], separators: Separators
) -> InferredColumn:
    bare = _without_limits(present)
    decimal, thousands = stated.decimal or separators.decimal, separators.thousands
    thousands = thousands if stated.thousands is None else stated.thousands
    found = find_number_format(bare, decimal=decimal, thousands=thousands)
    number = found[0] if found else NumberFormat(decimal=decimal or ".", thousands=thousands or "", digits=None)
    prefix = number.affix.prefix if stated.prefix is None else stated.prefix
    suffix = number.affix.suffix if stated.suffix is None else stated.suffix
    negative = stated.negative or number.negative
    number = msgspec.structs.replace(number, affix=Affix(prefix, suffix), negative=negative)
    return InferredColumn(Column(name=name, kind=stated.kind, modelled=True, number=number))


def _numbers(
    name: str, present: Mapping[str, int], texts: Sequence[str], separators: Separators
) -> InferredColumn | None:
    """The column as numbers; None where too many cells are none, or are dates written as whole numbers."""
    bare = _without_limits(present)
    found = find_number_format(bare, decimal=separators.decimal, thousands=separators.thousands)
    if found is None:
        return None
    number, fit = found
    strange = _strange(present, fit)
    marks = _gap_marks(present, strange)
    if marks is None:
        return None
    whole = number.digits == 0
    if whole and number.plain and (dates := _dates(name, present, texts)):
        return dates
    numbers = {text: count for text, count in present.items() if text not in strange}
    gaps = (*marks, *_sentinels(numbers, number))
    kept = [text for text in numbers if text not in gaps]
    reason = _constancy(kept) if not marks else ColumnReason()
    column = Column(
        name=name,
        kind="integer" if whole else "numeric",
        modelled=True,
        reason=reason,
        number=number,
        gaps=gaps,
    )
    strays = tuple(text for text in strange if text not in gaps)
    return InferredColumn(column, strays)


def _dates(name: str, present: Mapping[str, int], texts: Sequence[str]) -> InferredColumn | None:
    """The column as dates; None where too many cells are none."""
    words = tuple(text for text, count in present.items() if count > 1 and not any(map(str.isdigit, text)))
    dated = {text: count for text, count in present.items() if text not in words}
    if len(words) > MOST_MARKS or not dated:
        return None
    found = find_date_formats(dated, texts)
    if found is None:
        return None
    formats, strange = found
    marks = _gap_marks(present, {*words, *strange}, few=len(words) + len(strange))
    if marks is None:
        return None
    dates = [text for text in dated if text not in strange]
    gaps = (*marks, *_date_sentinels(dates, formats[0]))
    reason = ColumnReason(code="dates" if len(formats) == 1 else "open_dates", value=str(formats[0]))
    column = Column(name=name, kind="datetime", modelled=True, dates=formats, gaps=gaps, reason=reason)
    strays = tuple(text for text in (*words, *strange) if text not in gaps)
    return InferredColumn(column, strays)


def _without_limits(present: Mapping[str, int]) -> dict[str, int]:
    """The texts without the signs of limits of detection."""
    bare: dict[str, int] = {}
    for text, count in present.items():
        limit = limit_of(text)
        number = limit[1] if limit else text
        bare[number] = bare.get(number, 0) + count
    return bare


def _strange(present: Mapping[str, int], fit: FormatFit) -> set[str]:
    """The texts that are no numbers."""
    strange = set(fit.strange)
    return {text for text in present if (limit[1] if (limit := limit_of(text)) else text) in strange}


def _gap_marks(present: Mapping[str, int], strange: set[str], few: int = FEW_NUMBERS) -> tuple[str, ...] | None:
    """The strange texts of a column of numbers or dates that repeat, and so stand for a gap, the commonest first.

    Args:
        present: how often each text stands in the column.
        strange: the texts that are no numbers, or no dates.
        few: so few different numbers beside repeated texts make a category of both.

    Returns:
        None where so much is strange that the column is something else.
    """
    total = sum(present.values())
    repeated = sorted((text for text in strange if present[text] > 2), key=lambda text: (-present[text], text))
    marks = tuple(repeated[:MOST_MARKS])
    marked = sum(present[text] for text in marks)
    rest = sum(present[text] for text in strange) - marked
    if marked + rest <= STRAY_SHARE * total:
        return marks
    others = len(present) - len(strange)
    if marked > MOST_MARKED * total or rest > (1 - NEARLY_ALL) * (total - marked) or _are_codes(present, strange):
        return None
    return marks if not marks or others > max(few, len(strange)) else None


def _are_codes(present: Mapping[str, int], strange: set[str]) -> bool:
    """Whether strange cells and numbers are codes of one kind, such as `12A` beside `120`, or `007` beside `123`."""
    alike = [text for text in strange if text.isalnum() and any(map(str.isdigit, text))]
    lengths = {len(text) for text in present if text not in strange}
    return 2 * len(alike) > len(strange) and all(len(text) in lengths for text in alike)


def _sentinels(numbers: Mapping[str, int], number: NumberFormat) -> tuple[str, ...]:
    """Texts of numbers that stand for "no value": such as people choose for it, and far from all the others."""
    suspects = {text for text in numbers if _SENTINEL(text)}
    if not suspects:
        return ()
    values = {text: _value(text, number) for text in numbers}
    others = np.array([value for text, value in values.items() if text not in suspects])
    if len(others) < MOST_MARKS or sum(numbers[text] for text in suspects) > MOST_MARKED * sum(numbers.values()):
        return ()
    low, high = float(others.min()), float(others.max())
    reach = FAR_RANGES * (high - low)
    return tuple(sorted(text for text in suspects if not low - reach <= values[text] <= high + reach))


def _value(text: str, number: NumberFormat) -> float:
    limit = limit_of(text)
    return number.read(limit[1] if limit else text)[0]


def _date_sentinels(texts: Sequence[str], written: DateFormat) -> tuple[str, ...]:
    """Texts of dates that stand for "no date": the first or last day of a year that people choose for it, far off."""
    values = {}
    for text in texts:
        try:
            values[text] = written.read(text)
        except DataError:
            continue
    suspects = {text for text, value in values.items() if _is_no_date(value)}
    others = [value for text, value in values.items() if text not in suspects]
    if not suspects or len(others) < MOST_MARKS:
        return ()
    low, high = min(others), max(others)
    reach = max(high - low, 5 * YEAR)
    return tuple(sorted(text for text in suspects if not low - reach <= values[text] <= high + reach))


def _is_no_date(seconds: float) -> bool:
    day = str(np.datetime64(int(seconds // 86400), "D"))
    return day[:4] in NO_DATE_YEARS and day[5:] in ("01-01", "12-30", "12-31")


def _with_marks(column: Column, counts: Mapping[str, int]) -> Column:
    """The column with the marks of its training cells, where these are more than plain values and empty cells."""
    if column.kind not in (*NUMERIC, "datetime"):
        return column
    open_column = msgspec.structs.replace(column, marks=(USUAL,))  # so that it reads any mark
    marks: Counter[str] = Counter()
    for text, count in counts.items():
        try:
            marks[open_column.read(text)[1]] += count
        except DataError:
            continue
    written_with_affix = column.number.affix != ("", "")
    if set(marks) <= {USUAL, EMPTY} and not written_with_affix:
        return column
    ranked = sorted(marks, key=lambda mark: (-marks[mark], mark))
    return msgspec.structs.replace(column, marks=tuple(ranked))


def _is_boolean(words: set[str]) -> bool:
    """True and false in some spelling; one letter alone may be a category, such as F of F and M."""
    known = words <= value_parsing.TRUE | value_parsing.FALSE
    return known and (len(words) > 1 or len(min(words)) > 1)


def _boolean(name: str, present: Mapping[str, int]) -> Column:
    ranked = sorted(present, key=lambda text: (-present[text], text))
    words = [
        next((text for text in ranked if text.lower() in known), usual)
        for known, usual in ((value_parsing.TRUE, "true"), (value_parsing.FALSE, "false"))
    ]
    reason = _constancy(list(present))
    return Column(name=name, kind="boolean", modelled=True, reason=reason, true=words[0], false=words[1])


def _text(name: str, texts: Sequence[str]) -> Column:
    present = [text for text in texts if text]
    distinct = len(set(present))
    if distinct > MAX_LEVELS or (distinct > 20 and distinct > 0.5 * len(present)):
        wordy = np.mean([" " in text for text in present[:1000]]) > 0.5
        code: Literal["free_text", "identifier"] = "free_text" if wordy else "identifier"
        reason = ColumnReason(code=code, distinct=distinct, rows=len(present))
        return Column(name=name, kind="ignore", modelled=False, reason=reason)
    return Column(name=name, kind="categorical", modelled=True, reason=_constancy(present))


def _constancy(texts: Sequence[str]) -> ColumnReason:
    """The reason of a column whose values are all the same; no reason for any other column."""
    return ColumnReason(code="constant", value=texts[0]) if len(set(texts)) == 1 else ColumnReason()
