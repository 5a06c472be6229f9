"""Lines of text to records, each with the line that it starts on.

The csv module in strict mode reads the records; around it stand the checks that it lacks: limits per field
and record, the line of an unclosed quote, and which quoting errors leave the rows after them in step.
"""

import csv
from collections.abc import Iterator

import msgspec

from anomvae.data.source import LINES, MAX_RECORD
from anomvae.errors import DataError

MAX_FIELD = 1 << 20
MAX_COLUMNS = 10_000


class Line(msgspec.Struct, frozen=True):
    """One record: its fields, the physical line of its start, and why it is unreadable, if it is."""

    fields: list[str]
    number: int
    error: DataError | None = None


class Lines(Iterator[str]):
    """Physical lines of blocks of whole lines; a block of which no line was taken yet can be taken whole.

    Attributes:
        taken: characters of the blocks so far.
    """

    def __init__(self, blocks: Iterator[str]) -> None:
        self._blocks = blocks
        self._held: list[str] = []
        self._refused = ""
        self.taken = 0

    def __next__(self) -> str:
        """The next line with its end."""
        if not self._held:
            block, self._refused = self._refused or next(self._blocks), ""
            self.taken += len(block)
            self._held = LINES(block)[::-1]
        return self._held.pop()

    def whole(self) -> str | None:
        """The next block; None in the midst of one, and at the end."""
        return None if self._held else self._refused or next(self._blocks, None)

    def give_back(self, block: str) -> None:
        """Return a block that was taken whole, to be taken line by line."""
        self._refused = block


class Records(Iterator[Line]):
    """Records of a delimited text.

    Args:
        lines: physical lines with their ends.
        delimiter: one character.

    Attributes:
        number: physical lines taken so far.

    Raises:
        DataError: where the text can no longer be split into rows with certainty.
    """

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        csv.field_size_limit(MAX_FIELD)
        self.delimiter = delimiter
        self._physical: list[str] = []
        self._size = 0
        self.number = 0
        self._reader = csv.reader(self._fed(lines), delimiter=delimiter, strict=True)

    def _fed(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.number += 1
            self._physical.append(line)
            self._size += len(line)
            if self._size > MAX_RECORD:
                raise DataError(
                    "unclosed_quote", "a quote is opened here and not closed within 8 MiB", line=self._start
                )
            yield line

    @property
    def _start(self) -> int:
        return self.number - len(self._physical) + 1

    def __next__(self) -> Line:
        """The next record that is not a blank line."""
        while True:
            self._physical, self._size = [], 0
            try:
                fields = next(self._reader)
            except csv.Error as error:
                return Line([], self._start, self._judge(str(error)))
            if fields:
                return Line(fields, self._start, self._flaw(fields))

    def _flaw(self, fields: list[str]) -> DataError | None:
        if any("\0" in line for line in self._physical):
            return DataError("nul_byte", "holds a NUL byte", line=self._start)
        return None

    def _judge(self, message: str) -> DataError:
        """A csv error as a rejected row, where the following rows are still in step; else raise."""
        line = self._start
        if "unexpected end of data" in message:
            raise DataError("unclosed_quote", "a quote is opened here and never closed", line=line)
        text = "".join(self._physical)
        if "field larger" in message:
            code, told = "field_too_long", "a field is longer than 1 MiB"
            in_step = '"' not in text
        else:
            code, told = "bad_quoting", "text stands after a closing quote"
            in_step = len(self._physical) == 1 and text.count('"') % 2 == 0
        error = DataError(code, told, line=line)
        if not in_step:
            raise error
        return error
