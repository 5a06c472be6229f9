"""Which records of a text file are rows of its table, which are lines to skip, and which are rejected.

What is skipped (the header again, lines of units, comments, padding) is counted and told with its first line; what
looks like a row and cannot be one is rejected with its line. No cell is ever moved to another column.
"""

from collections.abc import Sequence

from anomvae.errors import DataError
from anomvae.model.value_parsing import quoted
from anomvae.records.results import RejectedRow
from anomvae.records.sentences import TableWarning, WarningCode
from anomvae.table.csv_decode import TextRecord
from anomvae.table.header_search import NEARLY_ALL

SHOWN = 60  # characters of a skipped line
SKIPPED: tuple[WarningCode, ...] = ("preamble", "units_lines", "repeated_header", "comment_lines")  # in this order


class RowSifter:
    """Sifts the records of a file.

    Args:
        before: records before the header.
        header: the header.
        units: lines of units under it.

    Attributes:
        names: of the columns.
        padding: fields that rows have behind those that have names.
    """

    def __init__(self, before: Sequence[TextRecord], header: TextRecord, units: Sequence[TextRecord]) -> None:
        self.names = header.fields
        self.padding = 0
        self._header = _stripped(header.fields)
        self._units = [_stripped(record.fields) for record in units]
        self._before = {(len(record.fields), _first(record)) for record in before if not record.comment}
        self._told: dict[WarningCode, TableWarning] = {}
        self._in_header = False  # whether the record before was the header again, or stood under it
        for record in before:
            if record.comment:
                self._skip("comment_lines", record)
            elif any(map(str.strip, record.fields)):
                self._skip("preamble", record)
        for record in units:
            self._skip("units_lines", record)

    def fit_width(self, rows: Sequence[TextRecord]) -> TableWarning | None:
        """Find the padding by the first rows of the file; a warning where there is some.

        Raises:
            DataError: `width_mismatch_all`: all have the same wrong width, so that cells cannot be assigned to columns.
        """
        usual = [record.fields for record in rows if not self._is_odd(record)]
        widths = [len(fields) for fields in usual]
        if not widths:
            return None
        named, width = len(self.names), max(set(widths), key=widths.count)
        alike = [fields for fields in usual if len(fields) == width]
        nearly_all = len(alike) >= NEARLY_ALL * len(usual)
        if width == named and self.names[-2:] == ["", ""] and nearly_all:
            named -= next(i for i, name in enumerate([*reversed(self.names), "end"]) if name)
        if width > named > 0 and nearly_all and _share_empty(alike, named) >= NEARLY_ALL:
            self.names, self.padding = self.names[:named], width - named
            code: WarningCode = "trailing_delimiter" if self.padding == 1 else "padding_columns"
            return TableWarning(code=code, count=0 if self.padding == 1 else self.padding)
        if len(set(widths)) == 1 and width != len(self.names) and len(rows) > 1:
            message = f"every row has {width} fields, the header {len(self.names)}: columns cannot be told"
            raise DataError("width_mismatch_all", message, line=rows[0].line)
        return None

    def sift(self, record: TextRecord, line: int) -> list[str] | RejectedRow | None:
        """The cells of a row, why a record is no row, or None where it is skipped and counted.

        Args:
            record: the next one.
            line: of the file, on which it starts.
        """
        fields, width = record.fields, len(self.names)
        unlike = len(fields) != width or self._in_header or fields[0].strip() == self._header[0]
        if unlike and self._is_skipped(record, line):
            return None
        self._in_header = False
        if record.error is not None:
            return RejectedRow(line=line, code=record.error.code, message=record.error.message)
        if len(fields) == width and not (self.padding and not fields[-1]):
            return fields
        if not self.padding or len(fields) != width + self.padding:
            told = f"the header has {width}" if not self.padding else f"other rows have {width + self.padding}"
            return RejectedRow(line=line, code="row_width", message=f"{len(fields)} fields where {told}")
        stray = next((text for text in fields[width:] if text.strip()), None)
        if stray is not None:
            message = f"{quoted(stray)} stands beyond the {width} columns of the header"
            return RejectedRow(line=line, code="row_width", message=message)
        return fields[:width]

    def has_header(self, block: str, delimiter: str) -> bool:
        """Whether a block of text without quotes has the header again, which `sift` would skip.

        Args:
            block: whole lines.
            delimiter: one character.
        """
        longest = max(self._header, key=len)
        if longest not in block:
            return False
        lines = (line.split(delimiter) for line in block.split("\n") if longest in line)
        return any(_stripped(fields) == self._header for fields in lines)

    def warnings(self) -> list[TableWarning]:
        """What was skipped so far."""
        return [self._told[code] for code in SKIPPED if code in self._told]

    def _is_skipped(self, record: TextRecord, line: int) -> bool:
        """Whether a record is the header again, or one of the lines around it, or a comment; it is counted then."""
        fields = _stripped(record.fields)
        if fields == self._header:
            self._in_header = True
            self._skip("repeated_header", record, line)
        elif self._in_header and fields in self._units:
            self._skip("units_lines", record, line)
        elif len(fields) in (len(self.names), len(self.names) + self.padding):
            return False
        elif record.comment:
            self._skip("comment_lines", record, line)
        elif record.error is None and (len(fields), _first(record)) in self._before:
            self._skip("preamble", record, line)
        else:
            return False
        return True

    def _is_odd(self, record: TextRecord) -> bool:
        """Whether a record says nothing of the width of rows."""
        fields = _stripped(record.fields)
        again = fields == self._header or (len(fields), _first(record)) in self._before
        return record.error is not None or record.comment or again or fields in self._units

    def _skip(self, code: WarningCode, record: TextRecord, line: int = 0) -> None:
        """Count a skipped line.

        Args:
            code: why it is skipped.
            record: that it is.
            line: of the file, on which it starts; 0: the record's own.
        """
        told = self._told.get(code)
        if told is None:
            text = ", ".join(filter(None, _stripped(record.fields))) if code in ("preamble", "units_lines") else ""
            shown = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
            told = TableWarning(code=code, value=shown, line=line or record.line)
        self._told[code] = TableWarning(code=code, value=told.value, line=told.line, count=told.count + 1)


def _stripped(fields: Sequence[str]) -> list[str]:
    return [field.strip() for field in fields]


def _first(record: TextRecord) -> str:
    return record.fields[0].strip() if record.fields else ""


def _share_empty(rows: Sequence[Sequence[str]], start: int) -> float:
    """The share of rows without a cell from the field `start` on."""
    return sum(not any(map(str.strip, fields[start:])) for fields in rows) / len(rows)
