"""A table, read strictly and once: batches of text rows, with line numbers and rejected rows.

No value is guessed and no row is dropped in silence: every record of the file is a row or is rejected with a reason.
Memory is bounded by one batch. What the cells mean is the schema's business (`typed_reader.py`), never the file's.
"""

import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

from anomvae.config import Dialect
from anomvae.errors import DataError
from anomvae.records.results import RejectedRow
from anomvae.records.sentences import TableWarning
from anomvae.table import header, parquet
from anomvae.table.csv_decode import CsvRecords, PhysicalLines, ResumePoint, TextRecord, TextSource
from anomvae.table.csv_fast import FastCsvParser, ParsedBlock, UnquotedRows

BATCH_ROWS = 4096
BATCH_CELLS = 1 << 20
PEEK = 200  # records that are looked at before the first is given out
FAST_FROM = 1 << 18  # characters; a shorter file is read before Arrow would be loaded
MAX_REMEMBERED = 10_000


class TextBatch(msgspec.Struct, frozen=True):
    """Rows as text: `rows` (n lists of fields, in the file's column order) and their `lines` (n).

    `parsed` holds the modelled columns where the fast parser read them together with the text.
    """

    rows: list[list[str]] | UnquotedRows
    lines: list[int] | range
    parsed: ParsedBlock | None = None

    def split(self, size: int) -> Iterator["TextBatch"]:
        """The same rows in batches of a size; what was counted of all of them goes with the first."""
        for at in range(0, len(self.rows), size):
            rows, parsed = slice(at, at + size), self.parsed
            if parsed is not None:
                columns = {name: values[rows] for name, values in parsed.columns.items()}
                parsed = ParsedBlock(columns, {} if at else parsed.filled)
            yield TextBatch(self.rows[rows], self.lines[rows], parsed)


class TableReader:
    """Reads one input.

    Args:
        name: a path (.csv, .csv.gz, .parquet; anything else is CSV) or `-` for standard input.
        dialect: how text becomes cells.
        file: the input, opened by the caller and left open; None to open `name`.
        resume: of a grown file, read only the rows after this part (the header is still read).

    Attributes:
        names: the header.
        header_line: the line on which it stands.
        rows: records read so far, with the rejected ones.
        rejects: the first ten thousand rejected records, by line; `rejected` counts all of them.

    Raises:
        DataError: the input cannot be read, or has no header.
    """

    def __init__(
        self, name: str, dialect: Dialect, file: BinaryIO | None = None, resume: ResumePoint | None = None
    ) -> None:
        self.name, self.dialect, self._file, self._resume = name, dialect, file, resume
        self.source = TextSource(name, dialect.encoding, file)
        self.rejects: list[RejectedRow] = []
        self.rejected = 0
        self.rows = 0
        self.header_line = 1
        self._line_offset = dialect.skip_lines  # lines before the first that the records count
        self._peeked: deque[TextRecord] = deque()
        self._trailing_delimiter = False
        self._parquet = parquet.ParquetReader(name, file) if name.endswith(".parquet") else None
        self.names: list[str] = self._parquet.names if self._parquet else self._read_header()

    @property
    def warnings(self) -> list[TableWarning]:
        """What was noticed and tolerated."""
        return self.source.warnings

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, once all batches were taken."""
        return self._parquet.sha256 if self._parquet else self.source.sha256

    @property
    def lines(self) -> int:
        """Physical lines read so far, from the start of the file."""
        return 0 if self._parquet else self._records.lines_read + self._line_offset

    @property
    def continues(self) -> bool:
        """Whether a grown version of this file can be read from here on, once all batches were taken."""
        resumable = not self._parquet and not self.name.endswith(".gz")
        return resumable and self.source.ends_with_newline and self.source.bom_encoding in (None, "utf-8-sig")

    @property
    def announced(self) -> int:
        """Rows that a Parquet file says it has; 0 for text, which says nothing."""
        return self._parquet.announced if self._parquet else 0

    def reject(self, row: RejectedRow) -> None:
        """Count a record as unreadable."""
        self.rejected += 1
        if len(self.rejects) < MAX_REMEMBERED:
            bisect.insort(self.rejects, row, key=lambda one: one.line)

    def batches(self, fast: FastCsvParser | None = None) -> Iterator[TextBatch]:
        """The rows, in order.

        Args:
            fast: parses the blocks of a long file that hold nothing unusual; None to read every record with care.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        size = _batch_size(len(self.names))
        fast = fast if fast and fast.usable and not self._parquet else None
        records = self._parquet.records() if self._parquet else self._text_records()
        held: list[TextRecord] = []
        for record in records:
            held.append(record)
            block = self._parsed_block(fast) if fast else None
            if block or len(held) == size:
                yield _batch(held)
                held = []
            while fast and block:
                yield from block.split(size)
                block = self._parsed_block(fast)
        self._end()
        if held:
            yield _batch(held)

    def chunks(self, cells: int) -> Iterator[tuple[int, bytes]]:
        """The rows of a Parquet file in place of `batches`, for `chunk_batches`, each with its first row's line.

        Args:
            cells: about so many in a chunk.

        Raises:
            DataError: the file as a whole cannot be trusted to be this table.
        """
        assert self._parquet  # noqa: S101 (only such a file announces rows)
        width = len(self.names)
        size = _batch_size(width)
        yield from self._parquet.chunks(size * max(cells // (size * width), 1))
        self._end()

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

    def _read_header(self) -> list[str]:
        self._text = PhysicalLines(self.source.blocks())
        for _ in range(self.dialect.skip_lines):
            if next(self._text, None) is None:
                break
        self._records = CsvRecords(self._text, self.dialect.delimiter)
        first = next(self._records, None)
        if first is None or (not any(field.strip() for field in first.fields) and first.error is None):
            raise DataError("empty_file", "holds no header and no rows")
        if first.error is not None:
            raise first.error
        self.header_line = first.line + self.dialect.skip_lines
        return header.clean(first.fields)

    def _text_records(self) -> Iterator[TextRecord]:
        """The rows of a text file; records that are no rows of this table are rejected."""
        self._peeked.extend(islice(self._records, PEEK))
        self._trailing_delimiter = self._every_row_ends_empty(self._peeked)
        width = len(self.names)
        if self._resume:
            self._peeked.clear()
            self._line_offset = self._resume.lines
            self._read_on(self._resume)
        while (record := self._peeked.popleft() if self._peeked else next(self._records, None)) is not None:
            self.rows += 1
            line = record.line + self._line_offset
            fields = record.fields[:-1] if self._trailing_delimiter and record.fields[-1:] == [""] else record.fields
            if record.error is not None:
                self.reject(RejectedRow(line=line, code=record.error.code, message=record.error.message))
            elif len(fields) != width:
                message = f"{len(record.fields)} fields where the header has {width}"
                self.reject(RejectedRow(line=line, code="row_width", message=message))
            elif fields == self.names:
                self.reject(RejectedRow(line=line, code="repeated_header", message="the header again"))
            else:
                yield TextRecord(fields, line)

    def _read_on(self, resume: ResumePoint) -> None:
        """Go on after the part of a grown file that was read before."""
        warnings = self.source.warnings
        encoding = "utf-8" if self.source.bom_encoding else self.dialect.encoding
        self.source = TextSource(self.name, encoding, self._file, resume)
        self.source.warnings += warnings
        self._text = PhysicalLines(self.source.blocks())
        self._records = CsvRecords(self._text, self.dialect.delimiter)

    def _parsed_block(self, fast: FastCsvParser) -> TextBatch | None:
        """The next block of text, where the records before it have ended and the fast parser takes it."""
        if self._peeked or self._trailing_delimiter or self._text.characters < FAST_FROM:
            return None
        if (block := self._text.take_block()) is None:
            return None
        parsed = fast.parse(block)
        if parsed is None:
            self._text.give_back(block)
            return None
        lines = block.removesuffix("\n").split("\n")
        first = self.lines + 1
        self.rows += len(lines)
        self._records.skip(len(lines))
        return TextBatch(UnquotedRows(lines, fast.delimiter), range(first, first + len(lines)), parsed)

    def _every_row_ends_empty(self, peeked: Sequence[TextRecord]) -> bool:
        """Whether every row ends in a delimiter that the header lacks.

        Raises:
            DataError: every row has the same wrong width, so that its cells cannot be assigned to columns.
        """
        widths = {len(record.fields) for record in peeked if record.error is None}
        if len(widths) != 1 or widths == {len(self.names)} or len(peeked) < 2:
            return False
        width = widths.pop()
        if width == len(self.names) + 1 and all(record.fields[-1] == "" for record in peeked if not record.error):
            self.warnings.append(TableWarning(code="trailing_delimiter"))
            return True
        message = f"every row has {width} fields, the header {len(self.names)}: columns cannot be told"
        raise DataError("width_mismatch_all", message, line=peeked[0].line + self.dialect.skip_lines)

    def _end(self) -> None:
        """Count the rows of a Parquet file, and warn of a table without rows."""
        if self._parquet:
            self.rows = self._parquet.count
        if not self.rows:
            self.warnings.append(TableWarning(code="header_only"))


def chunk_batches(chunk: bytes, line: int, width: int) -> Iterator[TextBatch]:
    """The rows of a chunk, in the batches that the whole file has there.

    Args:
        chunk: of `TableReader.chunks`.
        line: of its first row.
        width: columns of the table.
    """
    records, size = parquet.chunk_records(chunk, line), _batch_size(width)
    while held := list(islice(records, size)):
        yield _batch(held)


def columns_of(rows: Sequence[Sequence[str]], positions: Sequence[int]) -> list[list[str]]:
    """The chosen columns of text rows, as columns."""
    return [[row[at] for row in rows] for at in positions]


def _batch_size(width: int) -> int:
    """Rows of a batch of a table with so many columns."""
    return max(min(BATCH_ROWS, BATCH_CELLS // max(width, 1)), 1)


def _batch(records: Sequence[TextRecord]) -> TextBatch:
    return TextBatch([record.fields for record in records], [record.line for record in records])
