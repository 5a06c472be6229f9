"""How alike two tables are, column by column, pair by pair, row by row.

A table is typed columns (n,) by name, as in `model/`: floats with NaN for missing, or text with "" for missing. Shapes
and trends are those of the quality report of the SDMetrics library, so that figures can be compared: one minus the
Kolmogorov-Smirnov statistic or the total variation distance, and the similarity of correlations and contingency tables.
Distances and copies show whether rows were learnt or memorised.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Floats
from anomvae.model.schema import Values, gaps
from anomvae.quality.records import ColumnShape, Nearer, PairTrend

Columns = Mapping[str, Values]
Codes = NDArray[np.intp]
Level = TypeVar("Level", str, int)

BINS = 24  # bars of a histogram
SHOWN_LEVELS = 12
RARE_SHARE = 0.005  # of the rows; rarer categories may be missing from synthetic rows
PAIR_BINS = 10
PAIR_ROWS = 20_000  # at most, for trends of pairs
PAIR_COLUMNS = 100  # at most, whose pairs are compared
UNITS = 100  # coordinates of one category in distances; rarer levels share the last
BLOCK = 512  # rows whose distances are computed at a time


def rows_of(table: Columns) -> int:
    """The number of rows of a table."""
    return len(next(iter(table.values())))


def select(table: Columns, rows: Codes) -> dict[str, Values]:
    """The rows of a table at these positions."""
    return {name: values[rows] for name, values in table.items()}


def sample(table: Columns, most: int, rng: np.random.Generator) -> dict[str, Values]:
    """Rows of a table drawn without replacement.

    Args:
        table: typed columns by name.
        most: how many rows at most; of a table with no more all are taken, in their order.
        rng: the random stream.
    """
    n = rows_of(table)
    return select(table, rng.permutation(n)[:most] if n > most else np.arange(n))


def shape(name: str, training: Values, real: Values, synthetic: Values, date: bool = False) -> ColumnShape:
    """Compare one column of three tables.

    Args:
        name: of the column.
        training: (n,) values of the rows that the generator was trained on, for missing cells and rare categories.
        real: (m,) values of the real rows that the synthetic ones are compared with.
        synthetic: (k,) values of the synthetic rows.
        date: whether the numbers are dates, in seconds since 1970.

    Returns:
        The similarity of `real` and `synthetic`, and a histogram of both.
    """
    if real.dtype == object:
        return _category_shape(name, training, real, synthetic)
    left, right = (np.sort(values[~gaps(values)].astype(np.float64)) for values in (real, synthetic))
    edges = _edges(left if len(left) else right)
    return ColumnShape(
        column=name,
        kind="date" if date else "number",
        similarity=1 - ks_statistic(left, right),
        missing_real=missing_share(training),
        missing_synthetic=missing_share(synthetic),
        real=_histogram(left, edges),
        synthetic=_histogram(right, edges),
        edges=tuple(edges.tolist()),
    )


def missing_share(values: Values) -> float:
    """Share of missing cells."""
    return float(np.mean(gaps(values)))


def ks_statistic(left: Floats, right: Floats) -> float:
    """The Kolmogorov-Smirnov statistic of two sorted samples (n,) and (m,); 1 where only one of them is empty."""
    if not len(left) or not len(right):
        return float(len(left) != len(right))
    at = np.concatenate([left, right])
    heights = [np.searchsorted(values, at, side="right") / len(values) for values in (left, right)]
    return float(np.abs(heights[0] - heights[1]).max())


def _edges(values: Floats) -> Floats:
    """Bounds of a histogram: one bar a whole number where there are few, else over the inner 99 %."""
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = np.quantile(values, (0.005, 0.995))
    if np.all(values == np.round(values)) and high - low < BINS:
        return np.asarray(np.arange(low.round() - 0.5, high.round() + 1.0))
    return np.linspace(low, high, BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _histogram(values: Floats, edges: Floats) -> tuple[float, ...]:
    """Share of the values in each bin; what lies outside counts in the first and the last."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return tuple((counts / max(len(values), 1)).tolist())


def _category_shape(name: str, training: Values, real: Values, synthetic: Values) -> ColumnShape:
    known, left, right = map(_shares, (training, real, synthetic))
    ranked = sorted((left | right).keys() - {""}, key=lambda level: (-left.get(level, 0.0), level))
    drawn = ranked[:SHOWN_LEVELS]
    return ColumnShape(
        column=name,
        kind="category",
        similarity=1 - _total_variation(left, right),
        missing_real=missing_share(training),
        missing_synthetic=missing_share(synthetic),
        real=_bars(left, drawn, ranked),
        synthetic=_bars(right, drawn, ranked),
        levels=tuple(drawn),
        others=len(ranked) - len(drawn),
        lost=tuple(sorted(rare_levels(training) - right.keys())),
        invented=len(right.keys() - known.keys() - {""}),
    )


def _shares(values: Values) -> dict[str, float]:
    """The share of the rows of every value of a column of text."""
    return {level: count / len(values) for level, count in Counter(values.tolist()).items()}


def rare_levels(values: Values) -> set[str]:
    """Categories of at least 0.5 % of the rows: those that synthetic rows should have."""
    return {level for level, share in _shares(values).items() if level != "" and share >= RARE_SHARE}


def _total_variation(left: Mapping[Level, float], right: Mapping[Level, float]) -> float:
    return 0.5 * sum(abs(left.get(level, 0.0) - right.get(level, 0.0)) for level in left.keys() | right.keys())


def _bars(shares: Mapping[str, float], drawn: Sequence[str], ranked: Sequence[str]) -> tuple[float, ...]:
    """Shares, among rows with a value, of the levels that are drawn, and of all others together."""
    present = max(1.0 - shares.get("", 0.0), 1e-12)
    bars = [shares.get(level, 0.0) / present for level in drawn]
    rest = sum(shares.get(level, 0.0) for level in ranked[len(drawn) :]) / present
    return (*bars, rest) if len(ranked) > len(drawn) else tuple(bars)


def pair_trends(real: Columns, synthetic: Columns, names: Sequence[str]) -> tuple[PairTrend, ...]:
    """Compare the association of every two columns; pairs of numbers of which one is constant are left out.

    Args:
        real: typed columns (n,) by name.
        synthetic: typed columns (m,) by name.
        names: of the columns whose pairs are compared.
    """
    binned = {name: _discrete(real[name], synthetic[name]) for name in names}
    found = [_pair(real, synthetic, binned, first, second) for first, second in combinations(names, 2)]
    return tuple(pair for pair in found if pair is not None)


def _pair(
    real: Columns, synthetic: Columns, binned: Mapping[str, tuple[Codes, Codes]], first: str, second: str
) -> PairTrend | None:
    if real[first].dtype != object and real[second].dtype != object:
        left, right = (_correlation(table[first], table[second]) for table in (real, synthetic))
        if left is None or right is None:
            return None
        alike = 1 - abs(left - right) / 2
        return PairTrend(first=first, second=second, similarity=alike, real=left, synthetic=right)
    tables = [_contingency(binned[first][side], binned[second][side]) for side in (0, 1)]
    return PairTrend(first=first, second=second, similarity=1 - _total_variation(*tables))


def _correlation(a: Values, b: Values) -> float | None:
    """Pearson correlation over the rows that have both values; None where one of them is constant."""
    both = ~(gaps(a) | gaps(b))
    x, y = a[both].astype(np.float64), b[both].astype(np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    x, y = x - x.mean(), y - y.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _discrete(real: Values, synthetic: Values) -> tuple[Codes, Codes]:
    """Text as codes; numbers as one of ten bins of equal width over the real range; missing is a value of its own."""
    if real.dtype == object:
        codes = _codes(np.concatenate([real, synthetic]))
        return codes[: len(real)], codes[len(real) :]
    present = real[~gaps(real)].astype(np.float64)
    edges = np.linspace(present.min(), present.max(), PAIR_BINS + 1)[1:-1] if len(present) else np.zeros(0)
    return _binned(real, edges), _binned(synthetic, edges)


def _binned(values: Values, edges: Floats) -> Codes:
    return np.where(gaps(values), -1, np.searchsorted(edges, values.astype(np.float64), side="right"))


def _contingency(a: Codes, b: Codes) -> dict[int, float]:
    """The share of the rows in every cell of the contingency table of two columns of codes (n,), by its number."""
    cells, counts = np.unique((a + 1) * (1 << 32) + b + 1, return_counts=True)
    return dict(zip(cells.tolist(), (counts / len(a)).tolist(), strict=True))


def copies(training: Columns, rows: Columns) -> int:
    """Rows that equal a training row in every column; rows that training itself has twice are set aside."""
    keys = _keys(training, rows)
    n = rows_of(training)
    once = {key for key, count in Counter(keys[:n]).items() if count == 1}
    return sum(key in once for key in keys[n:])


def _keys(*tables: Columns) -> list[bytes]:
    """One key a row, of all tables one after the other; equal rows have equal keys."""
    codes = [_codes(np.concatenate([table[name] for table in tables])) for name in tables[0]]
    matrix = np.ascontiguousarray(np.column_stack(codes).astype(np.int32))
    return [row.tobytes() for row in matrix]


def _codes(values: Values) -> Codes:
    if values.dtype == object:
        levels = {level: i for i, level in enumerate(dict.fromkeys(values.tolist()))}
        return np.array([levels[value] for value in values.tolist()], dtype=np.intp)
    return np.asarray(np.unique(values.astype(np.float64) + 0.0, return_inverse=True)[1])


def nearer(training: Columns, held_out: Columns, synthetic: Columns, most: int, rng: np.random.Generator) -> Nearer:
    """The share of synthetic rows that are nearer to a training row than to any held-out row.

    Args:
        training: rows that the generator was trained on.
        held_out: real rows that it never saw; samples of both are of equal size.
        synthetic: the synthetic rows.
        most: the size of each sample at most.
        rng: the random stream.
    """
    size = min(rows_of(training), rows_of(held_out), most)
    tables = [sample(training, size, rng), sample(held_out, size, rng), sample(synthetic, most, rng)]
    left, right, rows = _points(tables)
    gap = _closest(rows, right) - _closest(rows, left)
    share = float(np.mean(np.where(np.abs(gap) < 1e-9, 0.5, gap > 0)))
    return Nearer(share=share, standard_error=float(np.sqrt(share * (1 - share) / len(rows))), rows=len(rows))


def _points(tables: Sequence[Columns]) -> list[Floats]:
    """Tables as points (n, coordinates), so that distances are those of Gower's "A general coefficient of similarity".

    Numbers are in units of their range, and two different categories are one apart.

    The range is that of the first two tables together: by that of the training rows alone, what is constant in them
    would weigh against the held-out ones.
    """
    coordinates = [_units([table[name] for table in tables]) for name in tables[0]]
    return [np.hstack([of_column[i] for of_column in coordinates]) for i in range(len(tables))]


def _units(columns: Sequence[Values]) -> list[Floats]:
    """The coordinates (n, k) of one column of several tables."""
    known = np.concatenate(columns[:2])
    if known.dtype == object:
        ranked = [level for level, _ in Counter(known.tolist()).most_common(UNITS - 1)]
        levels = {level: i for i, level in enumerate(ranked)}
        one_hot = np.eye(len(levels) + 1) / np.sqrt(2)
        return [one_hot[[levels.get(value, len(levels)) for value in values.tolist()]] for values in columns]
    numbers = [values.astype(np.float64) for values in columns]
    present = np.concatenate(numbers[:2])
    present = present[~np.isnan(present)]
    low, spread = (float(present.min()), float(np.ptp(present))) if len(present) else (0.0, 0.0)
    scaled = [np.nan_to_num((values - low) / (spread or 1.0), nan=0.5) for values in numbers]
    return [np.column_stack([x, np.isnan(v)]) for x, v in zip(scaled, numbers, strict=True)]


def _closest(rows: Floats, reference: Floats) -> Floats:
    """Distance (n,) of every row to the nearest of the reference."""
    squares = (reference**2).sum(axis=1)
    out = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        nearest = (squares - 2 * block @ reference.T).min(axis=1) + (block**2).sum(axis=1)
        out[start : start + BLOCK] = np.sqrt(np.maximum(nearest, 0.0))
    return out
