"""The fitted detector as one value: rows in, scores and reasons out.

Every member looks at a row in four ways, each told as surprise, -log p among rows that it did not see: the whole row,
all deviances summed; the worst column, which a sum would hide; the latent, whose KL may be too large or too small; the
place, how far from any training row. The largest of them is the member's score, less what a view costs: some get a
smaller share of the false alarms than others, a weighted Bonferroni in nats. The row's score is the mean over members.

Where the first member calls a row plainly normal the others are not asked; where the score is not plainly normal every
column that the rest of a row can tell is hidden in turn, a fifth view. A row that has what training never showed is
lifted to what only one row in two hundred reaches.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import UsageError
from anomvae.model.calibration import (
    Calibration,
    Tail,
    column_surprise,
    largest_surprise,
    severity,
)
from anomvae.model.drift import Reference
from anomvae.model.encoding import Encoded, encode
from anomvae.model.masking import own_deviances
from anomvae.model.schema import Schema, Values
from anomvae.model.scoring import Floats, Scorer
from anomvae.results import Calibration as CalibrationReport
from anomvae.results import ColumnReport, Lineage, Power, ThresholdChange, Training
from anomvae.settings import Dialect

if TYPE_CHECKING:
    from anomvae.synthesis import Generator

VIEWS = ("whole", "worst", "latent", "place")
COST = np.array([0.5, 1.0, 3.0, 0.0])  # nats taken off each

HIDDEN_COST = 0.5


class Terms(msgspec.Struct, frozen=True):
    """What turns deviances into a score.

    `kl` (2,): median and spread of log KL out of fold. `columns`: a tail for every original column. `views`: a tail for
    each of `VIEWS`. `firsts` (2, features): weights of a level never seen; of a gap never seen or a number far off;
    `usual`: how much of these is no news, `lift`: what a row with more of them reaches.
    `certain`: the score of the first member from which the others are asked. `plain`: the score from which columns are
    hidden; `masked`: a tail for every hidden column; `followed` (columns,): 1 where the rest of a row tells the column;
    `told`: the tail of the largest surprise of these.
    """

    kl: Floats
    columns: tuple[Tail, ...]
    views: tuple[Tail, ...]
    firsts: Floats
    masked: tuple[Tail, ...]
    followed: Floats
    told: Tail
    usual: float = float(np.finfo(np.float64).max)  # a file holds finite numbers only
    lift: float = 0.0
    certain: float = -np.inf
    plain: float = np.inf


class Scores(msgspec.Struct, frozen=True):
    """What a detector says of n rows.

    `score`, `recon`, `kl`, `p`, `severity` (n,); `estimated` (n,): p is a tail estimate;
    `contributions` (n, columns): deviances, summing to `recon`;
    `views` (n, 6): nats of each of `VIEWS`, mean over the members asked; of the hidden columns, 0 where none was; and
    what was added for what training never showed.
    """

    score: Floats
    recon: Floats
    kl: Floats
    p: Floats
    estimated: NDArray[np.bool_]
    severity: Floats
    contributions: Floats
    views: Floats


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a saved model says of itself, beside the numbers. `reference`: what rows are compared with for drift."""

    created_by: str
    dialect: Dialect
    columns: tuple[ColumnReport, ...]
    training: Training
    threshold: CalibrationReport
    lineage: Lineage
    history: tuple[ThresholdChange, ...]
    self_test: tuple[Power, ...] = ()
    reference: Reference | None = None


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
        self._first = scorer.member(0)
        self._others = scorer.pick(slice(1, None)) if scorer.vae.members > 1 else None
        self.intervals: Floats = np.zeros((len(scorer.encoding.features), 2))
        self.generator: Generator | None = None
        self.model_id = ""

    def __repr__(self) -> str:
        known = f", model {self.model_id[:12]}" if self.model_id else ""
        return f"<Detector of {len(self.columns)} columns, alpha {self.calibration.alpha:g}{known}>"

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
        found = judge(self.terms, self._first, rows)
        doubtful = np.flatnonzero(found.score >= self.terms.certain)
        if self._others is not None and len(doubtful):
            found = found.joined(doubtful, judge(self.terms, self._others, rows.take(doubtful)))
        asked = np.flatnonzero(found.score >= self.terms.plain)
        hidden = np.full(len(rows), -HIDDEN_COST)
        hidden[asked] = masked_surprise(self.terms, own_deviances(self._first, rows.take(asked), self.terms.followed))
        known = np.maximum(found.score, hidden)
        score = lifted(self.terms, known, self.scorer.firsts(rows))
        p, estimated = self.calibration.p_values(score)
        return Scores(
            score=score,
            recon=found.columns.sum(axis=1),
            kl=found.kl,
            p=p,
            estimated=estimated,
            severity=severity(p),
            contributions=found.columns,
            views=np.column_stack([found.views, hidden, score - known]),
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
        return self.generator.sample(n, given or {}, seed, seen=len(self.calibration.scores))


class Judged(msgspec.Struct, frozen=True):
    """What `members` say of n rows, the mean over them: `score`, `kl` (n,), `columns` (n, columns), `views` (n, 4)."""

    members: int
    score: Floats
    kl: Floats
    columns: Floats
    views: Floats

    def joined(self, rows: NDArray[np.intp], other: "Judged") -> "Judged":
        """With what other members say of some rows (k,)."""
        total = self.members + other.members

        def mean(mine: Floats, theirs: Floats) -> Floats:
            out = mine.copy()
            out[rows] = (self.members * mine[rows] + other.members * theirs) / total
            return out

        return Judged(
            total,
            mean(self.score, other.score),
            mean(self.kl, other.kl),
            mean(self.columns, other.columns),
            mean(self.views, other.views),
        )


def judge(terms: Terms, scorer: Scorer, rows: Encoded) -> Judged:
    """What the members of a scorer say of n rows."""
    found = scorer.deviances(rows)
    views = views_of(terms, found.columns, found.kl, found.distance)
    score, kl, columns = views.max(axis=2).mean(axis=0), found.kl.mean(axis=0), found.columns.mean(axis=0)
    return Judged(len(views), score, kl, columns, np.asarray(views.mean(axis=0)))


def views_of(terms: Terms, columns: Floats, kl: Floats, distance: Floats) -> Floats:
    """Nats of each view, less its cost (members, n, 4).

    Args:
        terms: their tails.
        columns: deviances (members, n, columns).
        kl: KL (members, n).
        distance: to the nearest component (members, n).
    """
    raw = raw_views(terms.kl, terms.columns, columns, kl, distance)
    nats = [tail.surprise(view) for tail, view in zip(terms.views, raw, strict=True)]
    return np.asarray(np.stack(nats, axis=-1) - COST)


def raw_views(
    center: Floats, tails: Sequence[Tail], columns: Floats, kl: Floats, distance: Floats
) -> tuple[Floats, ...]:
    """The views (members, n) before their tails: total deviance, largest surprise, |z(log KL)|, distance."""
    worst = np.stack([largest_surprise(tails, each) for each in columns])
    latent = np.abs(np.log(kl + 1e-12) - center[0]) / center[1]
    return np.asarray(columns.sum(axis=2)), worst, np.asarray(latent), distance


def never_shown(nats: Floats, firsts: NDArray[np.bool_]) -> Floats:
    """What training never showed of each row (n,), from nats (2, features) and firsts (members, 2, n, features)."""
    return np.asarray(np.einsum("mknf,kf->n", firsts, nats) / len(firsts))


def lifted(terms: Terms, scores: Floats, firsts: NDArray[np.bool_]) -> Floats:
    """The scores (n,), raised where a row has more of what training never showed than is usual out of fold."""
    rare = never_shown(terms.firsts, firsts) > terms.usual
    return np.where(rare, np.maximum(scores, 0.9 * terms.lift + 0.1 * scores), scores)  # their order stays


def masked_surprise(terms: Terms, own: Floats) -> Floats:
    """The largest surprise (n,) of hidden columns that the rest tells, from their deviances (n, columns)."""
    return terms.told.surprise((column_surprise(terms.masked, own) * terms.followed).max(axis=1)) - HIDDEN_COST
