"""Whether rows are still distributed as training rows were: every column in bins, compared with care.

Two things make a textbook test cry wolf here. Neighbouring rows are alike, so a share varies more between files than
independent rows would let it: its design effect is measured between blocks of training rows, set by set. And training
rows are a sample themselves: every comparison is one of two samples. A column's statistic is the largest deviation of
the share of rows in any of its sets (up to an edge, one level, new, missing) or of a number's mean in normal units.

Scores are counted too, to be drawn, but not tested: a calibration row was judged by one member, a new row by all, so
that their distributions differ a little for ever.
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
from anomvae.model.encoder import Encoded, Encoding, Feature
from anomvae.model.schema import Values
from anomvae.records.results import REMEMBERED, Evidence

BINS = 20
NORMAL = NormalDist()


class Bins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """How the training rows of one feature, or their scores, are distributed.

    `edges`: a number's bins, each up to and with its edge, the last one open; empty for categories.
    `counts`: training rows of each bin, or of each unit and of values never seen, then of gaps.
    `design`: how many rows are worth one independent row, for the share of every set, then for a number's mean.
    """

    column: str
    part: str = "value"
    numeric: bool = False
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    design: tuple[float, ...] = ()

    @cached_property
    def units(self) -> tuple[Floats, float]:
        """Of a number: each bin in normal units (bins,), and their variance in training."""
        counts = np.asarray(self.counts[:-1], dtype=np.float64)
        units = normal_units(counts)
        return units, float(counts @ units**2) / max(float(counts.sum()), 1.0)


class Reference(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What is usual: a `Bins` for every feature of the encoding, one for the `score`, from so many `blocks`."""

    bins: tuple[Bins, ...]
    score: Bins
    blocks: int

    @property
    def all(self) -> tuple[Bins, ...]:
        """The features, then the score: what rows are counted in."""
        return (*self.bins, self.score)

    @cached_property
    def design(self) -> Floats:
        """The design effect of every set's share (sets,)."""
        return np.concatenate([bins.design[: len(bins.design) - bins.numeric] for bins in self.bins])

    @cached_property
    def usual(self) -> tuple[Floats, Floats]:
        """Training rows in every set, and those that could be (sets,), as independent ones."""
        found = [sets(bins, np.asarray(bins.counts)) for bins in self.bins]
        inside, of = (np.concatenate(parts) / self.design for parts in zip(*found, strict=True))
        return inside, of


class Change(msgspec.Struct, frozen=True):
    """The largest deviation of one feature.

    `z`: in standard errors, positive where there is more of it. `p`: over all sets of this feature.
    `at`: the set; len(sets) for the mean of a number. `shift`: of that mean, in standard deviations; `spread`: ratio of
    standard deviations; both in normal units, of numbers only.
    """

    z: float
    p: float
    at: int
    shift: float = 0.0
    spread: float = 1.0


def fit_reference(
    encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats, blocks: Ints
) -> Reference:
    """The distribution of n normal rows.

    Args:
        encoding: the features.
        columns: typed values by name (n,).
        rows: the same, encoded.
        scores: (n,), out of fold.
        blocks: (n,): the block of neighbouring rows of each.
    """
    features = [_fit_bins(feature, columns[feature.column]) for feature in encoding.features]
    empty = Reference(bins=tuple(features), score=Bins(column="", numeric=True, edges=_edges(scores)), blocks=0)
    places = places_of(empty, encoding, columns, rows, scores)
    names, blocks = np.unique(blocks, return_inverse=True)
    *made, score = [
        _counted(bins, place, width, blocks.astype(np.intp), len(names))
        for bins, place, width in zip(empty.all, places, widths(empty, encoding), strict=True)
    ]
    return Reference(bins=tuple(made), score=score, blocks=len(names))


def fits(reference: Reference, encoding: Encoding) -> bool:
    """Whether a reference that was read is one of this encoding: nothing else may be compared with."""
    if len(reference.bins) != len(encoding.features) or reference.blocks < 1:
        return False
    kinds = [(feature.column, feature.part, feature.numeric) for feature in encoding.features]
    told = [(bins.column, bins.part, bins.numeric) for bins in reference.all]
    return told == [*kinds, ("", "value", True)] and all(map(_whole, reference.all, widths(reference, encoding)))


def _whole(bins: Bins, width: int) -> bool:
    """Whether edges rise, and there are as many counts and design effects as there should be."""
    if (len(bins.counts), len(bins.design)) != (width, width) or (bins.edges and not bins.numeric):
        return False
    return min(bins.counts) >= 0 and min(bins.design) >= 1 and all(a < b for a, b in pairwise(bins.edges))


def _fit_bins(feature: Feature, values: Values) -> Bins:
    if not feature.numeric:
        return Bins(column=feature.column, part=feature.part)
    return Bins(column=feature.column, numeric=True, edges=_edges(np.asarray(values, dtype=np.float64)))


def _edges(values: Floats) -> tuple[float, ...]:
    """Values at evenly spaced quantiles, each once, without the largest, so that the last bin is not empty.

    Rounded to a tenth of a bin: a reader needs no more, and a model file holds no cell of the training table.
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
    edges = [round(cut, places) for cut, places in zip(cuts.tolist(), digits, strict=True)]
    return tuple(edge for edge in edges if edge < present.max())


def _counted(bins: Bins, place: Ints, width: int, blocks: Ints, count: int) -> Bins:
    table = np.bincount(blocks * width + place, minlength=count * width).reshape(count, width)
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


def widths(reference: Reference, encoding: Encoding) -> list[int]:
    """How many counts every feature has, and the score."""
    units = [0 if feature.numeric else feature.units for feature in encoding.features]
    return [len(bins.edges) + unit + 2 for bins, unit in zip(reference.all, [*units, 0], strict=True)]


def places_of(
    reference: Reference, encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats
) -> list[Ints]:
    """The count to which each of n rows adds, for every feature and the score."""
    places = []
    for j, (bins, feature) in enumerate(zip(reference.bins, encoding.features, strict=True)):
        if bins.numeric:
            place = np.searchsorted(bins.edges, np.asarray(columns[bins.column], dtype=np.float64))
            place[rows.gap[:, j]] = len(bins.edges) + 1
        else:
            place = np.where(rows.level[:, j] < 0, feature.units, rows.level[:, j])
            place[rows.gap[:, j]] = feature.units + 1
        places.append(place)
    return [*places, np.searchsorted(reference.score.edges, scores)]


def count(
    reference: Reference, encoding: Encoding, columns: Mapping[str, Values], rows: Encoded, scores: Floats
) -> list[Ints]:
    """The counts of n rows, for every feature and the score."""
    places = places_of(reference, encoding, columns, rows, scores)
    return [np.bincount(p, minlength=w) for p, w in zip(places, widths(reference, encoding), strict=True)]


def sets(bins: Bins, counts: Ints) -> tuple[Ints, Ints]:
    """Rows in every set, and the rows that could be: (..., sets) each, from counts (..., bins).

    The sets of a number are those up to each edge, those of a category its units and what is new; of all rows, gaps.
    """
    values = counts[..., :-1]
    present = values.sum(axis=-1, keepdims=True)
    inside = np.cumsum(values, axis=-1)[..., :-1] if bins.numeric else values
    of = np.broadcast_to(present, inside.shape)
    return np.concatenate([inside, counts[..., -1:]], axis=-1), np.concatenate(
        [of, present + counts[..., -1:]], axis=-1
    )


def normal_units(counts: Floats) -> Floats:
    """The mean of a standard normal variable in each bin (bins,), so that the mean of the rows is 0: as if normal."""
    shares = counts / max(counts.sum(), 1)
    cuts = [NORMAL.inv_cdf(share) for share in np.clip(np.cumsum(shares)[:-1], 1e-12, 1 - 1e-12).tolist()]
    density = np.array([0.0, *(NORMAL.pdf(cut) for cut in cuts), 0.0])
    units = -np.diff(density) / np.maximum(shares, 1e-12)
    return np.asarray(units - units @ shares)


def compare(reference: Reference, counts: Sequence[Ints]) -> list[Change]:
    """Every feature's largest deviation, from the counts of every feature."""
    found = [sets(bins, here) for bins, here in zip(reference.bins, counts, strict=True)]
    inside, of = (np.concatenate(parts) / reference.design for parts in zip(*found, strict=True))
    z = np.split(deviation(inside, of, *reference.usual), np.cumsum([len(k) for k, _ in found])[:-1])
    both = zip(reference.bins, counts, z, strict=True)
    return [_change(bins, here, each, reference.blocks - 1) for bins, here, each in both]


def _change(bins: Bins, here: Ints, z: Floats, freedom: int) -> Change:
    at = int(np.argmax(np.abs(z)))
    p = len(z) * tail(float(z[at]), freedom)
    if not bins.numeric:
        return Change(float(z[at]), min(1.0, p), at)
    mean_z, shift, spread = _moved(bins, here[:-1])
    mean_p = tail(mean_z, freedom)
    if mean_p <= p:
        return Change(mean_z, min(1.0, 2 * mean_p), len(z), shift, spread)
    return Change(float(z[at]), min(1.0, 2 * p), at, shift, spread)


def _moved(bins: Bins, here: Ints) -> tuple[float, float, float]:
    """How far a number's mean moved, in standard errors and in standard deviations, and the ratio of these."""
    rows, usual = int(here.sum()), sum(bins.counts[:-1])
    units, wide = bins.units
    if not rows or not wide:
        return 0.0, 0.0, 1.0
    shift = float(here @ units) / rows
    now = float(here @ (units - shift) ** 2) / rows
    error = math.sqrt(wide * bins.design[-1] * (1 / rows + 1 / usual))
    return shift / error, shift / math.sqrt(wide), math.sqrt(now / wide)


def deviation(inside: Floats, of: Floats, before: Floats, before_of: Floats) -> Floats:
    """How much two shares differ, as a normal deviate: `inside` of `of` rows against `before` of `before_of`.

    Fisher's exact test by double saddlepoint (Davison 1988; Barndorff-Nielsen's r*), corrected for continuity: right in
    the far tail and for rare sets, where the normal approximation is out by orders of magnitude, and defined for rows
    that count as less than one.
    """
    z = np.zeros(len(inside))
    share = (inside + before) / np.maximum(of + before_of, 1e-12)
    excess = inside - of * share
    told = np.flatnonzero(np.abs(excess) > 0.5)
    step = 0.5 * np.sign(excess[told])
    z[told] = _signed_root(inside[told] - step, of[told], before[told] + step, before_of[told])
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
    """Two-sided p of a deviation whose variance was measured between blocks: Student's t (Peizer & Pratt 1968)."""
    f = max(freedom, 2)
    normal = (f - 2 / 3 + 1 / (10 * f)) * math.sqrt(math.log1p(z * z / f) / (f - 5 / 6))
    return math.erfc(normal / math.sqrt(2))


FALSE_ALARMS = 1e-4  # of clean files
FLAGS = 0.8  # share of them that the flag count gets, which is the harder to tell; the rest goes to the columns
WINDOWS = (1, 3, 1 + REMEMBERED)
ODD = 1e-6  # the chance of as many flags in one file, up to which that file is left out of the next windows


class Weighed(msgspec.Struct, frozen=True):
    """What the newest files say together.

    `p`: the chance of as much in a clean file, over all windows; `files`: the smallest window that is told, else the
    one that says most; `changes`, `counts`: of every feature in it; `flags`: the chance of as many flags
    in it; `rows`, `flagged`: its rows.
    """

    p: float
    files: int
    changes: tuple[Change, ...]
    counts: tuple[Ints, ...]
    flags: float
    rows: int
    flagged: int

    @property
    def drifted(self) -> bool:
        """Whether this is told."""
        return self.p <= FALSE_ALARMS

    @property
    def odd(self) -> bool:
        """Whether one file, being all of the window, is so odd that it is left out of the next windows."""
        return self.drifted or self.flags <= ODD

    @property
    def flags_limit(self) -> float:
        """The chance of as many flags from which they are told."""
        return FALSE_ALARMS * FLAGS / (len(WINDOWS) - 1)

    @property
    def column_limit(self) -> float:
        """The p of one column from which it is told."""
        return FALSE_ALARMS * (1 - FLAGS) / len(WINDOWS) / len(self.changes)


def weigh(
    reference: Reference, calibration: Calibration, alpha: float, newest: Sequence[Evidence]
) -> tuple[Weighed, Weighed]:
    """Weigh the newest files together.

    Args:
        reference: what they are compared with.
        calibration: of the model that scored them.
        alpha: the false-alarm rate of all of them.
        newest: the files, the newest last.

    Returns:
        The window that drifted, the smallest one first, else the one that says most; and that of the newest file alone.
    """
    windows = sorted({min(size, len(newest)) for size in WINDOWS})
    found = [_window(reference, calibration, alpha, newest[-size:]) for size in windows]
    return next((one for one in found if one.drifted), min(found, key=lambda one: one.p)), found[0]


def _threshold_design(calibration: Calibration, blocks: int) -> float:
    """The design effect of flags, two standard errors of its excess above what so many blocks showed.

    Flags that come together have a longer tail than a beta-binomial with the estimate itself.
    """
    return 1 + (calibration.design - 1) * (1 + 2 * math.sqrt(2 / blocks))


def _window(reference: Reference, calibration: Calibration, alpha: float, files: Sequence[Evidence]) -> Weighed:
    rows, flagged = sum(file.rows for file in files), sum(file.flagged for file in files)
    counts = tuple(np.sum(of, axis=0) for of in zip(*(file.counts for file in files), strict=True))
    changes = tuple(compare(reference, counts[:-1]))  # the last ones are of the score
    flags = file_p_value(rows, flagged, alpha, calibration.effective, _threshold_design(calibration, reference.blocks))
    columns = len(WINDOWS) * len(changes) * min(change.p for change in changes) / (1 - FLAGS)
    several = (len(WINDOWS) - 1) * flags / FLAGS if len(files) > 1 else 1.0  # one file's flags are its own verdict
    return Weighed(min(1.0, columns, several), len(files), changes, counts, flags, rows, flagged)
