"""Draws one part of generated rows: from the network's outputs to values that meet the part's constraint.

Each function draws n values and multiplies the rows' weights by the probability of what the constraint allows (for a
single point of a continuum: by the density there), as likelihood weighting does in any directed model (Fung & Chang,
"Weighing and integrating evidence for stochastic simulation in Bayesian networks", 1990).
"""

import msgspec
import numpy as np
import scipy  # its `special` takes a sixth of a second, which scoring never pays
from numpy.typing import NDArray

from anomvae.model.arrays import Bools, Floats
from anomvae.model.conditions import Constraint
from anomvae.model.schema import rounded
from anomvae.synthesis.encoder import DAY, Marginal, Quantiles, from_normal, to_normal

MAX_NORMAL = 40.0  # normal units; nothing lies beyond
MIN_WIDTH = 1e-9  # normal units; a narrower interval is a point
MIN_TEMPERATURE = 1e-3  # below it the softmax and the intervals of numbers would overflow


class SamplingState(msgspec.Struct, frozen=True):
    """What every part of n rows is drawn with: the random stream, the temperature, and logs (n,) of the weights."""

    rng: np.random.Generator
    temperature: float
    weight: Floats

    def weigh(self, logs: Floats) -> None:
        """Multiply the rows' weights by factors whose logs (n,) are given, in place."""
        self.weight[:] += logs


class NumberDistribution(msgspec.Struct, frozen=True):
    """How a number is made: its quantile function, its decimals, and the `step` of the grid it lies on (0: none)."""

    quantiles: Quantiles
    digits: int | None
    step: float

    def values(self, z: Floats) -> Floats:
        """Values (n,) at z (n,) standard normal units, rounded as the column is."""
        return rounded(self.quantiles.values(from_normal(z)), self.digits)


class Bounds(msgspec.Struct, frozen=True):
    """Inclusive intervals `low`, `high` (n or 1, k) of one part, and the rows that are `free` of them."""

    low: Floats
    high: Floats
    free: Bools | None


def bounds_of(part: Marginal, constraint: Constraint | None, day: Floats | None) -> Bounds | None:
    """The intervals that a constraint allows a part.

    Args:
        part: the part; an interval of a date bounds its day first, then its second.
        constraint: what the part's column may be.
        day: (n,) the days that were drawn, where the part is a second.

    Returns:
        The intervals; None where the part may take any value, or where texts and not intervals are allowed.
    """
    if constraint is None or constraint.texts or constraint.missing:
        return None
    if part.part == "value":
        return Bounds(constraint.low, constraint.high, constraint.free)
    if part.part == "day":
        low, high = np.floor(constraint.low / DAY), np.floor(constraint.high / DAY)
        for k in range(1, low.shape[1]):  # two intervals may touch one day
            low[:, k] = np.maximum(low[:, k], high[:, k - 1] + 1)
        return Bounds(low, high, constraint.free)
    start = np.asarray(day, dtype=np.float64)[:, None] * DAY
    return Bounds(
        np.clip(constraint.low - start, 0.0, DAY), np.clip(constraint.high - start, -1.0, DAY), constraint.free
    )


def draw_number(
    number: NumberDistribution, mean: Floats, sigma: Floats, bounds: Bounds | None, state: SamplingState
) -> tuple[Floats, Floats]:
    """Draw the values of a number.

    Args:
        number: the distribution of the number.
        mean: (n,) the network's mean, in normal units.
        sigma: (n,) the network's standard deviation, in normal units.
        bounds: intervals that the values must lie in, or None.
        state: what to draw with; where there are bounds, the weights are multiplied.

    Returns:
        Values (n,), and the unit (n,) that represents them in the network's input.
    """
    if bounds is None:
        z = mean + state.temperature * sigma * state.rng.standard_normal(len(mean))
        values = number.values(z)
    else:
        values = _within(number, mean, max(state.temperature, MIN_TEMPERATURE) * sigma, bounds, state)
    low, high = number.quantiles.ranks(values)
    return values, to_normal((low + high) / 2)


def _within(number: NumberDistribution, mean: Floats, sigma: Floats, bounds: Bounds, state: SamplingState) -> Floats:
    """Values (n,) inside one of the allowed intervals, chosen by its probability; `sigma` has the temperature in it."""
    n, k, step, quantiles = len(mean), bounds.low.shape[1], number.step, number.quantiles
    start = np.stack([_normal(quantiles.ranks(bounds.low[:, i] - step / 2)[0]) for i in range(k)], axis=1)
    stop = np.stack([_normal(quantiles.ranks(bounds.high[:, i] + step / 2)[1]) for i in range(k)], axis=1)
    reach = (bounds.high >= quantiles.value[0]) & (bounds.low <= quantiles.value[-1]) & (bounds.high >= bounds.low)
    point = reach & (stop - start < MIN_WIDTH)
    a, b = (start - mean[:, None]) / sigma[:, None], (stop - mean[:, None]) / sigma[:, None]
    with np.errstate(invalid="ignore"):
        middle = np.clip(np.where(point, (a + b) / 2, 0.0), -1e3, 1e3)
    density = np.exp(-0.5 * middle**2) / (sigma[:, None] * np.sqrt(2 * np.pi))
    mass = np.where(point, density, np.where(reach, _mass(a, b), 0.0))
    total = mass.sum(axis=1)
    chosen = _pick(mass, state.rng)
    rows = np.arange(n)
    z = mean + sigma * _truncated(a[rows, chosen], b[rows, chosen], state.rng)
    values = number.values(z)
    low, high = (np.broadcast_to(bound, (n, k))[rows, chosen] for bound in (bounds.low, bounds.high))
    values = np.clip(values, low, high)
    free = np.zeros(n, dtype=bool) if bounds.free is None else bounds.free
    if free.any():
        usual = mean + sigma * state.rng.standard_normal(n)
        values = np.where(free, number.values(usual), values)
    with np.errstate(divide="ignore"):
        state.weigh(np.where(free, 0.0, np.log(total)))
    return values


def _normal(rank: Floats) -> Floats:
    """Standard normal units of ranks; unlike `to_normal` they reach 0 and 1, the ends of an open interval."""
    return np.asarray(np.clip(scipy.special.ndtri(rank), -MAX_NORMAL, MAX_NORMAL))


def _mass(a: Floats, b: Floats) -> Floats:
    """P(a < Z < b), exact in both tails."""
    flip = a > 0
    return np.asarray(
        np.maximum(scipy.special.ndtr(np.where(flip, -a, b)) - scipy.special.ndtr(np.where(flip, -b, a)), 0.0)
    )


def _truncated(a: Floats, b: Floats, rng: np.random.Generator) -> Floats:
    """Standard normal values between a and b."""
    flip = a > 0
    low, high = scipy.special.ndtr(np.where(flip, -b, a)), scipy.special.ndtr(np.where(flip, -a, b))
    z = np.asarray(scipy.special.ndtri(np.clip(low + rng.random(len(a)) * (high - low), 1e-300, 1.0)))
    z = np.where(flip, -z, z)
    return np.clip(np.where(np.isfinite(z), z, np.clip((a + b) / 2, -40, 40)), a, b)


def _pick(mass: Floats, rng: np.random.Generator) -> NDArray[np.intp]:
    """A column of each row with chance in proportion to its mass."""
    total = np.cumsum(mass, axis=1)
    above = (total < rng.random(len(mass))[:, None] * total[:, -1:]).sum(axis=1)
    return np.asarray(np.minimum(above, mass.shape[1] - 1), dtype=np.intp)


def draw_category(
    part: Marginal, logits: Floats, allowed: Bools | None, state: SamplingState
) -> tuple[NDArray[np.intp], Floats]:
    """Draw the levels of a category; rare levels that share the last unit are drawn by their counts.

    Args:
        part: the category.
        logits: (n, units) of the network.
        allowed: (n or 1, levels) which levels may be drawn, or None.
        state: what to draw with; where not all levels are allowed, the weights are multiplied.

    Returns:
        Indices of levels (n,) and one-hot units (n, units).
    """
    heat = np.exp((logits - logits.max(axis=1, keepdims=True)) / max(state.temperature, MIN_TEMPERATURE))
    if allowed is not None:
        shares = _unit_shares(part, allowed)
        with np.errstate(divide="ignore"):
            state.weigh(np.log((heat * shares).sum(axis=1) / heat.sum(axis=1)))
        heat = heat * shares
    unit = _pick(heat, state.rng)
    x = np.zeros(heat.shape)
    x[np.arange(len(unit)), unit] = 1.0
    return _spread(part, unit, allowed, state.rng), x


def _unit_shares(part: Marginal, allowed: Bools) -> Floats:
    """The share of each unit's mass that is allowed (n or 1, units)."""
    if len(part.levels) <= part.units:
        return allowed.astype(np.float64)
    own, counts = part.units - 1, np.array(part.counts[part.units - 1 :], dtype=np.float64)
    rare = (allowed[:, own:] * counts).sum(axis=1, keepdims=True) / counts.sum()
    return np.hstack([allowed[:, :own], rare])


def _spread(
    part: Marginal, unit: NDArray[np.intp], allowed: Bools | None, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The level of each unit (n,): the last unit may stand for many rare ones."""
    if len(part.levels) <= part.units:
        return unit
    own = part.units - 1
    shared = np.flatnonzero(unit == own)
    counts = np.broadcast_to(np.array(part.counts[own:], dtype=np.float64), (len(unit), len(part.levels) - own))[shared]
    if allowed is not None:
        counts = counts * np.broadcast_to(allowed[:, own:], (len(unit), counts.shape[1]))[shared]
    out = unit.copy()
    out[shared] = own + _pick(counts, rng)
    return out


def allowed_levels(part: Marginal, constraint: Constraint | None, bounds: Bounds | None) -> Bools | None:
    """Which levels of a category a constraint allows (n or 1, levels); None where it allows all."""
    if bounds is not None:
        values = np.array([float(level) for level in part.levels])
        slack = 1e-9 * np.abs(values)
        inside = (values + slack >= bounds.low[:, :, None]) & (values - slack <= bounds.high[:, :, None])
        return _or_free(inside.any(axis=1), bounds.free)
    if constraint is None or not constraint.texts:
        return None
    masks = {texts: np.array([level in texts for level in part.levels]) for texts in set(constraint.texts)}
    return _or_free(np.stack([masks[texts] for texts in constraint.texts]), constraint.free)


def _or_free(allowed: Bools, free: Bools | None) -> Bools:
    """Allow every level to the rows that are free of the constraint."""
    return allowed if free is None else allowed | free[:, None]


def draw_gaps(part: Marginal, logit: Floats, constraint: Constraint | None, state: SamplingState) -> Bools:
    """Draw which rows have a missing cell.

    Args:
        part: the part, which has missing cells in training.
        logit: (n,) of the probability of a missing cell.
        constraint: what the part's column may be.
        state: what to draw with; where there is a constraint, the weights are multiplied.

    Returns:
        Whether the cell is missing (n,).
    """
    heated = logit / max(state.temperature, MIN_TEMPERATURE)
    gap = np.asarray(state.rng.random(len(logit)) < scipy.special.expit(heated))
    if constraint is None:
        return gap
    if constraint.missing:
        state.weigh(scipy.special.log_expit(heated))
        return np.ones(len(logit), dtype=bool)
    may = np.array([("" in texts) for texts in constraint.texts]) if constraint.texts else np.zeros(1, dtype=bool)
    open_ = np.broadcast_to(may if constraint.free is None else may | constraint.free, gap.shape)
    state.weigh(np.where(open_, 0.0, scipy.special.log_expit(-heated)))
    return np.asarray(gap & open_)
