"""Synthetic rows as an output takes them: in text, every value as the training table wrote it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from anomvae.formats import ColumnType, OutputColumn
from anomvae.model.schema import Column, Schema, Values
from anomvae.model.writing import Style, plain, write

TYPES: dict[str, ColumnType] = {  # of an output's columns, by the kind of a column
    "integer": "integer",
    "numeric": "number",
    "boolean": "boolean",
    "datetime": "datetime",
    "categorical": "text",
}


class TableStyle(msgspec.Struct, frozen=True):
    """How the training table was written: its columns, the style of each, and the delimiter of its text."""

    schema: Schema
    styles: Mapping[str, Style]
    delimiter: str

    def columns(self, extra: Sequence[str] = ()) -> list[OutputColumn]:
        """The columns of an output of such rows; `extra` names columns of text behind the others."""
        modelled = [OutputColumn(column.name, TYPES[column.kind]) for column in self.schema.modelled]
        return modelled + [OutputColumn(name, "text") for name in extra]

    def texts(self, columns: Mapping[str, Values]) -> list[list[str]]:
        """Every modelled column as text."""
        return [self.text(column, columns[column.name]) for column in self.schema.modelled]

    def text(self, column: Column, values: Values) -> list[str]:
        """One column as text."""
        return write(column, self.styles[column.name], values, self.schema.numbers)


class SyntheticRows(msgspec.Struct, frozen=True):
    """Synthetic rows (n); see `formats.OutputRows` for the views.

    Attributes:
        style: how they are written.
        typed: the modelled columns, (n,) each, by name.
        extra: columns of text, (n,) each, that stand behind them.
    """

    style: TableStyle
    typed: Mapping[str, Values]
    extra: Mapping[str, Sequence[str]]

    def __len__(self) -> int:
        return len(next(iter(self.typed.values())))

    def texts(self, unsplit: str = "") -> Iterator[Sequence[str] | str]:
        """Rows as cells of text; `unsplit` is of no use, as no row was read."""
        return zip(*self.style.texts(self.typed), *self.extra.values(), strict=True)

    def values(self) -> Iterator[Sequence[Any]]:
        """Rows as values."""
        columns = [self._json(column) for column in self.style.schema.modelled]
        return zip(*columns, *self.extra.values(), strict=True)

    def columns(self) -> list[Any]:
        """Columns of values."""
        return [*map(self._arrow, self.style.schema.modelled), *map(list, self.extra.values())]

    def _json(self, column: Column) -> list[Any]:
        values = self.typed[column.name]
        if column.kind == "datetime":
            return [text or None for text in self.style.text(column, values)]
        return plain(column, values)

    def _arrow(self, column: Column) -> list[Any]:
        values = plain(column, self.typed[column.name])
        if column.kind == "datetime":
            return [None if seconds is None else round(seconds * 1e6) for seconds in values]
        return values
