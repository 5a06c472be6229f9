"""The fitted detector as one value: rows in, scores and reasons out.

The score adds surprises, in nats, each calibrated on out-of-fold rows: B, the sum of a row's deviances with its KL
on both sides, mean over the members of z(log R) + 0.25 |z(log K)|; U, the largest surprise of any single column,
which a sum would hide; S, the sum of the columns' surprises, in which every column counts alike. Where that sum is not
plainly normal it gets M: the largest surprise of a column that is hidden from the network, of those that the rest of a
row can tell. A row that has what training never showed is lifted to what only one row in two hundred reaches.
"""

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import UsageError
from anomvae.model.calibration import (
    Calibration,
    Tail,
    column_surprise,
    severity,
)
from anomvae.model.encoding import Encoded, encode
from anomvae.model.masking import Hidden, look
from anomvae.model.schema import Schema, Values
from anomvae.model.scoring import Floats, Scorer
from anomvae.model.synthesis import BLOCK, Generator
from anomvae.results import Calibration as CalibrationReport
from anomvae.results import ColumnReport, Lineage, Power, ThresholdChange, Training
from anomvae.settings import Dialect

KL_WEIGHT = 0.25


class Terms(msgspec.Struct, frozen=True):
    """What turns deviances into a score.

    `center`, `spread` (2,): of log R and log K out of fold. `columns`: a tail for every original column.
    `total`, `largest`, `summed`: tails of B, U and S. `firsts` (2, features): weights of a level never seen; of a gap
    never seen or a number far off; `usual`: how much of these is no news, `lift`: what a row with more of them reaches.
    `plain`: the sum from which M is asked for; `masked`: a tail for every hidden column; `followed` (columns,): 1
    where the rest of a row tells the column; `told`: the tail of M.
    """

    center: Floats
    spread: Floats
    columns: tuple[Tail, ...]
    total: Tail
    largest: Tail
    summed: Tail
    firsts: Floats
    usual: float = np.inf
    lift: float = 0.0
    plain: float = np.inf
    masked: tuple[Tail, ...] = ()
    followed: Floats | None = None
    told: Tail | None = None


class Scores(msgspec.Struct, frozen=True):
    """What a detector says of n rows.

    `score`, `recon`, `kl`, `p`, `severity` (n,); `estimated` (n,): p is a tail estimate;
    `contributions` (n, columns): deviances, summing to `recon`; `surprise` (n, columns): -log p of each;
    `asked` (n,): the row is not plainly normal, and `hidden` holds what it looks like without each column.
    """

    score: Floats
    recon: Floats
    kl: Floats
    p: Floats
    estimated: NDArray[np.bool_]
    severity: Floats
    contributions: Floats
    surprise: Floats
    asked: NDArray[np.bool_]
    hidden: Hidden


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a saved model says of itself, beside the numbers."""

    created_by: str
    dialect: Dialect
    columns: tuple[ColumnReport, ...]
    training: Training
    threshold: CalibrationReport
    lineage: Lineage
    history: tuple[ThresholdChange, ...]
    self_test: tuple[Power, ...] = ()


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
        asked = score >= self.terms.plain
        hidden = look(self.scorer, self.terms.columns, rows.take(np.flatnonzero(asked)))
        score[asked] += masked_surprise(self.terms, hidden)
        score = lifted(self.terms, score, self.scorer.firsts(rows))
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
            asked=asked,
            hidden=hidden,
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
    return np.asarray(standardised(terms.center, terms.spread, recon, kl).mean(axis=0))


def add_up(terms: Terms, total: Floats, surprise: Floats) -> Floats:
    """B + U + S (n,) from B (n,) and the columns' surprises (n, columns)."""
    largest, summed = surprise.max(axis=1), surprise.sum(axis=1)
    return terms.total.surprise(total) + terms.largest.surprise(largest) + terms.summed.surprise(summed)


def never_shown(nats: Floats, firsts: NDArray[np.bool_]) -> Floats:
    """What training never showed of each row (n,), from nats (2, features) and firsts (members, 2, n, features)."""
    return np.asarray(np.einsum("mknf,kf->n", firsts, nats) / len(firsts))


def lifted(terms: Terms, scores: Floats, firsts: NDArray[np.bool_]) -> Floats:
    """The scores (n,), raised where a row has more of what training never showed than is usual out of fold."""
    rare = never_shown(terms.firsts, firsts) > terms.usual
    return np.where(rare, np.maximum(scores, 0.9 * terms.lift + 0.1 * scores), scores)  # their order stays


def masked_surprise(terms: Terms, hidden: Hidden) -> Floats:
    """M (n,)."""
    if terms.told is None or terms.followed is None:
        return np.zeros(len(hidden.own))
    return terms.told.surprise((column_surprise(terms.masked, hidden.own) * terms.followed).max(axis=1))


def standardised(center: Floats, spread: Floats, recon: Floats, kl: Floats) -> Floats:
    """z(log R) + 0.25 |z(log K)|, of the shape of `recon` and `kl`."""
    z_recon = (np.log(recon + 1e-12) - center[0]) / spread[0]
    z_kl = (np.log(kl + 1e-12) - center[1]) / spread[1]
    return np.asarray(z_recon + KL_WEIGHT * np.abs(z_kl))
