"""Encodes typed columns as inputs of the generator's network, and joins what was drawn to typed columns again.

A number is moved to standard normal units by its quantile function (`Quantiles`), a bounded table of knots:
interpolated order statistics, with a step at every value that recurs. A training value v stands for the whole interval
[P(X < v), P(X <= v)] of ranks, wide for a value that recurs (a tie), narrow for one of a continuum. No value that
occurs once is kept, except the smallest and the largest.

A category, a boolean or a number with few values takes one unit for each level; a column with missing cells takes one
unit more, "is missing". A date is two numbers, the day and the second of the day. Columns that follow from others are
not encoded.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
import scipy  # its `special` takes a sixth of a second, which scoring never pays
from numpy.typing import NDArray

from anomvae.model.arrays import Floats
from anomvae.model.schema import Column, Schema, Values, as_floats, as_texts

KNOTS = 400  # order statistics kept at most, half of them evenly spread by rank, half by normal units
ATOMS = 1000  # recurring values kept, about
MIN_REPEATS = 3  # rows of a value that counts as recurring
EDGE = 1e-6  # ranks stay this far from 0 and 1


class Quantiles(msgspec.Struct, frozen=True, dict=True):
    """A quantile function, linear between k knots.

    `rank`, `value` (k,) never fall. Two knots with one value are an atom: a value that recurs and has a probability.
    """

    rank: Floats
    value: Floats

    @cached_property
    def smooth(self) -> bool:
        """Whether no value recurs."""
        return bool(np.all(np.diff(self.value) > 0))

    def ranks(self, values: Floats) -> tuple[Floats, Floats]:
        """P(X < v) and P(X <= v) of each value (n,); equal where v is no atom."""
        low = self._interpolate(values, np.searchsorted(self.value, values, side="left"))
        if self.smooth:
            return low, low
        at = np.searchsorted(self.value, values, side="right") - 1
        return low, np.maximum(low, np.where(self.value[np.maximum(at, 0)] == values, self.rank[at], low))

    def values(self, rank: Floats) -> Floats:
        """The values (n,) at ranks (n,) between 0 and 1."""
        return np.interp(rank, self.rank, self.value)

    def _interpolate(self, values: Floats, right: NDArray[np.intp]) -> Floats:
        """Rank of values between the knots before `right` and at it."""
        b = np.clip(right, 0, len(self.value) - 1)
        a = np.maximum(b - 1, 0)
        span = self.value[b] - self.value[a]
        share = np.where(span > 0, (values - self.value[a]) / np.where(span > 0, span, 1.0), 0.0)
        inner = self.rank[a] + np.clip(share, 0.0, 1.0) * (self.rank[b] - self.rank[a])
        return np.where(values <= self.value[0], 0.0, np.where(values > self.value[-1], 1.0, inner))


def fit_quantiles(values: Floats) -> Quantiles:
    """The quantile function of a sample (n,) without missing values."""
    n = len(values)
    levels, counts = np.unique(values, return_counts=True)
    upper = np.cumsum(counts) / n
    lower = np.concatenate([[0.0], upper[:-1]])
    atom = counts >= MIN_REPEATS
    if atom.sum() > ATOMS:
        atom &= counts >= np.sort(counts)[-ATOMS]
    rank = _grid(n)
    value = np.interp(rank * n - 0.5, np.arange(n), np.sort(values))
    at = np.searchsorted(lower, rank, side="right") - 1
    inside = atom[at] | (np.isin(value, levels[atom]))
    ends = [(0.0, levels[0]), (1.0, levels[-1])]
    steps = [*zip(lower[atom], levels[atom], strict=True), *zip(upper[atom], levels[atom], strict=True)]
    points = np.array([*ends, *steps, *zip(rank[~inside], value[~inside], strict=True)])
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    return Quantiles(points[:, 0].copy(), np.maximum.accumulate(points[:, 1]))


def _grid(n: int) -> Floats:
    """Ranks of the order statistics to keep, between 0 and 1."""
    count = min(KNOTS, n // 2 + 1)
    even = (np.arange(count // 2) + 0.5) / (count // 2)
    reach = -float(scipy.special.ndtri(0.5 / n))
    return np.unique(np.concatenate([even, scipy.special.ndtr(np.linspace(-reach, reach, count - count // 2))]))


def to_normal(rank: Floats) -> Floats:
    """Ranks (n,) as standard normal units (probit)."""
    return np.asarray(scipy.special.ndtri(np.clip(rank, EDGE, 1 - EDGE)))


def from_normal(z: Floats) -> Floats:
    """Standard normal units (n,) as ranks."""
    return np.asarray(scipy.special.ndtr(z))


Part = Literal["value", "day", "second"]

DAY = 86400.0
OWN_UNITS = 100  # levels with a unit of their own; rarer ones share the last and are drawn by their counts
DISCRETE_LEVELS = 100  # numbers with at most so many values are categories, where there are 50 rows for each
DISCRETE_UNITS = 512  # as long as all of them take no more units than this


class Marginal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of one part: of a column, or of the day or the second of a date.

    A category has `levels`, the most frequent first, and their `counts` of training rows; a number has none. `gaps`:
    whether training had missing cells. `digits`: decimals of a number. `low`, `high`: the training range of a number;
    of a date's day, that of the date. Of a counter the values are steps, and `start` is the last training value.
    """

    column: str
    part: Part = "value"
    levels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    gaps: bool = False
    digits: int | None = None
    low: float = 0.0
    high: float = 0.0
    start: float = 0.0

    @property
    def numeric(self) -> bool:
        """Whether this is a number."""
        return not self.levels

    @property
    def units(self) -> int:
        """Units of the network, the one for a missing cell not counted."""
        return 1 if self.numeric else min(len(self.levels), OWN_UNITS)


class Marginals(msgspec.Struct, frozen=True):
    """All parts of a table in column order; `quantiles[j]` is None where part j is a category."""

    parts: tuple[Marginal, ...]
    quantiles: tuple[Quantiles | None, ...]

    @property
    def width(self) -> int:
        """Units of the network's input and output."""
        return sum(part.units + part.gaps for part in self.parts)

    def offsets(self) -> list[int]:
        """First unit of every part."""
        return [0, *np.cumsum([part.units + part.gaps for part in self.parts])[:-1].tolist()]


class EncodedRows(msgspec.Struct, frozen=True):
    """Training rows for the network.

    `x` (n, width): numbers in normal units at the middle of their ranks, one-hot levels, gap bits.
    `low`, `high` (n, parts): the ranks P(X < v) and P(X <= v) of numbers. `gap` (n, parts).
    """

    x: Floats
    low: Floats
    high: Floats
    gap: NDArray[np.bool_]


def fit_marginals(
    schema: Schema, columns: Mapping[str, Values], derived: frozenset[str], *, discrete: bool
) -> Marginals:
    """Learn the distribution of every modelled column that is not `derived`.

    Args:
        schema: what the columns are.
        columns: typed values by name, each of shape (n,).
        derived: names of the columns that follow from others.
        discrete: whether numbers with few values become categories.

    Returns:
        The layout of an encoded row: its parts in column order.
    """
    few = _few_valued(schema, columns) if discrete else frozenset()
    parts: list[Marginal] = []
    quantiles: list[Quantiles | None] = []
    for column in schema.modelled:
        if column.name in derived:
            continue
        for part, values in _split(column, columns[column.name]):
            number = column.kind not in ("categorical", "boolean") and (column.name, part) not in few
            marginal = _number(column, part, as_floats(values)) if number else _category(column, part, values)
            whole = columns[column.name] if part == "day" else values
            if whole.dtype != object:
                low, high = float(np.nanmin(whole)), float(np.nanmax(whole))
                marginal = msgspec.structs.replace(marginal, low=low, high=high)
            parts.append(marginal)
            present = as_floats(values)[~np.isnan(as_floats(values))] if number else None
            quantiles.append(None if present is None else fit_quantiles(present))
    return Marginals(tuple(parts), tuple(quantiles))


def _split(column: Column, values: Values) -> list[tuple[Part, Values]]:
    """A date as day and second of the day (where there is one); everything else as it is."""
    if column.kind != "datetime":
        return [("value", values)]
    day = np.floor(as_floats(values) / DAY)
    second = as_floats(values) - day * DAY
    return [("day", day), ("second", second)] if np.nanmax(second) > 0 else [("day", day)]


def _few_valued(schema: Schema, columns: Mapping[str, Values]) -> frozenset[tuple[str, Part]]:
    """Parts that are numbers with few values, as long as the table stays narrow."""
    counts: dict[tuple[str, Part], int] = {}
    for column in schema.modelled:
        for part, values in (
            _split(column, columns[column.name]) if column.kind not in ("categorical", "boolean") else ()
        ):
            numbers = as_floats(values)
            distinct = len(np.unique(numbers[~np.isnan(numbers)]))
            if distinct <= min(DISCRETE_LEVELS, max(1, len(numbers) // 50)):
                counts[column.name, part] = distinct
    return frozenset(counts if sum(counts.values()) <= DISCRETE_UNITS else ())


def _number(column: Column, part: Part, values: Floats) -> Marginal:
    """The marginal of a number, without its range."""
    seconds = 0 if np.all(np.nan_to_num(values) % 1 == 0) else 6
    digits = column.digits if part == "value" else seconds
    # The second part of a date is missing with its day.
    return Marginal(
        column=column.name, part=part, gaps=bool(np.isnan(values).any()) and part != "second", digits=digits
    )


def _category(column: Column, part: Part, values: Values) -> Marginal:
    """The marginal of a category; levels of one count are in the order of their texts."""
    texts, counts = np.unique(as_texts(values).astype(str), return_counts=True)
    ranked = sorted(
        ((int(c), str(t)) for t, c in zip(texts, counts, strict=True) if t), key=lambda item: (-item[0], item[1])
    )
    return Marginal(
        column=column.name,
        part=part,
        levels=tuple(text for _, text in ranked),
        counts=tuple(count for count, _ in ranked),
        gaps="" in texts and part != "second",
        digits=column.digits,
    )


def encode(schema: Schema, marginals: Marginals, columns: Mapping[str, Values]) -> EncodedRows:
    """Encode training rows.

    Args:
        schema: what the columns are.
        marginals: the layout of an encoded row.
        columns: typed values by name, each of shape (n,).

    Returns:
        The rows (n, width), and the intervals of ranks of their numbers.
    """
    n, count = len(next(iter(columns.values()))), len(marginals.parts)
    out = EncodedRows(
        np.zeros((n, marginals.width)), np.zeros((n, count)), np.ones((n, count)), np.zeros((n, count), dtype=bool)
    )
    split = {c.name: dict(_split(c, columns[c.name])) for c in schema.modelled if c.name in columns}
    for j, (part, at) in enumerate(zip(marginals.parts, marginals.offsets(), strict=True)):
        values, quantiles = split[part.column][part.part], marginals.quantiles[j]
        if quantiles is not None:
            gap = np.isnan(as_floats(values))
            low, high = quantiles.ranks(np.where(gap, quantiles.value[0], as_floats(values)))
            out.low[:, j], out.high[:, j] = np.where(gap, 0.0, low), np.where(gap, 1.0, high)
            out.x[:, at] = np.where(gap, 0.0, to_normal((low + high) / 2))
        else:
            texts = as_texts(values)
            gap = texts == ""
            level = np.minimum(level_indices(part, texts), part.units - 1)
            seen = np.flatnonzero(level >= 0)
            out.x[seen, at + level[seen]] = 1.0
        out.gap[:, j] = gap
        if part.gaps:
            out.x[:, at + part.units] = gap
    return out


def level_indices(part: Marginal, texts: NDArray[np.object_]) -> NDArray[np.intp]:
    """Index of each text among the part's levels; -1 where it is none."""
    position = {level: i for i, level in enumerate(part.levels)}
    return np.array([position.get(str(text), -1) for text in texts], dtype=np.intp)


def join_parts(marginals: Marginals, drawn: Mapping[tuple[str, Part], Values]) -> dict[str, Values]:
    """Typed columns (n,) by name from the values (n,) of their parts; a date from its day and second, in seconds."""
    out: dict[str, Values] = {}
    for part in marginals.parts:
        values = drawn[part.column, part.part]
        if part.part == "value":
            out[part.column] = values
        elif part.part == "day":
            second = drawn.get((part.column, "second"))
            moment = as_floats(values) * DAY + (0.0 if second is None else as_floats(second))
            out[part.column] = np.clip(moment, part.low, part.high)
    return out
