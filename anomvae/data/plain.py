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

    def arrays(self) -> list[Any]:
        """The columns as Arrow arrays of text."""
        import pyarrow as pa

        names = [str(j) for j in range(len(self[0]))]
        text = "\n".join(self.lines)
        return _arrays(text, self.delimiter, names, dict.fromkeys(names, pa.string()))


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
        self._names = [str(at) for at in range(len(names))]
        self._header = delimiter.join(names)
        self._odd = tuple(sign for sign in ODD if sign != delimiter)
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

        text = pa.dictionary(pa.int32(), pa.string())
        kinds = {at: pa.float64() if column.kind in NUMBERS else text for column, at in self._chosen}
        try:
            return _arrays(block, self.delimiter, self._names, kinds)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            return None

    def _texts(self, column: Column, cells: Any) -> Values | None:
        """Every different text is parsed once, as the careful path does it."""
        values, errors = parse(column, cells.dictionary.to_pylist(), self._numbers)
        return None if errors else values[np.frombuffer(cells.indices.buffers()[1], np.int32, len(cells))]


def _arrays(text: str, delimiter: str, names: list[str], kinds: dict[str, Any]) -> list[Any]:
    """The columns of `kinds`, typed; ArrowInvalid where a row or a cell does not fit."""
    import pyarrow as pa
    from pyarrow import csv

    source: Any = pa.BufferReader(text.encode())
    table = csv.read_csv(
        source,
        csv.ReadOptions(column_names=names, use_threads=False, block_size=8 * MAX_FIELD),
        csv.ParseOptions(delimiter=delimiter, quote_char=False),
        csv.ConvertOptions(
            check_utf8=False,
            column_types=kinds,
            include_columns=list(kinds),
            null_values=sorted(MISSING),
            strings_can_be_null=False,
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def _floats(cells: Any) -> Values | None:
    """Numbers with NaN for what was missing; None where one is not finite, which the careful path refuses."""
    gaps = cells.null_count
    # to_numpy() would import pandas.
    buffer = (cells.fill_null(np.nan) if gaps else cells).buffers()[1]
    values = np.frombuffer(buffer, np.float64, len(cells))
    return values if np.isfinite(values).sum() == len(cells) - gaps else None
