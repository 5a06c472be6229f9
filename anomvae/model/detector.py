"""The fitted detector as one value: rows in, scores and reasons out.

The score adds three surprises, each in nats, each calibrated on out-of-fold rows:
B, the sum of a row's deviances with its KL on both sides, mean over the members of
z(log R) + 0.25 |z(log K)|; U, the largest surprise of any single column, which a sum would hide; and
S, the sum of the columns' surprises, in which every column counts alike.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import UsageError
from anomvae.model.calibration import (
    Calibration,
    Tail,
    effective_rows,
    fit_calibration,
    fit_tail,
    severity,
)
from anomvae.model.encoding import Encoded, encode
from anomvae.model.schema import Schema, Values
from anomvae.model.scoring import Floats, Scorer, fit_novelty
from anomvae.model.synthesis import BLOCK, Generator
from anomvae.results import Calibration as CalibrationReport
from anomvae.results import ColumnReport, Lineage, ThresholdChange, Training
from anomvae.settings import Dialect

KL_WEIGHT = 0.25


class Terms(msgspec.Struct, frozen=True):
    """What turns deviances into a score.

    `center`, `spread` (2,): of log R and log K out of fold. `columns`: a tail for every original column.
    `total`, `largest`, `summed`: tails of B, U and S.
    """

    center: Floats
    spread: Floats
    columns: tuple[Tail, ...]
    total: Tail
    largest: Tail
    summed: Tail


class Scores(msgspec.Struct, frozen=True):
    """What a detector says of n rows.

    `score`, `recon`, `kl`, `p`, `severity` (n,); `estimated` (n,): p is a tail estimate;
    `contributions` (n, columns): deviances, summing to `recon`; `surprise` (n, columns): -log p of each.
    """

    score: Floats
    recon: Floats
    kl: Floats
    p: Floats
    estimated: NDArray[np.bool_]
    severity: Floats
    contributions: Floats
    surprise: Floats


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a saved model says of itself, beside the numbers."""

    created_by: str
    dialect: Dialect
    columns: tuple[ColumnReport, ...]
    training: Training
    threshold: CalibrationReport
    lineage: Lineage
    history: tuple[ThresholdChange, ...]


class Detector:
    """A fitted model of normal rows.

    Args:
        schema: what the columns are.
        scorer: the encoding and the members.
        terms: how deviances become a score.
        calibration: out-of-fold scores, alpha and threshold.
        about: lineage and reports of the fit; None where it was fitted on columns in memory.
    """

    def __init__(
        self,
        schema: Schema,
        scorer: Scorer,
        terms: Terms,
        calibration: Calibration,
        about: "About | None" = None,
    ) -> None:
        self.schema, self.scorer, self.terms = schema, scorer, terms
        self.calibration, self.about = calibration, about
        self.intervals: Floats = np.zeros((len(scorer.encoding.features), 2))
        self.generator: Generator | None = None
        self.model_id = ""
        self.file_format = 0  # of the file it came from

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the modelled columns, in the order of `contributions`."""
        return self.scorer.encoding.columns

    def encode(self, columns: Mapping[str, Values]) -> Encoded:
        """Encode typed columns: floats (dates in seconds, booleans 0/1, NaN missing) or text."""
        return encode(self.scorer.encoding, columns)

    def score(self, columns: Mapping[str, Values]) -> Scores:
        """Score rows given as typed columns, each of shape (n,).

        Every number of a row depends on that row and the model alone, bit for bit.
        """
        return self.score_encoded(self.encode(columns))

    def score_encoded(self, rows: Encoded) -> Scores:
        """Score rows that are encoded already."""
        deviances = self.scorer.deviances(rows)
        recon = deviances.columns.sum(axis=2)
        contributions = deviances.columns.mean(axis=0)
        surprise = column_surprise(self.terms.columns, contributions)
        total = combine(self.terms, recon, deviances.kl)
        score = add_up(self.terms, total, surprise)
        p, estimated = self.calibration.p_values(score)
        return Scores(
            score=score,
            recon=contributions.sum(axis=1),
            kl=deviances.kl.mean(axis=0),
            p=p,
            estimated=estimated,
            severity=severity(p),
            contributions=contributions,
            surprise=surprise,
        )

    def sample(self, n: int, given: Mapping[str, object] | None = None, seed: int = 0) -> dict[str, Values]:
        """Draw n synthetic rows as typed columns, without a gate; the same seed gives the same rows.

        Args:
            n: how many.
            given: columns that are fixed, with their values.
            seed: of the random streams.

        Raises:
            UsageError: there is no generator, or what is given cannot be.
        """
        if self.generator is None:
            raise UsageError("this model has no generator; fit it again without --no-generator.")
        wanted = self.generator.wanted([(name, "==", str(value)) for name, value in (given or {}).items()])
        self.generator.check(wanted, len(self.calibration.scores))
        blocks = [self.generator.block(np.random.default_rng([seed, 0, b]), wanted) for b in range(-(-n // BLOCK))]
        return {
            column.name: np.concatenate([b[column.name] for b in blocks])[:n]
            for column in self.generator.schema.modelled
        }


def combine(terms: Terms, recon: Floats, kl: Floats) -> Floats:
    """B (n,) from reconstruction errors and KL (members, n)."""
    return np.asarray(_standardised(terms.center, terms.spread, recon, kl).mean(axis=0))


def add_up(terms: Terms, total: Floats, surprise: Floats) -> Floats:
    """The score (n,) from B (n,) and the columns' surprises (n, columns)."""
    largest, summed = surprise.max(axis=1), surprise.sum(axis=1)
    return terms.total.surprise(total) + terms.largest.surprise(largest) + terms.summed.surprise(summed)


def _standardised(center: Floats, spread: Floats, recon: Floats, kl: Floats) -> Floats:
    z_recon = (np.log(recon + 1e-12) - center[0]) / spread[0]
    z_kl = (np.log(kl + 1e-12) - center[1]) / spread[1]
    return np.asarray(z_recon + KL_WEIGHT * np.abs(z_kl))


def column_surprise(tails: Sequence[Tail], contributions: Floats) -> Floats:
    """-log p of every column's deviance (n, columns) among its own out-of-fold deviances."""
    return np.column_stack([tail.surprise(contributions[:, j]) for j, tail in enumerate(tails)])


class OutOfFold(msgspec.Struct, frozen=True):
    """Training rows judged by the member that did not see them: `columns` (n, columns), `kl` (n,)."""

    columns: Floats
    kl: Floats
    novelty: Floats


def judge_out_of_fold(scorer: Scorer, rows: Encoded, folds: NDArray[np.intp]) -> OutOfFold:
    """Deviances of the training rows (n), each under the member that left its fold out."""
    features, kl = np.zeros((len(rows), len(scorer.encoding.features))), np.zeros(len(rows))
    for m in range(scorer.vae.members):
        left_out = np.flatnonzero(folds == m)
        dev, member_kl = scorer.member(m).features(rows.take(left_out))
        features[left_out], kl[left_out] = dev[0], member_kl[0]
    novelty = fit_novelty(features)
    known = np.where(np.isnan(features), novelty, features)
    return OutOfFold(scorer.by_column(known), kl, novelty)


def calibrate(schema: Schema, scorer: Scorer, judged: OutOfFold, blocks: NDArray[np.intp], alpha: float) -> Detector:
    """Fit every tail and the threshold to out-of-fold deviances, and make the detector.

    Args:
        schema: what the columns are.
        scorer: encoding and members.
        judged: the out-of-fold deviances.
        blocks: (n,): the block of neighbouring rows that each training row belongs to.
        alpha: the accepted false-alarm rate.
    """
    scorer.novelty = judged.novelty
    recon = judged.columns.sum(axis=1)
    logs = np.log(np.stack([recon, judged.kl]) + 1e-12)
    center, spread = np.median(logs, axis=1), np.maximum(logs.std(axis=1), 1e-3)
    tails = tuple(fit_tail(judged.columns[:, j]) for j in range(judged.columns.shape[1]))
    total = _standardised(center, spread, recon, judged.kl)
    surprise = column_surprise(tails, judged.columns)
    largest, summed = fit_tail(surprise.max(axis=1)), fit_tail(surprise.sum(axis=1))
    terms = Terms(center, spread, tails, fit_tail(total), largest, summed)
    scores = add_up(terms, total, surprise)
    flagged = scores >= np.quantile(scores, 1 - max(alpha, 10 / len(scores)))
    return Detector(schema, scorer, terms, fit_calibration(scores, effective_rows(flagged, blocks), alpha))
