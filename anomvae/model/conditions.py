"""Conditions that generated rows have to meet, as intervals of numbers and sets of levels.

`COL OP VALUE` becomes inclusive bounds on the grid of values that the column has, or the levels that are allowed.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model.arrays import Floats
from anomvae.model.schema import Column, Schema
from anomvae.model.value_parsing import is_number, quoted


class Condition(NamedTuple):
    """One condition on the rows of a table: a column, one of `OPERATORS`, and the value to compare with, as text."""

    column: str
    operator: str
    value: str


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FAR = 1e300  # in place of infinity


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """The values that one column may have, the same ones in all rows or others in each.

    `rows` is 1 where they are the same, else the number of rows. `low`, `high` (rows, k): inclusive intervals of a
    number, or of the number that stands for a date or boolean. `texts` (rows): the allowed levels of a category.
    `missing`: the column has to be missing. `free` (rows,): where the column may have any value; None for nowhere.
    """

    low: Floats
    high: Floats
    texts: tuple[frozenset[str], ...] = ()
    missing: bool = False
    free: NDArray[np.bool_] | None = None

    def allows(self, values: Any) -> NDArray[np.bool_]:
        """Whether each typed value (n,) meets a condition that is the same for all rows."""
        if self.texts:
            return np.array([value in self.texts[0] for value in values], dtype=bool)
        numbers = np.asarray(values, dtype=np.float64)
        if self.missing:
            return np.isnan(numbers)
        slack = 1e-9 * np.abs(numbers)[:, None]
        return np.asarray(
            ((numbers[:, None] >= self.low - slack) & (numbers[:, None] <= self.high + slack)).any(axis=1)
        )


def constraints_of(
    schema: Schema, levels: Mapping[str, Sequence[str]], conditions: Sequence[Condition]
) -> dict[str, Constraint]:
    """Combine the conditions on each column by AND.

    Args:
        schema: what the columns are.
        levels: known levels of the categories, by column.
        conditions: of (column, operator, value) each.

    Raises:
        UsageError: an unknown column, or a value that the column never had or cannot have.
    """
    known = {column.name: column for column in schema.modelled}
    grouped: dict[str, list[tuple[str, str]]] = {}
    for name, sign, value in conditions:
        if name not in known:
            raise UsageError(f"column '{name}' of --where is not in the model{near(name, known)}")
        grouped.setdefault(name, []).append((sign, value))
    return {
        name: _text_constraint(name, levels[name], tests)
        if known[name].kind == "categorical"
        else _number_constraint(known[name], tests)
        for name, tests in grouped.items()
    }


def equal_to_text(texts: Sequence[str]) -> Constraint:
    """Each row has its own level; rows where it is "" are free."""
    free = np.array([text == "" for text in texts])
    return Constraint(
        low=np.zeros((1, 0)), high=np.zeros((1, 0)), texts=tuple(frozenset((t,)) for t in texts), free=free
    )


def equal_to_number(values: Floats) -> Constraint:
    """Each row has its own number (rows,); rows where it is NaN are free."""
    free = np.isnan(values)
    points = np.where(free, 0.0, values)[:, None]
    return Constraint(low=points, high=points, free=free)


def _text_constraint(name: str, levels: Sequence[str], tests: Sequence[tuple[str, str]]) -> Constraint:
    """The levels of a category that pass all tests, of (operator, value) each."""
    for sign, value in tests:
        if sign == "==" and value not in levels:
            shown = ", ".join(quoted(level, 20) for level in levels[:6] if level)
            raise UsageError(f"column '{name}' never was {quoted(value)} in training ({shown} ...).")
    allowed = frozenset(level for level in levels if all(_compare(level, sign, value) for sign, value in tests))
    if not allowed:
        text = " and ".join(f"{name} {sign} {value}" for sign, value in tests)
        raise UsageError(f"no value that column '{name}' had in training meets {text}.")
    nothing = np.zeros((1, 0))
    return Constraint(low=nothing, high=nothing, texts=(allowed,), missing=allowed == {""})


def _compare(level: str, sign: str, value: str) -> bool:
    """Compare a level with a value: as numbers where both are, else as text."""
    if is_number(level) and is_number(value):
        return OPERATORS[sign](float(level), float(value))
    return OPERATORS[sign](level, value)


def _number_constraint(column: Column, tests: Sequence[tuple[str, str]]) -> Constraint:
    """The intervals of a number, date or boolean that pass all tests, of (operator, value) each."""
    if all(column.is_gap(value.strip()) for _, value in tests):
        if {sign for sign, _ in tests} == {"=="}:
            return Constraint(low=np.zeros((1, 0)), high=np.zeros((1, 0)), missing=True)
        if {sign for sign, _ in tests} == {"!="}:
            return Constraint(low=np.full((1, 1), -FAR), high=np.full((1, 1), FAR))
    intervals = [(-FAR, FAR)]
    for sign, text in tests:
        try:
            value, _ = column.read(text)
        except DataError as error:
            raise UsageError(f"--where '{column.name} {sign} {text}': {error.message}.") from error
        if np.isnan(value):
            raise UsageError(f"--where '{column.name} {sign} {text}': an empty value only goes with == and !=.")
        intervals = _intersection(intervals, _intervals(column, sign, value))
    if not intervals:
        text = " and ".join(f"{column.name} {sign} {value}" for sign, value in tests)
        raise UsageError(f"no value of column '{column.name}' can meet {text}.")
    bounds = np.array(intervals)
    return Constraint(low=bounds[:, 0][None, :], high=bounds[:, 1][None, :])


def _intervals(column: Column, sign: str, value: float) -> list[tuple[float, float]]:
    """The inclusive intervals, on the column's grid, of the values that pass a comparison."""
    below, at, above = _neighbours(value, step_of(column))
    if sign == "==":
        return [] if at is None else [(at, at)]
    if sign == "!=":
        return [(-FAR, below), (above, FAR)]
    low = {">": above, ">=": above if at is None else at}
    high = {"<": below, "<=": below if at is None else at}
    return [(low.get(sign, -FAR), high.get(sign, FAR))]


def step_of(column: Column) -> float:
    """Distance between neighbouring values of a column; 0 where any number is possible."""
    if column.kind == "boolean":
        return 1.0
    if column.kind == "datetime":
        return 1e-6  # conditions may be finer than the dates of the column
    return 0.0 if column.digits is None else 10.0**-column.digits


def _neighbours(value: float, step: float) -> tuple[float, float | None, float]:
    """The values of a grid just below `value`, at it (None where it is not on the grid) and just above."""
    if step == 0.0:
        return float(np.nextafter(value, -np.inf)), value, float(np.nextafter(value, np.inf))
    digits = round(-np.log10(step))
    k = round(value / step)
    if abs(value / step - k) < 1e-6 * max(1.0, abs(k) * 1e-9):
        return round((k - 1) * step, digits), round(k * step, digits), round((k + 1) * step, digits)
    floor = int(np.floor(value / step))
    return round(floor * step, digits), None, round((floor + 1) * step, digits)


def _intersection(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What two sets of intervals have in common, in order."""
    met = [(max(x, u), min(y, v)) for x, y in a for u, v in b]
    return sorted((low, high) for low, high in met if low <= high)
