"""Totals rows: records at the end of a file that add up the rows above them, and are no rows of the table.

A row is held back until enough lines follow it, so that only the last lines of a file are ever in question. What they
are compared with are the first rows of the file, as many as a batch has, so that memory stays bounded.
"""

import re
from collections import deque
from collections.abc import Iterator, Sequence

from anomvae.model.value_parsing import decimals, is_number
from anomvae.table.csv_decode import TextRecord
from anomvae.table.header_search import NEARLY_ALL, holds_value

LAST_LINES = 8  # of a file, in which totals rows are looked for
LEAST_ROWS = 3  # that a totals row stands under
MOST_TOTALS = 4  # at the end of one file

_TOTAL = re.compile(
    r"(?:grand |over)?total(?:s|en|e)?(?:[ :(].*)?|sub-? ?total(?:s)?(?:[ :(].*)?|sum(?:s|ma|me)?(?: of .*| total)?:?|"
    r"(?:ins)?gesamt(?:summe|betrag|ergebnis)?:?|zwischensumme:?|somme:?|suma:?|totaal:?",
    re.IGNORECASE,
).fullmatch
_STATISTIC = re.compile(
    r"(?:average|avg\.?|mean|median|count|min(?:imum)?|max(?:imum)?|std(?:ev)?|mittelwert|durchschnitt|anzahl)"
    r"(?: of .*)?:?",
    re.IGNORECASE,
).fullmatch


class TotalsWatch:
    """Holds back the last rows of a file, and knows which of them are totals.

    Args:
        most: first rows to remember, for the comparison.
        whole: whether the rows begin with the first of the file; else nothing is known of their sums.
    """

    def __init__(self, most: int, *, whole: bool = True) -> None:
        self._most, self._whole = most, whole
        self._first: list[Sequence[Sequence[str]]] = []  # some rows each
        self._remembered = 0
        self._count = 0
        self._held: deque[TextRecord] = deque()

    def pass_on(self, record: TextRecord) -> TextRecord | None:
        """Hold a row back; the row that need no longer be, if there is one."""
        self._held.append(record)
        return self._release() if len(self._held) > LAST_LINES else None

    def let_go(self) -> list[TextRecord]:
        """The rows held back, where it is known that enough lines follow them."""
        return [self._release() for _ in range(len(self._held))]

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Remember rows that were never held back."""
        self._count += len(rows)
        room = self._most - self._remembered
        if room > 0:
            self._first.append(rows[:room])
            self._remembered += min(room, len(rows))

    def end(self, last_line: int) -> Iterator[tuple[TextRecord, bool]]:
        """The rows held back at the end of the file, each with whether it is a totals row.

        Args:
            last_line: of the file.
        """
        while self._held and self._held[0].line <= last_line - LAST_LINES:
            yield self._release(), False
        held = list(self._held)
        totals = self._count_totals([record.fields for record in held])
        for i, record in enumerate(held):
            yield record, i >= len(held) - totals

    def _release(self) -> TextRecord:
        record = self._held.popleft()
        if self._remembered < self._most:
            self.add([record.fields])
        else:
            self._count += 1
        return record

    def _count_totals(self, last: list[list[str]]) -> int:
        """How many of the last rows of the file are totals."""
        if not last or not _is_suspect(last[-1]):
            return 0  # so it is with most files, and then no row above need be looked at
        first = [row for rows in self._first for row in rows]
        for count in range(min(len(last), MOST_TOTALS), 0, -1):
            if not all(map(_is_suspect, last[-count:])):
                continue
            above = [*first, *last[:-count]]
            rows = _Above(above, whole=self._whole and self._count == len(first))
            if len(above) >= LEAST_ROWS and all(map(rows.are_added_up_in, last[-count:])):
                return count
        return 0


class _Above:
    """The rows above a possible totals row.

    Args:
        rows: of text.
        whole: whether these are all rows of the table.
    """

    def __init__(self, rows: Sequence[Sequence[str]], *, whole: bool) -> None:
        self._columns = list(zip(*rows, strict=True))
        self._whole = whole

    def are_added_up_in(self, row: Sequence[str]) -> bool:
        """Whether a row is a totals row: by a word that no row above has in its place, or by empty cells and sums."""
        words = [j for j, text in enumerate(row) if text.strip() and not holds_value(text.strip())]
        if not words:
            empty = self._only_here_empty(row)
            return bool(empty) and len(empty) + len(self._numbers(row)) > 2 and self._sums(row)
        label, word = words[0], row[words[0]].strip()
        if not (_TOTAL(word) or _STATISTIC(word)) or word.casefold() in map(_folded, self._columns[label]):
            return False
        if self._is_valued(label) or (len(words) == 1 and self._only_here_empty(row)) or self._sums(row):
            return True
        return bool(_TOTAL(word)) and bool(self._only_here_empty(row) or self._is_above_all(row))

    def _numbers(self, row: Sequence[str]) -> list[int]:
        """The columns of numbers in which a row has one."""
        return [j for j, text in enumerate(row) if is_number(text.strip()) and self._is_valued(j)]

    def _only_here_empty(self, row: Sequence[str]) -> list[int]:
        """The columns in which a row has no cell, and all rows above have one."""
        return [j for j, text in enumerate(row) if not text.strip() and all(map(str.strip, self._columns[j]))]

    def _sums(self, row: Sequence[str]) -> bool:
        """Whether the numbers of a row are the sums of the columns above, and one is more than any number there."""
        numbers = self._numbers(row) if self._whole else []
        return any(self._tops(j, row[j]) for j in numbers) and all(self._adds_up(j, row[j]) for j in numbers)

    def _is_valued(self, at: int) -> bool:
        """Whether the cells of a column are numbers or dates."""
        cells = [text for cell in self._columns[at] if (text := cell.strip())]
        return bool(cells) and sum(map(holds_value, cells)) >= NEARLY_ALL * len(cells)

    def _adds_up(self, at: int, total: str) -> bool:
        """Whether a cell is the sum of the numbers above it, to the last digit that they are written with."""
        plain = [text for cell in self._columns[at] if is_number(text := cell.strip())]
        value, unit = sum(map(float, plain)), 10.0 ** -max(map(decimals, (*plain, total)))
        return len(plain) >= LEAST_ROWS and abs(value - float(total)) <= 0.51 * unit + 1e-9 * abs(value)

    def _is_above_all(self, row: Sequence[str]) -> bool:
        """Whether every number of a row is larger than all numbers above it."""
        numbers = self._numbers(row)
        return bool(numbers) and all(self._tops(j, row[j]) for j in numbers)

    def _tops(self, at: int, total: str) -> bool:
        """Whether a number is larger than all numbers of a column."""
        numbers = (abs(float(text)) for text in self._columns[at] if is_number(text.strip()))
        return abs(float(total)) > max(numbers, default=0.0)


def _folded(text: str) -> str:
    return text.strip().casefold()


def _is_suspect(row: Sequence[str]) -> bool:
    """Whether a row can be a totals row at all: it has a word for that, or an empty cell."""
    cells = [text.strip() for text in row]
    return "" in cells or any(_TOTAL(text) or _STATISTIC(text) for text in cells)
