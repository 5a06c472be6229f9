"""Where the model's columns stand in a table, and the typed values of the rows that can be read."""

from collections.abc import Callable, Mapping

from anomvae.data import header
from anomvae.data.reader import Table, TextBatch, columns_of
from anomvae.errors import DataError
from anomvae.model.detector import Detector
from anomvae.model.schema import Schema, Values, parse
from anomvae.settings import ScoreSettings

Reject = Callable[[int, str, str, str | None], None]  # line, code, message, column


def typed(
    batch: TextBatch, reject: Reject, positions: list[int], schema: Schema
) -> tuple[TextBatch, Mapping[str, Values]]:
    """Typed columns of the rows whose every modelled cell can be read; the others are told to `reject`."""
    if batch.columns is not None:
        return batch, batch.columns
    columns: dict[str, Values] = {}
    bad: dict[int, DataError] = {}
    numbers = schema.numbers
    for column, texts in zip(schema.modelled, columns_of(batch.rows, positions), strict=True):
        columns[column.name], errors = parse(column, texts, numbers)
        for i, error in errors.items():
            bad.setdefault(i, error)
    for i, error in sorted(bad.items()):
        reject(batch.lines[i], error.code, f"column '{error.column}': {error.message}", error.column)
    if not bad:
        return batch, columns
    kept = [i for i in range(len(batch.rows)) if i not in bad]
    return batch.take(kept), {name: values[kept] for name, values in columns.items()}


def positions_of(table: Table, detector: Detector, settings: ScoreSettings) -> list[int]:
    """Where the model's columns stand in a table.

    Raises:
        DataError: one is missing, or there are others where these are not allowed.
    """
    wanted = [column.name for column in detector.schema.modelled]
    known = [column.name for column in detector.schema.columns]
    delimiter = table.dialect.delimiter
    positions, warnings = header.locate(table.names, wanted, known, delimiter, table.header_line)
    if settings.on_schema == "strict" and (extra := header.extra_columns(table.names, known)):
        raise DataError("extra_columns", header.not_in_training(extra), line=table.header_line)
    table.warnings.extend(warnings)
    return positions
