"""A table, read strictly and once: batches of text columns, with line numbers and rejected rows.

No value is guessed, no row is dropped in silence: records in = rows + rejects. Memory is bounded by one
batch. Types come from the model's schema, never from the file.
"""

import bisect
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

from anomvae.data import header, parquet
from anomvae.data.plain import Plain, PlainRows
from anomvae.data.records import Line, Lines, Records
from anomvae.data.source import Base, Source
from anomvae.errors import DataError
from anomvae.model.schema import Values
from anomvae.settings import Dialect

BATCH_ROWS = 4096
BATCH_CELLS = 1 << 20
PEEK = 200
PLAIN_FROM = 1 << 18  # characters; a shorter file is read before Arrow would be loaded
REMEMBERED = 10_000


class Reject(msgspec.Struct, frozen=True):
    """A record that is no row of this table."""

    line: int
    code: str
    message: str
    column: str | None = None


class TextBatch(msgspec.Struct, frozen=True):
    """Rows as text: `rows` (n lists of fields, in the file's column order) and their `lines` (n).

    `columns` (n,) each: the modelled columns, where the rows were parsed in one go.
    """

    rows: list[list[str]] | PlainRows
    lines: list[int] | range
    columns: Mapping[str, Values] | None = None

    def take(self, chosen: Sequence[int]) -> "TextBatch":
        """The text of some rows."""
        return TextBatch([self.rows[i] for i in chosen], [self.lines[i] for i in chosen])


class Table:
    """One input.

    Args:
        name: a path (.csv, .csv.gz, .parquet, anything else is CSV) or `-`.
        dialect: how text becomes cells.
        file: the input, opened by the caller and left open; None to open `name`.
        base: of a grown file, read only the rows after this part (the header is still read).

    Attributes:
        names: the header, once opened.
        rejects: rejected records by line, the first ten thousand; `rejected` counts all of them.
        warnings: what was noticed and let pass.
    """

    def __init__(self, name: str, dialect: Dialect, file: BinaryIO | None = None, base: Base | None = None) -> None:
        self.name, self.dialect, self._file, self._base = name, dialect, file, base
        self.source = Source(name, dialect.encoding, file)
        self.rejects: list[Reject] = []
        self.rejected = 0
        self.rows = 0
        self.header_line = 1
        self._offset = dialect.skip_lines
        self._peeked: deque[Line] = deque()
        self._trailing = False
        self._parquet = parquet.Table(name, file) if name.endswith(".parquet") else None
        self.names: list[str] = self._parquet.names if self._parquet else self._open()

    @property
    def warnings(self) -> list[str]:
        """What was noticed and let pass."""
        return self.source.warnings

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, once all batches were taken."""
        return self._parquet.sha256 if self._parquet else self.source.sha256

    @property
    def lines(self) -> int:
        """Physical lines read so far, from the start of the file."""
        return 0 if self._parquet else self._records.number + self._offset

    @property
    def continues(self) -> bool:
        """Whether a grown version of this file can be read from here on, once all batches were taken."""
        plain = not self._parquet and not self.name.endswith(".gz")
        return plain and self.source.ends_line and self.source.mark in (None, "utf-8-sig")

    def reject(self, line: int, code: str, message: str, column: str | None = None) -> None:
        """Count a record as unreadable."""
        self.rejected += 1
        if len(self.rejects) < REMEMBERED:
            bisect.insort(self.rejects, Reject(line, code, message, column), key=lambda bad: bad.line)

    def batches(self, plain: Plain | None = None) -> Iterator[TextBatch]:
        """The rows, in order.

        Args:
            plain: takes the blocks that it can, where the file is a long one; None to read every record with care.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        size = _size(len(self.names))
        plain = plain if plain and plain.usable and not self._parquet else None
        lines = self._parquet.rows() if self._parquet else self._rows()
        held: list[Line] = []
        for line in lines:
            held.append(line)
            whole = self._whole(plain) if plain else None
            if whole or len(held) == size:
                yield _batch(held)
                held = []
            while plain and whole:
                yield from _sliced(whole, size)
                whole = self._whole(plain)
        self._check_empty()
        if held:
            yield _batch(held)

    @property
    def announced(self) -> int:
        """Rows that a Parquet file says it has; 0 for text, which says nothing."""
        return self._parquet.announced if self._parquet else 0

    def stretches(self, cells: int) -> Iterator[tuple[int, bytes]]:
        """The rows of a Parquet file in place of `batches`: about so many cells at a time, for `batches_of`.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        assert self._parquet  # noqa: S101 (only such a file announces rows)
        width = len(self.names)
        size = _size(width)
        yield from self._parquet.stretches(size * max(cells // (size * width), 1))
        self._check_empty()

    def _whole(self, plain: Plain) -> TextBatch | None:
        """The next block, where the records before it have ended and it is plain."""
        if self._peeked or self._trailing or self._text.taken < PLAIN_FROM or (block := self._text.whole()) is None:
            return None
        columns = plain.read(block)
        if columns is None:
            self._text.give_back(block)
            return None
        lines = block.removesuffix("\n").split("\n")
        first = self.lines + 1
        self.rows += len(lines)
        self._records.number += len(lines)
        return TextBatch(PlainRows(lines, plain.delimiter), range(first, first + len(lines)), columns)

    def _open(self) -> list[str]:
        self._text = Lines(self.source.blocks())
        for _ in range(self.dialect.skip_lines):
            if next(self._text, None) is None:
                break
        self._records = Records(self._text, self.dialect.delimiter)
        first = next(self._records, None)
        if first is None or (not any(field.strip() for field in first.fields) and first.error is None):
            raise DataError("empty_file", "holds no header and no rows")
        if first.error is not None:
            raise first.error
        self.header_line = first.number + self.dialect.skip_lines
        return header.clean(first.fields)

    def _rows(self) -> Iterator[Line]:
        self._peeked.extend(islice(self._records, PEEK))
        self._trailing = self._ends_empty(self._peeked)
        width = len(self.names)
        if self._base:
            self._peeked.clear()
            self._offset = self._base.lines
            self._go_on(self._base)
        while (line := self._peeked.popleft() if self._peeked else next(self._records, None)) is not None:
            self.rows += 1
            number = line.number + self._offset
            fields = line.fields[:-1] if self._trailing and line.fields[-1:] == [""] else line.fields
            if line.error is not None:
                self.reject(number, line.error.code, line.error.message)
            elif len(fields) != width:
                told = f"{len(line.fields)} fields where the header has {width}"
                self.reject(number, "row_width", told)
            elif fields == self.names:
                self.reject(number, "repeated_header", "the header again")
            else:
                yield Line(fields, number)

    def _go_on(self, base: Base) -> None:
        """Read on after the part of a grown file that was read before."""
        warnings = self.source.warnings
        encoding = "utf-8" if self.source.mark else self.dialect.encoding
        self.source = Source(self.name, encoding, self._file, base)
        self.source.warnings += warnings
        self._text = Lines(self.source.blocks())
        self._records = Records(self._text, self.dialect.delimiter)

    def _ends_empty(self, peeked: Sequence[Line]) -> bool:
        """Whether every row ends in a delimiter that the header lacks.

        Raises:
            DataError: every row has the same wrong width: the columns cannot be told.
        """
        widths = {len(line.fields) for line in peeked if line.error is None}
        if len(widths) != 1 or widths == {len(self.names)} or len(peeked) < 2:
            return False
        width = widths.pop()
        if width == len(self.names) + 1 and all(line.fields[-1] == "" for line in peeked if not line.error):
            self.warnings.append("trailing_delimiter: every row ends in an empty field, which was ignored")
            return True
        message = f"every row has {width} fields, the header {len(self.names)}: columns cannot be told"
        raise DataError("width_mismatch_all", message, line=peeked[0].number + self.dialect.skip_lines)

    def _check_empty(self) -> None:
        if self._parquet:
            self.rows = self._parquet.count
        if not self.rows:
            self.warnings.append("header_only: no rows under the header")

    def check_rejects(self) -> None:
        """Refuse the file when too much of it is unreadable; call it when all batches were taken.

        Raises:
            DataError: `too_many_bad_rows`: more than max(100, 1 %) of the rows, or more than half.
        """
        if self.rejected > max(100, self.rows // 100) or 2 * self.rejected > self.rows:
            first = self.rejects[0]
            share = f"{self.rejected:,} of {self.rows:,} rows are unreadable"
            message = f"{share}; the first: {first.message} ({first.code})"
            raise DataError("too_many_bad_rows", message, line=first.line, column=first.column)


def batches_of(stretch: bytes, line: int, width: int) -> Iterator[TextBatch]:
    """The rows of a stretch, in the batches that the whole file has there.

    Args:
        stretch: a stretch of `Table.stretches`.
        line: of its first row.
        width: columns of the table.
    """
    lines, size = parquet.lines(stretch, line), _size(width)
    while held := list(islice(lines, size)):
        yield _batch(held)


def _size(width: int) -> int:
    """Rows of a batch of a table with so many columns."""
    return max(min(BATCH_ROWS, BATCH_CELLS // max(width, 1)), 1)


def _batch(lines: Sequence[Line]) -> TextBatch:
    return TextBatch([line.fields for line in lines], [line.number for line in lines])


def _sliced(whole: TextBatch, size: int) -> Iterator[TextBatch]:
    """A plain block in batches of the usual size."""
    for at in range(0, len(whole.rows), size):
        part = slice(at, at + size)
        columns = {name: values[part] for name, values in (whole.columns or {}).items()}
        yield TextBatch(whole.rows[part], whole.lines[part], columns)


def columns_of(rows: Sequence[Sequence[str]], positions: Sequence[int]) -> list[list[str]]:
    """The chosen columns of text rows, as columns."""
    return [[row[at] for row in rows] for at in positions]
