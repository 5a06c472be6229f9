"""Parquet files as rows of text, so that one path of checks serves every format."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, BinaryIO

from anomvae.errors import DataError
from anomvae.table import header
from anomvae.table.csv_decode import CHUNK, TextRecord, open_input


class ParquetReader:
    """A Parquet file, read in batches. The line of a row is its number + 1, as under a header.

    Args:
        name: the path.
        file: the input, opened by the caller and left open; None to open `name`.

    Attributes:
        names: of the columns.
        announced: rows that the file says it has.
        count: rows read so far.

    Raises:
        DataError: the file is no readable Parquet file, or has too many columns.
    """

    def __init__(self, name: str, file: BinaryIO | None = None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._owned = file is None
        self._stream = file or open_input(name)
        try:
            self._file = pq.ParquetFile(self._stream)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError("bad_parquet", f"is not a readable Parquet file ({_first_line(error)})") from error
        self.names = header.clean(self._file.schema_arrow.names)
        self.announced: int = self._file.metadata.num_rows
        self.count = 0
        self._digest = ""

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, once all rows were taken."""
        return self._digest

    def records(self) -> Iterator[TextRecord]:
        """The rows as text.

        Raises:
            DataError: the file is damaged further in.
        """
        for batch in self._batches():
            yield from _records(batch, self.count - batch.num_rows + 2)

    def chunks(self, rows: int) -> Iterator[tuple[int, bytes]]:
        """The rows as Arrow streams, each with the line of its first row; `chunk_records` makes text of them.

        Args:
            rows: of every stream but the last.

        Raises:
            DataError: the file is damaged further in.
        """
        held: list[Any] = []
        line, missing = 2, rows
        for whole in self._batches():
            batch = whole
            while batch.num_rows >= missing:
                yield line, _stream([*held, batch.slice(0, missing)])
                held, line, batch, missing = [], line + rows, batch.slice(missing), rows
            if batch.num_rows:
                held.append(batch)
                missing -= batch.num_rows
        if held:
            yield line, _stream(held)

    def _batches(self) -> Iterator[Any]:
        import pyarrow as pa

        try:
            for batch in self._file.iter_batches(batch_size=4096):
                self.count += batch.num_rows
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise _damaged(error, self.count + 2) from error
        self._digest = _hashed(self._stream)
        if self._owned:
            self._stream.close()


def chunk_records(chunk: bytes, line: int) -> Iterator[TextRecord]:
    """The rows of an Arrow stream as text; `line` is the line of the first.

    Raises:
        DataError: a value cannot be written as text.
    """
    import pyarrow as pa

    for batch in pa.ipc.open_stream(chunk):
        yield from _records(batch, line)
        line += batch.num_rows


def chunk_columns(chunk: bytes, positions: Sequence[int], line: int) -> list[list[str]]:
    """The cells (n,) of some columns of an Arrow stream as text; `line` is that of its first row.

    Raises:
        DataError: a value cannot be written as text.
    """
    import pyarrow as pa

    table = pa.ipc.open_stream(chunk).read_all()
    return [_column_texts(table.column(at), line) for at in positions]


def cell_text(value: Any) -> str:
    """One value of an Arrow table as the cell that a CSV file would have."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return repr(value) if isinstance(value, float) else str(value)


def _records(batch: Any, line: int) -> Iterator[TextRecord]:
    columns = [_column_texts(column, line) for column in batch.columns]
    for i, fields in enumerate(zip(*columns, strict=True)):
        yield TextRecord(list(fields), line + i)


def _column_texts(column: Any, line: int) -> list[str]:
    import pyarrow as pa

    try:
        return [cell_text(value) for value in column.to_pylist()]
    except (pa.ArrowException, OSError) as error:
        raise _damaged(error, line) from error


def _stream(batches: list[Any]) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema) as stream:
        for batch in batches:
            stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _hashed(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _damaged(error: BaseException, line: int) -> DataError:
    return DataError("bad_parquet", f"is damaged ({_first_line(error)})", line=line)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
