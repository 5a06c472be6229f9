"""Scored rows to CSV, JSON lines or Parquet: the original cells as they came, then the `_av_` columns."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from anomvae.errors import UsageError
from anomvae.results import Reason

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
COLUMNS = ("line", "score", "recon", "kl", "pvalue", "severity", "flag", "top", "reasons")


class ScoredRow(msgspec.Struct, frozen=True):
    """One row for the writer: the original cells and what the model says."""

    cells: Sequence[str]
    line: int
    score: float
    recon: float
    kl: float
    p: float
    severity: float
    flag: bool
    reasons: tuple[Reason, ...]


class Writer(Protocol):
    """Something that takes scored rows and knows how to end."""

    def write(self, rows: list[ScoredRow]) -> None:
        """Append rows."""

    def close(self) -> None:
        """Write what is still held."""


def open_writer(file: IO[bytes], suffix: str, names: Sequence[str], text_columns: Sequence[int] | None) -> Writer:
    """A writer by suffix: `.csv`, `.jsonl` or `.parquet`.

    Args:
        file: a binary file, owned by the caller.
        suffix: of the output's name.
        names: the original columns.
        text_columns: positions to guard against spreadsheets running them as formulas; None for no guard.

    Raises:
        UsageError: another suffix.
    """
    if suffix == ".csv":
        return CsvWriter(file, names, text_columns)
    if suffix == ".jsonl":
        return JsonWriter(file, names)
    if suffix == ".parquet":
        return ParquetWriter(file, names)
    raise UsageError(f"'{suffix}' is not an output format; name the file .csv, .jsonl or .parquet.")


def output_suffix(path: str) -> str:
    """The suffix that sets the format; checked before any work is done."""
    suffix = Path(path).suffix
    if suffix not in (".csv", ".jsonl", ".parquet"):
        raise UsageError(f"{path}: name the output .csv, .jsonl or .parquet.")
    return suffix


class CsvWriter:
    """RFC 4180 text with LF line ends."""

    def __init__(self, file: IO[bytes], names: Sequence[str], text_columns: Sequence[int] | None) -> None:
        self._file, self._guarded = file, frozenset(text_columns or ())
        self._write([[*names, *(f"_av_{name}" for name in COLUMNS)]])

    def write(self, rows: list[ScoredRow]) -> None:
        """Append rows."""
        self._write([[*self._cells(row.cells), *_scored_text(row)] for row in rows])

    def close(self) -> None:
        """Nothing is held."""

    def _cells(self, cells: Sequence[str]) -> Sequence[str]:
        if not self._guarded:
            return cells
        return [guard(cell) if j in self._guarded else cell for j, cell in enumerate(cells)]

    def _write(self, rows: list[list[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))


def guard(cell: str) -> str:
    """A text cell that a spreadsheet would run gets a leading quote."""
    return "'" + cell if cell.startswith(FORMULA) else cell


def _scored_text(row: ScoredRow) -> list[str]:
    reasons = "|".join(f"{reason.column}:{reason.share:.2f}" for reason in row.reasons)
    top = row.reasons[0].column if row.reasons else ""
    numbers = [repr(row.score), repr(row.recon), repr(row.kl), repr(row.p), f"{row.severity:.1f}"]
    return [str(row.line), *numbers, "true" if row.flag else "false", top, reasons]


def _scored_values(row: ScoredRow) -> list[Any]:
    top = row.reasons[0].column if row.reasons else None
    numbers = [row.score, row.recon, row.kl, row.p, row.severity]
    return [row.line, *numbers, row.flag, top, [msgspec.to_builtins(reason) for reason in row.reasons]]


class JsonWriter:
    """One object a line; the original cells as text, lossless."""

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        self._file = file
        self._names = [*names, *(f"_av_{name}" for name in COLUMNS)]

    def write(self, rows: list[ScoredRow]) -> None:
        """Append rows."""
        encoder = msgspec.json.Encoder()
        for row in rows:
            record = dict(zip(self._names, [*row.cells, *_scored_values(row)], strict=True))
            self._file.write(encoder.encode(record) + b"\n")

    def close(self) -> None:
        """Nothing is held."""


class ParquetWriter:
    """Typed score columns, the original cells as strings."""

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text, number = pa.string(), pa.float64()
        parts: list[Any] = [(name, number if name == "share" else text) for name in Reason.__struct_fields__]
        reason = pa.struct(parts)
        kinds: list[Any] = [pa.int64(), number, number, number, number, number, pa.bool_(), text, pa.list_(reason)]
        fields: list[tuple[str, Any]] = [(name, text) for name in names]
        fields += [(f"_av_{name}", kind) for name, kind in zip(COLUMNS, kinds, strict=True)]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(file, self._schema)

    def write(self, rows: list[ScoredRow]) -> None:
        """Append rows."""
        import pyarrow as pa

        columns = list(zip(*([*row.cells, *_scored_values(row)] for row in rows), strict=True))
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        if arrays:
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
