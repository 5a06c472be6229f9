"""anomvae as a detector of the one-class benchmark: `one_class.py --detector benchmarks.adapter:Anomvae`.

The defaults, as a user gets them from `anomvae fit`; rows are shuffled by the benchmark's own split.
"""

from __future__ import annotations

import numpy as np

from anomvae.config import FitSettings
from anomvae.model.schema import from_arrays
from anomvae.training.fit_detector import fit_detector


class Anomvae:
    """fit(X), score(X) (higher = more anomalous), threshold(fpr) from training rows alone."""

    scales_itself = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, X: np.ndarray) -> Anomvae:
        columns = self._columns(X)
        self.detector = fit_detector(
            from_arrays(columns), columns, FitSettings(seed=self.seed, selftest=False)
        ).detector
        return self

    def score(self, X: np.ndarray) -> np.ndarray:
        return self.detector.score(self._columns(X)).score

    def threshold(self, target_fpr: float) -> float:
        return self.detector.calibration.threshold(target_fpr)

    @staticmethod
    def _columns(X: np.ndarray) -> dict[str, np.ndarray]:
        return {f"x{j}": np.asarray(X[:, j], dtype=np.float64) for j in range(X.shape[1])}
