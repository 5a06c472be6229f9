"""What generated rows must be: conditions on columns as intervals of numbers and sets of levels.

`COL OP VALUE` becomes what the drawing of a part can use: inclusive bounds on the column's own grid of values, or the
levels that are allowed. A column that a table decides passes its condition on to its parent.
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
from anomvae.model.schema import Column, Schema, parse_cell
from anomvae.model.value_parsing import MISSING, is_number, quoted


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
FAR = 1e300


class Constraint(msgspec.Struct, frozen=True, kw_only=True):
    """What one column may be. One row of each array serves all rows, or there is one for each.

    `low`, `high` (rows, k): inclusive intervals of a number, the number of a date or of a boolean.
    `texts` (rows): the allowed levels of a category. `missing`: a gap, and nothing else.
    `free` (rows,): rows in which the column may be anything; None where there are none.
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
    """Conditions by column, those of one column joined by AND.

    Args:
        schema: what the columns are.
        levels: known levels of the categories.
        conditions: (column, operator, value).

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
        name: _texts(name, levels[name], tests)
        if known[name].kind == "categorical"
        else _numbers(schema, known[name], tests)
        for name, tests in grouped.items()
    }


def equal_to_text(texts: Sequence[str]) -> Constraint:
    """Each row its own level; rows without one are free."""
    free = np.array([text == "" for text in texts])
    return Constraint(
        low=np.zeros((1, 0)), high=np.zeros((1, 0)), texts=tuple(frozenset((t,)) for t in texts), free=free
    )


def equal_to_number(values: Floats) -> Constraint:
    """Each row its own number; rows without one are free."""
    free = np.isnan(values)
    points = np.where(free, 0.0, values)[:, None]
    return Constraint(low=points, high=points, free=free)


def _texts(name: str, levels: Sequence[str], tests: Sequence[tuple[str, str]]) -> Constraint:
    for sign, value in tests:
        if sign == "==" and value not in levels:
            shown = ", ".join(quoted(level, 20) for level in levels[:6] if level)
            raise UsageError(f"column '{name}' never was {quoted(value)} in training ({shown} ...).")
    allowed = frozenset(level for level in levels if all(_compare(level, sign, value) for sign, value in tests))
    if not allowed:
        told = " and ".join(f"{name} {sign} {value}" for sign, value in tests)
        raise UsageError(f"no value that column '{name}' had in training meets {told}.")
    nothing = np.zeros((1, 0))
    return Constraint(low=nothing, high=nothing, texts=(allowed,), missing=allowed == {""})


def _compare(level: str, sign: str, value: str) -> bool:
    if is_number(level) and is_number(value):
        return OPERATORS[sign](float(level), float(value))
    return OPERATORS[sign](level, value)


def _numbers(schema: Schema, column: Column, tests: Sequence[tuple[str, str]]) -> Constraint:
    if all(value.strip() in MISSING for _, value in tests):
        if {sign for sign, _ in tests} == {"=="}:
            return Constraint(low=np.zeros((1, 0)), high=np.zeros((1, 0)), missing=True)
        if {sign for sign, _ in tests} == {"!="}:
            return Constraint(low=np.full((1, 1), -FAR), high=np.full((1, 1), FAR))
    intervals = [(-FAR, FAR)]
    for sign, text in tests:
        try:
            value = parse_cell(column, text, schema.numbers)
        except DataError as error:
            raise UsageError(f"--where '{column.name} {sign} {text}': {error.message}.") from error
        if np.isnan(value):
            raise UsageError(f"--where '{column.name} {sign} {text}': an empty value only goes with == and !=.")
        intervals = _meet(intervals, _intervals(column, sign, value))
    if not intervals:
        told = " and ".join(f"{column.name} {sign} {value}" for sign, value in tests)
        raise UsageError(f"no value of column '{column.name}' can meet {told}.")
    bounds = np.array(intervals)
    return Constraint(low=bounds[:, 0][None, :], high=bounds[:, 1][None, :])


def _intervals(column: Column, sign: str, value: float) -> list[tuple[float, float]]:
    """The inclusive intervals on the column's grid that a comparison leaves."""
    below, at, above = _neighbours(value, step_of(column))
    if sign == "==":
        return [] if at is None else [(at, at)]
    if sign == "!=":
        return [(-FAR, below), (above, FAR)]
    low = {">": above, ">=": above if at is None else at}
    high = {"<": below, "<=": below if at is None else at}
    return [(low.get(sign, -FAR), high.get(sign, FAR))]


def step_of(column: Column) -> float:
    """The grid that a column's values lie on; 0 where there is none."""
    if column.kind == "boolean":
        return 1.0
    if column.kind == "datetime":
        return 1e-6
    return 0.0 if column.digits is None else 10.0**-column.digits


def _neighbours(value: float, step: float) -> tuple[float, float | None, float]:
    """The grid's values just below, at (None: there is none) and just above."""
    if step == 0.0:
        return float(np.nextafter(value, -np.inf)), value, float(np.nextafter(value, np.inf))
    digits = round(-np.log10(step))
    k = round(value / step)
    if abs(value / step - k) < 1e-6 * max(1.0, abs(k) * 1e-9):
        return round((k - 1) * step, digits), round(k * step, digits), round((k + 1) * step, digits)
    floor = int(np.floor(value / step))
    return round(floor * step, digits), None, round((floor + 1) * step, digits)


def _meet(a: Sequence[tuple[float, float]], b: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    met = [(max(x, u), min(y, v)) for x, y in a for u, v in b]
    return sorted((low, high) for low, high in met if low <= high)
