"""From physical lines of text to CSV records, each with the line that it starts on.

The csv module in strict mode splits the records. Around it stand the checks that it lacks: limits of the size of a
field and of a record, the line of an unclosed quote, and which quoting errors leave the following rows in step.
"""

import csv
from collections.abc import Iterator

import msgspec

from anomvae.data.source import LINES, MAX_RECORD
from anomvae.errors import DataError

MAX_FIELD = 1 << 20  # characters
MAX_COLUMNS = 10_000


class TextRecord(msgspec.Struct, frozen=True):
    """One record of a table: its fields, the physical line that it starts on, and why it is unreadable, if it is."""

    fields: list[str]
    line: int
    error: DataError | None = None


class PhysicalLines(Iterator[str]):
    """The lines of blocks of whole lines, one by one; between two blocks, the next one can be taken as a whole.

    Args:
        blocks: text, each block of whole lines with their ends.

    Attributes:
        characters: in the blocks of which lines were taken one by one.
    """

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._reversed: list[str] = []  # lines of the block in work, the last one first
        self._returned = ""
        self.characters = 0

    def __next__(self) -> str:
        """The next line with its end."""
        if not self._reversed:
            block, self._returned = self._returned or next(self._blocks), ""
            self.characters += len(block)
            self._reversed = LINES(block)[::-1]
        return self._reversed.pop()

    def take_block(self) -> str | None:
        """The next block; None where lines of the block before it are left, and at the end."""
        return None if self._reversed else self._returned or next(self._blocks, None)

    def give_back(self, block: str) -> None:
        """Put back the block that was taken last, so that its lines are taken one by one."""
        self._returned = block


class CsvRecords(Iterator[TextRecord]):
    """The records of a delimited text.

    Args:
        lines: physical lines with their ends.
        delimiter: one character.

    Attributes:
        lines_read: physical lines taken so far.

    Raises:
        DataError: where the text can no longer be split into rows with certainty.
    """

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        csv.field_size_limit(MAX_FIELD)
        self.lines_read = 0
        self._record_lines: list[str] = []  # physical lines of the record in work
        self._record_size = 0
        self._reader = csv.reader(self._limited(lines), delimiter=delimiter, strict=True)

    def _limited(self, lines: Iterator[str]) -> Iterator[str]:
        """The same lines, counted; refuses a record of more than 8 MiB."""
        for line in lines:
            self.lines_read += 1
            self._record_lines.append(line)
            self._record_size += len(line)
            if self._record_size > MAX_RECORD:
                message = "a quote is opened here and not closed within 8 MiB"
                raise DataError("unclosed_quote", message, line=self._start)
            yield line

    @property
    def _start(self) -> int:
        """The line on which the record in work starts."""
        return self.lines_read - len(self._record_lines) + 1

    def __next__(self) -> TextRecord:
        """The next record that is not a blank line."""
        while True:
            self._record_lines, self._record_size = [], 0
            try:
                fields = next(self._reader)
            except csv.Error as error:
                return TextRecord([], self._start, self._row_error(str(error)))
            if fields:
                return TextRecord(fields, self._start, self._nul_error())

    def _nul_error(self) -> DataError | None:
        if any("\0" in line for line in self._record_lines):
            return DataError("nul_byte", "holds a NUL byte", line=self._start)
        return None

    def _row_error(self, csv_message: str) -> DataError:
        """Why the record in work is unreadable, in our words.

        Raises:
            DataError: the following rows may be out of step, so that the file as a whole is refused.
        """
        line = self._start
        if "unexpected end of data" in csv_message:
            raise DataError("unclosed_quote", "a quote is opened here and never closed", line=line)
        text = "".join(self._record_lines)
        if "field larger" in csv_message:
            error = DataError("field_too_long", "a field is longer than 1 MiB", line=line)
            in_step = '"' not in text
        else:
            error = DataError("bad_quoting", "text stands after a closing quote", line=line)
            in_step = len(self._record_lines) == 1 and text.count('"') % 2 == 0
        if not in_step:
            raise error
        return error
