"""Cross-fitting: each member of the ensemble leaves one fold of the rows out, and is calibrated on these.

In three steps, in the order of this file:

1. Rows are dealt to folds in blocks of neighbours, because tomorrow's file is a new block. Rows that follow each other
   are alike in most real tables; folds of single random rows then promise a false-alarm rate that new files exceed
   three times over (docs/decisions.md, "Blocks of neighbouring rows, purged"). Where rows come in groups, these take
   the place of single rows: whole groups are dealt, in blocks of neighbouring groups.
2. `score_out_of_fold` gives every training row the deviances of the member that did not see it, and `calibrate` fits
   the rule of the anomaly score, the threshold and the intervals of expected values to these.
3. Where training rows may hold anomalies, the most anomalous are left out in a second round of training. Those of them
   that score as normal rows do after all become calibration rows again (docs/decisions.md, "Anomalies among the
   training rows: two rounds").
"""

import msgspec
import numpy as np

from anomvae.model.anomaly_score import VIEW_COSTS, AnomalyScore, fit_tails, log_kl, raw_views, unseen_nats
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.calibration import Calibration, calibrated, fit_calibration
from anomvae.model.encoder import Encoded
from anomvae.model.likelihood import (
    Deviances,
    Ensemble,
    PredictedColumns,
    concatenated,
    fit_novelty,
    hidden_deviances,
    predict_each_column,
)

FOLDS = 5
BLOCKS = 100  # that a table is cut into, about
FILES = 15  # from this many files on, a block is a file
RARE = 0.005  # a row is raised where at most this share of rows has as much that training never showed
FIRST_MEMBER_ENOUGH = 0.5  # share of the rows that the first member alone scores
NOTHING_HIDDEN = 0.9  # share of the rows of which no column is hidden
HIDDEN_CELLS = 60_000  # rows times columns that the tails of hidden columns are fitted to,
HIDDEN_ROWS = 400  # and no less than so many rows
PREDICTED_NUMBER = 0.5  # share of a number's squared deviation that the rest of a row explains, to be hidden
PREDICTED_CATEGORY = 0.2  # share of a category's entropy
NORMAL_P = 5e-3  # the p-value above which a row that was left out counts as normal


class Dependence(msgspec.Struct, frozen=True):
    """How rows depend on their neighbours.

    `correlation`: the largest lag-one rank autocorrelation of any encoded column. `length`: rows over which it lasts.
    `dependent`: whether it is more than chance among so many columns.
    """

    correlation: float
    length: int
    dependent: bool


def dependence(x: Floats) -> Dependence:
    """Test whether encoded rows (n, units), in file order, depend on their neighbours."""
    n, units = x.shape
    varying = np.flatnonzero(x.std(axis=0) > 0)
    if n < 20 or not len(varying):
        return Dependence(0.0, 1, False)
    ranks = [_ranks(x[:, j]) for j in varying]
    lagged = np.array([(z[1:] * z[:-1]).mean() for z in ranks])  # autocorrelation at lag one
    correlation = float(lagged[np.argmax(np.abs(lagged))])
    critical = np.sqrt(2 * np.log(2 * max(units, 1) / 0.01)) / np.sqrt(n)
    dependent = bool(abs(correlation) > max(critical, 0.05))
    length = 1
    if dependent:
        length = _length(
            np.column_stack([z for z, found in zip(ranks, np.abs(lagged) > critical, strict=True) if found])
        )
    return Dependence(correlation, length, dependent)


def _ranks(column: Floats) -> Floats:
    """Standardised ranks (n,); equal values share one, since a stable sort would rank them by position."""
    _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts + 1))[index]
    return np.asarray((ranks - ranks.mean()) / (ranks.std() or 1.0))


def _length(z: Floats) -> int:
    """Rows after which the autocorrelation of no column of z (n, k) is above 0.1, at most a twentieth of the table."""
    n = len(z)
    most = max(n // 20, 1)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(z, size, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum, axis=0)[:most] / n
    alike = np.flatnonzero((correlation > 0.1).any(axis=1))
    return int(alike[-1]) + 1 if len(alike) else 1


class Folds(msgspec.Struct, frozen=True):
    """How training rows are dealt.

    `blocks` (n,): the block of each row, from 0 on. `fold` (n,): the member that does not see it. `pools` (members, n):
    the rows that each member trains on.
    """

    blocks: Ints
    fold: Ints
    pools: Bools


def block_folds(n: int, length: int, files: Ints | None, rng: np.random.Generator) -> Folds:
    """Deal n rows in blocks of neighbours.

    Args:
        n: how many rows there are.
        length: rows over which neighbours are alike.
        files: (n,): index of the file of each row.
        rng: deals the blocks.
    """
    blocks = block_ids(n, length, files)
    fold = assign_folds(blocks, rng)
    return Folds(blocks, fold, training_pools(fold, length))


def random_folds(n: int, rng: np.random.Generator) -> Folds:
    """Deal n single rows, whatever their neighbours; for comparison only."""
    blocks = np.arange(n, dtype=np.intp)
    fold = rng.permutation(assign_folds(blocks, rng))
    return Folds(blocks, fold, training_pools(fold, 1))


def group_folds(groups: Ints, rng: np.random.Generator) -> Folds:
    """Deal whole groups, so that a member has seen no row of a group that it scores.

    Groups take the place of rows: they are dealt in at most a hundred blocks of groups that follow each other, such as
    the days of a week. Blocks of neighbouring rows are not kept besides, and no neighbours are purged: what a block and
    a group have in common would have to go into one fold, which in a table of days at several stations is all of it.
    Nor are the blocks longer where groups stay alike for long: on days with seasons, blocks of months flagged a third
    of what was promised (docs/benchmarks.md, "Groups").

    Args:
        groups: (n,): the group of each row, from 0 on, neighbours by number.
        rng: deals the blocks.

    Returns:
        At most five folds, which differ by no more rows than the largest block has; fewer where there are fewer groups.
    """
    blocks = groups // -(-(int(groups.max()) + 1) // BLOCKS)
    fold = balanced_folds(np.bincount(blocks), rng)[blocks]
    return Folds(blocks, fold, training_pools(fold, 1))


def balanced_folds(sizes: Ints, rng: np.random.Generator) -> Ints:
    """The fold of every block (blocks,), from the rows (blocks,) in each.

    Of every five blocks in a row the largest goes to the fold with the fewest rows, and so on. So every fold has blocks
    from all over the table, and folds never differ by more than the largest block.
    """
    count = min(FOLDS, len(sizes))
    load, out = np.zeros(count), np.empty(len(sizes), dtype=np.intp)
    for start in range(0, len(sizes), count):
        some = rng.permutation(np.arange(start, min(start + count, len(sizes))))
        largest = some[np.argsort(-sizes[some], kind="stable")]
        order = rng.permutation(count)
        emptiest = order[np.argsort(load[order], kind="stable")][: len(some)]
        out[largest] = emptiest
        load[emptiest] += sizes[largest]
    return out


def block_ids(n: int, length: int, files: Ints | None = None) -> Ints:
    """The block of every row (n,): its file where there are many files, else one of about a hundred equal runs of rows.

    Args:
        n: how many rows there are.
        length: rows over which neighbours are alike; blocks are five times as long where the table allows.
        files: (n,): index of the file of each row.
    """
    if files is not None and len(np.unique(files)) >= FILES:
        return np.unique(files, return_inverse=True)[1].astype(np.intp)
    size = int(np.clip(5 * length, np.ceil(n / BLOCKS), max(n // (2 * FOLDS), 1)))
    return np.arange(n, dtype=np.intp) // size


def assign_folds(blocks: Ints, rng: np.random.Generator) -> Ints:
    """The fold of every row (n,), from its block (n,): each run of five blocks is dealt to the folds at random."""
    count = int(blocks.max()) + 1
    order = np.concatenate([rng.permutation(FOLDS) for _ in range(count // FOLDS + 1)])
    return np.asarray(order[:count][blocks], dtype=np.intp)


def training_pools(folds: Ints, length: int) -> Bools:
    """Which rows each member trains on (members, n): those outside its fold, without near neighbours of the fold.

    Rows within `length` of a held-out row are purged (Lopez de Prado, Advances in financial machine learning, chapter
    7), so that a block is as new to its member as tomorrow's file; independent rows (length 1) lose nothing.
    """
    held_out = np.arange(int(folds.max()) + 1)[:, None] == folds
    near = held_out.copy()
    counts = np.cumsum(np.pad(held_out.astype(np.intp), ((0, 0), (length, length))), axis=1)
    if length > 1:
        window = 2 * length - 1
        padded = np.pad(counts, ((0, 0), (1, 0)))
        near = (padded[:, window + 1 : window + 1 + len(folds)] - padded[:, 1 : 1 + len(folds)]) > 0
    return np.asarray(~near)


class OutOfFold(msgspec.Struct, frozen=True):
    """Deviances of the training rows under members that did not see them.

    `deviances`: of each row under the one member that left it out, so of shapes (1, n, columns) and (1, n). `unseen`
    (1, 2, n, features): what that member never saw, as `Ensemble.unseen` has it. `novelty` (features,): the deviance of
    a value never seen.
    """

    deviances: Deviances
    unseen: Bools
    novelty: Floats


class OutOfFoldFit(msgspec.Struct, frozen=True):
    """What is fitted to out-of-fold deviances: fields of a detector, and the scores of the training rows (n,)."""

    ensemble: Ensemble
    anomaly_score: AnomalyScore
    calibration: Calibration
    intervals: Floats
    scores: Floats


def score_out_of_fold(ensemble: Ensemble, rows: Encoded, folds: Ints) -> OutOfFold:
    """Deviances of n training rows, each under the member that left its fold out; `folds` (n,)."""
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
) -> OutOfFoldFit:
    """Fit every tail and the threshold to out-of-fold deviances.

    Args:
        ensemble: encoding and members.
        rows: the encoded training rows, n of them.
        folds: (n,): the member that did not see each row.
        out_of_fold: the deviances under it.
        blocks: (n,): the block of neighbouring rows that each training row belongs to.
        alpha: the accepted false-alarm rate.
    """
    ensemble = ensemble.with_novelty(out_of_fold.novelty)
    n = len(rows)
    # The views that every row has.
    deviances = out_of_fold.deviances
    log = log_kl(deviances.kl[0])
    usual_kl = np.array([np.median(log), max(float(log.std()), 1e-3)])
    columns = fit_tails(deviances.columns[0])
    of = dict.fromkeys(VIEW_COSTS, 1) | {"worst": len(columns)}
    views = fit_tails(raw_views(usual_kl, columns, deviances)[0], list(of.values()))
    # Hidden columns, on rows that are evenly spaced in the table.
    sample = max(HIDDEN_CELLS // len(ensemble.encoding.columns), HIDDEN_ROWS)
    spaced = np.unique(np.linspace(0, n - 1, sample).round().astype(np.intp))
    hidden_columns = hide_out_of_fold(ensemble, rows, folds, spaced)
    hidden = fit_tails(hidden_columns.own)
    predictable = predictable_columns(ensemble, rows.take(spaced), hidden_columns)
    largest = (hidden.surprise(hidden_columns.own) * predictable).max(axis=1, keepdims=True)
    rule = AnomalyScore(
        log_kl=usual_kl,
        columns=columns,
        views=views,
        unseen_weights=np.log((n + 1) / (out_of_fold.unseen[0].sum(axis=1) + 1)),
        hidden=hidden,
        predictable=predictable,
        largest_hidden=fit_tails(largest, [max(int(predictable.sum()), 1)]),
    )
    # Scores from which more members are asked, and columns are hidden.
    scores = score_without_hiding(rule, out_of_fold)
    rule = msgspec.structs.replace(
        rule,
        doubtful_from=float(np.quantile(scores, FIRST_MEMBER_ENOUGH)),
        hide_from=float(np.quantile(scores, NOTHING_HIDDEN)),
    )
    notable = np.flatnonzero(scores >= rule.hide_from)
    scores[notable] = np.maximum(scores[notable], _hidden_score(rule, ensemble, rows, folds, notable))
    # What training never showed; fewer rows cannot show that anything is so rare.
    if n >= 1 / RARE:
        unseen = np.sort(unseen_nats(rule.unseen_weights, out_of_fold.unseen))
        rule = msgspec.structs.replace(
            rule, usual_unseen=float(unseen[-1 - int(RARE * n)]), unseen_score=float(np.quantile(scores, 1 - RARE))
        )
    scores = rule.raised_for_unseen(scores, out_of_fold.unseen)
    intervals = fit_intervals(ensemble, rows.take(spaced), hidden_columns)
    return OutOfFoldFit(ensemble, rule, calibrated(scores, blocks, alpha), intervals, scores)


def score_without_hiding(rule: AnomalyScore, out_of_fold: OutOfFold) -> Floats:
    """The score of training rows (n,) out of fold, before columns are hidden."""
    return np.asarray(rule.view_scores(out_of_fold.deviances).max(axis=2)[0])


def _hidden_score(rule: AnomalyScore, ensemble: Ensemble, rows: Encoded, folds: Ints, chosen: Ints) -> Floats:
    """The hidden-column score (k,) of the chosen rows (k,), each by the member that did not see it."""
    out = np.zeros(len(chosen))
    for m in range(ensemble.members):
        held_out = np.flatnonzero(folds[chosen] == m)
        if len(held_out):
            own = hidden_deviances(ensemble.member(m), rows.take(chosen[held_out]), rule.predictable)
            out[held_out] = rule.hidden_column_score(own)
    return out


def hide_out_of_fold(ensemble: Ensemble, rows: Encoded, folds: Ints, chosen: Ints) -> PredictedColumns:
    """Hide every column of some training rows in turn, each row under the member that did not see it.

    Args:
        ensemble: encoding and members.
        rows: the encoded training rows, n of them.
        folds: (n,): the member that did not see each row.
        chosen: (k,): the rising positions of the rows.
    """
    by_member = [chosen[folds[chosen] == m] for m in range(ensemble.members)]
    found = concatenated(
        PredictedColumns,
        [predict_each_column(ensemble.member(m), rows.take(own)) for m, own in enumerate(by_member)],
    )
    order = np.argsort(np.concatenate(by_member), kind="stable")
    return PredictedColumns(found.own[order], found.expected[order])


def predictable_columns(ensemble: Ensemble, rows: Encoded, hidden: PredictedColumns) -> Bools:
    """Which columns (columns,) the rest of a row predicts well.

    Of numbers it has to explain half of the squared deviation from the median, of categories a fifth of the entropy.

    Args:
        ensemble: encoding and members.
        rows: k encoded rows.
        hidden: the same rows, with every column hidden in turn.
    """
    encoding = ensemble.encoding
    out = np.zeros(len(encoding.columns), dtype=bool)
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        present, column = ~rows.gap[:, j], int(encoding.owner[j])
        whole = feature.part == "value" or len(encoding.features_of[column]) == 1  # not a part of a date
        if not whole or not present.any():
            continue
        if feature.numeric:
            x = rows.x[present, at]
            residual, deviation = np.abs(x - hidden.expected[present, j]), np.abs(x - np.median(x))
            share = 1 - (np.median(residual) / max(float(np.median(deviation)), 1e-12)) ** 2
        else:
            chance = np.bincount(rows.level[present, j]) / present.sum()
            entropy = -np.sum(chance * np.log(np.maximum(chance, 1e-12)))
            share = 1 - hidden.own[present, column].mean() / max(entropy, 1e-12)
        out[column] = share >= (PREDICTED_NUMBER if feature.numeric else PREDICTED_CATEGORY)
    return out


def fit_intervals(ensemble: Ensemble, rows: Encoded, hidden: PredictedColumns) -> Floats:
    """5 % and 95 % quantile (features, 2) of the residual of each hidden number, in encoded units.

    Args:
        ensemble: encoding and members.
        rows: k encoded rows.
        hidden: the same rows, with every column hidden in turn.
    """
    encoding = ensemble.encoding
    out = np.zeros((len(encoding.features), 2))
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        present = ~rows.gap[:, j]
        if feature.numeric and present.any():
            out[j] = np.quantile(rows.x[present, at] - hidden.expected[present, j], (0.05, 0.95))
    return out


class Suspects(msgspec.Struct, frozen=True):
    """Rows that the second round of training left out, because they stood out in the first.

    `rows` (k,): their positions. `out` (k,): true where a row stays out of the calibration, too. `scores` (k,): under
    the detector of the second round.
    """

    rows: Ints
    out: Bools
    scores: Floats

    def review(self) -> list[int]:
        """Positions of the rows that stay out, which a person should review, those with the highest score first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(self.rows[i]) for i in order if self.out[i]]


def standing_out(out_of_fold: OutOfFold) -> Floats:
    """How far each training row (n,) stands out from the others: log of its deviance plus its distance, out of fold.

    Both are in units of the range from the median to the upper quartile, which anomalies do not move. A p-value would
    not do: among rows many of which are anomalies it calls the worst of them normal.
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


def are_normal(suspects: Floats, kept: Floats) -> Bools:
    """Which suspects have a score (k,) that the scores of the kept rows (n,) make likely for a normal row.

    To be used once, with the scores before columns are hidden: a second time would bring back the anomalies too.
    """
    return fit_calibration(kept, float(len(kept)), NORMAL_P).p_values(suspects)[0] > NORMAL_P


def with_more_scores(calibration: Calibration, scores: Floats) -> Calibration:
    """The calibration that also rests on scores (k,) of more normal rows, each worth as much as any of the others."""
    every = np.concatenate([calibration.scores, scores])
    effective = calibration.effective * len(every) / len(calibration.scores)
    return fit_calibration(every, effective, calibration.alpha)
