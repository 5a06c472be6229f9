"""Counters: columns that never fall are modelled by the step from the row before.

The level of a meter, a sequence number, an epoch stamp or the date of a log says little, since no later file shares it;
its step says much: a standstill, a jump, a reset. Which columns are counters is decided from the training rows in their
order (`is_counter`). Typed columns hold the steps of a counter beside its values, under `part_key(name, "step")`.

A step is the difference to the last readable value before it in the same file, and within one group where rows have
groups. It is NaN, which is neither surprising nor usual, where the value is missing or where there is no value before
it. Steps depend on the order of the rows, so that whoever reads a file in parts hands on what is left of the rows
before (`CounterState`). Where a counter falls again and again, its rows are in no order, and its steps say nothing:
after three falls among the last twenty steps, a step is taken as not known until they lie back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.schema import Column, Schema, Values, as_floats, parse, part_key, rounded
from anomvae.records.sentences import ColumnReason

LEAST_VALUES = 50  # readable cells; fewer do not show that a column never falls
MOST_FALLS = 0.005  # share of the steps: resets and stray cells, which hide no counter
LEAST_MOVES = 0.3  # share of the steps that are not 0; what mostly stands still is a group or a sorted category
TAIL_RATIO = 3.0  # of the usual steps at an end to those elsewhere, from which a column is a sorted measure
MOST_SORTED = 1 / 3  # share of the rows between falls that may look sorted by chance
SECOND_DIGITS = 6  # decimals of the steps of dates, in seconds
FALLS_TOLD = 0.05  # share of the steps of a scored file, from which it is said that a counter falls

RECENT = 20  # steps whose falls are remembered
MOST_RECENT = 3  # falls among them from which the rows are in no order

# The last readable value of every counter, and its recent falls as bits, the newest lowest; by column and by group.
CounterState = dict[str, dict[str, tuple[float, int]]]


def counters_of(schema: Schema) -> tuple[Column, ...]:
    """The modelled columns that have steps, in order."""
    return tuple(column for column in schema.modelled if column.counter)


def is_counter(
    values: Floats, starts: Bools | None = None, groups: Sequence[str] | None = None, *, in_time: bool = False
) -> bool:
    """Whether a column of the training table never falls, in the order of its rows.

    It has at least 50 readable values, falls in at most 0.5 % of the steps, and moves in at least 30 % of them. A
    *sorted measure* is none (`_is_sorted`), unless other columns show that the rows are in the order of time.

    Args:
        values: (n,), NaN where missing.
        starts: (n,), true where the row before is not the row before in the file; None where all rows are of one.
        groups: (n,) the group of every row, within which it steps; None where rows have none.
        in_time: whether the rows are known to be in the order of time, so that they are not sorted by a measure.
    """
    if int((~np.isnan(values)).sum()) < LEAST_VALUES:
        return False
    codes = np.zeros(len(values), dtype=np.intp) if groups is None else _codes(groups)[1]
    steps = differences(values, codes, starts=starts)[np.argsort(codes, kind="stable")]
    steps = steps[~np.isnan(steps)]
    if not len(steps) or np.mean(steps < 0) > MOST_FALLS or np.mean(steps != 0) < LEAST_MOVES:
        return False
    if in_time:
        return True
    parts = [part[part >= 0] for part in np.split(steps, np.flatnonzero(steps < 0))]
    long = [part for part in parts if len(part) >= LEAST_VALUES] or [steps]
    return MOST_SORTED * sum(map(len, long)) >= sum(len(part) for part in long if _is_sorted(part))


def _is_sorted(steps: Floats) -> bool:
    """Whether rows that are sorted by a measure have such steps (n,).

    A sorted measure has small steps where its values are common, and large ones where they are rare: at one end of the
    table or at both. Compared are the medians of the steps that are not 0: neither the first tenth nor the last may
    have more than three times that of the middle half, nor the first fifth or the last that of any other fifth.
    """
    n = len(steps)
    middle, *ends = (
        _usual_step(steps[at]) for at in (slice(n // 4, n - n // 4), slice(n // 10), slice(n - n // 10, n))
    )
    fifths = [_usual_step(part) for part in np.array_split(steps, 5)]
    return max(ends) > TAIL_RATIO * middle or max(fifths[0], fifths[-1]) > TAIL_RATIO * min(fifths)


def _usual_step(steps: Floats) -> float:
    """The median of the steps upwards; 0 where there is none."""
    moves = steps[steps > 0]
    return float(np.median(moves)) if len(moves) else 0.0


def with_counters(
    columns: Sequence[Column],
    cells: Callable[[str], Sequence[str]],
    starts: Bools | None = None,
    *,
    groups: Sequence[str] | None = None,
) -> list[Column]:
    """The columns of the training table, as counters where their cells never fall; what the user has stated stays.

    A number becomes a counter, and only its step is modelled. A date keeps its kind and its parts, and has the step
    besides; where there is such a date the rows are in the order of time.

    Args:
        columns: what the columns were found to be.
        cells: the training cells (n,) of a column by its name.
        starts: (n,), true where the row before is not the row before in the file; None where all rows are of one.
        groups: (n,) the group of every row, within which it steps; None where rows have none.
    """
    found: dict[str, Column] = {}
    for column in sorted(filter(_may_be_counter, columns), key=lambda one: one.kind != "datetime"):
        in_time = any(one.kind == "datetime" and one.counter for one in found.values())
        check = partial(is_counter, starts=starts, groups=groups, in_time=in_time)
        found[column.name] = _as_counter(column, cells(column.name), check)
    return [found.get(column.name, column) for column in columns]


def _as_counter(column: Column, texts: Sequence[str], check: Callable[[Floats], bool]) -> Column:
    """One of the columns of `with_counters`, from its cells (n,); `check` says whether values (n,) are of a counter."""
    if column.kind == "counter":
        return msgspec.structs.replace(column, counter=True)
    values = as_floats(parse(column, texts).values)
    if column.kind == "integer" and check(-values):  # a list with the newest on top: the next one begins higher
        return Column(name=column.name, kind="ignore", modelled=False, reason=ColumnReason(code="running_number"))
    if not check(values):
        return column
    if column.kind == "datetime":
        return msgspec.structs.replace(column, counter=True)
    return msgspec.structs.replace(column, kind="counter", counter=True, reason=ColumnReason(code="counter"))


def _may_be_counter(column: Column) -> bool:
    if column.kind in ("datetime", "counter"):
        return True
    return column.kind in ("numeric", "integer") and column.reason.code != "configured" and not column.constant


def differences(
    values: Floats, codes: Ints | None = None, before: Floats | None = None, starts: Bools | None = None
) -> Floats:
    """The step (n,) of every value from the last readable one before it; NaN where there is none.

    Args:
        values: (n,), NaN where missing.
        codes: (n,) the group of every row, from 0; None where all rows are of one.
        before: (groups,) the last value before the first row, NaN where there is none; None for no value at all.
        starts: (n,), true where a row does not follow the row before it.
    """
    codes = np.zeros(len(values), dtype=np.intp) if codes is None else codes
    readable = np.flatnonzero(~np.isnan(values))
    order = readable[np.argsort(codes[readable], kind="stable")]
    now, group = values[order], codes[order]
    runs = np.zeros(len(values), dtype=np.intp) if starts is None else np.cumsum(starts)
    last = np.full(len(order), np.nan)
    last[1:] = now[:-1]
    first = np.ones(len(order), dtype=bool)
    first[1:] = group[1:] != group[:-1]
    broken = first.copy()
    broken[1:] |= runs[order][1:] != runs[order][:-1]
    last[broken] = np.nan
    if before is not None:
        last[first] = before[group[first]]
    steps = np.full(len(values), np.nan)
    steps[order] = now - last
    return steps


class Steps:
    """The steps of the counters of one file, whose rows come in parts and in order.

    Args:
        counters: the columns that have steps.
        state: what is left of the rows before the first; None at the start of a file.
    """

    def __init__(self, counters: Sequence[Column], state: CounterState | None = None) -> None:
        self.counters = counters
        self._state: CounterState = {column.name: dict((state or {}).get(column.name, {})) for column in counters}

    def take(
        self, columns: Mapping[str, Values], groups: Sequence[str] | None = None, starts: Bools | None = None
    ) -> dict[str, Floats]:
        """The steps (n,) of the next rows by `part_key`; the state goes on to the rows after these.

        Args:
            columns: typed columns (n,) by name, with those of the counters.
            groups: (n,) the group of every row; None where rows have none.
            starts: (n,), true where a row does not follow the row before it.
        """
        if not self.counters:
            return {}
        n = len(next(iter(columns.values())))
        names, codes = ([""], np.zeros(n, dtype=np.intp)) if groups is None else _codes(groups)
        steps = {}
        for column in self.counters:
            values, state = as_floats(columns[column.name]), self._state[column.name]
            before = np.array([state.get(name, (np.nan, 0))[0] for name in names])
            digits = SECOND_DIGITS if column.kind == "datetime" else column.digits
            found = rounded(differences(values, codes, before, starts), digits)
            for code, rows in _rows_by_group(codes, len(names)):
                readable = rows[~np.isnan(values[rows])]
                if len(readable):
                    bits = _hide_disorder(found, readable, state.get(names[code], (np.nan, 0))[1])
                    state[names[code]] = float(values[readable[-1]]), bits
            steps[part_key(column.name, "step")] = found
        return steps

    def state(self) -> CounterState:
        """What is left of the rows so far, for whoever reads those that follow."""
        return {name: dict(last) for name, last in self._state.items()}


def _rows_by_group(codes: Ints, count: int) -> Iterator[tuple[int, Ints]]:
    """The rows of every group, in order; `codes` (n,) from 0 to `count` - 1."""
    order = np.argsort(codes, kind="stable")
    return enumerate(np.split(order, np.searchsorted(codes[order], np.arange(1, count))))


def _hide_disorder(steps: Floats, rows: Ints, bits: int) -> int:
    """Make NaN of the steps behind too many falls, in place; returns the recent falls after the last row as bits.

    Args:
        steps: (n,) of all rows.
        rows: (k,): those of one group that have a value, in order.
        bits: the recent falls before them.
    """
    falls = steps[rows] < 0
    if not falls.any() and not bits:
        return 0
    history = np.array([bits >> at & 1 for at in reversed(range(RECENT))], dtype=bool)
    total = np.concatenate([[0], np.cumsum(np.concatenate([history, falls]))])
    steps[rows[total[RECENT:-1] - total[: len(rows)] >= MOST_RECENT]] = np.nan
    recent = np.concatenate([history, falls])[-RECENT:]
    return sum(1 << at for at, fall in enumerate(reversed(recent.tolist())) if fall)


def with_steps(
    schema: Schema,
    columns: Mapping[str, Values],
    groups: Sequence[str] | None = None,
    starts: Bools | None = None,
) -> dict[str, Values]:
    """The typed columns of rows that follow each other, and the steps of the counters among them.

    Args:
        schema: what the columns are.
        columns: typed columns (n,) by name.
        groups: (n,) the group of every row; None where rows have none.
        starts: (n,), true where a row does not follow the row before it.
    """
    counters = [column for column in counters_of(schema) if column.name in columns]
    return {**columns, **Steps(counters).take(columns, groups, starts)}


def training_steps(
    schema: Schema,
    columns: Mapping[str, Values],
    groups: Sequence[str] | None = None,
    starts: Bools | None = None,
) -> dict[str, Values]:
    """As `with_steps`, without the falls and the steps after them.

    A few resets do not hide a counter, and do not teach the model that a reset is usual either; nor does the way back
    from a stray cell.
    """
    out = with_steps(schema, columns, groups, starts)
    codes = None if groups is None else _codes(groups)[1]
    for column in counters_of(schema):
        key = part_key(column.name, "step")
        out[key] = _without_falls(as_floats(out[key]), codes)
    return out


def _without_falls(steps: Floats, codes: Ints | None) -> Floats:
    """Steps (n,) with NaN for every fall, and for the step after it in its group."""
    known = np.flatnonzero(~np.isnan(steps))
    groups = np.zeros(len(known), dtype=np.intp) if codes is None else codes[known]
    order = np.argsort(groups, kind="stable")
    fallen = steps[known][order] < 0
    dropped = fallen.copy()
    dropped[1:] |= fallen[:-1] & (groups[order][1:] == groups[order][:-1])
    out = steps.copy()
    out[known[order][dropped]] = np.nan
    return out


def _codes(groups: Sequence[str]) -> tuple[list[str], Ints]:
    """The different groups, and the index (n,) of every row's among them."""
    found, codes = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    return found.tolist(), codes.astype(np.intp)


def shown_state(schema: Schema, state: CounterState) -> CounterState:
    """What an output may hold of a state: nothing of redacted columns, or of groups that these name."""
    if schema.redacted.intersection(schema.counter_group):
        return {}
    return {name: groups for name, groups in state.items() if name not in schema.redacted and groups}


def group_texts(cells: Iterable[Sequence[str]]) -> list[str] | None:
    """The group of every row (n,), from the cells of the columns that make it, each (n,); None where there is none."""
    columns = list(cells)
    return ["\x1f".join(row) for row in zip(*columns, strict=True)] if columns else None
