"""Slow, obvious twins of fast routines, and small ways to fit a matrix."""

from collections.abc import Sequence

import numpy as np

from anomvae.model.schema import from_arrays
from anomvae.pipeline.learn import Learned, learn
from anomvae.settings import FitSettings


def p_value(calibration: np.ndarray, score: float) -> float:
    return (1 + sum(value >= score for value in calibration)) / (1 + len(calibration))


def benjamini_hochberg(p: Sequence[float], q: float) -> int:
    """Number of rejected hypotheses."""
    ordered = sorted(p)
    passing = [k for k in range(1, len(p) + 1) if ordered[k - 1] <= q * k / len(p) + 1e-15]
    return max(passing, default=0)


def columns(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{j}": x[:, j] for j in range(x.shape[1])}


def learn_matrix(x: np.ndarray, folds: str = "blocks", **settings: object) -> Learned:
    table = columns(x)
    return learn(from_arrays(table), table, FitSettings(**settings), folds=folds)  # type: ignore[arg-type]


def training_pools(folds: Sequence[int], length: int) -> np.ndarray:
    near = [
        [any(folds[k] == m and abs(k - i) < length for k in range(len(folds))) for i in range(len(folds))]
        for m in range(max(folds) + 1)
    ]
    return ~np.array(near)
