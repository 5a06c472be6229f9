"""How likely a row is under the trained members: reconstruction error by column, KL, distance to training rows.

A column's *deviance* is its negative log-likelihood in nats, shifted so that it is never negative. For a number it is
half the squared residual, in units of the standard deviation that the decoder expects for this row, plus the log of
that standard deviation over its floor. For a category, and for "is missing", it is -log p. A value or a gap that a
member never saw in training costs a fixed deviance, above all that training rows show (`fit_novelty`).

A column can also be hidden from the network, which then cannot copy the value and has to predict it from the rest of
the row. `hidden_deviances`, `predict_each_column` and `hide_each_column` do this with one column at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.encoder import Encoded, Encoding, Feature
from anomvae.model.mixture import Density
from anomvae.model.vae import SIGMA_FLOOR, VAE, sigma_of

S = TypeVar("S", bound=msgspec.Struct)

MAX_CELLS = 8192  # rows times hidden columns that run through the network together; bounds memory
WIDE = 60  # columns from which a hidden column is a change of a row, and not a row of its own,
MAX_UNITS = 2_000_000  # and so many inputs and outputs of such changes are held together


class Deviances(msgspec.Struct, frozen=True):
    """What each member says of n rows, in nats.

    `columns` (members, n, columns): deviance of every original column. `kl` (members, n): KL of the latent.
    `distance` (members, n): -log of the likeliest mixture component, how far the row is from training rows.
    """

    columns: Floats
    kl: Floats
    distance: Floats


class PredictedColumns(msgspec.Struct, frozen=True):
    """What the members say of every column of n rows while it alone is hidden; means over the members.

    `own` (n, columns): deviance of a column's value when that column is hidden. `expected` (n, features): the number
    that is expected of a hidden feature, in encoded units, or the index of its likeliest level.
    """

    own: Floats
    expected: Floats


class HiddenColumns(PredictedColumns, frozen=True):
    """The same, and what the members say of the other columns meanwhile.

    `others` (n, columns): the surprise, in nats, of all other columns together when a column is hidden.
    """

    others: Floats


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

    def column_deviance(self, column: int, rows: Encoded, outputs: Floats) -> Floats:
        """Deviance of one column of n rows (members, n), from its outputs alone (members, n, k): see `output_units`."""
        total, at = np.zeros(outputs.shape[:2]), 0
        for j, feature, start in self.encoding.features_of[column]:
            if feature.numeric:
                sigma = sigma_of(outputs[:, :, at + feature.units + feature.gaps])
                residual = (rows.inputs[:, start] - outputs[:, :, at]) / sigma
                cost = np.where(rows.gap[:, j], 0.0, 0.5 * residual**2 + np.log(sigma / SIGMA_FLOOR))
            else:
                cost = self._category(j, rows, outputs[:, :, at : at + feature.units])
            if feature.gaps:
                cost = cost + self._gaps(j, rows, outputs[:, :, at + feature.units])
            total += np.where(rows.novel[:, j], self.novelty[j], cost)
            at += feature.units + feature.gaps + feature.numeric
        return total

    @cached_property
    def output_units(self) -> tuple[Ints, ...]:
        """The outputs that every original column has: of each of its features the values, the gap, and the spread."""
        found = []
        spreads = dict(zip(self._numbers.tolist(), range(self.encoding.width, self.vae.outputs), strict=True))
        for features in self.encoding.features_of:
            units: list[int] = []
            for j, feature, start in features:
                units += range(start, start + feature.units + feature.gaps)
                units += [spreads[j]] if feature.numeric else []
            found.append(np.array(units, dtype=np.intp))
        return tuple(found)

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
    """Hide every column of every row in turn, and look at all of them.

    Args:
        ensemble: the members.
        rows: n encoded rows.
        surprise: turns deviances (k, columns) into nats (k, columns).
    """
    return concatenated(HiddenColumns, [_hide_each(ensemble, part, surprise) for part in _parts(ensemble, rows)])


def predict_each_column(ensemble: Ensemble, rows: Encoded) -> PredictedColumns:
    """Hide every column of n encoded rows in turn, and look at that column alone."""
    if len(ensemble.encoding.columns) >= WIDE:
        return _predict_changed(ensemble, rows)
    parts = [_predicted(ensemble, *_hide_each_whole(ensemble, part)) for part in _parts(ensemble, rows)]
    return concatenated(PredictedColumns, parts)


def _parts(ensemble: Ensemble, rows: Encoded) -> list[Encoded]:
    """The rows, as many at a time as can run together with each of their columns hidden."""
    step = max(MAX_CELLS // len(ensemble.encoding.columns), 1)
    return [rows.take(slice(at, at + step)) for at in range(0, max(len(rows), 1), step)]


def _hide_each(ensemble: Ensemble, rows: Encoded, surprise: Callable[[Floats], Floats]) -> HiddenColumns:
    """As `hide_each_column`, of rows few enough to run together."""
    deviances, outputs = _hide_each_whole(ensemble, rows)
    columns = len(deviances)
    nats = surprise(deviances.reshape(-1, columns)).reshape(columns, len(rows), columns)
    each = np.arange(columns)
    nats[each, :, each] = 0.0
    found = _predicted(ensemble, deviances, outputs)
    return HiddenColumns(found.own, found.expected, nats.sum(axis=2).T)


def _hide_each_whole(ensemble: Ensemble, rows: Encoded) -> tuple[Floats, Floats]:
    """Deviances (columns, n, columns) and outputs (columns, n, outputs) of n rows with each column hidden."""
    columns = len(ensemble.encoding.columns)
    hidden = concatenated(Encoded, [hide(ensemble.encoding, rows, j) for j in range(columns)])
    whole = concatenated(Encoded, [rows] * columns)
    deviances, outputs = np.zeros((len(hidden), columns)), np.zeros((len(hidden), ensemble.vae.outputs))
    for at, found, _ in ensemble.vae.blocks(hidden.inputs):
        outputs[at] = found.mean(axis=0)
        deviances[at] = ensemble.by_column(ensemble.deviances_from(found, whole.take(at))).mean(axis=0)
    return deviances.reshape(columns, len(rows), columns), outputs.reshape(columns, len(rows), ensemble.vae.outputs)


def _predicted(ensemble: Ensemble, deviances: Floats, outputs: Floats) -> PredictedColumns:
    """What is said of each hidden column itself, from deviances and outputs as of `_hide_each_whole`."""
    each = np.arange(len(deviances))
    expected = np.zeros((deviances.shape[1], len(ensemble.encoding.features)))
    for features, its in zip(ensemble.encoding.features_of, outputs, strict=True):
        for j, feature, start in features:
            expected[:, j] = expected_value(feature, its[:, start : start + feature.units])
    return PredictedColumns(deviances[each, :, each].T, expected)


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
    if len(ensemble.encoding.columns) >= WIDE:
        for at, column, outputs in _hidden_outputs(ensemble, rows, chosen):
            out[at, column] = ensemble.column_deviance(column, rows.take(at), outputs).mean(axis=0)
        return out
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


def _predict_changed(ensemble: Ensemble, rows: Encoded) -> PredictedColumns:
    """As `predict_each_column`, of a wide table."""
    encoding = ensemble.encoding
    own, expected = np.zeros((len(rows), len(encoding.columns))), np.zeros((len(rows), len(encoding.features)))
    for at, column, outputs in _hidden_outputs(ensemble, rows, range(len(encoding.columns))):
        own[at, column] = ensemble.column_deviance(column, rows.take(at), outputs).mean(axis=0)
        mean, first = outputs.mean(axis=0), 0
        for j, feature, _ in encoding.features_of[column]:
            expected[at, j] = expected_value(feature, mean[:, first : first + feature.units])
            first += feature.units + feature.gaps + feature.numeric
    return PredictedColumns(own, expected)


def _hidden_outputs(ensemble: Ensemble, rows: Encoded, columns: Sequence[int]) -> Iterator[tuple[slice, int, Floats]]:
    """Hide the chosen columns of n rows in turn.

    Of a wide table nearly all inputs stay as they are when a column is hidden, and nearly all outputs are not looked
    at: neither is computed again.

    Args:
        ensemble: the members.
        rows: n encoded rows.
        columns: positions of the original columns that are hidden.

    Yields:
        The slice of the rows, the column, and its own outputs (members, rows, k), as `Ensemble.output_units` has them.
    """
    encoding, vae = ensemble.encoding, ensemble.vae
    if not len(columns):
        return
    inputs = _side_by_side([np.concatenate(encoding.units_of[j]) for j in columns])
    asked = _side_by_side([ensemble.output_units[j] for j in columns])
    step = max(MAX_UNITS // (len(columns) * (inputs.shape[1] + asked.shape[1])), 1)
    for start in range(0, len(rows), step):
        at = slice(start, min(start + step, len(rows)))
        part = rows.inputs[at]
        variant, row = (index.ravel() for index in np.indices((len(columns), len(part))))
        change = _change(part, inputs, encoding.width)[variant, row]
        outputs = np.empty((ensemble.members, len(variant), asked.shape[1]))
        for block, state in vae.changed_blocks(part, row, np.maximum(inputs, 0)[variant], change):
            units = np.zeros((state.shape[2], asked.shape[1]), dtype=np.intp)
            units[: block.stop - block.start] = np.maximum(asked, 0)[variant[block]]
            outputs[:, block] = vae.some_outputs(state, units)[:, : block.stop - block.start]
        for column, its in zip(columns, np.split(outputs, len(columns), axis=1), strict=True):
            yield at, column, its


def _change(x: Floats, units: Ints, width: int) -> Floats:
    """By how much inputs change when a column is hidden: values become 0, mask bits 1 (columns, n, k).

    Args:
        x: inputs of n rows (n, inputs).
        units: (columns, k): the inputs of each column, -1 where it has fewer than k.
        width: of the values, which stand before the mask bits.
    """
    hidden = (units >= width).astype(np.float64)[:, None, :]
    change = hidden - x[:, np.maximum(units, 0)].transpose(1, 0, 2)
    return np.asarray(np.where(units[:, None, :] < 0, 0.0, change))


def _side_by_side(lists: Sequence[Ints]) -> Ints:
    """Positions of different number (lists, k), filled up with -1."""
    out = np.full((len(lists), max(map(len, lists))), -1, dtype=np.intp)
    for row, positions in zip(out, lists, strict=True):
        row[: len(positions)] = positions
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
