"""Slow, obvious twins of fast routines, and small ways to fit a matrix."""

import math
from collections.abc import Sequence

import numpy as np

from anomvae.config import FitSettings
from anomvae.model.schema import from_arrays
from anomvae.training.fit_detector import FittedDetector, fit_detector


def p_value(calibration: np.ndarray, score: float) -> float:
    return (1 + sum(value >= score for value in calibration)) / (1 + len(calibration))


def benjamini_hochberg(p: Sequence[float], q: float) -> int:
    """Number of rejected hypotheses."""
    ordered = sorted(p)
    passing = [k for k in range(1, len(p) + 1) if ordered[k - 1] <= q * k / len(p) + 1e-15]
    return max(passing, default=0)


def columns(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{j}": x[:, j] for j in range(x.shape[1])}


def learn_matrix(x: np.ndarray, folds: str = "blocks", **settings: object) -> FittedDetector:
    table = columns(x)
    return fit_detector(from_arrays(table), table, FitSettings(**settings), folds=folds)  # type: ignore[arg-type]


def training_pools(folds: Sequence[int], length: int) -> np.ndarray:
    near = [
        [any(folds[k] == m and abs(k - i) < length for k in range(len(folds))) for i in range(len(folds))]
        for m in range(max(folds) + 1)
    ]
    return ~np.array(near)


def tail_surprise(values: np.ndarray, at: float, of: int = 1) -> float:
    """-log p of one value among a sample, as `fit_tail` promises it: ranks at knots, straight lines between them, the
    probability-weighted moments of Hosking & Wallis beyond, and what exceeds the supported part counted by its logarithm.
    """
    ordered = sorted(values.tolist())
    n = len(ordered)
    split = n - min(max(n // 20, 10), n - 1)
    places = sorted({round(split * k / 199) for k in range(200)})
    knots = sorted({ordered[place] for place in places})
    nats = [math.log(n / sum(value >= knot for value in ordered)) for knot in knots]
    excess = [value - knots[-1] for value in ordered if value > knots[-1]]
    if at <= knots[-1]:
        surprise = float(np.interp(at, knots, nats))
    else:
        first = sum(excess) / len(excess)
        second = sum(x * (1 - (rank - 0.35) / len(excess)) for rank, x in enumerate(excess, start=1)) / len(excess)
        shape = min(max(2 - first / (first - 2 * second), 0.0), 0.9)
        scale = first * (1 - shape)
        beyond = at - knots[-1]
        surprise = nats[-1] + (beyond / scale if shape == 0 else math.log(1 + shape * beyond / scale) / shape)
    limit = math.log((n + 1) / of)
    return surprise if surprise <= limit else limit + math.log(1 + surprise - limit) / of
