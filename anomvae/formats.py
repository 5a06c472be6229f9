"""The formats that rows are written in: CSV, JSON lines and Parquet, one class each.

`FORMATS` is the one list of them. The settings, the options, the names of outputs and the clean-up of an output folder
take it from here, so that a new format is a class and its line in that table.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, Protocol

import msgspec

from anomvae.errors import UsageError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")

ColumnType = Literal["text", "integer", "number", "boolean", "datetime", "reasons"]


class OutputColumn(msgspec.Struct, frozen=True):
    """One column of an output. `guarded`: text that a spreadsheet would run as a formula gets a leading quote in CSV.

    A column of `reasons` has a list of `results.Reason` in every cell.
    """

    name: str
    type: ColumnType
    guarded: bool = False


class OutputRows(Protocol):
    """Rows to write (n), in three views; a format takes the one that is nearest to it."""

    def __len__(self) -> int:
        """How many rows there are."""

    def texts(self, unsplit: str = "") -> Iterator[Sequence[str] | str]:
        """Every row as cells of text.

        Args:
            unsplit: a delimiter; a row that is a line of text with this delimiter already comes as that line, with
                its end, and need not be put together again.
        """

    def values(self) -> Iterator[Sequence[Any]]:
        """Every row as values for JSON: numbers and booleans as such, dates as text, None where missing."""

    def columns(self) -> list[Any]:
        """Every column as values (n,) or as an Arrow array: dates as microseconds since 1970, None where missing."""


class TableWriter(ABC):
    """Writes rows into an open file, in two steps: `render` makes bytes of rows, `append` puts them into the file.

    Nothing is changed by `render`, so that a thread or another process can do it.

    Args:
        file: a binary file, owned by the caller.
        columns: of the table.
        delimiter: of text.
    """

    readable: ClassVar[bool] = False  # whether tables of this format can also be read

    def __init__(self, file: IO[bytes], columns: Sequence[OutputColumn], delimiter: str = ",") -> None:
        self._file, self._columns, self._delimiter = file, columns, delimiter

    @abstractmethod
    def render(self, rows: OutputRows) -> bytes:
        """Rows as `append` takes them."""

    def append(self, rendered: bytes) -> None:
        """Add rows that were rendered, here or elsewhere."""
        self._file.write(rendered)

    def write(self, rows: OutputRows) -> None:
        """Render rows and add them."""
        self.append(self.render(rows))

    def close(self) -> None:  # noqa: B027 (most formats have no end)
        """Write what stands at the end of a file."""


class CsvWriter(TableWriter):
    """RFC 4180 text in UTF-8 with LF line ends, under a header."""

    readable = True

    def __init__(self, file: IO[bytes], columns: Sequence[OutputColumn], delimiter: str = ",") -> None:
        super().__init__(file, columns, delimiter)
        self._guarded = [j for j, column in enumerate(columns) if column.guarded]
        text = io.StringIO(newline="")
        self._records(text).writerow([column.name for column in columns])
        self.append(_encoded(text))

    def render(self, rows: OutputRows) -> bytes:
        """Rows as lines."""
        text = io.StringIO(newline="")
        records = self._records(text)
        for row in rows.texts(unsplit="" if self._guarded else self._delimiter):
            if isinstance(row, str):
                text.write(row)
            else:
                records.writerow(self._safe(row) if self._guarded else row)
        return _encoded(text)

    def _records(self, text: io.StringIO) -> Any:
        return csv.writer(text, lineterminator="\n", delimiter=self._delimiter)

    def _safe(self, row: Sequence[str]) -> list[str]:
        """A row of which a spreadsheet runs no guarded cell."""
        cells = list(row)
        for j in self._guarded:
            if cells[j].startswith(FORMULA):
                cells[j] = "'" + cells[j]
        return cells


class JsonWriter(TableWriter):
    """One JSON object a line."""

    def render(self, rows: OutputRows) -> bytes:
        """Rows as lines."""
        names = [column.name for column in self._columns]
        return msgspec.json.Encoder().encode_lines(dict(zip(names, row, strict=True)) for row in rows.values())


class ParquetWriter(TableWriter):
    """Typed columns in Parquet."""

    readable = True

    def __init__(self, file: IO[bytes], columns: Sequence[OutputColumn], delimiter: str = ",") -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        super().__init__(file, columns, delimiter)
        types = _arrow_types()
        fields: list[tuple[str, Any]] = [(column.name, types[column.type]) for column in columns]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(file, self._schema)

    def render(self, rows: OutputRows) -> bytes:
        """Rows as an Arrow stream; without rows, nothing."""
        import pyarrow as pa

        if not len(rows):
            return b""
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column, field.type)
            for column, field in zip(rows.columns(), self._schema, strict=True)
        ]
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema) as stream:
            stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        return sink.getvalue().to_pybytes()

    def append(self, rendered: bytes) -> None:
        """Add the rows of an Arrow stream."""
        import pyarrow as pa

        if rendered:
            for batch in pa.ipc.open_stream(rendered):
                self._writer.write_batch(batch)

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


FORMATS: dict[str, type[TableWriter]] = {"csv": CsvWriter, "jsonl": JsonWriter, "parquet": ParquetWriter}


def suffixes(*, readable: bool = False) -> tuple[str, ...]:
    """The suffixes of all formats, or of those that can also be read; the name of a format is its suffix."""
    return tuple(f".{name}" for name, writer in FORMATS.items() if writer.readable or not readable)


def listed() -> str:
    """The suffixes of all formats as words: `.csv, .jsonl or .parquet`."""
    *others, last = suffixes()
    return f"{', '.join(others)} or {last}"


def output_suffix(path: str) -> str:
    """The suffix of an output, which sets its format; to be checked before any work is done.

    Raises:
        UsageError: no format has this suffix.
    """
    suffix = Path(path).suffix
    if suffix not in suffixes():
        raise UsageError(f"{path}: name the output {listed()}.")
    return suffix


def open_writer(file: IO[bytes], suffix: str, columns: Sequence[OutputColumn], delimiter: str = ",") -> TableWriter:
    """A writer of the format that a suffix stands for.

    Args:
        file: a binary file, owned by the caller.
        suffix: one of `suffixes()`.
        columns: of the table.
        delimiter: of text.
    """
    return FORMATS[suffix.removeprefix(".")](file, columns, delimiter)


def _encoded(text: io.StringIO) -> bytes:
    return text.getvalue().encode("utf-8", "surrogateescape")


def _arrow_types() -> dict[ColumnType, Any]:
    import pyarrow as pa

    from anomvae.records.results import Reason

    text, number = pa.string(), pa.float64()
    fields: list[Any] = [(name, number if name == "share" else text) for name in Reason.__struct_fields__]
    return {
        "text": text,
        "integer": pa.int64(),
        "number": number,
        "boolean": pa.bool_(),
        "datetime": pa.timestamp("us"),
        "reasons": pa.list_(pa.struct(fields)),
    }
