"""From deviances to one anomaly score per row, in nats: higher is more anomalous.

Each member of the ensemble looks at a row in four views: the sum of all deviances (`whole`), the most surprising column
(`worst`, which a sum would hide), the KL of the latent, which may be too large or too small (`latent`), and the
distance to training rows (`place`). Each view becomes a surprise, -log p among rows that the member did not see in
training, less a cost: a view that costs more gets a smaller share of the false alarms, a weighted Bonferroni correction
in nats. The largest of them is the member's score; the mean over members is the row's score so far.

Where the first member finds a row plainly normal the other members are not asked. Where the score is not plainly
normal, every column that the rest of a row predicts well is hidden in turn, which is a fifth view (`hidden`). A row
with more values that training never showed than is usual is raised (`unseen`) to a score that only one row in two
hundred reaches.
"""

from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.encoder import Encoded
from anomvae.model.likelihood import Deviances, Ensemble, hidden_deviances

VIEW_COSTS = {"whole": 0.5, "worst": 1.0, "latent": 3.0, "place": 0.0}  # nats taken off the surprise of each view
HIDDEN_COST = 0.5  # and off that of hidden columns
TERMS = (*VIEW_COSTS, "hidden", "unseen")  # the columns of `Scores.terms`

KNOTS = 200
MIN_STEP = 1e-200  # between knots: a slope between nearer ones would overflow
FEW_ROWS = 500  # of which every value is looked up: that costs less than choosing some


class Tails(msgspec.Struct, frozen=True, dict=True):
    """k distributions of one number each, as -log P(number >= value): what makes a deviance a surprise in nats.

    Each is a line through its knots, then a generalised-Pareto tail beyond the last one.

    `bounds` (k + 1,): distribution j has the knots from bounds[j] to bounds[j + 1]. `knots`, `nats` (all knots,):
    values, rising within each distribution, and their -log p. `scale`, `shape` (k,): of the Pareto tails. `limit`
    (k,): the nats that the fitted rows can support by counting, log(n + 1) for one value of each; what is extrapolated
    beyond is no more than an order among extremes, and adds `growth` (k,) times its logarithm.
    """

    bounds: NDArray[np.int64]
    knots: Floats
    nats: Floats
    scale: Floats
    shape: Floats
    limit: Floats
    growth: Floats

    def __len__(self) -> int:
        return len(self.scale)

    def __getitem__(self, part: slice) -> "Tails":
        """Some of the distributions, from `part.start` up to `part.stop`."""
        start, stop, _ = part.indices(len(self))
        first, last = int(self.bounds[start]), int(self.bounds[stop])
        numbers = (getattr(self, name)[part] for name in ("scale", "shape", "limit", "growth"))
        return Tails(self.bounds[start : stop + 1] - first, self.knots[first:last], self.nats[first:last], *numbers)

    @cached_property
    def _tables(self) -> list[tuple[Floats, Floats]]:
        """The knots and nats of every distribution."""
        pairs = zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True)
        return [(self.knots[a:b], self.nats[a:b]) for a, b in pairs]

    @cached_property
    def _last(self) -> Floats:
        """The last knot of every distribution (k,)."""
        return self.knots[self.bounds[1:] - 1]

    @cached_property
    def _worth_a_look(self) -> tuple[float, Floats]:
        """A surprise that most rows reach in some column, and the value (k,) of each from which it may be reached."""
        level = max(np.log(len(self)) - 1.0, 0.0)
        at_knots = [self._surprise_of(j, knots) for j, (knots, _) in enumerate(self._tables)]
        below = [max(np.searchsorted(nats, level, side="right") - 1, 0) for nats in at_knots]
        return level, np.array([knots[at] for (knots, _), at in zip(self._tables, below, strict=True)])

    def surprise(self, values: Floats) -> Floats:
        """-log p of each value (n, k), of column j in distribution j; monotone, finite."""
        nats = np.empty((len(self), len(values)))
        for j, (knots, at_knots) in enumerate(self._tables):
            nats[j] = np.interp(values[:, j], knots, at_knots)
        far = np.flatnonzero(self._last[:, None] < values.T)
        if len(far):
            column, row = np.divmod(far, len(values))
            self._extrapolate(nats.reshape(-1), far, values[row, column], column)
        self._slow_down(nats, self.limit[:, None], self.growth[:, None])
        return np.ascontiguousarray(nats.T)

    def _surprise_of(self, j: int, values: Floats) -> Floats:
        """-log p of each value (n,) in distribution j."""
        nats = np.asarray(np.interp(values, *self._tables[j]))
        far = np.flatnonzero(values > self._last[j])
        self._extrapolate(nats, far, values[far], np.intp(j))
        self._slow_down(nats, self.limit[j], self.growth[j])
        return nats

    def _extrapolate(self, nats: Floats, far: Ints, values: Floats, tail: Ints | np.intp) -> None:
        """Add the Pareto tail to nats (n,) at the positions `far` (m,), whose values (m,) are beyond the last knot."""
        nats[far] += pareto_nats(values - self._last[tail], self.scale[tail], self.shape[tail])

    @staticmethod
    def _slow_down(nats: Floats, limit: Floats, growth: Floats) -> None:
        """Beyond the limit let nats grow with the logarithm alone."""
        beyond = nats > limit
        if beyond.any():
            excess = nats[beyond] - np.broadcast_to(limit, nats.shape)[beyond]
            slow = np.broadcast_to(growth, nats.shape)[beyond] * np.log1p(excess)
            nats[beyond] = np.broadcast_to(limit, nats.shape)[beyond] + slow

    def largest_surprise(self, values: Floats) -> Floats:
        """The largest surprise of each row (n,), from values (n, k): `surprise(values).max(axis=1)`.

        Of many rows a distribution is looked up only where its value reaches a level that few values reach, but most
        rows in some column; no other value of these rows can be larger.
        """
        if len(values) < FEW_ROWS:
            return np.asarray(self.surprise(values).max(axis=1))
        level, floors = self._worth_a_look
        out = np.zeros(len(values))
        for j, column in enumerate(values.T):
            likely = np.flatnonzero(column >= floors[j])
            out[likely] = np.maximum(out[likely], self._surprise_of(j, column[likely]))
        unsure = out <= level + 1e-9  # beyond what rounding does to values that meet at a knot
        out[unsure] = self.surprise(values[unsure]).max(axis=1)
        return out


def pareto_nats(excess: Floats, scale: Floats | float, shape: Floats | float) -> Floats:
    """-log P(more than this excess) of a generalised-Pareto distribution; an exponential one where the shape is 0."""
    exponential = np.asarray(shape) < 1e-9
    heavy = np.log1p(shape * excess / scale) / np.where(exponential, 1.0, shape)
    return np.where(exponential, excess / scale, heavy)


def fit_tails(values: Floats, of: Sequence[int] | None = None) -> Tails:
    """A tail for every column of a sample: knots at quantiles, Pareto beyond the 95 % one.

    The Pareto parameters come from probability-weighted moments (Hosking & Wallis 1987), in closed form, since a table
    may need hundreds of these.

    Args:
        values: the sample (n, k).
        of: (k,): where each value is itself the largest surprise of several columns, how many these are. A new row
            goes beyond all n rows in one of them with chance of / (n + 1), so that counting supports less by
            log(of), and what is extrapolated beyond grows more slowly by that factor. None: 1 for all.
    """
    return joined_tails([_fit_tail(values[:, j], 1 if of is None else of[j]) for j in range(values.shape[1])])


def joined_tails(parts: Sequence[Tails]) -> Tails:
    """Several sets of distributions as one."""
    sizes = np.concatenate([[0], *(np.diff(part.bounds) for part in parts)])
    fields = Tails.__struct_fields__[1:]
    return Tails(
        np.cumsum(sizes).astype(np.int64),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in fields),
    )


def _fit_tail(values: Floats, of: int) -> Tails:
    """One distribution from a sample (n,)."""
    ordered = np.sort(values)
    n = len(ordered)
    top = min(max(n // 20, 10), n - 1)
    split = n - top
    index = np.unique(np.linspace(0, split, KNOTS).round().astype(np.intp))
    knots = np.unique(ordered[index])
    knots = knots[np.diff(knots, prepend=-np.inf) > MIN_STEP]
    nats = np.log(n / (n - np.searchsorted(ordered, knots, side="left")))
    scale, shape = _weighted_moments(ordered[ordered > knots[-1]] - knots[-1])
    limit = max(float(np.log((n + 1) / of)), 0.0)
    numbers = (np.array([number]) for number in (scale, shape, limit, 1.0 / of))
    return Tails(np.array([0, len(knots)], dtype=np.int64), knots, nats, *numbers)


def _weighted_moments(excess: Floats) -> tuple[float, float]:
    """Scale and shape (0 to 0.9) of exceedances, sorted; a floor keeps a degenerate column quiet."""
    if len(excess) < 5:
        return max(float(excess.mean()) if len(excess) else 0.0, 0.02), 0.0
    n = len(excess)
    first = float(excess.mean())
    second = float(np.mean(excess * (n - np.arange(1, n + 1) + 0.35) / n))
    shape = float(np.clip(2 - first / max(first - 2 * second, 1e-12), 0.0, 0.9))
    return max(first * (1 - shape), 0.02), shape


class Scores(msgspec.Struct, frozen=True):
    """The scores of n rows; what they mean as p-values and flags, `Calibration.decide` says.

    `score`, `recon`, `kl` (n,); `contributions` (n, columns): deviances, summing to `recon`; `terms` (n, 6): nats of
    each of `TERMS`: the views, means over the members that were asked; the hidden columns, the negative cost alone
    where none was hidden; and what was added for what training never showed.
    """

    score: Floats
    recon: Floats
    kl: Floats
    contributions: Floats
    terms: Floats


class MemberScores(msgspec.Struct, frozen=True):
    """What some members say of n rows before columns are hidden, as means over these members.

    `members`: how many; `score`, `kl` (n,), `columns` (n, columns): deviances, `views` (n, 4): less their costs.
    """

    members: int
    score: Floats
    kl: Floats
    columns: Floats
    views: Floats

    def joined(self, rows: Ints, other: "MemberScores") -> "MemberScores":
        """With what other members say of some of the rows, at positions (k,)."""
        total = self.members + other.members

        def mean(mine: Floats, theirs: Floats) -> Floats:
            out = mine.copy()
            out[rows] = (self.members * mine[rows] + other.members * theirs) / total
            return out

        return MemberScores(
            total,
            mean(self.score, other.score),
            mean(self.kl, other.kl),
            mean(self.columns, other.columns),
            mean(self.views, other.views),
        )


class AnomalyScore(msgspec.Struct, frozen=True):
    """The fitted rule that turns deviances into a score.

    `log_kl` (2,): median and spread of log KL. `columns`: the tail of every original column's deviance. `views`: the
    tails of `VIEW_COSTS`. `unseen_weights` (2, features): nats of a level never seen, and of a gap never seen or a
    number far outside. `hidden`: the tail of every column's deviance while it is hidden. `predictable` (columns,):
    where the rest of a row predicts the column. `largest_hidden`: the one tail of the largest surprise of these.

    `usual_unseen`: weights that add up to more than this raise a row, towards `unseen_score`. `doubtful_from`: the
    score of the first member from which the others are asked. `hide_from`: the score from which columns are hidden.
    """

    log_kl: Floats
    columns: Tails
    views: Tails
    unseen_weights: Floats
    hidden: Tails
    predictable: Bools
    largest_hidden: Tails
    usual_unseen: float = float(np.finfo(np.float64).max)  # a file holds finite numbers only
    unseen_score: float = 0.0
    doubtful_from: float = -np.inf
    hide_from: float = np.inf

    def score(self, ensemble: Ensemble, rows: Encoded) -> Scores:
        """Score n encoded rows, each by itself."""
        found = self.member_scores(ensemble.first, rows)
        doubtful = np.flatnonzero(found.score >= self.doubtful_from)
        if ensemble.others is not None and len(doubtful):
            found = found.joined(doubtful, self.member_scores(ensemble.others, rows.take(doubtful)))
        notable = np.flatnonzero(found.score >= self.hide_from)
        hidden = np.full(len(rows), -HIDDEN_COST)
        own = hidden_deviances(ensemble.first, rows.take(notable), self.predictable)
        hidden[notable] = self.hidden_column_score(own)
        known = np.maximum(found.score, hidden)
        score = self.raised_for_unseen(known, ensemble.unseen(rows))
        return Scores(
            score=score,
            recon=found.columns.sum(axis=1),
            kl=found.kl,
            contributions=found.columns,
            terms=np.column_stack([found.views, hidden, score - known]),
        )

    def member_scores(self, ensemble: Ensemble, rows: Encoded) -> MemberScores:
        """What the members of an ensemble say of n rows, before columns are hidden."""
        found = ensemble.deviances(rows)
        views = self.view_scores(found)
        score, kl, columns = views.max(axis=2).mean(axis=0), found.kl.mean(axis=0), found.columns.mean(axis=0)
        return MemberScores(len(views), score, kl, columns, np.asarray(views.mean(axis=0)))

    def view_scores(self, deviances: Deviances) -> Floats:
        """Nats of each view, less its cost (members, n, 4)."""
        raw = raw_views(self.log_kl, self.columns, deviances)
        nats = self.views.surprise(raw.reshape(-1, raw.shape[2])).reshape(raw.shape)
        return np.asarray(nats - np.array(list(VIEW_COSTS.values())))

    def hidden_column_score(self, own: Floats) -> Floats:
        """The largest surprise (n,) of a predictable column while it is hidden, from deviances (n, columns)."""
        largest = (self.hidden.surprise(own) * self.predictable).max(axis=1)
        return np.asarray(self.largest_hidden.surprise(largest[:, None])[:, 0] - HIDDEN_COST)

    def raised_for_unseen(self, scores: Floats, unseen: Bools) -> Floats:
        """The scores (n,), raised where a row has more that training never showed than is usual out of fold.

        Args:
            scores: of n rows.
            unseen: as of `Ensemble.unseen` (members, 2, n, features).
        """
        rare = unseen_nats(self.unseen_weights, unseen) > self.usual_unseen
        raised = np.maximum(scores, 0.9 * self.unseen_score + 0.1 * scores)  # raised rows keep their order
        return np.where(rare, raised, scores)


def raw_views(log_kl_usual: Floats, tails: Tails, deviances: Deviances) -> Floats:
    """The views of each row (members, n, 4) before they become surprises.

    In the order of `VIEW_COSTS`: total deviance, largest surprise of a column, |z| of log KL, distance.

    Args:
        log_kl_usual: median and spread of log KL (2,).
        tails: of every column's deviance.
        deviances: of n rows.
    """
    worst = np.stack([tails.largest_surprise(each) for each in deviances.columns])
    latent = np.abs(log_kl(deviances.kl) - log_kl_usual[0]) / log_kl_usual[1]
    return np.stack([deviances.columns.sum(axis=2), worst, latent, deviances.distance], axis=-1)


def log_kl(kl: Floats) -> Floats:
    """The logarithm of KL in nats, finite for a KL of 0."""
    return np.asarray(np.log(kl + 1e-12))


def unseen_nats(weights: Floats, unseen: Bools) -> Floats:
    """What training never showed of each row (n,), in nats.

    Args:
        weights: of levels, and of gaps and far numbers (2, features).
        unseen: as of `Ensemble.unseen` (members, 2, n, features).
    """
    return np.asarray(np.einsum("mknf,kf->n", unseen, weights) / len(unseen))
