"""From trained members to a calibrated detector: every training row is judged by the member that did not see it.

The training-error distribution of this project is this one: all tails, the threshold and the intervals of expected
values are fitted to it.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.calibration import Tail, calibrated, column_surprise, fit_tail
from anomvae.model.detector import VIEWS, Detector, Terms, lifted, masked_surprise, never_shown, raw_views, views_of
from anomvae.model.encoding import Encoded
from anomvae.model.masking import Hidden, joined, look, own_deviances
from anomvae.model.schema import Schema
from anomvae.model.scoring import Floats, Scorer, fit_novelty

RARE = 0.005  # share of the out-of-fold rows with what training never showed up to which that lifts a row
CERTAIN = 0.5  # share of the out-of-fold rows for which one member is enough
PLAIN = 0.9  # share of the out-of-fold rows that are plainly normal: no column is hidden
ASKED_CELLS = 60_000  # rows times columns that the tails of hidden columns are fitted to,
ASKED_ROWS = 400  # and no less than so many rows
FOLLOWED = 0.5  # share of a number's deviation that the rest of the row explains, for M to ask
TOLD = 0.2  # share of a category's entropy


class OutOfFold(msgspec.Struct, frozen=True):
    """Training rows judged by the member that did not see them.

    `columns` (n, columns): deviances; `kl`, `distance` (n,); `firsts` (2, n, features): what that member never saw;
    `novelty` (features,): what a value never seen costs.
    """

    columns: Floats
    kl: Floats
    distance: Floats
    firsts: NDArray[np.bool_]
    novelty: Floats


def judge_out_of_fold(scorer: Scorer, rows: Encoded, folds: NDArray[np.intp]) -> OutOfFold:
    """Deviances of the training rows (n), each under the member that left its fold out."""
    count = len(scorer.encoding.features)
    features, kl, distance = np.zeros((len(rows), count)), np.zeros(len(rows)), np.zeros(len(rows))
    firsts = np.zeros((2, len(rows), count), dtype=bool)
    for m in range(scorer.vae.members):
        left_out = np.flatnonzero(folds == m)
        member, held = scorer.member(m), rows.take(left_out)
        dev, member_kl = member.features(held)
        features[left_out], kl[left_out] = dev[0], member_kl[0]
        distance[left_out] = member.density.distance(scorer.encoding, held)[0]
        firsts[:, left_out] = member.firsts(held)[0]
    novelty = fit_novelty(features)
    np.copyto(features, novelty, where=np.isnan(features))
    return OutOfFold(scorer.by_column(features), kl, distance, firsts, novelty)


def calibrate(
    schema: Schema,
    scorer: Scorer,
    rows: Encoded,
    folds: NDArray[np.intp],
    judged: OutOfFold,
    *,
    blocks: NDArray[np.intp],
    alpha: float,
) -> tuple[Detector, Floats]:
    """Fit every tail and the threshold to out-of-fold deviances: the detector, and the scores (n,) in the rows' order.

    Args:
        schema: what the columns are.
        scorer: encoding and members.
        rows: the encoded training rows, n of them.
        folds: (n,): the member that did not see each row.
        judged: the out-of-fold deviances.
        blocks: (n,): the block of neighbouring rows that each training row belongs to.
        alpha: the accepted false-alarm rate.
    """
    scorer.novelty = judged.novelty
    n = len(rows)
    kl, columns, views = _fit_views(judged)
    sample = max(ASKED_CELLS // len(scorer.encoding.columns), ASKED_ROWS)
    even = np.unique(np.linspace(0, n - 1, sample).round().astype(np.intp))
    seen = look_out_of_fold(scorer, columns, rows, folds, even)
    masked = tuple(fit_tail(seen.own[:, j]) for j in range(seen.own.shape[1]))
    followed = follows(scorer, rows.take(even), seen)
    told = fit_tail((column_surprise(masked, seen.own) * followed).max(axis=1), max(int(followed.sum()), 1))
    firsts = np.log((n + 1) / (judged.firsts.sum(axis=1) + 1))
    terms = Terms(kl, columns, views, firsts, masked, followed, told)
    scores = first_score(terms, judged)
    terms = msgspec.structs.replace(
        terms, certain=float(np.quantile(scores, CERTAIN)), plain=float(np.quantile(scores, PLAIN))
    )
    asked = np.flatnonzero(scores >= terms.plain)
    scores[asked] = np.maximum(scores[asked], _masked_out_of_fold(terms, scorer, rows, folds, asked))
    news = np.sort(never_shown(terms.firsts, judged.firsts[None]))
    if n >= 1 / RARE:  # fewer rows cannot tell that anything is as rare
        terms = msgspec.structs.replace(
            terms, usual=float(news[-1 - int(RARE * n)]), lift=float(np.quantile(scores, 1 - RARE))
        )
    scores = lifted(terms, scores, judged.firsts[None])
    detector = Detector(schema, scorer, terms, calibrated(scores, blocks, alpha))
    detector.intervals = fit_intervals(scorer, rows.take(even), seen)
    return detector, scores


def _fit_views(judged: OutOfFold) -> tuple[Floats, tuple[Tail, ...], tuple[Tail, ...]]:
    """Median and spread of log KL, the tails of the columns, and those of the views."""
    log = np.log(judged.kl + 1e-12)
    kl = np.array([np.median(log), max(float(log.std()), 1e-3)])
    columns = tuple(fit_tail(judged.columns[:, j]) for j in range(judged.columns.shape[1]))
    raw = raw_views(kl, columns, judged.columns[None], judged.kl[None], judged.distance[None])
    of = dict.fromkeys(VIEWS, 1) | {"worst": len(columns)}
    return kl, columns, tuple(fit_tail(view[0], of[name]) for name, view in zip(VIEWS, raw, strict=True))


def first_score(terms: Terms, judged: OutOfFold) -> Floats:
    """The score of training rows (n,) out of fold, before columns are hidden."""
    found = views_of(terms, judged.columns[None], judged.kl[None], judged.distance[None])
    return np.asarray(found.max(axis=2)[0])


def _masked_out_of_fold(
    terms: Terms, scorer: Scorer, rows: Encoded, folds: NDArray[np.intp], chosen: NDArray[np.intp]
) -> Floats:
    out = np.zeros(len(chosen))
    for m in range(scorer.vae.members):
        mine = np.flatnonzero(folds[chosen] == m)
        own = own_deviances(scorer.member(m), rows.take(chosen[mine]), terms.followed)
        out[mine] = masked_surprise(terms, own) if len(mine) else 0.0
    return out


def look_out_of_fold(
    scorer: Scorer, tails: Sequence[Tail], rows: Encoded, folds: NDArray[np.intp], chosen: NDArray[np.intp]
) -> Hidden:
    """Hide every column of the chosen training rows, each under the member that did not see it; in their order."""
    members = [chosen[folds[chosen] == m] for m in range(scorer.vae.members)]
    found = joined(Hidden, [look(scorer.member(m), tails, rows.take(index)) for m, index in enumerate(members)])
    back = np.argsort(np.concatenate(members), kind="stable")
    return Hidden(found.own[back], found.left[back], found.guess[back])


def follows(scorer: Scorer, rows: Encoded, hidden: Hidden) -> Floats:
    """1 for every column (columns,) that the rest of a row tells well, 0 for the others.

    For numbers the share of the squared deviation from the median that goes, in medians; for categories the share of
    their entropy.
    """
    out = np.zeros(len(scorer.encoding.columns))
    for j, (feature, at) in enumerate(zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)):
        present = ~rows.gap[:, j]
        if feature.part != "value" or not present.any():
            continue
        if feature.numeric:
            x = rows.x[present, at]
            left, whole = np.abs(x - hidden.guess[present, j]), np.abs(x - np.median(x))
            share = 1 - (np.median(left) / max(float(np.median(whole)), 1e-12)) ** 2
        else:
            chance = np.bincount(rows.level[present, j]) / present.sum()
            entropy = -np.sum(chance * np.log(np.maximum(chance, 1e-12)))
            share = 1 - hidden.own[present, scorer.encoding.columns.index(feature.column)].mean() / max(entropy, 1e-12)
        out[scorer.encoding.columns.index(feature.column)] = share >= (FOLLOWED if feature.numeric else TOLD)
    return out


def fit_intervals(scorer: Scorer, rows: Encoded, hidden: Hidden) -> Floats:
    """5 % and 95 % quantile (features, 2) of the residual of each hidden number, in encoded units."""
    out = np.zeros((len(scorer.encoding.features), 2))
    for j, (feature, at) in enumerate(zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)):
        present = ~rows.gap[:, j]
        if feature.numeric and present.any():
            out[j] = np.quantile(rows.x[present, at] - hidden.guess[present, j], (0.05, 0.95))
    return out
