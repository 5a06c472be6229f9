"""Text rows of a training table, held as Arrow columns: a few bytes a cell, where Python's own strings take sixty."""

from collections.abc import Sequence
from typing import Any

CHUNK = 1 << 13  # rows that are held as Python lists before they are made Arrow columns


class TextRows:
    """Rows of text, all of one width.

    Args:
        width: cells of a row.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._new: list[Sequence[str]] = []
        self._chunks: list[Any] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Sequence[str]) -> None:
        """Add a row at the end."""
        self._new.append(row)
        self._count += 1
        if len(self._new) == CHUNK:
            self._flush()

    def keep(self, chosen: Sequence[bool]) -> None:
        """Drop all but the chosen rows; `chosen` has one entry a row."""
        import pyarrow as pa

        self._flush()
        whole = pa.Table.from_batches(self._chunks).filter(pa.array(chosen))
        self._chunks, self._count = whole.to_batches(), len(whole)
        del whole
        pa.default_memory_pool().release_unused()

    def column(self, at: int) -> list[str]:
        """The cells of one column."""
        self._flush()
        return [text for chunk in self._chunks for text in chunk.column(at).to_pylist()]

    def take(self, rows: Sequence[int]) -> list[list[str]]:
        """Some rows, each with all its cells."""
        import pyarrow as pa

        self._flush()
        part = pa.Table.from_batches(self._chunks).take(pa.array(rows, pa.int64()))
        columns = [column.to_pylist() for column in part.columns]
        return [list(cells) for cells in zip(*columns, strict=True)] if columns else [[] for _ in rows]

    def _flush(self) -> None:
        """Make Arrow columns of the rows that were added last."""
        import pyarrow as pa

        if self._new:
            cells = [pa.array([row[at] for row in self._new], pa.large_string()) for at in range(self.width)]
            self._chunks.append(pa.record_batch(cells, names=[str(at) for at in range(self.width)]))
            self._new = []
