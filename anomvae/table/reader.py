"""A table, read strictly and once: batches of text rows, with line numbers and rejected rows.

No value is guessed and no row is dropped in silence: every record of the file is a row, or is rejected with a reason,
or is one of the lines that stand around rows (`row_sifter.py`), and then it is counted and told.
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
from anomvae.table.header_search import DELIMITERS, find_delimiter, find_header, find_header_of
from anomvae.table.row_sifter import RowSifter
from anomvae.table.totals import LAST_LINES, TotalsWatch

BATCH_ROWS = 4096
BATCH_CELLS = 1 << 20
PEEK = 200  # records that are looked at before the first is given out
PEEK_CHARACTERS = 1 << 20  # of lines that are looked at to find their delimiter
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
        needed: columns that the file should have, by which its header is found; none: it is found by the rows.

    Attributes:
        dialect: the given one, with the delimiter and the lines of units of this file in place of `auto`.
        names: the header.
        header_line: the line on which it stands.
        rows: records read so far, with the rejected ones.
        rejects: the first ten thousand rejected records, by line; `rejected` counts all of them.

    Raises:
        DataError: the input cannot be read, or has no header.
    """

    def __init__(
        self,
        name: str,
        dialect: Dialect,
        file: BinaryIO | None = None,
        resume: ResumePoint | None = None,
        *,
        needed: Sequence[str] = (),
    ) -> None:
        self.name, self.dialect, self._file, self._resume = name, dialect, file, resume
        self.source = TextSource(name, dialect.encoding, file)
        self.rejects: list[RejectedRow] = []
        self.rejected = 0
        self.rows = 0
        self.header_line = 1
        self._line_offset = 0  # lines before the first that the records count
        self._peeked: deque[TextRecord] = deque()
        self._pending_error: DataError | None = None  # what the first rows are refused for
        self._parquet = parquet.ParquetReader(name, file) if name.endswith(".parquet") else None
        self.names: list[str] = self._parquet.names if self._parquet else self._read_header(needed)

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
            if block:
                held += self._totals.let_go()
            if block or len(held) >= size:
                yield _batch(held)
                held = []
            while fast and block:
                self._totals.add(block.rows)
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
            way = "; write these cells as in training, or fit again on such files" if first.column else ""
            message = f"{share}; the first: {first.message} ({first.code}){way}"
            raise DataError("too_many_bad_rows", message, line=first.line, column=first.column)

    def _read_header(self, needed: Sequence[str]) -> list[str]:
        """The names of the columns; the records below are left for `_text_records`."""
        self._text = PhysicalLines(self.source.blocks())
        skipped = 0 if self.dialect.skip_lines == "auto" else self.dialect.skip_lines
        for _ in range(skipped):
            if next(self._text, None) is None:
                break
        self._line_offset = skipped
        if self.dialect.delimiter == "auto":
            self._find_delimiter()
        self._records = CsvRecords(self._text, self.dialect.delimiter)
        self._peek()
        before, first, units = self._take_header(needed)
        if not any(field.strip() for field in first.fields) and first.error is None:
            raise DataError("empty_file", "holds no header and no rows")
        if first.error is not None:
            raise first.error
        self.header_line = first.line
        self._sifter = RowSifter(before, TextRecord(header.clean(first.fields), first.line), units)
        try:
            self.warnings.extend(filter(None, [self._sifter.fit_width(self._peeked)]))
        except DataError as error:  # a header that lacks columns is told first, where it is looked at
            self._pending_error = self._pending_error or error
        self._totals = TotalsWatch(_batch_size(len(self._sifter.names)), whole=self._resume is None)
        return self._sifter.names

    def _find_delimiter(self) -> None:
        """Find what the first lines are split by."""
        found = find_delimiter(self._text.peek(PEEK, PEEK_CHARACTERS))
        self.dialect = msgspec.structs.replace(self.dialect, delimiter=found)
        if found != ",":
            self.warnings.append(TableWarning(code="delimiter_found", value=DELIMITERS[found]))

    def _peek(self) -> None:
        """Read the first records ahead; what ends the file early is raised when the rows are asked for."""
        try:
            for record in islice(self._records, PEEK + 1):
                self._peeked.append(msgspec.structs.replace(record, line=record.line + self._line_offset))
        except DataError as error:
            self._pending_error = error
            if not self._peeked:
                raise
        if not self._peeked:
            raise DataError("empty_file", "holds no header and no rows")

    def _take_header(self, needed: Sequence[str]) -> tuple[list[TextRecord], TextRecord, list[TextRecord]]:
        """The records before the header, the header, and those of units under it."""
        records, most, first = list(self._peeked), self.dialect.units_lines, self.dialect.skip_lines != "auto"
        if needed:
            place = find_header_of(records, needed, 0 if most == "auto" else most, first=first)
        else:
            place = find_header(records, *([] if most == "auto" else [most]), first=first)
        self.dialect = msgspec.structs.replace(self.dialect, units_lines=place.units if most == "auto" else most)
        taken = [self._peeked.popleft() for _ in range(place.at + 1 + place.units)]
        return taken[: place.at], taken[place.at], taken[place.at + 1 :]

    def _text_records(self) -> Iterator[TextRecord]:
        """The rows of a text file; records that are no rows of this table are skipped or rejected."""
        if self._pending_error:
            raise self._pending_error
        if self._resume:
            self._peeked.clear()
            self._line_offset = self._resume.lines
            self._read_on(self._resume)
        while (record := self._next_record()) is not None:
            found = self._sifter.sift(record, record.line)
            self.rows += found is not None
            if isinstance(found, RejectedRow):
                self.reject(found)
            elif found is not None:
                row = record if found is record.fields else TextRecord(found, record.line)
                if (row_before := self._totals.pass_on(row)) is not None:
                    yield row_before
        for row, is_totals in self._totals.end(self.lines):
            if is_totals:
                self.reject(
                    RejectedRow(
                        line=row.line, code="totals_row", message="a totals row, which adds up the rows above it"
                    )
                )
            else:
                yield row

    def _next_record(self) -> TextRecord | None:
        """The next record, with the line of the file that it starts on."""
        if self._peeked:
            return self._peeked.popleft()
        record = next(self._records, None)
        if record is None or not self._line_offset:
            return record
        return msgspec.structs.replace(record, line=record.line + self._line_offset)

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
        if self._peeked or self._sifter.padding or self._text.characters < FAST_FROM:
            return None
        if (block := self._text.take_block(reserve=LAST_LINES)) is None:
            return None
        again = not fast.refuses_header and self._sifter.has_header(block, fast.delimiter)
        parsed = None if again else fast.parse(block)
        if parsed is None:
            self._text.give_back(block)
            return None
        lines = block.removesuffix("\n").split("\n")
        first = self.lines + 1
        self.rows += len(lines)
        self._records.skip(len(lines))
        return TextBatch(UnquotedRows(lines, fast.delimiter), range(first, first + len(lines)), parsed)

    def _end(self) -> None:
        """Count the rows of a Parquet file, tell what was skipped in a text, and warn of a table without rows."""
        if self._parquet:
            self.rows = self._parquet.count
        else:
            self.warnings.extend(self._sifter.warnings())
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
