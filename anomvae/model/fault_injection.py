"""Labelled faults in synthetic rows: known anomalies to measure a detector with.

Each chosen row gets one fault in one column (a swap: in two), and says which.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomvae.model.schema import Column, Schema, Values, as_floats, rounded

Columns = dict[str, Values]
Texts = NDArray[np.object_]
Spoil = Callable[[Columns, int, np.random.Generator], str]

FACTORS = (1000.0, 100.0, 10.0, 0.1, 0.01)
KINDS = ("wild", "swap", "unit", "dependency", "category")


class Faults:
    """The kinds of fault that a table can have.

    Args:
        schema: what the columns are.
        children: columns that follow from others.
        only: the one column that faults happen in (a swap: and another).
    """

    def __init__(self, schema: Schema, children: Sequence[str], only: str | None = None) -> None:
        moving = [c for c in schema.modelled if not c.constant]
        self._every_number = [c for c in moving if c.kind in ("numeric", "integer")]
        self._numbers = [c for c in self._every_number if only in (None, c.name)]
        self._texts = [c.name for c in schema.modelled if c.kind == "categorical" and only in (None, c.name)]
        self._all = [c.name for c in schema.modelled if only in (None, c.name)]
        self._any = [c.name for c in moving if only in (None, c.name)]
        self._known: dict[str, set[str]] = {}
        self._children = [name for name in children if only in (None, name)]

    def possible(self) -> tuple[str, ...]:
        """The kinds that have a column to happen in."""
        can = {
            "wild": bool(self._numbers),
            "unit": bool(self._numbers),
            "swap": len(self._every_number) > 1 and bool(self._numbers),
            "category": bool(self._texts),
            "dependency": len(self._any) > 1,
        }
        return tuple(kind for kind in KINDS if can[kind])

    def spoil(
        self, columns: Mapping[str, Values], share: float, kinds: Sequence[str], rng: np.random.Generator
    ) -> tuple[Columns, Texts, Texts]:
        """Rows (n) with faults in about `share` of them, and each row's kind of fault and column ("": none)."""
        out = {name: values.copy() for name, values in columns.items()}
        self._known = {name: set(columns[name].tolist()) for name in self._texts}
        n = len(next(iter(out.values())))
        kind, where = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
        spoilers: dict[str, Spoil] = {
            "wild": self._wild, "unit": self._unit, "swap": self._swap,
            "category": self._category, "dependency": self._dependency, "gap": self._gap,
        }  # fmt: skip
        for i in np.flatnonzero(rng.random(n) < share).tolist():
            chosen = str(rng.choice(list(kinds)))
            where[i] = spoilers[chosen](out, i, rng)
            kind[i] = chosen if where[i] else ""
        return out, kind, where

    def _wild(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """A number far outside: two to ten ranges beyond its column's."""
        column = self._numbers[rng.integers(len(self._numbers))]
        values = as_floats(columns[column.name])
        low, high = np.nanquantile(values, (0.01, 0.99))
        reach = float(rng.uniform(2, 10)) * max(high - low, abs(high), 1.0)
        columns[column.name][i] = rounded(
            np.array([high + reach if rng.random() < 0.7 else low - reach]), column.digits
        )[0]
        return column.name

    def _unit(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """A number in the wrong unit."""
        options = [
            (c, v)
            for c in self._present(columns, i, self._numbers)
            for f in FACTORS
            if (v := self._scaled(columns, c, i, f)) is not None
        ]
        if not options:
            return ""
        column, value = options[rng.integers(len(options))]
        columns[column.name][i] = value
        return column.name

    def _scaled(self, columns: Columns, column: Column, i: int, factor: float) -> float | None:
        old = float(columns[column.name][i])
        new = float(rounded(np.array([old * factor]), column.digits)[0])
        return new if new != old else None

    @staticmethod
    def _present(columns: Columns, i: int, among: Sequence[Column]) -> list[Column]:
        return [column for column in among if not np.isnan(float(columns[column.name][i]))]

    def _swap(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """Two numbers that changed places."""
        present = self._present(columns, i, self._every_number)
        rng.shuffle(present)
        first = present if len(self._numbers) > 1 else [c for c in present if c in self._numbers]
        for a, b in pairwise(present) if len(first) > 1 else ((a, b) for a in first for b in present if b is not a):
            x, y = float(columns[a.name][i]), float(columns[b.name][i])
            new = rounded(np.array([y]), a.digits)[0], rounded(np.array([x]), b.digits)[0]
            if new != (x, y):
                columns[a.name][i], columns[b.name][i] = new
                return f"{a.name}|{b.name}"
        return ""

    def _category(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """A level that never was: the row's own, mistyped."""
        name = self._texts[rng.integers(len(self._texts))]
        known = self._known[name]
        text = str(columns[name][i]) or "x"
        while text in known:
            text += text[-1]
        columns[name][i] = text
        return name

    def _gap(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """A value that is not there."""
        name = self._all[rng.integers(len(self._all))]
        columns[name][i] = "" if columns[name].dtype == object else np.nan
        return name

    def _dependency(self, columns: Columns, i: int, rng: np.random.Generator) -> str:
        """A value of another row: usual alone, wrong beside the rest."""
        names = self._children or self._any
        name = names[rng.integers(len(names))]
        others = columns[name][rng.integers(len(columns[name]), size=20)]
        different = [value for value in others.tolist() if value not in (columns[name][i], "", None)]
        different = [value for value in different if not (isinstance(value, float) and np.isnan(value))]
        if not different:
            return ""
        columns[name][i] = different[0]
        return name
