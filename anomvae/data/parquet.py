"""Parquet as rows of text, so that one path of checks serves every format."""

import hashlib
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any, BinaryIO

from anomvae.data import header
from anomvae.data.records import Line
from anomvae.data.source import CHUNK, open_input
from anomvae.errors import DataError


class Table:
    """A Parquet file, read in batches; the line of a row is its number + 1, as under a header."""

    def __init__(self, name: str, file: BinaryIO | None = None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._owned = file is None
        self._stream = file or open_input(name)
        try:
            self._file = pq.ParquetFile(self._stream)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError("bad_parquet", f"is not a readable Parquet file ({_first(error)})") from error
        self.names = header.clean(self._file.schema_arrow.names)
        self.count = 0
        self._digest = ""

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, once all rows were taken."""
        return self._digest

    def rows(self) -> Iterator[Line]:
        """The rows as text.

        Raises:
            DataError: the file is damaged further in.
        """
        import pyarrow as pa

        try:
            for batch in self._file.iter_batches(batch_size=4096):
                columns = [[text(value) for value in column.to_pylist()] for column in batch.columns]
                for fields in zip(*columns, strict=True):
                    self.count += 1
                    yield Line(list(fields), self.count + 1)
        except (pa.ArrowException, OSError) as error:
            raise DataError("bad_parquet", f"is damaged ({_first(error)})", line=self.count + 2) from error
        self._digest = _hashed(self._stream)
        if self._owned:
            self._stream.close()


def _hashed(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def text(value: Any) -> str:
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


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
