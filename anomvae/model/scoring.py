"""Reconstruction error, KL and distance per row, and the contribution of every original column.

A column's deviance is its negative log-likelihood, shifted to be non-negative: for numbers the squared residual in
units of the sigma that the row lets expect, halved, and the log of that sigma over its floor; -log p for categories
and for "is missing". A value or a gap that a member never saw in training costs more than anything that it saw
there: `novelty`.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.density import Density
from anomvae.model.encoding import Encoded, Encoding
from anomvae.model.vae import SIGMA_FLOOR, VAE, sigma_of

Floats = NDArray[np.float64]


class Deviances(msgspec.Struct, frozen=True):
    """`columns` (members, n, columns): deviances. `kl`, `distance` (members, n): in nats."""

    columns: Floats
    kl: Floats
    distance: Floats


class Scorer:
    """Deviances of encoded rows under every member.

    Args:
        encoding: the fitted encoding.
        vae: the members.
        density: their mixtures.
        seen: (members, width): true where a member's training rows had this level, or this gap.
        novelty: (features,): the deviance of a value never seen; NaN while it is being fitted.
    """

    def __init__(
        self, encoding: Encoding, vae: VAE, density: Density, seen: NDArray[np.bool_], novelty: Floats | None = None
    ) -> None:
        self.encoding, self.vae, self.density, self.seen = encoding, vae, density, seen
        features = encoding.features
        self.novelty = np.full(len(features), np.nan) if novelty is None else novelty
        self._at = encoding.offsets()
        self._numbers = np.array([j for j, feature in enumerate(features) if feature.numeric], dtype=np.intp)
        self._units = np.array([self._at[j] for j in self._numbers], dtype=np.intp)
        self._owner = encoding.owner()

    def pick(self, members: slice) -> "Scorer":
        """Some of the members alone."""
        parts = self.vae.pick(members), self.density.pick(members), self.seen[members]
        return Scorer(self.encoding, *parts, self.novelty)

    def member(self, m: int) -> "Scorer":
        """One member alone."""
        return self.pick(slice(m, m + 1))

    def deviances(self, rows: Encoded) -> Deviances:
        """Deviance of every original column and KL, for each member."""
        features, kl = self.features(rows)
        return Deviances(self.by_column(features), kl, self.density.distance(self.encoding, rows))

    def by_column(self, features: Floats) -> Floats:
        """Sum the features (..., features) of each original column (..., columns)."""
        if len(self.encoding.columns) == features.shape[-1]:
            return features
        columns = np.zeros((*features.shape[:-1], len(self.encoding.columns)))
        for j, column in enumerate(self._owner):
            columns[..., column] += features[..., j]
        return columns

    def features(self, rows: Encoded) -> tuple[Floats, Floats]:
        """Deviance of every feature (members, n, features) and KL (members, n)."""
        n = len(rows)
        rows = (
            rows.take(np.zeros(2, dtype=np.intp)) if n == 1 else rows
        )  # numpy sums a lone row in another order than two
        shape = (self.vae.members, len(rows))
        out, kl = np.zeros((*shape, len(self.encoding.features))), np.zeros(shape)
        for at, outputs, block_kl in self.vae.blocks(np.hstack([rows.x, rows.hidden])):
            out[:, at] = self.judge(rows.take(at), outputs)
            kl[:, at] = block_kl
        return out[:, :n], kl[:, :n]

    def judge(self, rows: Encoded, outputs: Floats, column: int | None = None) -> Floats:
        """Deviance of every feature (members, n, features), given the outputs (members, n, outputs) for these rows.

        With a `column` that of its features alone, 0 for the others.
        """
        dev = np.zeros((*outputs.shape[:2], len(self.encoding.features)))
        asked = np.ones(dev.shape[2], dtype=bool) if column is None else self._owner == column
        at = np.flatnonzero(asked[self._numbers])
        numbers, units = self._numbers[at], self._units[at]
        sigma = sigma_of(outputs[:, :, self.encoding.width + at])
        residual = (rows.x[:, units] - outputs[:, :, units]) / sigma
        cost = 0.5 * residual**2 + np.log(sigma / SIGMA_FLOOR)
        dev[:, :, numbers] = np.where(rows.gap[:, numbers], 0.0, cost)
        for j in np.flatnonzero(asked).tolist():
            feature, unit = self.encoding.features[j], self._at[j]
            if not feature.numeric:
                dev[:, :, j] = self._category(j, rows, outputs[:, :, unit : unit + feature.units])
            if feature.gaps:
                self._gaps(dev, j, rows, outputs[:, :, unit + feature.units])
            novel = rows.novel[:, j]
            if novel.any():
                dev[:, novel, j] = self.novelty[j]
        return dev

    def _category(self, j: int, rows: Encoded, logits: Floats) -> Floats:
        level = rows.level[:, j]
        known = level >= 0
        logits = np.ascontiguousarray(logits)  # numpy sums in the order of memory, which one row alone would change
        top = logits.max(axis=2)
        surprise = np.log(np.exp(logits - top[:, :, None]).sum(axis=2)) + top
        chosen = np.take_along_axis(logits, np.maximum(level, 0)[None, :, None], axis=2)[:, :, 0]
        dev = np.where(known, np.maximum(surprise - chosen, 0.0), 0.0)
        unseen = known & ~self.seen[:, self._at[j] + np.maximum(level, 0)]
        return np.asarray(np.where(unseen, self.novelty[j], dev))

    def _gaps(self, dev: Floats, j: int, rows: Encoded, logit: Floats) -> None:
        """Add -log of the Bernoulli likelihood of "is missing"."""
        gap = rows.gap[:, j]
        cost = np.logaddexp(0.0, np.where(gap, -logit, logit))
        unseen = gap & ~self.seen[:, [self._at[j] + self.encoding.features[j].units]]
        dev[:, :, j] += np.where(unseen, self.novelty[j], cost)

    def firsts(self, rows: Encoded) -> NDArray[np.bool_]:
        """What training never showed (members, 2, n, features): levels; gaps, and numbers far off the range."""
        out = np.zeros((self.vae.members, 2, len(rows), len(self.encoding.features)), dtype=bool)
        out[:, 1] = (rows.gap & rows.novel) | rows.far
        out[:, 0] = rows.novel & ~rows.gap & ~rows.far
        for j, feature in enumerate(self.encoding.features):
            if not feature.numeric:
                level = rows.level[:, j]
                out[:, 0, :, j] |= (level >= 0) & ~self.seen[:, self._at[j] + np.maximum(level, 0)]
        return out


def fit_novelty(out_of_fold: Floats) -> Floats:
    """The deviance of a never-seen value: one nat above all that training rows of the column show.

    Args:
        out_of_fold: (n, features), NaN where the value was new to the member that judged it.
    """
    largest = np.fmax.reduce(out_of_fold, axis=0, initial=0.0)
    return np.asarray(np.maximum(largest, np.log(len(out_of_fold) + 1.0)) + 1.0)
