"""Figures of known anomalies: equal to scikit-learn's, ties and all; intervals that hold what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import average_precision_score, roc_auc_score

from anomvae.model import metrics

TIED = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40).map(np.array)


@given(TIED, TIED)
def test_auroc_and_average_precision_are_those_of_scikit_learn(normal: np.ndarray, anomalous: np.ndarray) -> None:
    truth, scores = np.repeat([0, 1], [len(normal), len(anomalous)]), np.concatenate([normal, anomalous])
    assert metrics.auroc(normal, anomalous) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert metrics.average_precision(normal, anomalous) == pytest.approx(average_precision_score(truth, scores))


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_interval_of_a_share_is_wilsons(part: int, more: int) -> None:
    low, high = metrics.wilson(part / (part + more), part + more)
    wanted = binomtest(part, part + more).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((wanted.low, wanted.high), abs=1e-9)


@given(TIED, TIED)
def test_an_auroc_lies_in_its_interval_and_never_looks_certain(normal: np.ndarray, anomalous: np.ndarray) -> None:
    low, high = metrics.auroc_interval(normal, anomalous)
    assert 0 <= low <= metrics.auroc(normal, anomalous) <= high <= 1
    assert high - low > 0.01


@given(TIED, TIED)
def test_the_interval_turns_with_the_sign_of_the_scores(normal: np.ndarray, anomalous: np.ndarray) -> None:
    low, high = metrics.auroc_interval(normal, anomalous)
    assert metrics.auroc_interval(-normal, -anomalous) == pytest.approx((1 - high, 1 - low), abs=1e-9)


@pytest.mark.parametrize(("n", "m", "shift", "share"), [(200, 20, 1.0, 1.0), (20, 20, 3.0, 1.0), (500, 60, 8.0, 0.8)])
def test_the_interval_of_the_auroc_covers_the_true_one(n: int, m: int, shift: float, share: float) -> None:
    """Anomalies shifted by `shift`, or a share of them, the others like normal rows: what kinds of fault are like."""
    rng = np.random.default_rng(0)
    true = share * norm.cdf(shift / np.sqrt(2)) + (1 - share) / 2
    covered = 0
    for _ in range(400):
        normal, anomalous = rng.normal(size=n), rng.normal(size=m) + shift * (rng.random(m) < share)
        low, high = metrics.auroc_interval(normal, anomalous)
        covered += low <= true <= high
    assert covered >= 0.91 * 400
