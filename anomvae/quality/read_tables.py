"""Reads the tables that `anomvae.quality` compares, so that all of them are typed alike.

With a model its dialect, its schema and its selection of rows hold. Without one the types of the columns are inferred
from the real rows.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from anomvae.config import Dialect, FitSettings
from anomvae.errors import DataError
from anomvae.model.conditions import Condition
from anomvae.model.counters import group_texts, with_steps
from anomvae.model.detector import Detector
from anomvae.model.infer_column import infer, separators_of
from anomvae.model.schema import Schema, Values, part_key
from anomvae.records.sentences import table_warning
from anomvae.table.training_rows import TrainingTable, read_training_table, training_files
from anomvae.table.typed_reader import dialect_of, parse_columns

BOOLEAN_TEXTS = {1.0: "true", 0.0: "false"}  # as a data frame has them


class TypedTable(msgspec.Struct, frozen=True):
    """Typed columns (n,) by name, the kind of each, and warnings for people."""

    columns: dict[str, Values]
    kinds: dict[str, str]
    warnings: tuple[str, ...]


def read_tables(
    real: Sequence[str], synthetic: Sequence[str], held_out: Sequence[str] = (), detector: Detector | None = None
) -> list[TypedTable]:
    """Read real, synthetic and held-out rows, each from CSV or Parquet files or from folders of them.

    Args:
        real: files of training rows.
        synthetic: files of the rows to evaluate.
        held_out: files of real rows that the generator never saw; there may be none.
        detector: the model that made the synthetic rows; its `--where` selects the real rows too.

    Returns:
        Two tables, or three where there are held-out rows, in this order.

    Raises:
        DataError: a file is refused, or has no rows.
        UsageError: a column of the selection is not in a file.
    """
    dialect = dialect_of(detector) if detector else Dialect()
    conditions = detector.about.origin.conditions if detector and detector.about else ()
    tables = [_read(real, dialect, conditions), _read(synthetic, dialect, ())]
    tables += [_read(held_out, dialect, conditions)] if held_out else []
    schema = detector.schema if detector else _inferred(tables[0], dialect)
    return [_typed(schema, table) for table in tables]


def _read(files: Sequence[str], dialect: Dialect, selection: Sequence[Condition]) -> TrainingTable:
    """The rows of one table that meet the conditions, as text."""
    paths = training_files(files)
    table = read_training_table(paths, FitSettings(**msgspec.structs.asdict(dialect)), selection)
    if not len(table.rows):
        raise DataError("too_few_rows", "no rows to compare").within(paths[0])
    return table


def _inferred(table: TrainingTable, dialect: Dialect) -> Schema:
    """The schema of a table without a model: the types that its cells allow."""
    separators = separators_of(dialect)
    return Schema(columns=tuple(infer(name, table.column(name), separators).column for name in table.names if name))


def _typed(schema: Schema, table: TrainingTable) -> TypedTable:
    """The modelled columns that the table has; cells that cannot be read count as missing, with a warning.

    Of a counter the steps are compared, since its values only go on.
    """
    present = [column for column in schema.modelled if column.name in table.names]
    typed = parse_columns(present, table.column)
    kinds: dict[str, str] = {column.name: column.kind for column in present}
    groups = [table.column(name) for name in schema.counter_group if name in table.names]
    steps = with_steps(schema, typed.columns, group_texts(groups), table.starts())
    for name in [name for name, kind in kinds.items() if kind == "counter"]:
        typed.columns[name], kinds[name] = steps[part_key(name, "step")], "numeric"
    columns = {name: _levels(values) if kinds[name] == "boolean" else values for name, values in typed.columns.items()}
    warnings = [
        f"column '{name}': {len(errors):,} cells count as missing; the first: {next(iter(errors.values())).message}"
        for name, errors in typed.errors.items()
        if errors
    ]
    return TypedTable(columns, kinds, (*map(table_warning, table.warnings), *warnings))


def _levels(values: Values) -> Values:
    """Booleans as two categories, as in a data frame."""
    return np.array([BOOLEAN_TEXTS.get(value, "") for value in values.tolist()], dtype=object)
