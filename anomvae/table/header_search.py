"""Which of the first records of a file is its header, which lines of units stand under it, and how it is delimited.

Where nothing is known of a file, as at `fit`, the rows show it: most of their cells are numbers or dates in columns
where a header and lines of units have words. Where the columns of a model are known, the header is the record that
names them. A record that looks like a row is never taken for a line before the header, so that no row is lost.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

import msgspec

from anomvae.errors import DataError
from anomvae.model.value_parsing import MISSING, is_value
from anomvae.table.csv_decode import CsvRecords, TextRecord

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
MOST_UNITS = 3  # lines of units or kinds under a header
NEARLY_ALL = 0.8  # of the cells of a column, or of the records of a table
TAIL = 20  # of the records that are looked at, the last ones show how wide a row is
GAPS = MISSING | {
    "-",
    "--",
    ".",
    "?",
    "#N/A",
    "#NA",
    "<NA>",
    "(null)",
    "(blank)",
    "(none)",
    "#DIV/0!",
    "#VALUE!",
    "nil",
}
LOGGERS = ("TOA5", "TOB1", "TOACI1")  # formats whose first line tells of the logger, in any number of fields

_VALUE = re.compile(r"[\s+\-\u2212(<>~$€£¥.,'\"]*[0-9]").match
_KIND = re.compile(  # what exporters write under names: units between brackets, types, and kinds of a logger's values
    r"[(\[{].*[)\]}]|"
    r"u?int(?:eger)?(?:8|16|32|64)?|big_?int|small_?int|double(?: precision)?|float(?:32|64)?|real|number|numeric.*|"
    r"decimal.*|str(?:ing)?|object|text|(?:n?var)?char.*|bool(?:ean)?|date|time(?:stamp)?.*|datetime.*|categor.*|"
    r"avg|smp|min|max|std|tot|med|samp(?:le)?|mean|wvc",
    re.IGNORECASE,
).fullmatch
_UNIT = re.compile(
    r"[^a-z0-9]{1,3}|[a-zµμ°%Ω]{1,3}(?:[/*·^. -]?[a-z0-9µμ°%]{1,3})*|"
    r"deg(?:rees?)?[ _]?[cf]?|volts?|amps?|watts?|seconds?|minutes?|hours?|days?|percent|celsius|met(?:er|re)s?",
    re.IGNORECASE,
).fullmatch


class HeaderPlace(msgspec.Struct, frozen=True):
    """Where a header stands among the first records: the record `at`, with so many lines of `units` under it."""

    at: int
    units: int = 0


class _Rows:
    """What the rows are like, by the last of the first records.

    Args:
        records: of the file, from its start.

    Attributes:
        width: fields of most of them.
        cells: those that are not empty, by column.
        active: columns that have any.
        valued: columns whose cells are numbers, dates, or the like.
    """

    def __init__(self, records: Sequence[TextRecord]) -> None:
        usual = [record.fields for record in records if not record.error and not record.comment]
        widths = Counter(map(len, usual[-TAIL:])).most_common(1)
        self.width = widths[0][0] if widths else 0
        rows = [fields for fields in usual if len(fields) == self.width]
        leading, half = rows[: MOST_UNITS + 1], max(len(rows) // 2, MOST_UNITS + 1)
        words = [fields for fields in leading if not any(map(is_value, fields))]  # the header, lines of units
        rows = rows[min(half, len(rows) - 1) :]
        rows = [fields for fields in rows if fields not in words] or rows  # they may stand here again
        self.cells = [[text for row in rows if (text := row[j].strip())] for j in range(self.width)]
        self.active = frozenset(j for j, cells in enumerate(self.cells) if cells)
        self.valued = frozenset(j for j in self.active if _mostly_values(self.cells[j]))

    def shows(self, record: TextRecord) -> bool:
        """Whether a record is such a row: of this width, with a value in half of the columns that have values."""
        if record.error or len(record.fields) != self.width or _describes(record):
            return False
        cells = [text for j in self.valued if (text := record.fields[j].strip())]
        return bool(cells) and 2 * sum(map(holds_value, cells)) >= len(cells)

    def named_by(self, fields: Sequence[str]) -> bool:
        """Whether fields can be the names of the columns: most columns have one, and no cell lies beyond them."""
        if not self.active or not max(self.active) < len(fields) <= self.width:
            return False
        return 2 * sum(bool(fields[j].strip()) for j in self.active) > len(self.active)

    def has_units(self, record: TextRecord) -> bool:
        """Whether a record is a line of units or kinds: words in columns that have values, and no value."""
        fields = record.fields
        if record.error or not max(self.active, default=0) < len(fields) <= self.width:
            return False
        words = {j: text for j in self.valued if (text := fields[j].strip())}
        if not words or any(is_value(text) or text in GAPS or text in self.cells[j] for j, text in words.items()):
            return False
        if len(words) > 1:
            return all(map(is_unit, words.values())) or not any(map(holds_value, words.values()))
        others = [text for j, field in enumerate(fields) if j not in words and (text := field.strip())]
        return all(map(is_unit, words.values())) and all(map(_KIND, others))


def find_header(records: Sequence[TextRecord], units: int = MOST_UNITS, *, first: bool = False) -> HeaderPlace:
    """The header of a file of which nothing is known.

    Args:
        records: the first ones.
        units: lines of units under it, at most.
        first: whether the first record is known to be the header.

    Returns:
        The first record that can name the columns of the rows below; the first of all where none can.
    """
    rows = _Rows(records)
    at = 0 if first else _found(records, rows)
    return HeaderPlace(at, _count_units(records[at + 1 :], rows, units))


def find_header_of(
    records: Sequence[TextRecord], needed: Collection[str], units: int = 0, *, first: bool = False
) -> HeaderPlace:
    """The header of a file that should have certain columns.

    Args:
        records: the first ones.
        needed: names that it should have.
        units: lines of units under it, at most.
        first: whether the first record is known to be the header.

    Returns:
        The first record with all the names; else the one with the most of them, if that is more than half of them; else
        the first of all.

    Raises:
        DataError: `no_header`, where rows stand before it.
    """
    at = 0 if first else _with_most(records, set(needed))
    if not at and not units:
        return HeaderPlace(0)
    rows = _Rows(records[at:])
    for record in records[:at]:
        if not _describes(record) and (_is_data(record) or _may_be_row(record, records[at], rows)):
            message = f"rows stand before the header, which is in line {records[at].line}; move them below it"
            raise DataError("no_header", message, line=record.line)
    below = records[at + 1 :]
    return HeaderPlace(at, len(below) if units and _only_units(below) else _count_units(below, rows, units))


def find_delimiter(lines: Iterable[str]) -> str:
    """The delimiter under which the first lines are most nearly a table; a comma where others do not fit better."""
    lines = list(lines)
    best, best_fit = ",", (False, 0.0)
    for delimiter in DELIMITERS:
        fit = _fit(_whole_records(lines, delimiter))
        if fit > best_fit:
            best, best_fit = delimiter, fit
    return best


def holds_value(text: str) -> bool:
    """Whether a cell looks like a number or a date in any spelling."""
    spaced = " " in text and 2 * sum("0" <= sign <= "9" for sign in text) > sum(map(str.isalnum, text))
    return spaced or bool(_VALUE(text))


def is_unit(text: str) -> bool:
    """Whether a cell looks like a unit, or the kind or type of a column."""
    return bool(_UNIT(text) or _KIND(text))


def _mostly_values(cells: Sequence[str]) -> bool:
    told = [text for text in cells if text not in GAPS]
    return bool(told) and sum(map(holds_value, told)) >= NEARLY_ALL * len(told)


def _with_most(records: Sequence[TextRecord], needed: set[str]) -> int:
    """The index of the first record with the most of the needed names, if that is more than half of them; else 0."""
    found = [len(needed.intersection(name.replace("\ufeff", "") for name in record.fields)) for record in records]
    most = max(found, default=0)
    return found.index(most) if 2 * most > len(needed) else 0


def _is_data(record: TextRecord) -> bool:
    """Whether a record, of whatever width, has values in most of its fields."""
    return len(record.fields) > 1 and 2 * sum(map(is_value, record.fields)) > len(record.fields)


def _may_be_row(record: TextRecord, header: TextRecord, rows: _Rows) -> bool:
    """Whether a record before the header is like the rows below: as wide, with values where they have them."""
    if record.error or len(record.fields) not in (len(header.fields), rows.width):
        return False
    if rows.valued:
        return rows.shows(record)
    return 2 * sum(bool(text.strip()) for text in record.fields) > len(header.fields)


def _found(records: Sequence[TextRecord], rows: _Rows) -> int:
    """The index of the header."""
    first_row = next((i for i, record in enumerate(records) if rows.shows(record)), len(records))
    able = [i for i in range(first_row) if not records[i].error and rows.named_by(records[i].fields)]
    at = next((i for i in able if not _describes(records[i])), able[0] if able else 0)
    return at if _skippable(records, at, rows) else 0


def _describes(record: TextRecord) -> bool:
    """Whether a record of the table's width tells of the file rather than of its columns."""
    first = next((text.strip() for text in record.fields if text.strip()), "")
    return record.comment or first.endswith((":", "=")) or first in LOGGERS


def _skippable(records: Sequence[TextRecord], at: int, rows: _Rows) -> bool:
    """Whether the record `at` is a header for certain, and none of those before it is a row."""
    names = [text.strip() for text in records[at].fields if text.strip()]
    if len(set(names)) < len(names) or not GAPS.isdisjoint(names):
        return False
    if any(_is_data(record) and not _describes(record) for record in records[:at]):
        return False
    if rows.valued:
        return True
    # A header may lack the name of one column, as R writes it, so that a title has to be far narrower than the rows.
    short = all(record.comment or 3 * sum(map(bool, record.fields)) <= rows.width for record in records[:at])
    return short and not any(name.strip() in cells for name, cells in zip(records[at].fields, rows.cells, strict=False))


def _count_units(below: Sequence[TextRecord], rows: _Rows, most: int) -> int:
    """How many of the records below a header are lines of units."""
    count = 0
    while count < min(most, len(below)) and rows.has_units(below[count]):
        count += 1
    return count


def _only_units(records: Sequence[TextRecord]) -> bool:
    """Whether the last records of a file are few and all of units or kinds, so that there is no row below to tell."""
    if len(records) > MOST_UNITS:
        return False
    texts = [text for record in records for field in record.fields if (text := field.strip())]
    return bool(texts) and all(map(is_unit, texts))


def _whole_records(lines: Sequence[str], delimiter: str) -> list[TextRecord]:
    """The records of some lines, up to the first that cannot be read, or that they cut off."""
    records: list[TextRecord] = []
    with suppress(DataError):
        for record in CsvRecords(iter(lines), delimiter):
            records.append(record)
    return records


def _fit(records: Sequence[TextRecord]) -> tuple[bool, float]:
    """How nearly records are a table of several columns: whether it has a header, and the share of alike records."""
    rows = _Rows(records)
    if rows.width < 2:
        return False, 0.0
    table = records[_found(records, rows) :]
    table = [record for record in table if not record.comment]
    alike = sum(len(record.fields) == rows.width for record in table)
    return bool(table) and rows.named_by(table[0].fields), alike / max(len(table), 1)
