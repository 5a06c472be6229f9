"""Blocks of text that hold nothing unusual, parsed in one go by Arrow with the types of the model's schema.

The shortcut of the reader, never another opinion: a block is taken only where the careful path would read the same
rows on the same lines with the same values and reject none of them. Whatever could differ (quotes, bare CR, NUL,
blank lines, another width, a cell that is no plain number) refuses the block as a whole, and the careful path reads it.
"""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from anomvae.data.records import MAX_FIELD
from anomvae.model.cells import MISSING
from anomvae.model.schema import Column, Schema, Values, parse

NUMBERS = ("numeric", "integer")
ODD = ('"', "\r", "\0", "\n\n", "\ufeff", "\t")  # Arrow trims tabs, drops a mark, and counts no blank line


class PlainRows(Sequence[list[str]]):
    """Rows of lines without quotes, split when they are asked for."""

    def __init__(self, lines: list[str], delimiter: str) -> None:
        self.lines, self.delimiter = lines, delimiter

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> "PlainRows": ...
    def __getitem__(self, at: int | slice) -> "list[str] | PlainRows":
        if isinstance(at, slice):
            return PlainRows(self.lines[at], self.delimiter)
        return self.lines[at].split(self.delimiter)


class Plain:
    """A parser of plain blocks.

    Args:
        schema: what the columns are.
        names: the file's header.
        positions: of the modelled columns in it.
        delimiter: one character.
    """

    def __init__(self, schema: Schema, names: Sequence[str], positions: Sequence[int], delimiter: str) -> None:
        self._numbers = schema.numbers
        self._chosen = [(column, str(at)) for column, at in zip(schema.modelled, positions, strict=True)]
        self._count = len(names)
        self._header = delimiter.join(names)
        self._odd = tuple(sign for sign in ODD if sign != delimiter)
        self._options: dict[str, Any] = {}
        self.delimiter = delimiter
        self.usable = schema.decimal == "." and not schema.thousands and delimiter.isascii()

    def read(self, block: str) -> dict[str, Values] | None:
        """The modelled columns of a block of whole lines, each (n,); None where the block is not plain."""
        if len(block) > MAX_FIELD or block.startswith("\n") or any(sign in block for sign in self._odd):
            return None
        if f"\n{self._header}\n" in f"\n{block}\n":
            return None
        columns = self._parsed(block)
        if columns is None:
            return None
        out: dict[str, Values] = {}
        for (column, _), cells in zip(self._chosen, columns, strict=True):
            values = _floats(cells) if column.kind in NUMBERS else self._texts(column, cells)
            if values is None:
                return None
            out[column.name] = values
        return out

    def _parsed(self, block: str) -> list[Any] | None:
        """Arrow arrays of the modelled columns; None where Arrow refuses a row or a cell, or finds no row."""
        import pyarrow as pa
        from pyarrow import csv

        self._options = self._options or self._arrow_options()
        try:
            text: Any = pa.BufferReader(block.encode())
            table = csv.read_csv(text, **self._options)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            return None
        return [column.combine_chunks() for column in table.columns] if table.num_rows else None

    def _arrow_options(self) -> dict[str, Any]:
        import pyarrow as pa
        from pyarrow import csv

        text = pa.dictionary(pa.int32(), pa.string())
        kinds = {at: pa.float64() if column.kind in NUMBERS else text for column, at in self._chosen}
        names = [str(at) for at in range(self._count)]
        return {
            "read_options": csv.ReadOptions(column_names=names, use_threads=False, block_size=8 * MAX_FIELD),
            "parse_options": csv.ParseOptions(delimiter=self.delimiter, quote_char=False),
            "convert_options": csv.ConvertOptions(
                check_utf8=False,
                column_types=kinds,
                include_columns=list(kinds),
                null_values=sorted(MISSING),
                strings_can_be_null=False,
            ),
        }

    def _texts(self, column: Column, cells: Any) -> Values | None:
        """Every different text is parsed once, as the careful path does it."""
        values, errors = parse(column, cells.dictionary.to_pylist(), self._numbers)
        return None if errors else values[np.frombuffer(cells.indices.buffers()[1], np.int32, len(cells))]


def _floats(cells: Any) -> Values | None:
    """Numbers with NaN for what was missing; None where one is not finite, which the careful path refuses."""
    gaps = cells.null_count
    # to_numpy() would import pandas.
    buffer = (cells.fill_null(np.nan) if gaps else cells).buffers()[1]
    values = np.frombuffer(buffer, np.float64, len(cells))
    return values if np.isfinite(values).sum() == len(cells) - gaps else None
