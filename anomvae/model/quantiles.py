"""The distribution of one number as a bounded table, and the transform to and from standard normal units.

A training value v stands for the whole interval [P(X < v), P(X <= v)] of ranks: wide for a value that recurs
(a tie), narrow for one of a continuum. The way back is the quantile function: interpolated order statistics, with
a step at every value that recurs. What is kept is a bounded number of knots, never a value that occurs once, the
smallest and the largest apart (the range is told on purpose).
"""

from functools import cached_property

import msgspec
import numpy as np
import scipy  # its `special` takes a sixth of a second, which scoring never pays
from numpy.typing import NDArray

Floats = NDArray[np.float64]

KNOTS = 400  # order statistics kept, half of them evenly spread by rank, half by normal units
ATOMS = 1000  # recurring values kept
RECURS = 3  # a value counts as recurring from so many rows on
EDGE = 1e-6  # ranks stay this far from 0 and 1


class Quantiles(msgspec.Struct, frozen=True, dict=True):
    """A quantile function through knots.

    `rank`, `value` (k,): both rising; two knots with one value are an atom, a recurring value with a mass.
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
        """The quantile function."""
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
    """Knots of a sample (n,) without gaps."""
    n = len(values)
    levels, counts = np.unique(values, return_counts=True)
    upper = np.cumsum(counts) / n
    lower = np.concatenate([[0.0], upper[:-1]])
    atom = counts >= RECURS
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
    """Standard normal units of a rank."""
    return np.asarray(scipy.special.ndtri(np.clip(rank, EDGE, 1 - EDGE)))


def from_normal(z: Floats) -> Floats:
    """Rank of standard normal units."""
    return np.asarray(scipy.special.ndtr(z))
