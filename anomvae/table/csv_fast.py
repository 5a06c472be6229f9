"""Blocks of CSV text that hold nothing unusual, parsed in one go by Arrow with the types of the model's schema.

This is a shortcut of the strict reader (`reader.py`), and never gives another answer: a block is taken only where the
strict reader would find the same rows on the same lines with the same values and reject none of them. Whatever could
differ (quotes, a bare CR, NUL, blank lines, rows of another width, a cell that Arrow cannot read as a number) makes the
shortcut refuse the block as a whole, and the strict reader reads it. Blocks with the header again and the end of a file
are not offered to it.
"""

from collections.abc import Sequence
from typing import Any, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.schema import NUMERIC, Column, FilledCells, Schema, Values, filled_cells, parse, part_key
from anomvae.model.value_parsing import MISSING
from anomvae.table.csv_decode import MAX_FIELD

UNUSUAL = ('"', "\r", "\0", "\n\n", "\ufeff", "\t")  # Arrow trims tabs, drops a mark, and counts no blank line


class UnquotedRows(Sequence[list[str]]):
    """Rows as the lines of text that they were, without quotes; a row is split into its cells when it is asked for.

    Args:
        lines: (n,) without their ends.
        delimiter: one character.
    """

    def __init__(self, lines: list[str], delimiter: str) -> None:
        self.lines, self.delimiter = lines, delimiter

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, at: int) -> list[str]: ...
    @overload
    def __getitem__(self, at: slice) -> "UnquotedRows": ...
    def __getitem__(self, at: int | slice) -> "list[str] | UnquotedRows":
        if isinstance(at, slice):
            return UnquotedRows(self.lines[at], self.delimiter)
        return self.lines[at].split(self.delimiter)

    def arrow_columns(self) -> list[Any]:
        """The columns as Arrow arrays of text, each (n,)."""
        import pyarrow as pa

        names = [str(j) for j in range(len(self[0]))]
        text = "\n".join(self.lines)
        return _read_csv(text, self.delimiter, names, dict.fromkeys(names, pa.string()))


class ParsedBlock(msgspec.Struct, frozen=True):
    """Typed columns (n,) of a block by name, and what stands in the columns that had no value in training."""

    columns: dict[str, Values]
    filled: dict[str, FilledCells]


class FastCsvParser:
    """Parses blocks of unquoted CSV text into typed columns.

    Args:
        schema: what the modelled columns are.
        names: the file's header.
        positions: of the modelled columns in it.
        delimiter: one character.

    Attributes:
        usable: whether Arrow can split such a table at all.
        refuses_header: whether a block with the header again is refused for certain: a column of numbers has a name
            that is none.
    """

    def __init__(self, schema: Schema, names: Sequence[str], positions: Sequence[int], delimiter: str) -> None:
        self.delimiter = delimiter
        self.usable = delimiter.isascii()
        self._columns = [(column, str(at)) for column, at in zip(schema.modelled, positions, strict=True)]
        self._unfilled = [(name, str(at)) for name, at in unfilled_positions(schema, names).items()]
        self.refuses_header = any(
            _is_plain(column) and not _is_float(names[at])
            for column, at in zip(schema.modelled, positions, strict=True)
        )
        self._names = [str(at) for at in range(len(names))]  # a file's own names may stand twice
        self._unusual = tuple(text for text in UNUSUAL if text != delimiter)

    def parse(self, block: str) -> ParsedBlock | None:
        """The modelled columns of a block of whole lines; None where the strict reader has to read it."""
        if len(block) > MAX_FIELD or block.startswith("\n") or any(text in block for text in self._unusual):
            return None
        arrays = self._arrays(block)
        if arrays is None:
            return None
        out: dict[str, Values] = {}
        modelled, unfilled = arrays[: len(self._columns)], arrays[len(self._columns) :]
        for (column, _), array in zip(self._columns, modelled, strict=True):
            if not (_floats(column, array, out) if _is_plain(column) else _from_texts(column, array, out)):
                return None
        found = ((name, _filled(array)) for (name, _), array in zip(self._unfilled, unfilled, strict=True))
        return ParsedBlock(out, {name: cells for name, cells in found if cells})

    def _arrays(self, block: str) -> list[Any] | None:
        """Arrow arrays of the modelled columns, and of those that had no value in training.

        None where Arrow refuses a row or a cell, or finds no row.
        """
        import pyarrow as pa

        text = pa.dictionary(pa.int32(), pa.string())
        types = {at: pa.float64() if _is_plain(column) else text for column, at in self._columns}
        types |= dict.fromkeys((at for _, at in self._unfilled), text)
        try:
            return _read_csv(block, self.delimiter, self._names, types)
        except (pa.ArrowInvalid, UnicodeEncodeError):
            return None


def unfilled_positions(schema: Schema, names: Sequence[str]) -> dict[str, int]:
    """Where the columns that had no value in training stand in a file, by name; those that it lacks are left out."""
    return {column.name: names.index(column.name) for column in schema.unfilled if column.name in names}


def _indices(array: Any) -> NDArray[np.int32]:
    """The indices (n,) of a dictionary-encoded column."""
    return np.frombuffer(array.indices.buffers()[1], np.int32, len(array))


def _filled(array: Any) -> FilledCells | None:
    """The cells of a dictionary-encoded column that are no gaps."""
    texts = array.dictionary.to_pylist()
    counts = np.bincount(_indices(array), minlength=len(texts))
    return filled_cells(dict(zip(texts, counts.tolist(), strict=True)))


def _is_float(name: str) -> bool:
    """Whether Arrow may read a name as a number or a gap."""
    try:
        float(name)
    except ValueError:
        return name.strip() in MISSING
    return True


def _read_csv(text: str, delimiter: str, names: list[str], types: dict[str, Any]) -> list[Any]:
    """Arrow arrays of the columns named in `types`, of these types.

    Raises:
        pyarrow.ArrowInvalid: a row is of another width, or a cell is not of its column's type.
    """
    import pyarrow as pa
    from pyarrow import csv

    source: Any = pa.BufferReader(text.encode())
    table = csv.read_csv(
        source,
        csv.ReadOptions(column_names=names, use_threads=False, block_size=8 * MAX_FIELD),
        csv.ParseOptions(delimiter=delimiter, quote_char=False),
        csv.ConvertOptions(
            check_utf8=False,
            column_types=types,
            include_columns=list(types),
            null_values=sorted(MISSING),
            strings_can_be_null=False,
        ),
    )
    return [column.combine_chunks() for column in table.columns]


def _is_plain(column: Column) -> bool:
    """Whether Arrow reads the numbers of a column as the strict reader does."""
    return column.kind in NUMERIC and column.number.plain and not column.marks


def _floats(column: Column, array: Any, out: dict[str, Values]) -> bool:
    """Add plain numbers to `out`, NaN where missing; false where one is not finite, which the strict reader rejects."""
    missing = array.null_count
    # to_numpy() would import pandas.
    buffer = (array.fill_null(np.nan) if missing else array).buffers()[1]
    values = np.frombuffer(buffer, np.float64, len(array))
    out[column.name] = values
    return bool(np.isfinite(values).sum() == len(array) - missing)


def _from_texts(column: Column, array: Any, out: dict[str, Values]) -> bool:
    """Add a dictionary-encoded column to `out`; false where one of its texts is an error.

    Every different text is read once, as the strict reader does.
    """
    parsed = parse(column, array.dictionary.to_pylist())
    rows = _indices(array)
    out[column.name] = parsed.values[rows]
    if parsed.marks is not None:
        out[part_key(column.name, "mark")] = parsed.marks[rows]
    return not parsed.errors
