"""Tests whether rows are still distributed as training rows were, feature by feature, file by file.

The values of each feature are counted in bins. Its statistic is the largest deviation, from training, of the share of
rows in any of its sets (up to an edge, of one level, new, missing) or of a number's mean in normal units. Two things
would make a textbook test raise too many alarms. Neighbouring rows are alike, so a share varies more between files than
it would among independent rows: its design effect is measured between blocks of training rows, set by set. And training
rows are a sample themselves: every comparison is one of two samples.

`compare_windows` pools the counts of the newest files in windows of several sizes, and tests these together with the
counts of flagged rows. Scores are counted too, for pictures, but not tested: a calibration row was scored by one
member, a new row by all, so that their distributions always differ a little.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from statistics import NormalDist

import msgspec
import numpy as np

from anomvae.model.arrays import Floats, Ints
from anomvae.model.calibration import Calibration, file_p_value
from anomvae.model.encoder import Encoded, Encoding
from anomvae.model.schema import Values, as_floats
from anomvae.records.results import REMEMBERED, Evidence

BINS = 20
NORMAL = NormalDist()
FALSE_ALARMS = 1e-4  # share of clean files that may be reported as drifted
FLAGS = 0.8  # share of these that flag counts get, which are harder to detect a change in; the columns get the rest
WINDOWS = (1, 3, 1 + REMEMBERED)  # newest files that are tested together
OUTLIER = 1e-6  # chance of as many flags in one file, up to which the file is left out of the windows of later files


class Bins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How the training rows of one feature, or their scores, are distributed.

    `edges`: upper ends of a number's bins, each inclusive; the last bin is open. Empty for categories.
    `counts`: training rows in each bin of a number, or in each unit of a category and then with values never seen;
    after these, rows with gaps. `design`: how many rows are worth one independent row (Kish, Survey sampling), for the
    share of every set, then for a number's mean.
    """

    column: str
    part: str = "value"
    numeric: bool = False
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    design: tuple[float, ...] = ()

    @cached_property
    def units(self) -> tuple[Floats, float]:
        """Of a number: the value of each bin in normal units (bins,), and its variance in training."""
        counts = np.asarray(self.counts[:-1], dtype=np.float64)
        units = normal_units(counts)
        return units, float(counts @ units**2) / max(float(counts.sum()), 1.0)


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The distribution of normal rows that files are compared with.

    `bins`: of every feature of the encoding. `score`: of the anomaly score. `blocks`: of neighbouring rows, between
    which the design effects were measured.
    """

    bins: tuple[Bins, ...]
    score: Bins
    blocks: int

    @property
    def all(self) -> tuple[Bins, ...]:
        """The bins of all features, then those of the score."""
        return (*self.bins, self.score)

    @cached_property
    def design(self) -> Floats:
        """The design effect of every set's share (sets,)."""
        return np.concatenate([bins.design[: len(bins.design) - bins.numeric] for bins in self.bins])

    @cached_property
    def effective(self) -> tuple[Floats, Floats]:
        """Training rows in every set, and rows that could be in it (sets,), both divided by the design effect."""
        found = [sets(bins, np.asarray(bins.counts)) for bins in self.bins]
        inside, of = (np.concatenate(parts) / self.design for parts in zip(*found, strict=True))
        return inside, of


class Change(msgspec.Struct, frozen=True):
    """The largest deviation of one feature.

    `z`: in standard errors, positive where there is more of it than in training. `p`: of as large a deviation in any
    set of this feature. `at`: index of the set; the number of sets for the mean of a number. `shift`: of that mean, in
    standard deviations; `spread`: ratio of the standard deviation to that of training; both in normal units, given
    where the mean deviates most.
    """

    z: float
    p: float
    at: int
    shift: float = 0.0
    spread: float = 1.0


def fit_reference(
    encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats, blocks: Ints
) -> Reference:
    """Fit bins and design effects to n normal rows.

    Args:
        encoding: the features.
        columns: typed values by name (n,).
        rows: the same rows, encoded.
        scores: (n,), out of fold.
        blocks: (n,): the block of neighbouring rows of each row.
    """
    features = [
        Bins(column=feature.column, part=feature.part, numeric=True, edges=_edges(as_floats(columns[feature.source])))
        if feature.numeric
        else Bins(column=feature.column, part=feature.part)
        for feature in encoding.features
    ]
    empty = Reference(bins=tuple(features), score=Bins(column="", numeric=True, edges=_edges(scores)), blocks=0)
    indices = bin_indices(empty, encoding, columns, rows, scores)
    names, blocks = np.unique(blocks, return_inverse=True)
    *fitted, score = [
        _counted(bins, index, width, blocks.astype(np.intp), len(names))
        for bins, index, width in zip(empty.all, indices, bin_counts(empty, encoding), strict=True)
    ]
    return Reference(bins=tuple(fitted), score=score, blocks=len(names))


def matches(reference: Reference, encoding: Encoding) -> bool:
    """Whether a reference, as read from a model file, is one of this encoding and consistent in itself."""
    if len(reference.bins) != len(encoding.features) or reference.blocks < 1:
        return False
    kinds = [(feature.column, feature.part, feature.numeric) for feature in encoding.features]
    found = [(bins.column, bins.part, bins.numeric) for bins in reference.all]
    return found == [*kinds, ("", "value", True)] and all(
        map(_is_consistent, reference.all, bin_counts(reference, encoding))
    )


def _is_consistent(bins: Bins, width: int) -> bool:
    """Whether edges rise, and there are `width` counts and design effects."""
    if (len(bins.counts), len(bins.design)) != (width, width) or (bins.edges and not bins.numeric):
        return False
    return min(bins.counts) >= 0 and min(bins.design) >= 1 and all(a < b for a, b in pairwise(bins.edges))


def _edges(values: Floats) -> tuple[float, ...]:
    """Values at evenly spaced quantiles, each once, without the largest, so that the last bin is not empty.

    They are rounded to a tenth of a bin: a reader needs no more, and a model file holds no cell of the training table.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return ()
    cuts = np.unique(np.quantile(present, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    with np.errstate(over="ignore"):
        gaps = np.diff(cuts, prepend=present.min(), append=present.max())
    gaps[gaps == 0] = np.inf
    narrow = np.clip(np.minimum(gaps[:-1], gaps[1:]), 1e-300, 1e300)
    digits = (1 - np.floor(np.log10(narrow))).astype(np.intp).tolist()
    edges = [round(cut, decimals) for cut, decimals in zip(cuts.tolist(), digits, strict=True)]
    return tuple(edge for edge in edges if edge < present.max())


def _counted(bins: Bins, index: Ints, width: int, blocks: Ints, count: int) -> Bins:
    """The bins with counts and design effects.

    Args:
        bins: without these.
        index: (n,): the bin of each row.
        width: how many bins there are.
        blocks: (n,): the block of each row, from 0.
        count: how many blocks there are.
    """
    table = np.bincount(blocks * width + index, minlength=count * width).reshape(count, width)
    total = table.sum(axis=0)
    counted = msgspec.structs.replace(bins, counts=tuple(total.tolist()))
    return msgspec.structs.replace(counted, design=tuple(_design(counted, table).round(3).tolist()))


def _design(bins: Bins, table: Ints) -> Floats:
    """Design effects (Kish 1965) of every set's share, then of a number's mean, from counts by block (blocks, bins)."""
    inside, of = sets(bins, table)
    share = inside.sum(axis=0) / np.maximum(of.sum(axis=0), 1)
    between = ((inside - share * of) ** 2).sum(axis=0)
    within = (of * share * (1 - share)).sum(axis=0)
    if bins.numeric:
        units, values = bins.units[0], table[:, :-1]
        between = np.append(between, ((values @ units) ** 2).sum())
        within = np.append(within, (values @ units**2).sum())
    many = len(table) / max(len(table) - 1, 1)
    return np.asarray(np.maximum(many * between / np.where(within > 0, within, np.inf), 1.0))


def bin_counts(reference: Reference, encoding: Encoding) -> list[int]:
    """How many bins every feature has, and the score, each with the one for gaps."""
    units = [0 if feature.numeric else feature.units for feature in encoding.features]
    return [len(bins.edges) + unit + 2 for bins, unit in zip(reference.all, [*units, 0], strict=True)]


def bin_indices(
    reference: Reference, encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats
) -> list[Ints]:
    """Index of the bin (n,) that each of n rows is in, for every feature and the score.

    Args:
        reference: edges and units of the bins.
        encoding: the features.
        columns: typed values by name (n,).
        rows: the same rows, encoded.
        scores: (n,).
    """
    indices = []
    for j, (bins, feature) in enumerate(zip(reference.bins, encoding.features, strict=True)):
        if bins.numeric:
            index = np.searchsorted(bins.edges, as_floats(columns[feature.source]))
            index[rows.gap[:, j]] = len(bins.edges) + 1
        else:
            index = np.where(rows.level[:, j] < 0, feature.units, rows.level[:, j])
            index[rows.gap[:, j]] = feature.units + 1
        indices.append(index)
    return [*indices, np.searchsorted(reference.score.edges, scores)]


def count(
    reference: Reference, encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats
) -> list[Ints]:
    """Count n rows in the bins of every feature, and of the score; the arguments are those of `bin_indices`."""
    indices = bin_indices(reference, encoding, columns, rows, scores)
    return [np.bincount(i, minlength=w) for i, w in zip(indices, bin_counts(reference, encoding), strict=True)]


def sets(bins: Bins, counts: Ints) -> tuple[Ints, Ints]:
    """Rows in every set, and rows that could be in it: (..., sets) each, from counts (..., bins).

    The sets of a number are the values up to each edge; those of a category its units, and values never seen. These are
    shares of the rows that are not missing. The last set are the gaps, as a share of all rows.
    """
    values = counts[..., :-1]
    present = values.sum(axis=-1, keepdims=True)
    inside = np.cumsum(values, axis=-1)[..., :-1] if bins.numeric else values
    of = np.broadcast_to(present, inside.shape)
    missing = counts[..., -1:]
    return np.concatenate([inside, missing], axis=-1), np.concatenate([of, present + missing], axis=-1)


def normal_units(counts: Floats) -> Floats:
    """The value of each bin (bins,) as if its feature were normal: the mean of a standard normal variable in the bin.

    Shifted so that the mean of the counted rows is 0.
    """
    shares = counts / max(counts.sum(), 1)
    cuts = [NORMAL.inv_cdf(share) for share in np.clip(np.cumsum(shares)[:-1], 1e-12, 1 - 1e-12).tolist()]
    density = np.array([0.0, *(NORMAL.pdf(cut) for cut in cuts), 0.0])
    units = -np.diff(density) / np.maximum(shares, 1e-12)
    return np.asarray(units - units @ shares)


def compare(reference: Reference, counts: Sequence[Ints]) -> list[Change]:
    """The largest deviation of every feature, from counts of rows in the bins of every feature."""
    found = [sets(bins, now) for bins, now in zip(reference.bins, counts, strict=True)]
    inside, of = (np.concatenate(parts) / reference.design for parts in zip(*found, strict=True))
    z = np.split(deviation(inside, of, *reference.effective), np.cumsum([len(k) for k, _ in found])[:-1])
    features = zip(reference.bins, counts, z, strict=True)
    return [_change(bins, now, of_sets, reference.blocks - 1) for bins, now, of_sets in features]


def _change(bins: Bins, now: Ints, z: Floats, freedom: int) -> Change:
    """The largest deviation of one feature.

    Args:
        bins: of the feature.
        now: counts of the compared rows (bins,).
        z: deviation of every set (sets,).
        freedom: degrees of freedom of the design effects.
    """
    at = int(np.argmax(np.abs(z)))
    p = len(z) * tail(float(z[at]), freedom)
    if not bins.numeric:
        return Change(float(z[at]), min(1.0, p), at)
    mean_z, shift, spread = _mean_shift(bins, now[:-1])
    mean_p = tail(mean_z, freedom)
    if mean_p <= p:
        return Change(mean_z, min(1.0, 2 * mean_p), len(z), shift, spread)
    return Change(float(z[at]), min(1.0, 2 * p), at, shift, spread)


def _mean_shift(bins: Bins, now: Ints) -> tuple[float, float, float]:
    """Shift of a number's mean, in standard errors and in standard deviations, and the ratio of standard deviations.

    From the counts of the compared rows (bins,), without gaps.
    """
    rows, training_rows = int(now.sum()), sum(bins.counts[:-1])
    units, variance = bins.units
    if not rows or not variance:
        return 0.0, 0.0, 1.0
    shift = float(now @ units) / rows
    variance_now = float(now @ (units - shift) ** 2) / rows
    error = math.sqrt(variance * bins.design[-1] * (1 / rows + 1 / training_rows))
    return shift / error, shift / math.sqrt(variance), math.sqrt(variance_now / variance)


def deviation(inside: Floats, of: Floats, before: Floats, before_of: Floats) -> Floats:
    """How much two shares differ, as a standard normal deviate (k,).

    Fisher's exact test by double saddlepoint (Davison, Approximate conditional inference in generalized linear models,
    1988; Barndorff-Nielsen's r*), corrected for continuity: right in the far tail and for rare sets, where the normal
    approximation is wrong by orders of magnitude, and defined for fractions of a row.

    Args:
        inside: (k,): rows in the set.
        of: (k,): rows that could be.
        before: (k,): training rows in the set.
        before_of: (k,): training rows that could be.
    """
    z = np.zeros(len(inside))
    share = (inside + before) / np.maximum(of + before_of, 1e-12)
    excess = inside - of * share
    different = np.flatnonzero(np.abs(excess) > 0.5)
    step = 0.5 * np.sign(excess[different])
    k, j = inside[different] - step, before[different] + step
    z[different] = _signed_root(k, of[different], j, before_of[different])
    return z


def _signed_root(k: Floats, n: Floats, j: Floats, m: Floats) -> Floats:
    """r* of a table with k of n and j of m, no cell of it empty."""
    first, second, both = k / n, j / m, (k + j) / (n + m)
    likelihood = (
        k * np.log(first / both) + (n - k) * np.log((1 - first) / (1 - both))
        + j * np.log(second / both) + (m - j) * np.log((1 - second) / (1 - both))
    )  # fmt: skip
    odds = np.log(first / (1 - first)) - np.log(second / (1 - second))
    r = np.sign(odds) * np.sqrt(2 * np.maximum(likelihood, 0.0))
    information = n * first * (1 - first) * m * second * (1 - second) / ((n + m) * both * (1 - both))
    far = np.abs(r) > 1e-2
    r[far] += np.log(2 * np.sinh(odds[far] / 2) * np.sqrt(information[far]) / r[far]) / r[far]
    return np.asarray(r)


def tail(z: float, freedom: int) -> float:
    """Two-sided p of a deviation whose variance was measured between blocks.

    Student's t in the approximation of Peizer & Pratt (A normal approximation for binomial, F, beta and other common
    related tail probabilities, 1968); importing scipy for it would take longer than scoring a file.
    """
    f = max(freedom, 2)
    normal = (f - 2 / 3 + 1 / (10 * f)) * math.sqrt(math.log1p(z * z / f) / (f - 5 / 6))
    return math.erfc(normal / math.sqrt(2))


class WindowResult(msgspec.Struct, frozen=True):
    """How the newest files together, a window of them, differ from training.

    `p`: the chance of as much in a clean file, over all windows that were tested. `files`: files in this window.
    `changes`, `counts`: of every feature in it. `flags_p`: the chance of as many flags in it. `rows`, `flagged`: its
    rows.
    """

    p: float
    files: int
    changes: tuple[Change, ...]
    counts: tuple[Ints, ...]
    flags_p: float
    rows: int
    flagged: int

    @property
    def drifted(self) -> bool:
        """Whether drift is to be reported."""
        return self.p <= FALSE_ALARMS

    @property
    def outlier(self) -> bool:
        """Of a window of one file: whether it differs so much that it is left out of the windows of later files."""
        return self.drifted or self.flags_p <= OUTLIER

    @property
    def flags_limit(self) -> float:
        """The `flags_p` up to which the flags by themselves are drift."""
        return FALSE_ALARMS * FLAGS / (len(WINDOWS) - 1)

    @property
    def column_limit(self) -> float:
        """The p of one feature up to which it is drift by itself."""
        return FALSE_ALARMS * (1 - FLAGS) / len(WINDOWS) / len(self.changes)


def compare_windows(
    reference: Reference, calibration: Calibration, alpha: float, newest: Sequence[Evidence]
) -> tuple[WindowResult, WindowResult]:
    """Compare the newest files with training, in windows of several sizes.

    Why: docs/decisions.md, "Windows of 1, 3 and 9 files".

    Args:
        reference: the distribution of training rows.
        calibration: what its flag counts are compared with.
        alpha: the false-alarm rate that the files were scored with.
        newest: counts of the newest files, in their order; the last one is the newest.

    Returns:
        The smallest window with drift (where there is none, the one with the smallest p), and the newest file alone.
    """
    sizes = sorted({min(size, len(newest)) for size in WINDOWS})
    windows = [_compare_window(reference, calibration, alpha, newest[-size:]) for size in sizes]
    found = next((window for window in windows if window.drifted), min(windows, key=lambda window: window.p))
    return found, windows[0]


def _compare_window(
    reference: Reference, calibration: Calibration, alpha: float, files: Sequence[Evidence]
) -> WindowResult:
    """Compare some files together with training."""
    rows, flagged = sum(file.rows for file in files), sum(file.flagged for file in files)
    counts = tuple(np.sum(of, axis=0) for of in zip(*(file.counts for file in files), strict=True))
    changes = tuple(compare(reference, counts[:-1]))  # the last ones are of the score
    # Flags that come together have a longer tail than a beta-binomial with the estimated design effect: two standard
    # errors are added to its excess.
    design = 1 + (calibration.design - 1) * (1 + 2 * math.sqrt(2 / reference.blocks))
    flags_p = file_p_value(rows, flagged, alpha, calibration.effective, design)
    columns_p = len(WINDOWS) * len(changes) * min(change.p for change in changes) / (1 - FLAGS)
    # Flags of one file make up its verdict already.
    several_p = (len(WINDOWS) - 1) * flags_p / FLAGS if len(files) > 1 else 1.0
    return WindowResult(min(1.0, columns_p, several_p), len(files), changes, counts, flags_p, rows, flagged)
