"""Tables that are to be compared: read by the strict reader, typed alike, whatever each of them holds.

With a model its dialect, its schema and its selection of rows hold; without one the columns are what the real rows
make of them.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from anomvae.config import Dialect, FitSettings
from anomvae.errors import DataError
from anomvae.model.conditions import Condition
from anomvae.model.detector import Detector
from anomvae.model.schema import Schema, Values, infer
from anomvae.table.training_rows import TrainingTable, read_training_table, row_conditions, training_files
from anomvae.table.typed_reader import dialect_of, parse_columns

BOOLEAN = {1.0: "true", 0.0: "false"}


class Typed(msgspec.Struct, frozen=True):
    """Typed columns by name, what each of them is, and what was noticed on the way."""

    columns: dict[str, Values]
    kinds: dict[str, str]
    warnings: tuple[str, ...]


def read_tables(
    real: Sequence[str], synthetic: Sequence[str], held_out: Sequence[str] = (), detector: Detector | None = None
) -> list[Typed]:
    """Real, synthetic and (where named) held-out rows, each from CSV or Parquet files or folders of them.

    Args:
        real: training rows.
        synthetic: rows to judge.
        held_out: real rows that the generator never saw.
        detector: the model that made the synthetic rows; its `--where` selects the real rows too.

    Raises:
        DataError: a file is refused, or has no rows.
        UsageError: a column of the selection is not in a file.
    """
    about = detector.about if detector else None
    dialect = dialect_of(detector) if detector else Dialect()
    wanted = row_conditions(about.settings) if about else ()
    gathered = [_gathered(real, dialect, wanted), _gathered(synthetic, dialect, ())]
    gathered += [_gathered(held_out, dialect, wanted)] if held_out else []
    schema = detector.schema if detector else _inferred(gathered[0], dialect)
    return [_typed(schema, table) for table in gathered]


def _gathered(files: Sequence[str], dialect: Dialect, wanted: Sequence[Condition]) -> TrainingTable:
    paths = training_files(files)
    table = read_training_table(paths, FitSettings(**msgspec.structs.asdict(dialect)), wanted)
    if not len(table.rows):
        raise DataError("too_few_rows", "no rows to compare").within(paths[0])
    return table


def _inferred(table: TrainingTable, dialect: Dialect) -> Schema:
    schema = Schema(columns=(), decimal=dialect.decimal, thousands=dialect.thousands)
    columns = [infer(name, table.column(name), schema.numbers) for name in table.names if name]
    return msgspec.structs.replace(schema, columns=tuple(columns))


def _typed(schema: Schema, table: TrainingTable) -> Typed:
    """The modelled columns that the table has; cells that cannot be read count as missing, and are told."""
    present = [column for column in schema.modelled if column.name in table.names]
    typed = parse_columns(present, table.column, schema.numbers)
    kinds: dict[str, str] = {column.name: column.kind for column in present}
    columns = {name: _levels(values) if kinds[name] == "boolean" else values for name, values in typed.columns.items()}
    warnings = [
        f"column '{name}': {len(errors):,} cells count as missing; the first: {next(iter(errors.values())).message}"
        for name, errors in typed.errors.items()
        if errors
    ]
    return Typed(columns, kinds, (*table.warnings, *warnings))


def _levels(values: Values) -> Values:
    """Booleans as two categories, as in a data frame."""
    return np.array([BOOLEAN.get(value, "") for value in values.tolist()], dtype=object)
