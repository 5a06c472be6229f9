"""Rows as an output takes them (`formats.OutputRows`): scored rows, and synthetic ones.

A scored row is its original cells as they were read, then the `_av_` columns. A synthetic row is written in the style
of the training table.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from anomvae.formats import ColumnType, OutputColumn
from anomvae.model.schema import Column, Schema, Values, as_marks
from anomvae.model.value_formatting import format_values, python_values
from anomvae.records.results import Reason
from anomvae.table.csv_fast import UnquotedRows

SCORE_COLUMNS: dict[str, ColumnType] = {
    "_av_line": "integer",
    "_av_score": "number",
    "_av_recon": "number",
    "_av_kl": "number",
    "_av_pvalue": "number",
    "_av_severity": "number",
    "_av_flag": "boolean",
    "_av_top": "text",
    "_av_reasons": "reasons",
}


TYPES: dict[str, ColumnType] = {  # of an output's columns, by the kind of a column
    "integer": "integer",
    "numeric": "number",
    "boolean": "boolean",
    "datetime": "datetime",
    "categorical": "text",
    "counter": "number",
}


class ScoredRows(msgspec.Struct, frozen=True):
    """Rows (n) with their scores and decisions; see `formats.OutputRows` for the views.

    Attributes:
        cells: the original cells of every row.
        lines: (n,) on which the rows start.
        numbers: (n, 5): score, reconstruction, KL, p-value, severity.
        flags: (n,) whether a row is flagged.
        reasons: of flagged rows, by the index of the row, the strongest first.
    """

    cells: Sequence[list[str]]
    lines: Sequence[int]
    numbers: list[list[float]]
    flags: list[bool]
    reasons: Mapping[int, tuple[Reason, ...]]

    def __len__(self) -> int:
        return len(self.lines)

    def texts(self, unsplit: str = "") -> Iterator[Sequence[str] | str]:
        """Rows as cells of text; reasons as `column:share`, joined by `|`."""
        numbers = number_texts(self.numbers)
        # A row that is not flagged is written as the line that was read, where both sides put commas between cells.
        lines = self._unquoted.lines if self._unquoted and self._unquoted.delimiter == unsplit == "," else None
        for i, line in enumerate(self.lines):
            if lines is None or self.flags[i]:
                yield [*self.cells[i], str(line), *numbers[i].split(","), *self._flag_cells(i)]
            else:
                yield f"{lines[i]},{line},{numbers[i]},false,,\n"

    def values(self) -> Iterator[Sequence[Any]]:
        """Rows as values: the original cells are text, whatever they hold."""
        for i, cells in enumerate(self.cells):
            yield [*cells, self.lines[i], *self.numbers[i], self.flags[i], self._top(i), self._reasons(i)]

    def columns(self) -> list[Any]:
        """Columns, the original ones as text."""
        rows = range(len(self))
        cells = self._unquoted.arrow_columns() if self._unquoted else zip(*self.cells, strict=True)
        scores = [self.lines, *zip(*self.numbers, strict=True), self.flags]
        return [*cells, *scores, [self._top(i) for i in rows], [self._reasons(i) for i in rows]]

    @property
    def _unquoted(self) -> UnquotedRows | None:
        """The original rows, where the fast reader left them as lines of text; None where they are lists of cells."""
        return self.cells if isinstance(self.cells, UnquotedRows) else None

    def _flag_cells(self, i: int) -> list[str]:
        """The last three columns of a row as text: flag, strongest column, shares."""
        shares = "|".join(f"{reason.column}:{reason.share:.2f}" for reason in self.reasons.get(i, ()))
        return ["true" if self.flags[i] else "false", self._top(i) or "", shares]

    def _top(self, i: int) -> str | None:
        """The column that is the strongest reason."""
        found = self.reasons.get(i)
        return found[0].column if found else None

    def _reasons(self, i: int) -> list[Any]:
        return [msgspec.to_builtins(reason) for reason in self.reasons.get(i, ())]


def scored_columns(names: Sequence[str], guarded: Collection[int] = ()) -> list[OutputColumn]:
    """The columns of an output of scored rows.

    Args:
        names: of the original columns.
        guarded: positions of those to guard against spreadsheets that would run their text as formulas.
    """
    cells = [OutputColumn(name, "text", guarded=j in guarded) for j, name in enumerate(names)]
    return cells + [OutputColumn(name, kind) for name, kind in SCORE_COLUMNS.items()]


class TableStyle(msgspec.Struct, frozen=True):
    """How the training table was written: its columns, and the delimiter of its text."""

    schema: Schema
    delimiter: str

    def columns(self, extra: Sequence[str] = ()) -> list[OutputColumn]:
        """The columns of an output of such rows; `extra` names columns of text behind the others."""
        modelled = [OutputColumn(column.name, _output_type(column)) for column in self.schema.modelled]
        return modelled + [OutputColumn(name, "text") for name in extra]

    def texts(self, columns: Mapping[str, Values]) -> list[list[str]]:
        """Every modelled column as text."""
        return [self.text(column, columns) for column in self.schema.modelled]

    def text(self, column: Column, columns: Mapping[str, Values]) -> list[str]:
        """One of the typed columns as text."""
        return format_values(column, columns[column.name], as_marks(columns, column.name) if column.marks else None)


def _output_type(column: Column) -> ColumnType:
    """The type of a column in an output; a counter of whole numbers is written as such."""
    return "integer" if column.kind == "counter" and column.digits == 0 else TYPES[column.kind]


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
            return [text or None for text in self.style.text(column, self.typed)]
        return python_values(column, values)

    def _arrow(self, column: Column) -> list[Any]:
        values = python_values(column, self.typed[column.name])
        if column.kind == "datetime":
            return [None if seconds is None else round(seconds * 1e6) for seconds in values]
        return values


def number_texts(numbers: list[list[float]]) -> list[str]:
    """Rows of finite numbers as text, each number as repr writes it, separated by commas."""
    if not numbers:
        return []
    # JSON is four times as fast as repr, and writes a number alike unless it has an exponent.
    texts = msgspec.json.encode(numbers).decode()[2:-2].split("],[")
    for i, text in enumerate(texts):
        if "e" in text or "0.0000" in text:
            texts[i] = ",".join(map(repr, numbers[i]))
    return texts
