"""Folds for out-of-fold scores: blocks of neighbouring rows, because tomorrow's file is a new block.

Rows that follow each other are alike in most real tables; folds of single random rows then promise a
false-alarm rate that new files break three times over (docs/decisions.md, 5).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.anomaly_score import VIEW_COSTS, AnomalyScore, Tails, fit_tails, log_kl, raw_views, unseen_nats
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.calibration import Calibration, calibrated, fit_calibration
from anomvae.model.encoder import Encoded
from anomvae.model.likelihood import (
    Deviances,
    Ensemble,
    HiddenColumns,
    concatenated,
    fit_novelty,
    hidden_deviances,
    hide_each_column,
)

Index = NDArray[np.intp]

FOLDS = 5
BLOCKS = 100
FILES = 15  # from this many files on, a block is a file


class Dependence(msgspec.Struct, frozen=True):
    """How rows depend on their neighbours.

    `correlation`: the largest lag-one rank autocorrelation of any encoded column; `length`: rows over
    which it lasts; `dependent`: whether it is more than chance among so many columns.
    """

    correlation: float
    length: int
    dependent: bool


def dependence(x: Floats) -> Dependence:
    """Test whether rows depend on their neighbours.

    Args:
        x: encoded rows (n, units) in file order.
    """
    n, units = x.shape
    moving = np.flatnonzero(x.std(axis=0) > 0)
    if n < 20 or not len(moving):
        return Dependence(0.0, 1, False)
    lagged = np.array([_lagged(_ranks(x[:, j])) for j in moving])
    correlation = float(lagged[np.argmax(np.abs(lagged))])
    critical = np.sqrt(2 * np.log(2 * max(units, 1) / 0.01)) / np.sqrt(n)
    dependent = bool(abs(correlation) > max(critical, 0.05))
    telling = moving[np.abs(lagged) > critical]
    length = _length(np.column_stack([_ranks(x[:, j]) for j in telling])) if dependent else 1
    return Dependence(correlation, length, dependent)


def _lagged(z: Floats) -> float:
    """Autocorrelation at lag one of standardised values (n,)."""
    return float((z[1:] * z[:-1]).mean())


def _ranks(column: Floats) -> Floats:
    """Standardised ranks (n,); equal values share theirs, since a stable sort would rank them by their place."""
    _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts + 1))[index]
    return np.asarray((ranks - ranks.mean()) / (ranks.std() or 1.0))


def _length(z: Floats) -> int:
    """Rows after which no column's autocorrelation is above 0.1, at most a twentieth of the table."""
    n = len(z)
    most = max(n // 20, 1)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(z, size, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum, axis=0)[:most] / n
    alike = np.flatnonzero((correlation > 0.1).any(axis=1))
    return int(alike[-1]) + 1 if len(alike) else 1


def block_ids(n: int, length: int, files: Index | None = None) -> Index:
    """Block of every row (n,): files where there are many, else runs of some hundred equal parts.

    Args:
        n: rows.
        length: rows over which neighbours are alike; blocks are five times as long where the table allows.
        files: index of the file of each row.
    """
    if files is not None and len(np.unique(files)) >= FILES:
        return np.unique(files, return_inverse=True)[1].astype(np.intp)
    size = int(np.clip(5 * length, np.ceil(n / BLOCKS), max(n // (2 * FOLDS), 1)))
    return np.arange(n, dtype=np.intp) // size


def deal(blocks: Index, rng: np.random.Generator) -> Index:
    """Fold of every row: each run of five blocks is dealt to the five folds in random order."""
    count = int(blocks.max()) + 1
    order = np.concatenate([rng.permutation(FOLDS) for _ in range(count // FOLDS + 1)])
    return np.asarray(order[:count][blocks], dtype=np.intp)


def training_pools(folds: Index, length: int) -> NDArray[np.bool_]:
    """Which rows each member trains on (members, n): outside its fold, and not its near neighbours.

    Rows within `length` of a held-out row are purged (Lopez de Prado 2018, chapter 7), so that a block is as
    new to its member as tomorrow's file; independent rows (length 1) lose nothing.
    """
    held_out = np.arange(int(folds.max()) + 1)[:, None] == folds
    near = held_out.copy()
    counts = np.cumsum(np.pad(held_out.astype(np.intp), ((0, 0), (length, length))), axis=1)
    if length > 1:
        window = 2 * length - 1
        padded = np.pad(counts, ((0, 0), (1, 0)))
        near = (padded[:, window + 1 : window + 1 + len(folds)] - padded[:, 1 : 1 + len(folds)]) > 0
    return np.asarray(~near)


RARE = 0.005  # a row is raised where at most this share of rows has as much that training never showed
ONE_MEMBER = 0.5  # share of the rows for which the first member is enough
PLAINLY_NORMAL = 0.9  # share of the rows of which no column is hidden
HIDDEN_CELLS = 60_000  # rows times columns that the tails of hidden columns are fitted to,
HIDDEN_ROWS = 400  # and no less than so many rows
PREDICTED_NUMBER = 0.5  # share of a number's squared deviation that the rest of a row explains, to be hidden
PREDICTED_CATEGORY = 0.2  # share of a category's entropy


class OutOfFold(msgspec.Struct, frozen=True):
    """What the members say of the training rows that they did not see.

    `deviances`: of one member, the one that left the row out: `columns` (1, n, columns), `kl`, `distance` (1, n).
    `unseen` (1, 2, n, features): what that member never saw, as of `Ensemble.unseen`. `novelty` (features,): the
    deviance of a value never seen.
    """

    deviances: Deviances
    unseen: Bools
    novelty: Floats


class Fitted(msgspec.Struct, frozen=True):
    """What is fitted to out-of-fold deviances: the parts of a detector beside its schema, and the rows' scores (n,)."""

    ensemble: Ensemble
    anomaly_score: AnomalyScore
    calibration: Calibration
    intervals: Floats
    scores: Floats


def score_out_of_fold(ensemble: Ensemble, rows: Encoded, folds: Ints) -> OutOfFold:
    """Deviances of the training rows (n), each under the member that left its fold (n,) out."""
    count = len(ensemble.encoding.features)
    features, kl, distance = np.zeros((len(rows), count)), np.zeros(len(rows)), np.zeros(len(rows))
    unseen = np.zeros((2, len(rows), count), dtype=bool)
    for m in range(ensemble.members):
        left_out = np.flatnonzero(folds == m)
        member, held = ensemble.member(m), rows.take(left_out)
        dev, member_kl = member.feature_deviances(held)
        features[left_out], kl[left_out] = dev[0], member_kl[0]
        distance[left_out] = member.density.distance(ensemble.encoding, held)[0]
        unseen[:, left_out] = member.unseen(held)[0]
    novelty = fit_novelty(features)
    np.copyto(features, novelty, where=np.isnan(features))
    deviances = Deviances(ensemble.by_column(features)[None], kl[None], distance[None])
    return OutOfFold(deviances, unseen[None], novelty)


def calibrate(
    ensemble: Ensemble, rows: Encoded, folds: Ints, out_of_fold: OutOfFold, *, blocks: Ints, alpha: float
) -> Fitted:
    """Fit every tail and the threshold to out-of-fold deviances.

    Args:
        ensemble: encoding and members.
        rows: the encoded training rows, n of them.
        folds: (n,): the member that did not see each row.
        out_of_fold: what it says of the row.
        blocks: (n,): the block of neighbouring rows that each training row belongs to.
        alpha: the accepted false-alarm rate.
    """
    ensemble = ensemble.with_novelty(out_of_fold.novelty)
    n = len(rows)
    usual_kl, columns, views = _fit_views(out_of_fold.deviances)
    sample = max(HIDDEN_CELLS // len(ensemble.encoding.columns), HIDDEN_ROWS)
    even = np.unique(np.linspace(0, n - 1, sample).round().astype(np.intp))
    seen = hide_out_of_fold(ensemble, columns, rows, folds, even)
    hidden = fit_tails(seen.own)
    predictable = predictable_columns(ensemble, rows.take(even), seen)
    largest = (hidden.surprise(seen.own) * predictable).max(axis=1, keepdims=True)
    rule = AnomalyScore(
        log_kl=usual_kl,
        columns=columns,
        views=views,
        unseen_weights=np.log((n + 1) / (out_of_fold.unseen[0].sum(axis=1) + 1)),
        hidden=hidden,
        predictable=predictable,
        largest_hidden=fit_tails(largest, [max(int(predictable.sum()), 1)]),
    )
    scores = score_without_hiding(rule, out_of_fold)
    rule = msgspec.structs.replace(
        rule,
        doubtful_from=float(np.quantile(scores, ONE_MEMBER)),
        hide_from=float(np.quantile(scores, PLAINLY_NORMAL)),
    )
    notable = np.flatnonzero(scores >= rule.hide_from)
    scores[notable] = np.maximum(scores[notable], _hidden_score(rule, ensemble, rows, folds, notable))
    unseen = np.sort(unseen_nats(rule.unseen_weights, out_of_fold.unseen))
    if n >= 1 / RARE:  # fewer rows cannot tell that anything is as rare
        rule = msgspec.structs.replace(
            rule, usual_unseen=float(unseen[-1 - int(RARE * n)]), unseen_score=float(np.quantile(scores, 1 - RARE))
        )
    scores = rule.raised_for_unseen(scores, out_of_fold.unseen)
    intervals = fit_intervals(ensemble, rows.take(even), seen)
    return Fitted(ensemble, rule, calibrated(scores, blocks, alpha), intervals, scores)


def _fit_views(deviances: Deviances) -> tuple[Floats, Tails, Tails]:
    """Median and spread of log KL, the tails of the columns, and those of the views."""
    log = log_kl(deviances.kl[0])
    usual_kl = np.array([np.median(log), max(float(log.std()), 1e-3)])
    columns = fit_tails(deviances.columns[0])
    of = dict.fromkeys(VIEW_COSTS, 1) | {"worst": len(columns)}
    return usual_kl, columns, fit_tails(raw_views(usual_kl, columns, deviances)[0], list(of.values()))


def score_without_hiding(rule: AnomalyScore, out_of_fold: OutOfFold) -> Floats:
    """The score of training rows (n,) out of fold, before columns are hidden."""
    return np.asarray(rule.view_scores(out_of_fold.deviances).max(axis=2)[0])


def _hidden_score(rule: AnomalyScore, ensemble: Ensemble, rows: Encoded, folds: Ints, chosen: Ints) -> Floats:
    """The score of hidden columns (k,) of the chosen rows (k,), each by the member that did not see it."""
    out = np.zeros(len(chosen))
    for m in range(ensemble.members):
        mine = np.flatnonzero(folds[chosen] == m)
        own = hidden_deviances(ensemble.member(m), rows.take(chosen[mine]), rule.predictable)
        out[mine] = rule.hidden_column_score(own) if len(mine) else 0.0
    return out


def hide_out_of_fold(ensemble: Ensemble, tails: Tails, rows: Encoded, folds: Ints, chosen: Ints) -> HiddenColumns:
    """Hide every column of some training rows in turn, each row under the member that did not see it.

    Args:
        ensemble: encoding and members.
        tails: of every column's deviance.
        rows: the encoded training rows, n of them.
        folds: (n,): the member that did not see each row.
        chosen: (k,): the positions of the rows, whose order the result has.
    """
    members = [chosen[folds[chosen] == m] for m in range(ensemble.members)]
    parts = [hide_each_column(ensemble.member(m), rows.take(its), tails.surprise) for m, its in enumerate(members)]
    found = concatenated(HiddenColumns, parts)
    back = np.argsort(np.concatenate(members), kind="stable")
    return HiddenColumns(found.own[back], found.others[back], found.expected[back])


def predictable_columns(ensemble: Ensemble, rows: Encoded, hidden: HiddenColumns) -> Bools:
    """Which columns (columns,) the rest of a row predicts well.

    For numbers the share of the squared deviation from the median that the prediction explains, in medians; for
    categories the share of their entropy.
    """
    encoding = ensemble.encoding
    out = np.zeros(len(encoding.columns), dtype=bool)
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        present, column = ~rows.gap[:, j], int(encoding.owner[j])
        if feature.part != "value" or not present.any():
            continue
        if feature.numeric:
            x = rows.x[present, at]
            left, whole = np.abs(x - hidden.expected[present, j]), np.abs(x - np.median(x))
            share = 1 - (np.median(left) / max(float(np.median(whole)), 1e-12)) ** 2
        else:
            chance = np.bincount(rows.level[present, j]) / present.sum()
            entropy = -np.sum(chance * np.log(np.maximum(chance, 1e-12)))
            share = 1 - hidden.own[present, column].mean() / max(entropy, 1e-12)
        out[column] = share >= (PREDICTED_NUMBER if feature.numeric else PREDICTED_CATEGORY)
    return out


def fit_intervals(ensemble: Ensemble, rows: Encoded, hidden: HiddenColumns) -> Floats:
    """5 % and 95 % quantile (features, 2) of the residual of each hidden number, in encoded units."""
    encoding = ensemble.encoding
    out = np.zeros((len(encoding.features), 2))
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        present = ~rows.gap[:, j]
        if feature.numeric and present.any():
            out[j] = np.quantile(rows.x[present, at] - hidden.expected[present, j], (0.05, 0.95))
    return out


USUAL = 5e-3  # the p-value above which a row that was left out counts as normal


class Suspects(msgspec.Struct, frozen=True):
    """Rows left out of training: positions `rows` (k,), whether each stays `out` (k,), and their `scores` (k,)."""

    rows: Ints
    out: Bools
    scores: Floats

    def review(self) -> list[int]:
        """The rows that stay out, the worst first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(self.rows[i]) for i in order if self.out[i]]


def standing_out(out_of_fold: OutOfFold) -> Floats:
    """How far each training row (n,) stands out from the others, out of fold: log of its deviance, and its distance.

    Both in units of the range from the median to the upper quartile, which anomalies do not move; a p-value among rows
    of which many are anomalies would call the worst of them usual.
    """
    deviances = out_of_fold.deviances
    views = np.stack([np.log(deviances.columns[0].sum(axis=1) + 1.0), deviances.distance[0]])
    median, upper = np.quantile(views, (0.5, 0.75), axis=1, keepdims=True)
    return np.asarray(((views - median) / np.maximum(upper - median, 1e-12)).sum(axis=0))


def most_anomalous(scores: Floats, share: float) -> Bools:
    """The share of the rows (n,) with the highest scores, rounded up."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[: int(np.ceil(share * len(scores)))]] = True
    return chosen


def usual(kept: Floats, suspects: Floats) -> Bools:
    """Which suspects (k,) score as high as the tail of the kept rows (n,) lets expect of normal rows.

    Asked once, with the scores before columns are hidden: a second round would bring back the anomalies too.
    """
    return fit_calibration(kept, float(len(kept)), USUAL).p_values(suspects)[0] > USUAL


def extended(calibration: Calibration, scores: Floats) -> Calibration:
    """The calibration with more scores (k,) of normal rows."""
    every = np.concatenate([calibration.scores, scores])
    effective = calibration.effective * len(every) / len(calibration.scores)
    return fit_calibration(every, effective, calibration.alpha)
