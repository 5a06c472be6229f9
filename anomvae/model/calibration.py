"""From scores to decisions: p-values, the threshold, the severity of a row, and the chance of a file's flags.

The calibration scores are out of fold: every calibration row was scored by the member that did not see it (the
quantile of the errors of rows that a model was trained on gives 13.7 % false alarms for a target of 1 %).
p = (1 + #{scores >= s}) / (1 + n) as in Bates et al. 2023; beyond the largest of them a generalised-Pareto tail
(Siffer et al. 2017) extrapolates, marked as an estimate.
"""

import math

import msgspec
import numpy as np

from anomvae.errors import UsageError
from anomvae.model.anomaly_score import pareto_nats
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.records.results import Verdict

MAX_TERMS = 1 << 16  # of a sum that are held at once
MANY, MANY_ROWS = 0.1, 5  # above this share of unreadable rows, and from so many on, a file is anomalous
MORE, MORE_ROWS = 0.01, 3  # the same for elevated, where they are also more than training had:
MORE_P = 1e-3  # their chance at the share of training is smaller than this


class Decision(msgspec.Struct, frozen=True):
    """What the scores of n rows mean at one false-alarm rate.

    `p` (n,): p-values. `estimated` (n,): p rests on the tail estimate alone. `severity` (n,): -10 log10 p, 0 to 100.
    `flagged` (n,): p is at most the false-alarm rate.
    """

    p: Floats
    estimated: Bools
    severity: Floats
    flagged: Bools


class Calibration(msgspec.Struct, frozen=True):
    """The calibration scores and what may be promised from them.

    `scores` (n,): out-of-fold scores, rising. `effective`: the number of independent rows they are worth.
    `tail_start`, `tail_share`, `tail_scale`, `tail_shape`: the Pareto tail beyond a high quantile.
    `alpha`: the accepted false-alarm rate.
    """

    scores: Floats
    effective: float
    tail_start: float
    tail_share: float
    tail_scale: float
    tail_shape: float
    alpha: float

    def at(self, alpha: float) -> "Calibration":
        """The same calibration with another alpha."""
        return msgspec.structs.replace(self, alpha=alpha)

    @property
    def design(self) -> float:
        """How many neighbouring rows are worth one independent row, as flags go."""
        return len(self.scores) / self.effective

    @property
    def supported(self) -> float:
        """The smallest alpha that counting alone supports; a smaller one rests on the tail estimate."""
        return 1 / (len(self.scores) + 1)

    def alpha_at(self, score: float) -> float:
        """The alpha that flags from this score on: its p-value.

        Raises:
            UsageError: that would flag more than half of the normal rows, or nothing at all.
        """
        p = float(self.p_values(np.array([score]))[0][0])
        if not p > 0:
            raise UsageError(f"a threshold of {score:g} would flag no row, however odd; {self._range()}.")
        if p > 0.5:
            raise UsageError(f"a threshold of {score:g} would flag more than half of the normal rows; {self._range()}.")
        return p

    def _range(self) -> str:
        return (
            f"half of them score above {np.median(self.scores):.3g}, one in a hundred above {self.threshold(0.01):.3g}"
        )

    def decide(self, scores: Floats, alpha: float | None = None) -> Decision:
        """Turn scores (n,) into p-values, severities and flags.

        Args:
            scores: of n rows.
            alpha: the accepted false-alarm rate; None: the calibration's own.
        """
        p, estimated = self.p_values(scores)
        return Decision(p, estimated, severity(p), p <= (self.alpha if alpha is None else alpha))

    def p_values(self, scores: Floats) -> tuple[Floats, Bools]:
        """p-value of each score, and whether it rests on the tail estimate alone."""
        n = len(self.scores)
        above = n - np.searchsorted(self.scores, scores, side="left")
        nats = pareto_nats(np.maximum(scores - self.tail_start, 0.0), self.tail_scale, self.tail_shape)
        guess = np.minimum(self.tail_share * np.exp(-nats), 1.0 / (n + 1))
        return np.where(above > 0, (1.0 + above) / (n + 1), guess), above == 0

    def threshold(self, alpha: float) -> float:
        """The score above which p <= alpha; monotone in alpha."""
        n = len(self.scores)
        allowed = int(np.floor(alpha * (n + 1) * (1 + 1e-12))) - 1
        if allowed >= 0:
            return float(self.scores[max(n - 1 - allowed, 0)])
        nats = np.log(self.tail_share / alpha)
        excess = nats if self.tail_shape < 1e-9 else np.expm1(self.tail_shape * nats) / self.tail_shape
        return float(max(self.tail_start + self.tail_scale * excess, self.scores[-1]))

    def rate_interval(self, alpha: float) -> tuple[float, float]:
        """95 % interval of the true false-alarm rate at alpha, given the calibration rows."""
        from scipy.special import betaincinv

        a, b = _beta(alpha, self.effective)
        return float(betaincinv(a, b, 0.025)), float(betaincinv(a, b, 0.975))


def fit_calibration(scores: Floats, effective: float, alpha: float) -> Calibration:
    """Sort the scores and fit the tail (scipy, maximum likelihood) to the top tenth."""
    from scipy.stats import genpareto  # 0.8 s of import that scoring never pays

    ordered = np.sort(scores)
    n = len(ordered)
    top = min(max(n // 10, 10), n - 1, 2000)
    start = float(ordered[n - top - 1])
    excess = ordered[n - top :] - start
    shape, _, scale = genpareto.fit(excess[excess > 0], floc=0) if np.any(excess > 0) else (0.0, 0.0, 1.0)
    if not 0 <= shape <= 0.9:  # a bounded tail would call every larger score impossible
        shape = float(np.clip(shape, 0.0, 0.9))
        scale = float(excess.mean()) * (1 - shape)
    return Calibration(ordered, effective, start, top / n, float(scale), float(shape), alpha)


def calibrated(scores: Floats, blocks: Ints, alpha: float) -> Calibration:
    """A calibration from scores (n,) of normal rows and the block of neighbouring rows of each (n,)."""
    flagged = scores >= np.quantile(scores, 1 - max(alpha, 10 / len(scores)))
    return fit_calibration(scores, effective_rows(flagged, blocks), alpha)


def effective_rows(flagged: Bools, blocks: Ints) -> float:
    """How many independent rows the calibration rows are worth, from how exceedances cluster in blocks.

    The design effect of cluster sampling (Kish 1965): the variance of the flagged count per block over what
    independent rows would show; never more than the rows themselves.
    """
    sizes = np.bincount(blocks)
    counts = np.bincount(blocks, weights=flagged)[sizes > 0]
    sizes = sizes[sizes > 0]
    rate = flagged.mean()
    expected = np.sum(sizes * rate * (1 - rate))
    if expected == 0 or len(sizes) < 5:
        return float(len(flagged))
    effect = np.sum((counts - sizes * rate) ** 2) / expected
    return float(len(flagged) / max(effect, 1.0))


def severity(p: Floats) -> Floats:
    """min(100, -10 log10 p), rounded down to tenths."""
    tenths = np.floor(-100.0 * np.log10(np.maximum(p, 1e-300)) + 1e-9)
    return np.asarray(np.clip(tenths, 0, 1000) / 10.0)


def critical_severity(counts: Ints, q: float = 0.05) -> float:
    """Smallest severity that survives Benjamini-Hochberg in a file.

    Args:
        counts: (1001,): rows of the file by severity tenths.
        q: false discovery rate.

    Returns:
        The severity, in tenths of a unit of 10 log10; infinite where no row survives.
    """
    rejected = np.cumsum(counts[::-1])[::-1]
    p = 10.0 ** (-np.arange(len(counts)) / 100.0)
    passing = np.flatnonzero((rejected > 0) & (p <= q * rejected / max(counts.sum(), 1)))
    return float(passing[0]) if len(passing) else float("inf")


def file_p_value(rows: int, flagged: int, alpha: float, effective: float, design: float = 1.0) -> float:
    """Chance of at least `flagged` flags among `rows` normal rows: one-sided beta-binomial.

    Args:
        rows: of the file.
        flagged: of these.
        alpha: the false-alarm rate.
        effective: independent rows that the calibration rows are worth.
        design: rows of a file that are worth one independent row.
    """
    if flagged == 0 or rows == 0:
        return 1.0
    a, b = _beta(alpha, _worth(rows, effective, design))
    total, mean = 0.0, rows * a / (a + b)
    log = _log_beta(flagged + a, rows - flagged + b) - _log_beta(a, b) - _log_beta(rows - flagged + 1, flagged + 1)
    log -= math.log(rows + 1)
    for start in range(flagged, rows + 1, MAX_TERMS):  # a file may have more rows than memory has room for
        k = np.arange(start, min(start + MAX_TERMS, rows), dtype=np.float64)
        steps = np.log((rows - k) / (k + 1)) + np.log((k + a) / (rows - k - 1 + b))  # from each term to the next
        logs = log + np.concatenate([[0.0], np.cumsum(steps)])
        part = float(np.exp(logs[: min(MAX_TERMS, rows + 1 - start)]).sum())
        total, log = total + part, float(logs[-1])
        if start > mean and part <= 1e-17 * total:
            break
    return min(total, 1.0)


def _worth(rows: int, effective: float, design: float) -> float:
    """Calibration rows of which the flag count would vary as it does with the design effect of the file added."""
    return effective if design <= 1 or rows < 2 else 1 / (1 / (effective + 1) + (design - 1) / (rows - 1)) - 1


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def verdict(p_file: float) -> Verdict:
    """`ok`, `elevated` (p below 0.01) or `anomalous` (p below 0.001)."""
    if p_file < 0.001:
        return "anomalous"
    return "elevated" if p_file < 0.01 else "ok"


def rejected_verdict(rows: int, rejected: int, usual: float) -> Verdict:
    """What unreadable rows make of a file: `ok`, `elevated` or `anomalous`.

    Args:
        rows: of the file, all of them.
        rejected: those that cannot be read.
        usual: the share of training rows that could not be read.
    """
    if rejected >= MANY_ROWS and rejected > MANY * rows:
        return "anomalous"
    more = rejected >= MORE_ROWS and rejected > MORE * rows
    return "elevated" if more and rejected_p_value(rows, rejected, usual) < MORE_P else "ok"


def rejected_p_value(rows: int, rejected: int, usual: float) -> float:
    """The binomial chance of at least so many unreadable rows."""
    from scipy.special import bdtrc  # few files need it, and its import takes longer than they do

    return float(bdtrc(rejected - 1, rows, usual))


def _beta(alpha: float, n: float) -> tuple[float, float]:
    return alpha * (n + 1), (1 - alpha) * (n + 1)
