"""Synthetic rows to CSV, JSON lines or Parquet, written as the training text wrote them."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol

import msgspec

from anomvae.model.schema import Column, Schema, Values
from anomvae.model.writing import Style, plain, write

Extra = Mapping[str, Sequence[str]]


class RowWriter(Protocol):
    """Something that takes typed columns and knows how to end."""

    def write(self, columns: Mapping[str, Values], extra: Extra) -> None:
        """Append rows: typed columns, and text columns that stand behind them."""

    def close(self) -> None:
        """Write what is still held."""


class Form(msgspec.Struct, frozen=True):
    """How a table is written: its columns, their styles, and the delimiter of text."""

    schema: Schema
    styles: Mapping[str, Style]
    delimiter: str

    def texts(self, columns: Mapping[str, Values]) -> list[list[str]]:
        """Every modelled column as the training text would have it."""
        return [self.text(column, columns[column.name]) for column in self.schema.modelled]

    def text(self, column: Column, values: Values) -> list[str]:
        """One column as text."""
        return write(column, self.styles[column.name], values, self.schema.numbers)


def open_rows(file: IO[bytes], suffix: str, form: Form, extra: Sequence[str]) -> RowWriter:
    """A writer by suffix: `.csv`, `.jsonl` or `.parquet`; `extra` names text columns behind the others."""
    if suffix == ".csv":
        return CsvRows(file, form, extra)
    return JsonRows(file, form, extra) if suffix == ".jsonl" else ParquetRows(file, form, extra)


class CsvRows:
    """Text in the training table's dialect, UTF-8, with LF line ends."""

    def __init__(self, file: IO[bytes], form: Form, extra: Sequence[str]) -> None:
        self._file, self._form = file, form
        self._put([[*(column.name for column in form.schema.modelled), *extra]])

    def write(self, columns: Mapping[str, Values], extra: Extra) -> None:
        """Append rows."""
        self._put(list(zip(*self._form.texts(columns), *extra.values(), strict=True)))

    def close(self) -> None:
        """Nothing is held."""

    def _put(self, rows: Sequence[Sequence[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n", delimiter=self._form.delimiter).writerows(rows)
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))


class JsonRows:
    """One object a line; numbers and booleans as such, dates as text, gaps as null."""

    def __init__(self, file: IO[bytes], form: Form, extra: Sequence[str]) -> None:
        self._file, self._form = file, form
        self._names = [*(column.name for column in form.schema.modelled), *extra]

    def write(self, columns: Mapping[str, Values], extra: Extra) -> None:
        """Append rows."""
        lists = [self._plain(column, columns[column.name]) for column in self._form.schema.modelled]
        encoder = msgspec.json.Encoder()
        rows = zip(*lists, *extra.values(), strict=True)
        lines = [encoder.encode(dict(zip(self._names, row, strict=True))) for row in rows]
        self._file.write(b"\n".join([*lines, b""]))

    def _plain(self, column: Column, values: Values) -> list[Any]:
        if column.kind == "datetime":
            return [text or None for text in self._form.text(column, values)]
        return plain(column, values)

    def close(self) -> None:
        """Nothing is held."""


class ParquetRows:
    """Typed columns: int64, double, bool, timestamp, string."""

    def __init__(self, file: IO[bytes], form: Form, extra: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._form = form
        types: dict[str, Any] = {
            "integer": pa.int64(), "numeric": pa.float64(), "boolean": pa.bool_(),
            "datetime": pa.timestamp("us"), "categorical": pa.string(),
        }  # fmt: skip
        fields: list[Any] = [pa.field(column.name, types[column.kind]) for column in form.schema.modelled]
        self._schema = pa.schema([*fields, *(pa.field(name, pa.string()) for name in extra)])
        self._writer = pq.ParquetWriter(file, self._schema)

    def write(self, columns: Mapping[str, Values], extra: Extra) -> None:
        """Append rows."""
        import pyarrow as pa

        lists = [self._plain(column, columns[column.name]) for column in self._form.schema.modelled]
        arrays = [
            pa.array(values, field.type)
            for values, field in zip([*lists, *(list(texts) for texts in extra.values())], self._schema, strict=True)
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def _plain(self, column: Column, values: Values) -> list[Any]:
        listed = plain(column, values)
        return [None if v is None else round(v * 1e6) for v in listed] if column.kind == "datetime" else listed

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
