"""What a user states about columns, beside what their cells say: for files and for tables in memory."""

from collections.abc import Mapping, Sequence

import msgspec

from anomvae.config import SchemaSettings
from anomvae.config_errors import near
from anomvae.errors import UsageError
from anomvae.model.column_writing import settings_of
from anomvae.model.infer_column import FOUND, Separators, declared, infer
from anomvae.model.schema import Column, Schema
from anomvae.records.sentences import ColumnReason, ReasonCode


def reasons_to_leave_out(
    names: Sequence[str], chosen: SchemaSettings, label: str | None = None
) -> dict[str, ReasonCode]:
    """The columns that are not to be modelled, by name, each with the reason.

    Args:
        names: of the columns of the table.
        chosen: what the user states about columns.
        label: the label column.

    Raises:
        UsageError: a column that is named is not in the table.
    """
    found: dict[str, ReasonCode] = dict.fromkeys(chosen.drop, "dropped")
    found |= dict.fromkeys(chosen.id, "id")
    found |= {} if label is None else {label: "label"}
    known = set(names)
    for name in [*found, *chosen.columns, *chosen.redact]:
        if name not in known:
            raise UsageError(
                f"column '{name}' of --drop, --id or [schema] is not in the training file{near(name, names)}"
            )
    return found


def column_of(
    name: str,
    texts: Sequence[str],
    chosen: SchemaSettings,
    left_out: Mapping[str, ReasonCode],
    separators: Separators = FOUND,
) -> Column:
    """What a column is: as the user states it where that differs from what its cells say, else as its cells say.

    Args:
        name: of the column.
        texts: its training cells (n,), in the order of the rows.
        chosen: what the user states about columns.
        left_out: columns that are not to be modelled, and why; see `reasons_to_leave_out`.
        separators: of numbers, where the user has stated them for the whole table.

    Raises:
        UsageError: what is stated contradicts itself.
        DataError: the column cannot be what is stated.
    """
    if missing := without(name, left_out):
        return missing
    redacted = name in chosen.redact
    found = infer(name, texts, separators).column
    stated = chosen.columns.get(name)
    if stated is not None and stated != settings_of(found.masked() if redacted else found):
        found = declared(name, stated, texts, separators).column
    return found.masked() if redacted else found


def without(name: str, left_out: Mapping[str, ReasonCode]) -> Column | None:
    """The column where it is not to be modelled, as it is named so or has no name; else None."""
    if name and name not in left_out:
        return None
    return Column(name=name, kind="ignore", modelled=False, reason=ColumnReason(code=left_out.get(name, "no_name")))


def decisive(schema: Schema, chosen: SchemaSettings) -> SchemaSettings:
    """What the user states about columns, in the order of these, without what says no more than their cells do.

    So a model is the same, byte for byte, whether its columns were found or read from the file that `schema` wrote.
    """
    stated = [column.name for column in schema.columns if column.reason.code in ("configured", "ignored")]
    return msgspec.structs.replace(chosen, columns={name: chosen.columns[name] for name in stated})
