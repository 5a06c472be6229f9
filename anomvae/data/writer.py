"""Scored rows to CSV, JSON lines or Parquet: the original cells as they came, then the `_av_` columns."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from anomvae.data.plain import UnquotedRows
from anomvae.errors import UsageError
from anomvae.results import Reason

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
COLUMNS = ("line", "score", "recon", "kl", "pvalue", "severity", "flag", "top", "reasons")


class ScoredRows(msgspec.Struct, frozen=True):
    """Rows for the writer: the original cells and what the model says.

    `cells`, `lines`, `numbers` (score, recon, kl, p, severity) and `flags` have n entries; `reasons` are by index, of
    flagged rows.
    """

    cells: Sequence[list[str]]
    lines: Sequence[int]
    numbers: list[list[float]]
    flags: list[bool]
    reasons: Mapping[int, tuple[Reason, ...]]

    def values(self, i: int) -> list[Any]:
        """The values of row i under `COLUMNS`."""
        why = self.reasons.get(i, ())
        top = why[0].column if why else None
        return [self.lines[i], *self.numbers[i], self.flags[i], top, [msgspec.to_builtins(reason) for reason in why]]


class Writer(Protocol):
    """Something that takes scored rows, in two steps, and knows how to end."""

    def render(self, rows: ScoredRows) -> bytes:
        """Rows as `append` takes them; nothing is touched, so that another process can do it."""

    def append(self, rendered: bytes) -> None:
        """Append rows that were rendered, here or elsewhere."""

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
        text, records = _text()
        records.writerow([*names, *(f"_av_{name}" for name in COLUMNS)])
        self.append(_bytes(text))

    def render(self, rows: ScoredRows) -> bytes:
        """Rows as lines: a plain line as it is, where it is no other in this dialect."""
        numbers = written(rows.numbers)
        raw = rows.cells.lines if isinstance(rows.cells, UnquotedRows) and rows.cells.delimiter == "," else None
        text, records = _text()
        for i, line in enumerate(rows.lines):
            if raw is None or rows.flags[i] or self._guarded:
                records.writerow([*self._cells(rows.cells[i]), line, *numbers[i].split(","), *_told(rows, i)])
            else:
                text.write(f"{raw[i]},{line},{numbers[i]},false,,\n")
        return _bytes(text)

    def append(self, rendered: bytes) -> None:
        """Append lines."""
        self._file.write(rendered)

    def close(self) -> None:
        """Nothing is held."""

    def _cells(self, cells: Sequence[str]) -> Sequence[str]:
        if not self._guarded:
            return cells
        return [guard(cell) if j in self._guarded else cell for j, cell in enumerate(cells)]


def _text() -> tuple[io.StringIO, Any]:
    """Text, and a writer of records into it."""
    text = io.StringIO(newline="")
    return text, csv.writer(text, lineterminator="\n")


def _bytes(text: io.StringIO) -> bytes:
    return text.getvalue().encode("utf-8", "surrogateescape")


def guard(cell: str) -> str:
    """A text cell that a spreadsheet would run gets a leading quote."""
    return "'" + cell if cell.startswith(FORMULA) else cell


def written(numbers: list[list[float]]) -> list[str]:
    """Rows of finite numbers as text, each as repr writes it, comma-separated."""
    if not numbers:
        return []
    texts = msgspec.json.encode(numbers).decode()[2:-2].split("],[")  # four times as fast; exponents are written alike
    odd = [i for i, text in enumerate(texts) if "e" in text or "0.0000" in text]  # by none but these
    for i in odd:
        texts[i] = ",".join(map(repr, numbers[i]))
    return texts


def _told(rows: ScoredRows, i: int) -> list[str]:
    why = rows.reasons.get(i, ())
    shares = "|".join(f"{reason.column}:{reason.share:.2f}" for reason in why)
    return ["true" if rows.flags[i] else "false", why[0].column if why else "", shares]


class JsonWriter:
    """One object a line; the original cells as text, lossless."""

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        self._file = file
        self._names = [*names, *(f"_av_{name}" for name in COLUMNS)]

    def render(self, rows: ScoredRows) -> bytes:
        """Rows as lines."""
        values = ([*cells, *rows.values(i)] for i, cells in enumerate(rows.cells))
        return msgspec.json.Encoder().encode_lines(dict(zip(self._names, row, strict=True)) for row in values)

    def append(self, rendered: bytes) -> None:
        """Append lines."""
        self._file.write(rendered)

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

    def render(self, rows: ScoredRows) -> bytes:
        """Rows as an Arrow stream; without rows, nothing."""
        import pyarrow as pa

        if not rows.lines:
            return b""
        why = [rows.reasons.get(i, ()) for i in range(len(rows.lines))]
        scored = [rows.lines, *zip(*rows.numbers, strict=True), rows.flags]
        told = [[each[0].column if each else None for each in why], [msgspec.to_builtins(each) for each in why]]
        whole = rows.cells.arrow_columns() if isinstance(rows.cells, UnquotedRows) else []
        columns = [*scored, *told] if whole else [*zip(*rows.cells, strict=True), *scored, *told]
        kinds = self._schema.types[len(whole) :]
        arrays = whole + [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as stream:
            stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return sink.getvalue().to_pybytes()

    def append(self, rendered: bytes) -> None:
        """Append a stream's rows."""
        import pyarrow as pa

        if rendered:
            for batch in pa.ipc.open_stream(rendered):
                self._writer.write_batch(batch)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
