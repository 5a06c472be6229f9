"""Mixtures over encoded rows: how far a row is from where training rows are.

Each component has one Gaussian for every number and one table of chances for every category; the distance of a row is
-log of weight times density of its likeliest component. It finds what the networks cannot, a row that is reconstructed
well but is where no training row was, and does not find the sharp relations that they do (docs/decisions.md, "A second
kind of member: a mixture that knows where rows lie").

Fitted by expectation-maximisation, with small components drawn towards the common spread: the maximum a posteriori
under a conjugate prior (Fraley & Raftery, Bayesian regularization for normal mixture estimation, 2007).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Bools, Floats
from anomvae.model.encoder import Encoded, Encoding
from anomvae.model.vae import padded

COMPONENTS = 300
PER_COMPONENT = 3  # rows for each component at least
ROWS = 5_000  # of a member that EM sees, at most
STEPS = 9
PRIOR = 20.0  # rows that the common spread of a number is worth,
PRIOR_CHANCES = 2.0  # and the common chances of a category
FLOOR = 0.02  # added to the variance of a number


class Density(msgspec.Struct, frozen=True):
    """The mixtures of all members, with k components each.

    Log of weight times density is linear in the terms of a row, its encoded values and the squares of its numbers:
    `weight` (members, k, terms), `bias` (members, k, 1).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def pick(self, members: slice) -> "Density":
        """The mixtures of some members alone."""
        return Density(self.weight[members], self.bias[members])

    def distance(self, encoding: Encoding, rows: Encoded) -> Floats:
        """-log of weight times density of the likeliest component (members, n), for n rows."""
        weight, bias = self.weight.astype(np.float64), self.bias.astype(np.float64)
        out = np.empty((len(weight), len(rows)))
        for at, terms in padded(_terms_of(encoding, rows)):
            out[:, at] = -(weight @ terms + bias).max(axis=1)[:, : at.stop - at.start]
        return out


def term_count(encoding: Encoding) -> int:
    """How many terms a row has: its encoded values, and the square of every number."""
    return encoding.width + sum(feature.numeric for feature in encoding.features)


def _terms_of(encoding: Encoding, rows: Encoded) -> Floats:
    """The terms of n rows (n, terms)."""
    units = [at for at, feature in zip(encoding.offsets, encoding.features, strict=True) if feature.numeric]
    return np.hstack([rows.x, rows.x[:, units] ** 2])


def fit_density(encoding: Encoding, rows: Encoded, pools: Bools, rng: np.random.Generator) -> Density:
    """Fit a mixture for each member to the rows that it may see.

    Args:
        encoding: the fitted encoding.
        rows: n encoded training rows.
        pools: (members, n): the rows that each member may see.
        rng: chooses the rows that components start from.
    """
    k = int(min(COMPONENTS, max(min(pools.sum(axis=1).min(), ROWS) // PER_COMPONENT, 1)))
    chosen = [rng.permutation(np.flatnonzero(pool))[:ROWS] for pool in pools]
    fitted = [_fit(encoding, _terms_of(encoding, rows.take(index)).astype(np.float32), k) for index in chosen]
    return Density(np.stack([weight for weight, _ in fitted]), np.stack([bias for _, bias in fitted]))


def _fit(encoding: Encoding, terms: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight and bias of one mixture by EM, from terms (n, terms) in random order; components start at the first k."""
    layout = _Layout(encoding)
    weight, bias = layout.first(terms, k)
    for _ in range(STEPS):
        share: NDArray[np.float32] = terms @ weight.T + bias.T
        share -= share.max(axis=1, keepdims=True)
        np.exp(share, out=share)
        share /= share.sum(axis=1, keepdims=True)
        mass = share.sum(axis=0) + 1e-6
        weight, bias = layout.maximise(share.T @ terms, mass)
    return weight, bias


class _Layout:
    """Positions of numbers, gaps and categories among the terms, and the M step on sums of terms."""

    def __init__(self, encoding: Encoding) -> None:
        features = list(zip(encoding.offsets, encoding.features, strict=True))
        self.width = encoding.width
        self.numbers = np.array([at for at, feature in features if feature.numeric], dtype=np.intp)
        self.gaps = np.array([at + f.units if f.gaps else -1 for at, f in features if f.numeric], dtype=np.intp)
        self.tables = [slice(at, at + f.units + f.gaps) for at, f in features if not f.numeric]

    def first(self, terms: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Components at the first k rows, each as wide as the prior makes it."""
        mean = terms.mean(axis=0)
        sums = terms[:k] + 3.0 * mean  # as if it had one row of its own and three average ones
        sums[:, self.numbers] = 4.0 * terms[:k][:, self.numbers]
        spread = 0.3 * (mean[self.width :] - mean[self.numbers] ** 2)
        sums[:, self.width :] = 4.0 * (terms[:k][:, self.numbers] ** 2 + spread)
        return self.maximise(sums, np.full(k, 4.0, dtype=np.float32))

    def maximise(
        self, sums: NDArray[np.float32], mass: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Linear weights (k, terms) and biases (k, 1) from sums of terms (k, terms) and masses (k,)."""
        weight = np.zeros_like(sums)
        bias = np.log(mass / mass.sum())[:, None]
        present = np.where(self.gaps >= 0, mass[:, None] - sums[:, self.gaps], mass[:, None]) + 1e-6
        mean = sums[:, self.numbers] / present
        scatter = np.maximum(sums[:, self.width :] - present * mean**2, 0.0)
        common = scatter.sum(axis=0) / present.sum(axis=0)
        variance = (scatter + PRIOR * common) / (present + PRIOR) + FLOOR
        weight[:, self.width :] = -0.5 / variance
        weight[:, self.numbers] = mean / variance
        constant = -0.5 * (mean**2 / variance + np.log(variance))
        bias = bias + constant.sum(axis=1, keepdims=True)
        for i in np.flatnonzero(self.gaps >= 0):
            missing = _chances(sums[:, [self.gaps[i]]], mass)
            bias += np.log1p(-missing)
            weight[:, [self.gaps[i]]] = np.log(missing) - np.log1p(-missing) - constant[:, [i]]
        for table in self.tables:
            chances = _chances(sums[:, table], mass)
            unseen = np.log(1.0 / (mass.sum() + 1.0))
            weight[:, table] = np.log(chances) - unseen
            bias += unseen
        return weight.astype(np.float32), bias.astype(np.float32)


def _chances(sums: NDArray[np.float32], mass: NDArray[np.float32]) -> NDArray[np.float32]:
    """Chance of each level in each component (k, levels), drawn towards the chances in all rows."""
    common = (sums.sum(axis=0) + 0.5) / (mass.sum() + 1.0 + 0.5 * sums.shape[1])
    return np.asarray((sums + PRIOR_CHANCES * common) / (mass[:, None] + PRIOR_CHANCES), dtype=np.float32)
