"""Counters in synthetic rows: the generator learns and draws their steps, and the values are added up behind it.

The values go on from the last training value. A date that never falls is drawn like any other date, row by row; put
the rows in its order where that matters.
"""

from collections.abc import Mapping

import numpy as np

from anomvae.model.arrays import Floats, Ints
from anomvae.model.counters import group_texts
from anomvae.model.schema import Column, Schema, Values, as_floats, as_texts, part_key, rounded


def drawn_counters(schema: Schema) -> tuple[Column, ...]:
    """The columns of which steps are drawn in place of values."""
    return tuple(column for column in schema.modelled if column.kind == "counter")


def steps_for_values(schema: Schema, columns: Mapping[str, Values]) -> dict[str, Values]:
    """The training columns (n,) as the generator learns them: of a counter its steps.

    A value whose step is not known, as in the first row of a file, has the usual step. A missing value stays missing.

    Args:
        schema: what the columns are.
        columns: typed columns by name, with the steps of counters.
    """
    steps_of = {part_key(column.name, "step") for column in schema.modelled if column.counter}
    out = {key: values for key, values in columns.items() if key not in steps_of}
    for column in drawn_counters(schema):
        steps, gap = as_floats(columns[part_key(column.name, "step")]), np.isnan(as_floats(out[column.name]))
        usual = rounded(np.nanmedian(steps, keepdims=True), column.digits)
        out[column.name] = np.where(gap, np.nan, np.where(np.isnan(steps), usual, steps))
    return out


def last_values(schema: Schema, columns: Mapping[str, Values]) -> dict[str, float]:
    """The last training value of every counter, by name."""
    found = {}
    for column in drawn_counters(schema):
        values = as_floats(columns[column.name])
        found[column.name] = float(values[~np.isnan(values)][-1])
    return found


def with_drawn_steps(schema: Schema, drawn: Mapping[str, Values]) -> dict[str, Values]:
    """Drawn columns (n,) as a detector takes them: with the steps of counters; those of dates are not known."""
    out = dict(drawn)
    for column in schema.modelled:
        if column.counter:
            unknown = np.full(len(drawn[column.name]), np.nan)
            out[part_key(column.name, "step")] = drawn[column.name] if column.kind == "counter" else unknown
    return out


class RunningCounters:
    """Adds up the drawn steps of counters, batch by batch, and within their groups where these are drawn too.

    Args:
        schema: what the columns are.
        last: the values that the counters go on from, by name; those of every group begin there.
    """

    def __init__(self, schema: Schema, last: Mapping[str, float]) -> None:
        self._counters, self._group = drawn_counters(schema), schema.counter_group
        self._start = dict(last)
        self._last: dict[tuple[str, str], float] = {}

    def advance(self, drawn: Mapping[str, Values], filled: Mapping[str, Floats] | None = None) -> dict[str, Values]:
        """The next rows with the values of their counters.

        Args:
            drawn: columns (n,) by name, of counters the steps.
            filled: values (n,) of counters that are given, NaN where they are not; the values go on from these.
        """
        out = dict(drawn)
        if not self._counters:
            return out
        groups = self._groups_of(drawn)
        for column in self._counters:
            steps = as_floats(drawn[column.name])
            given = (filled or {}).get(column.name, np.full(len(steps), np.nan))
            values = np.zeros(len(steps))
            for group, rows in groups.items():
                last = self._last.get((column.name, group), self._start[column.name])
                values[rows] = _running(np.nan_to_num(steps[rows]), given[rows], last)
                self._last[column.name, group] = float(values[rows[-1]])
            gap = np.isnan(steps) & np.isnan(given)
            out[column.name] = np.where(gap, np.nan, rounded(values, column.digits))
        return out

    def _groups_of(self, drawn: Mapping[str, Values]) -> dict[str, Ints]:
        """The rows of every group; all rows are of one where the columns that name groups are not drawn."""
        n = len(drawn[self._counters[0].name])
        known = self._group if all(name in drawn for name in self._group) else ()
        names = group_texts([as_texts(drawn[name]).tolist() for name in known]) or [""] * n
        rows: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            rows.setdefault(name, []).append(i)
        return {name: np.array(at, dtype=np.intp) for name, at in rows.items()}


def _running(steps: Floats, given: Floats, last: float) -> Floats:
    """Values (n,) that go on from `last` by `steps` (n,), and from every value that is given."""
    total = np.cumsum(steps)
    at = np.maximum.accumulate(np.where(np.isnan(given), -1, np.arange(len(steps))))
    base = np.where(at < 0, last, given[at])
    return np.asarray(base + total - np.where(at < 0, 0.0, total[at]))
