"""AUROC and average precision of scores whose anomalies are known, each with a 95 % interval.

Every interval is Wilson's (Probable inference, the law of succession, and statistical inference, 1927): it stays inside
(0, 1) and has a sensible width at 0 and 1, where intervals of the form "estimate +- error" and the bootstrap shrink to
a point. See docs/decisions.md, "Intervals of an evaluation are Wilson's".
"""

import numpy as np

from anomvae.model.arrays import Floats

Interval = tuple[float, float]

Z = 1.959963984540054  # two-sided 95 % of the normal distribution


def wilson(share: float, rows: float) -> Interval:
    """95 % score interval of a share that was found in `rows` rows, more than 0 and not necessarily a whole number."""
    center = share + Z * Z / (2 * rows)
    half = Z * np.sqrt(share * (1 - share) / rows + Z * Z / (4 * rows * rows))
    scale = 1 + Z * Z / rows
    low, high = float((center - half) / scale), float((center + half) / scale)
    return min(max(low, 0.0), share), max(min(high, 1.0), share)


def auroc(normal: Floats, anomalous: Floats) -> float:
    """Chance that an anomaly (m,) scores above a normal row (n,); ties count half (Mann & Whitney 1947)."""
    return float(_placements(np.sort(normal), anomalous).mean())


def auroc_interval(normal: Floats, anomalous: Floats) -> Interval:
    """95 % interval of the AUROC of normal (n,) and anomalous rows (m,).

    DeLong's variance (1988) says how many independent rows the estimate is worth, and Wilson's interval is that of so
    many. They are at most 3 m n / (m + n + 1), as under equal distributions: near 1 DeLong's variance goes to 0.
    """
    area, n, m = auroc(normal, anomalous), len(normal), len(anomalous)
    worth = 3 * m * n / (m + n + 1)
    variance = _spread(_placements(np.sort(normal), anomalous)) + _spread(_placements(np.sort(anomalous), normal))
    return wilson(area, min(worth, area * (1 - area) / max(variance, 1e-300)) if 0 < area < 1 else worth)


def _placements(ordered: Floats, values: Floats) -> Floats:
    """Share of the ordered scores (n,) below each value (m,); ties count half."""
    below = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(below / (2.0 * len(ordered)))


def _spread(placements: Floats) -> float:
    """Variance of a mean of placements; 0 of a single one, of which nothing is known."""
    return float(placements.var(ddof=1) / len(placements)) if len(placements) > 1 else 0.0


def average_precision(normal: Floats, anomalous: Floats) -> float:
    """Area under the precision-recall curve of normal (n,) and anomalous (m,) scores.

    It is the mean precision over the anomalies; tied scores are one point of the curve.

    Its 95 % interval is `wilson(value, len(anomalous))`, the binomial interval that Boyd, Eng & Page (2013) found to
    hold where the bootstrap is too narrow.
    """
    levels = np.unique(anomalous)[::-1]
    hits = len(anomalous) - np.searchsorted(np.sort(anomalous), levels, side="left")
    alarms = len(normal) - np.searchsorted(np.sort(normal), levels, side="left")
    return float(np.sum(np.diff(hits, prepend=0) * hits / (hits + alarms)) / len(anomalous))
