"""How likely a row is under the trained members: reconstruction error by column, KL, distance to training rows.

A column's *deviance* is its negative log-likelihood in nats, shifted so that it is never negative. For a number it is
half the squared residual, in units of the standard deviation that the decoder expects for this row, plus the log of
that standard deviation over its floor. For a category, and for "is missing", it is -log p. A value or a gap that a
member never saw in training costs a fixed deviance, above all that training rows show (`fit_novelty`).

A column can also be hidden from the network, which then cannot copy the value and has to predict it from the rest of
the row. `hidden_deviances` and `hide_each_column` do this with one column at a time.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Floats
from anomvae.model.encoder import Encoded, Encoding, Feature
from anomvae.model.mixture import Density
from anomvae.model.vae import SIGMA_FLOOR, VAE, sigma_of

S = TypeVar("S", bound=msgspec.Struct)

MAX_CELLS = 8192  # rows times hidden columns that run through the network together; bounds memory


class Deviances(msgspec.Struct, frozen=True):
    """What each member says of n rows, in nats.

    `columns` (members, n, columns): deviance of every original column. `kl` (members, n): KL of the latent.
    `distance` (members, n): -log of the likeliest mixture component, how far the row is from training rows.
    """

    columns: Floats
    kl: Floats
    distance: Floats


class HiddenColumns(msgspec.Struct, frozen=True):
    """What the members say of n rows while one column at a time is hidden; means over the members.

    `own` (n, columns): deviance of a column's value when that column is hidden. `others` (n, columns): the surprise,
    in nats, of all other columns together when it is hidden. `expected` (n, features): the number that is expected of
    a hidden feature, in encoded units, or the index of its likeliest level.
    """

    own: Floats
    others: Floats
    expected: Floats


class Ensemble:
    """The trained members, each a VAE and a mixture, with the encoding that they share.

    Args:
        encoding: the fitted encoding.
        vae: the members' networks.
        density: the members' mixtures.
        seen: (members, width): true where a member's training rows had this level, or this gap.
        novelty: (features,): the deviance of a value never seen; NaN while it is being fitted.
    """

    def __init__(
        self, encoding: Encoding, vae: VAE, density: Density, seen: Bools, novelty: Floats | None = None
    ) -> None:
        self.encoding, self.vae, self.density, self.seen = encoding, vae, density, seen
        features = encoding.features
        self.novelty = np.full(len(features), np.nan) if novelty is None else novelty
        self.members = vae.members
        self._starts = encoding.offsets
        self._numbers = np.array([j for j, feature in enumerate(features) if feature.numeric], dtype=np.intp)
        self._number_units = np.array([self._starts[j] for j in self._numbers], dtype=np.intp)

    def pick(self, members: slice) -> "Ensemble":
        """Some of the members alone."""
        parts = self.vae.pick(members), self.density.pick(members), self.seen[members]
        return Ensemble(self.encoding, *parts, self.novelty)

    def member(self, m: int) -> "Ensemble":
        """One member alone."""
        return self.pick(slice(m, m + 1))

    @cached_property
    def first(self) -> "Ensemble":
        """The first member alone."""
        return self.member(0)

    @cached_property
    def others(self) -> "Ensemble | None":
        """All members but the first; None where there is no other."""
        return self.pick(slice(1, None)) if self.members > 1 else None

    def with_novelty(self, novelty: Floats) -> "Ensemble":
        """The same members with another deviance of values never seen (features,)."""
        return Ensemble(self.encoding, self.vae, self.density, self.seen, novelty)

    def deviances(self, rows: Encoded) -> Deviances:
        """Deviance of every original column, KL and distance of n rows, for each member."""
        features, kl = self.feature_deviances(rows)
        return Deviances(self.by_column(features), kl, self.density.distance(self.encoding, rows))

    def by_column(self, features: Floats) -> Floats:
        """Sum the deviances (..., features) of each original column (..., columns)."""
        if len(self.encoding.columns) == features.shape[-1]:
            return features
        columns = np.zeros((*features.shape[:-1], len(self.encoding.columns)))
        for j, column in enumerate(self.encoding.owner):
            columns[..., column] += features[..., j]
        return columns

    def feature_deviances(self, rows: Encoded) -> tuple[Floats, Floats]:
        """Deviance of every feature (members, n, features) and KL (members, n)."""
        n = len(rows)
        if n == 1:  # numpy sums a lone row in another order than two
            rows = rows.take(np.zeros(2, dtype=np.intp))
        shape = (self.members, len(rows))
        out, kl = np.zeros((*shape, len(self.encoding.features))), np.zeros(shape)
        for at, outputs, block_kl in self.vae.blocks(rows.inputs):
            out[:, at] = self.deviances_from(outputs, rows.take(at))
            kl[:, at] = block_kl
        return out[:, :n], kl[:, :n]

    def deviances_from(self, outputs: Floats, rows: Encoded, column: int | None = None) -> Floats:
        """Deviance of every feature, given what the decoder made of the rows.

        Args:
            outputs: of the decoder (members, n, outputs).
            rows: the n encoded rows that are to be explained, with no column hidden.
            column: index of an original column: the features of others are left at 0. None: all columns.

        Returns:
            The deviances (members, n, features).
        """
        dev = np.zeros((*outputs.shape[:2], len(self.encoding.features)))
        asked = np.ones(dev.shape[2], dtype=bool) if column is None else self.encoding.owner == column
        at = np.flatnonzero(asked[self._numbers])
        numbers, units = self._numbers[at], self._number_units[at]
        sigma = sigma_of(outputs[:, :, self.encoding.width + at])
        residual = (rows.inputs[:, units] - outputs[:, :, units]) / sigma
        cost = 0.5 * residual**2 + np.log(sigma / SIGMA_FLOOR)
        dev[:, :, numbers] = np.where(rows.gap[:, numbers], 0.0, cost)
        for j in np.flatnonzero(asked).tolist():
            feature, unit = self.encoding.features[j], self._starts[j]
            if not feature.numeric:
                dev[:, :, j] = self._category(j, rows, outputs[:, :, unit : unit + feature.units])
            if feature.gaps:
                dev[:, :, j] += self._gaps(j, rows, outputs[:, :, unit + feature.units])
            novel = rows.novel[:, j]
            if novel.any():
                dev[:, novel, j] = self.novelty[j]
        return dev

    def _category(self, j: int, rows: Encoded, logits: Floats) -> Floats:
        """-log p of the levels of feature j (members, n), from its logits (members, n, units)."""
        level = rows.level[:, j]
        known = level >= 0
        logits = np.ascontiguousarray(logits)  # numpy sums in the order of memory, which one row alone would change
        top = logits.max(axis=2)
        total = np.log(np.exp(logits - top[:, :, None]).sum(axis=2)) + top
        chosen = np.take_along_axis(logits, np.maximum(level, 0)[None, :, None], axis=2)[:, :, 0]
        dev = np.where(known, np.maximum(total - chosen, 0.0), 0.0)
        unseen = known & ~self.seen[:, self._starts[j] + np.maximum(level, 0)]
        return np.asarray(np.where(unseen, self.novelty[j], dev))

    def _gaps(self, j: int, rows: Encoded, logit: Floats) -> Floats:
        """-log of the Bernoulli likelihood that feature j is missing, or is there (members, n)."""
        gap = rows.gap[:, j]
        cost = np.logaddexp(0.0, np.where(gap, -logit, logit))
        unseen = gap & ~self.seen[:, [self._starts[j] + self.encoding.features[j].units]]
        return np.asarray(np.where(unseen, self.novelty[j], cost))

    def with_expected_steps(self, rows: Encoded) -> Encoded:
        """The rows, where the network sees the step that it expects in place of one that is not known.

        A row without a row before it would else be surprising in the columns that the step predicts: the calibration
        rows had theirs. Such a step stays a gap, which costs nothing itself.
        """
        features = [j for j in self.encoding.steps if rows.gap[:, j].any()]
        if not features:
            return rows
        missing = np.flatnonzero(rows.gap[:, features].any(axis=1))
        inputs, width = rows.inputs.copy(), self.encoding.width
        seen = inputs[np.repeat(missing, 2) if len(missing) == 1 else missing]  # as in `feature_deviances`
        outputs = np.concatenate([found.mean(axis=0) for _, found, _ in self.vae.blocks(seen)])[: len(missing)]
        for j in features:
            feature, at = self.encoding.features[j], self._starts[j]
            gap = rows.gap[missing, j]
            expected = expected_value(feature, outputs[gap, at : at + feature.units])
            unit = at if feature.numeric else at + expected.astype(np.intp)
            inputs[missing[gap], unit] = expected if feature.numeric else 1.0
            inputs[missing[gap], width + j] = 0.0
        return msgspec.structs.replace(rows, inputs=inputs)

    def unseen(self, rows: Encoded) -> Bools:
        """Where a row has what training never showed (members, 2, n, features).

        Along axis 1 first levels of a category, then gaps, and numbers far outside the training range.
        """
        out = np.zeros((self.members, 2, len(rows), len(self.encoding.features)), dtype=bool)
        out[:, 1] = (rows.gap & rows.novel) | rows.far
        out[:, 0] = rows.novel & ~rows.gap & ~rows.far
        for j, feature in enumerate(self.encoding.features):
            if not feature.numeric:
                level = rows.level[:, j]
                out[:, 0, :, j] |= (level >= 0) & ~self.seen[:, self._starts[j] + np.maximum(level, 0)]
        return out


def fit_novelty(out_of_fold: Floats) -> Floats:
    """The deviance of a never-seen value: one nat above all that training rows of the feature show.

    Args:
        out_of_fold: deviances (n, features), NaN where the value was new to the member that scored the row.

    Returns:
        One deviance for each feature (features,).
    """
    largest = np.fmax.reduce(out_of_fold, axis=0, initial=0.0)
    return np.asarray(np.maximum(largest, np.log(len(out_of_fold) + 1.0)) + 1.0)


def hide_each_column(ensemble: Ensemble, rows: Encoded, surprise: Callable[[Floats], Floats]) -> HiddenColumns:
    """Hide every column of every row in turn.

    Args:
        ensemble: the members.
        rows: n encoded rows.
        surprise: turns deviances (k, columns) into nats (k, columns).
    """
    step = max(MAX_CELLS // len(ensemble.encoding.columns), 1)
    starts = range(0, max(len(rows), 1), step)
    parts = [_hide_each(ensemble, rows.take(slice(at, at + step)), surprise) for at in starts]
    return concatenated(HiddenColumns, parts)


def _hide_each(ensemble: Ensemble, rows: Encoded, surprise: Callable[[Floats], Floats]) -> HiddenColumns:
    """As `hide_each_column`, of rows few enough to run together."""
    columns, n = len(ensemble.encoding.columns), len(rows)
    hidden = concatenated(Encoded, [hide(ensemble.encoding, rows, j) for j in range(columns)])
    whole = concatenated(Encoded, [rows] * columns)
    deviances, outputs = np.zeros((len(hidden), columns)), np.zeros((len(hidden), ensemble.vae.outputs))
    for at, found, _ in ensemble.vae.blocks(hidden.inputs):
        outputs[at] = found.mean(axis=0)
        deviances[at] = ensemble.by_column(ensemble.deviances_from(found, whole.take(at))).mean(axis=0)
    each = np.arange(columns)
    own = deviances.reshape(columns, n, columns)[each, :, each].T
    nats = surprise(deviances).reshape(columns, n, columns)
    nats[each, :, each] = 0.0
    expected = np.zeros((n, len(ensemble.encoding.features)))
    for features, its in zip(
        ensemble.encoding.features_of, outputs.reshape(columns, n, ensemble.vae.outputs), strict=True
    ):
        for j, feature, start in features:
            expected[:, j] = expected_value(feature, its[:, start : start + feature.units])
    return HiddenColumns(own, nats.sum(axis=2).T, expected)


def hidden_deviances(ensemble: Ensemble, rows: Encoded, columns: Bools) -> Floats:
    """Deviance of every chosen column while it is hidden.

    Args:
        ensemble: the members.
        rows: n encoded rows.
        columns: (columns,): true where a column is to be hidden.

    Returns:
        The mean over the members (n, columns), 0 for columns that were not chosen.
    """
    out = np.zeros((len(rows), len(ensemble.encoding.columns)))
    chosen: list[int] = np.flatnonzero(columns).tolist()
    step = max(MAX_CELLS // max(len(chosen), 1), 1)
    for start in range(0, len(rows) if chosen else 0, step):
        part = rows.take(slice(start, start + step))
        hidden = concatenated(Encoded, [hide(ensemble.encoding, part, column) for column in chosen])
        outputs = np.empty((ensemble.members, len(hidden), ensemble.vae.outputs))
        for at, found, _ in ensemble.vae.blocks(hidden.inputs):
            outputs[:, at] = found
        for column, its in zip(chosen, np.split(outputs, len(chosen), axis=1), strict=True):
            deviances = ensemble.deviances_from(its, part, column)
            out[start : start + step, column] = deviances.sum(axis=2).mean(axis=0)
    return out


def hide(encoding: Encoding, rows: Encoded, column: int) -> Encoded:
    """The rows with every feature of one original column hidden from the network."""
    values, masks = encoding.units_of[column]
    inputs = rows.inputs.copy()
    inputs[:, values] = 0.0
    inputs[:, masks] = 1.0
    return msgspec.structs.replace(rows, inputs=inputs)


def expected_value(feature: Feature, outputs: Floats) -> Floats:
    """Expected number or index of the likeliest level (n,) from a feature's outputs (n, units)."""
    return outputs[:, 0] if feature.numeric else outputs.argmax(axis=1).astype(np.float64)


def concatenated(kind: type[S], parts: Sequence[S]) -> S:
    """Records of arrays, one behind the other along the first axis."""
    return kind(*(np.concatenate([getattr(part, name) for part in parts]) for name in kind.__struct_fields__))
