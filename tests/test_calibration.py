"""p-values, thresholds, verdicts; and that block folds keep their promise where random folds do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anomvae.model import calibration
from anomvae.model.calibration import fit_calibration, fit_tail
from anomvae.model.folds import training_pools
from tests import naive
from tests.conftest import learn_numbers


@pytest.fixture(scope="module")
def fitted() -> calibration.Calibration:
    return fit_calibration(np.random.default_rng(0).gamma(2, 2, 500), 500, 0.01)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_p_values_count_the_calibration_scores(fitted: calibration.Calibration, scores: list[float]) -> None:
    p, estimated = fitted.p_values(np.array(scores))
    for value, one, tail in zip(scores, p, estimated, strict=True):
        if tail:
            assert one <= 1 / 501
        else:
            assert one == naive.p_value(fitted.scores, value)


@given(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
def test_the_threshold_falls_as_alpha_rises(fitted: calibration.Calibration, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert fitted.threshold(high) <= fitted.threshold(low)


@given(st.floats(1e-4, 0.4), st.floats(0, 60))
def test_the_threshold_and_the_p_value_agree(fitted: calibration.Calibration, alpha: float, score: float) -> None:
    p = fitted.p_values(np.array([score]))[0][0]
    threshold = fitted.threshold(alpha)
    assert (p <= alpha * (1 + 1e-9)) == (score > threshold) or abs(score - threshold) < 1e-6


@given(st.lists(st.floats(0, 50), min_size=20, max_size=200), st.floats(0, 100), st.floats(0, 100))
@settings(max_examples=50)
def test_a_tail_is_monotone(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    tail = fit_tail(np.array(values))
    a, b = tail.surprise(np.array([low, high]))
    assert 0 <= a <= b < np.inf


@given(st.integers(1, 400), st.data())
@settings(max_examples=40)
def test_the_file_p_value_is_the_beta_binomial(rows: int, data: st.DataObject) -> None:
    flagged = data.draw(st.integers(0, rows))
    expected = stats.betabinom.pmf(np.arange(flagged, rows + 1), rows, 0.01 * 501, 0.99 * 501).sum()
    assert np.isclose(calibration.file_p_value(rows, flagged, 0.01, 500), expected, rtol=1e-6, atol=1e-12)


@given(st.lists(st.floats(0, 100).map(lambda s: np.floor(s * 10) / 10), min_size=1, max_size=60))
def test_critical_rows_are_benjamini_hochberg(severities: list[float]) -> None:
    counts = np.bincount(np.rint(np.array(severities) * 10).astype(int), minlength=1001)
    limit = calibration.critical_severity(counts)
    ours = sum(round(s * 10) >= limit for s in severities)
    assert ours == naive.benjamini_hochberg([10 ** (-s / 10) for s in severities], 0.05)


def test_severity_is_rounded_down_to_tenths() -> None:
    assert calibration.severity(np.array([1.0, 0.01, 0.011, 1e-50])).tolist() == [0.0, 20.0, 19.5, 100.0]


def test_the_rate_interval_covers_the_true_rate() -> None:
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        scores = rng.exponential(size=400)
        found = fit_calibration(scores, 400, 0.05)
        low, high = found.rate_interval(0.05)
        hits += low <= np.exp(-found.threshold(0.05)) <= high
    assert hits >= 180


def autoregressive(rng: np.random.Generator, blocks: int, size: int) -> np.ndarray:
    """Six columns that drift slowly: neighbours are alike."""
    steps = rng.normal(size=(blocks * size, 6)) * np.sqrt(1 - 0.97**2)
    x = np.zeros_like(steps)
    for i in range(1, len(x)):
        x[i] = 0.97 * x[i - 1] + steps[i]
    return x @ rng.normal(size=(6, 6))


def regimes(rng: np.random.Generator, days: int, size: int) -> np.ndarray:
    """Six columns whose level is drawn anew every day."""
    return np.repeat(rng.normal(size=(days, 6)), size, axis=0) + 0.15 * rng.normal(size=(days * size, 6))


@pytest.mark.parametrize("make", [autoregressive, regimes])
def test_blocks_keep_the_promise_on_later_rows_where_random_folds_break_it(make: object) -> None:
    rates: dict[str, list[float]] = {"blocks": [], "random": []}
    for seed in range(3):
        x = make(np.random.default_rng(seed), 600, 15)  # type: ignore[operator]
        train, later = x[:4500], x[4500:]
        for folds in ("blocks", "random"):
            learned = naive.learn_matrix(train, folds=folds, steps=700, seed=seed)
            p = learned.detector.score(naive.columns(later)).p
            rates[folds].append(float(np.mean(p <= 0.01)))
    assert 0.005 <= np.mean(rates["blocks"]) <= 0.02, rates
    assert np.mean(rates["random"]) > 0.02, rates


def test_dependence_between_rows_is_told() -> None:
    rng = np.random.default_rng(0)
    assert naive.learn_matrix(regimes(rng, 20, 20), steps=20).dependence.dependent
    assert not naive.learn_matrix(rng.normal(size=(400, 6)), steps=20).dependence.dependent


def test_few_rows_rest_on_the_tail_and_say_so() -> None:
    learned = learn_numbers({"a": np.random.default_rng(0).normal(size=40), "b": np.arange(40) % 7.0}, steps=50)
    scores = learned.detector.score({"a": np.array([0.1, 90.0]), "b": np.array([3.0, 3.0])})
    assert scores.p[0] > 0.01 >= scores.p[1]
    assert scores.estimated[1]


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.integers(1, 7))
def test_members_never_train_near_rows_they_are_to_judge(folds: list[int], length: int) -> None:
    pools = training_pools(np.array([*folds, 0, 1, 2, 3, 4]), length)
    assert np.array_equal(pools, naive.training_pools([*folds, 0, 1, 2, 3, 4], length))


def test_a_long_file_is_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibration.file_p_value(3000, 40, 0.01, 500)
    monkeypatch.setattr(calibration, "TERMS", 64)
    assert np.isclose(calibration.file_p_value(3000, 40, 0.01, 500), whole, rtol=1e-9)
    assert calibration.file_p_value(10, 0, 0.01, 500) == 1.0
