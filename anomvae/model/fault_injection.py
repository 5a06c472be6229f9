"""Injects known faults into rows, to measure with them how well a detector finds anomalies of these kinds.

Each chosen row gets one fault in one column (a swap: in two), and the caller is told which. A fault in a counter moves
its step from the row before as well, where the columns have steps; the step of the row after stays. The kinds:

    wild        a number far outside the range of its column
    swap        two numbers that changed places
    unit        a number in the wrong unit
    dependency  a value of another row: usual by itself, wrong beside the rest of this row
    category    a level that never was: the row's own, mistyped
    gap         a value that is missing
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from anomvae.model.schema import NUMERIC, Column, Schema, Values, as_floats, part_key, rounded

Columns = dict[str, Values]
Texts = NDArray[np.object_]

FACTORS = (1000.0, 100.0, 10.0, 0.1, 0.01)
KINDS = ("wild", "swap", "unit", "dependency", "category")  # those that `generate` offers


class FaultInjector:
    """Injects faults into rows of one kind of table.

    Args:
        schema: what the columns are.
        children: names of columns that follow from others; dependency faults happen in these, if there are any.
        only: name of the one column that faults happen in (a swap: in another one as well). None: any column.
    """

    def __init__(self, schema: Schema, children: Sequence[str], only: str | None = None) -> None:
        modelled = [column for column in schema.modelled if only in (None, column.name)]
        self._names = [column.name for column in modelled if column.kind != "counter"]
        self._categories = [column.name for column in modelled if column.kind == "categorical"]
        self._varying = [column.name for column in modelled if not column.constant]
        self._children = [name for name in children if only in (None, name)]
        self._every_number = [c for c in schema.modelled if not c.constant and c.kind in NUMERIC]
        self._numbers = [column for column in self._every_number if only in (None, column.name)]

    def possible(self) -> tuple[str, ...]:
        """Which of `KINDS` have a column to happen in."""
        can = {
            "wild": bool(self._numbers),
            "unit": bool(self._numbers),
            "swap": len(self._every_number) > 1 and bool(self._numbers),
            "category": bool(self._categories),
            "dependency": len(self._varying) > 1,
        }
        return tuple(kind for kind in KINDS if can[kind])

    def inject(
        self, columns: Mapping[str, Values], share: float, kinds: Sequence[str], rng: np.random.Generator
    ) -> tuple[Columns, Texts, Texts]:
        """Inject faults into about `share` of the rows.

        Args:
            columns: typed values by name (n,), which stay as they are.
            share: the chance of each row to get a fault, from 0 to 1.
            kinds: kinds of fault to choose from, each as likely as the others.
            rng: chooses rows, kinds, columns and values.

        Returns:
            A copy of the columns with the faults in; the kind of each row's fault (n,), "" where it has none; and the
            name of the column that the fault is in (n,), two names joined by "|" for a swap.
        """
        out = {name: values.copy() for name, values in columns.items()}
        levels = {name: set(columns[name].tolist()) for name in self._categories}
        n = len(next(iter(out.values())))
        kind, where = np.full(n, "", dtype=object), np.full(n, "", dtype=object)
        injectors: dict[str, Callable[[int], str]] = {
            "wild": lambda i: _far_number(out, i, self._numbers, rng),
            "unit": lambda i: _wrong_unit(out, i, self._numbers, rng),
            "swap": lambda i: _swap(out, i, self._numbers, self._every_number, rng),
            "category": lambda i: _new_level(out, i, levels, rng),
            "dependency": lambda i: _value_of_another_row(out, i, self._children or self._varying, rng),
            "gap": lambda i: _gap(out, i, self._names, rng),
        }
        for i in np.flatnonzero(rng.random(n) < share).tolist():
            chosen = str(rng.choice(list(kinds)))
            where[i] = injectors[chosen](i)
            kind[i] = chosen if where[i] else ""
        return out, kind, where


# Each of these changes row i of the columns in place, and returns the name of the column that it changed, or "" where
# the row cannot have such a fault.


def _far_number(columns: Columns, i: int, numbers: list[Column], rng: np.random.Generator) -> str:
    """A number two to ten ranges beyond the range of its column."""
    column = numbers[rng.integers(len(numbers))]
    low, high = np.nanquantile(as_floats(columns[column.name]), (0.01, 0.99))
    reach = float(rng.uniform(2, 10)) * max(high - low, abs(high), 1.0)
    far = high + reach if rng.random() < 0.7 else low - reach
    _put(columns, i, column.name, _rounded(far, column))
    return column.name


def _wrong_unit(columns: Columns, i: int, numbers: list[Column], rng: np.random.Generator) -> str:
    """A number times a power of ten, where that is another number to the decimals of its column."""
    options = []
    for column in _present(columns, i, numbers):
        old = float(columns[column.name][i])
        options += [(column.name, new) for factor in FACTORS if (new := _rounded(old * factor, column)) != old]
    if not options:
        return ""
    name, value = options[rng.integers(len(options))]
    _put(columns, i, name, value)
    return name


def _swap(
    columns: Columns, i: int, numbers: list[Column], every_number: Sequence[Column], rng: np.random.Generator
) -> str:
    """A number of `numbers` and another of `every_number` that changed places."""
    present = _present(columns, i, every_number)
    rng.shuffle(present)
    first = present if len(numbers) > 1 else [column for column in present if column in numbers]
    for a, b in pairwise(present) if len(first) > 1 else ((a, b) for a in first for b in present if b is not a):
        x, y = float(columns[a.name][i]), float(columns[b.name][i])
        new = _rounded(y, a), _rounded(x, b)
        if new[0] != x and new[1] != y:
            _put(columns, i, a.name, new[0])
            _put(columns, i, b.name, new[1])
            return f"{a.name}|{b.name}"
    return ""


def _new_level(columns: Columns, i: int, levels: Mapping[str, set[str]], rng: np.random.Generator) -> str:
    """A level that is none of `levels`: the row's own, with its last letter repeated."""
    names = list(levels)
    name = names[rng.integers(len(names))]
    text = str(columns[name][i]) or "x"
    while text in levels[name]:
        text += text[-1]
    columns[name][i] = text
    return name


def _value_of_another_row(columns: Columns, i: int, names: list[str], rng: np.random.Generator) -> str:
    """Another value that the column has in one of twenty other rows."""
    name = names[rng.integers(len(names))]
    others = columns[name][rng.integers(len(columns[name]), size=20)]
    different = [value for value in others.tolist() if value not in (columns[name][i], "", None)]
    different = [value for value in different if not (isinstance(value, float) and np.isnan(value))]
    if not different:
        return ""
    _put(columns, i, name, different[0])
    return name


def _gap(columns: Columns, i: int, names: list[str], rng: np.random.Generator) -> str:
    """A missing value."""
    name = names[rng.integers(len(names))]
    columns[name][i] = "" if columns[name].dtype == object else np.nan
    return name


def _put(columns: Columns, i: int, name: str, value: float | str) -> None:
    """Give row i another value, and the step that leads to it where the column is a counter."""
    if (key := part_key(name, "step")) in columns:
        columns[key][i] += float(value) - float(columns[name][i])
    columns[name][i] = value


def _present(columns: Columns, i: int, among: Sequence[Column]) -> list[Column]:
    """The columns of numbers that are not missing in row i."""
    return [column for column in among if not np.isnan(float(columns[column.name][i]))]


def _rounded(value: float, column: Column) -> float:
    """A number with the decimals of a column."""
    return float(rounded(np.array([value]), column.digits)[0])
