"""The result of `schema`."""

from anomvae.records.columns import ColumnReport
from anomvae.records.results import Record
from anomvae.records.sentences import TableWarning


class SchemaResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.schema/1"):
    """How `fit` would read the columns of training files.

    `rows` were read and meet the conditions; of `rows_rejected` a cell, or the line, cannot be read. `output` is the
    configuration that was written, "" for none.
    """

    files: tuple[str, ...]
    rows_read: int
    rows: int
    rows_rejected: int
    selection: str
    columns: tuple[ColumnReport, ...]
    output: str = ""
    warnings: tuple[TableWarning, ...]
    seconds: float


SCHEMA_RECORDS = (SchemaResult,)
