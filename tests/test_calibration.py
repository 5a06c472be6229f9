"""p-values, thresholds, verdicts; and that block folds keep their promise where random folds do not."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anomvae.errors import UsageError
from anomvae.model import calibration
from anomvae.model.anomaly_score import FEW_ROWS, fit_tails
from anomvae.model.calibration import fit_calibration
from anomvae.model.cross_fitting import training_pools
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
    tail = fit_tails(np.array(values)[:, None])
    a, b = tail.surprise(np.array([[low], [high]]))[:, 0]
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


@pytest.mark.slow
@pytest.mark.parametrize("make", [autoregressive, regimes])
def test_blocks_keep_the_promise_on_later_rows_where_random_folds_break_it(make: object) -> None:
    rates: dict[str, list[float]] = {"blocks": [], "random": []}
    for seed in range(3):
        x = make(np.random.default_rng(seed), 600, 15)  # type: ignore[operator]
        train, later = x[:4500], x[4500:]
        for folds in ("blocks", "random"):
            learned = naive.learn_matrix(train, folds=folds, steps=700, seed=seed)
            p = learned.detector.p_values(naive.columns(later))
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
    decision = learned.detector.decide(scores)
    assert decision.p[0] > 0.01 >= decision.p[1]
    assert decision.estimated[1]


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60), st.integers(1, 7))
def test_members_never_train_near_rows_they_are_to_judge(folds: list[int], length: int) -> None:
    pools = training_pools(np.array([*folds, 0, 1, 2, 3, 4]), length)
    assert np.array_equal(pools, naive.training_pools([*folds, 0, 1, 2, 3, 4], length))


def test_a_long_file_is_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibration.file_p_value(3000, 40, 0.01, 500)
    monkeypatch.setattr(calibration, "MAX_TERMS", 64)
    assert np.isclose(calibration.file_p_value(3000, 40, 0.01, 500), whole, rtol=1e-9)
    assert calibration.file_p_value(10, 0, 0.01, 500) == 1.0


@pytest.mark.parametrize("of", [1, 4])
@pytest.mark.parametrize(("draw", "n"), [("exponential", 1000), ("standard_cauchy", 1000), ("exponential", 150)])
def test_a_tail_is_its_slow_twin(draw: str, n: int, of: int) -> None:
    values = np.abs(getattr(np.random.default_rng(3), draw)(size=n))
    points = np.concatenate(
        [np.quantile(values, [0.0, 0.2, 0.5, 0.9, 0.96, 1.0]), [values.max() * 2, values.max() * 50]]
    )
    expected = [naive.tail_surprise(values, point, of) for point in points]
    assert np.allclose(
        fit_tails(values[:, None], [of]).surprise(points[:, None])[:, 0], expected, rtol=1e-9, atol=1e-12
    )


def test_a_tail_of_few_or_equal_values_is_finite_and_quiet() -> None:
    flat = fit_tails(np.full((40, 1), 3.0))
    assert (flat.scale, flat.shape) == (0.02, 0.0)
    assert flat.surprise(np.array([[2.0], [3.0]]))[:, 0].tolist() == [0.0, 0.0]
    two = fit_tails(np.array([[0.0], [0.0], [0.0], [1.0], [3.0]]))  # knots at 0 alone: too few exceedances for moments
    assert (two.knots.tolist(), two.scale, two.shape) == ([0.0], 2.0, 0.0)
    assert two.surprise(np.array([[1.0]]))[0, 0] == pytest.approx(0.5)
    near = fit_tails(np.array([[0.0], [1e-300], [2e-300], [1.0]] * 20))
    assert near.knots.tolist() == [0.0, 1.0]


def test_the_largest_surprise_is_that_of_the_columns() -> None:
    rng = np.random.default_rng(1)
    for columns in (1, 2, 7, 40):
        tails = fit_tails(np.column_stack([rng.gamma(1, 1, 300) for _ in range(columns)]), [columns] * columns)
        for rows in (1, FEW_ROWS - 1, FEW_ROWS, 3000):
            deviances = rng.gamma(1, 1, (rows, columns)) * rng.choice([0.0, 0.01, 1.0, 9.0], (rows, 1))
            every = np.array(
                [
                    [tails[j : j + 1].surprise(deviances[i : i + 1, j : j + 1])[0, 0] for j in range(columns)]
                    for i in range(rows)
                ]
            )
            assert np.array_equal(tails.surprise(deviances), every)
            assert np.array_equal(tails.largest_surprise(deviances), every.max(axis=1))


def test_beyond_the_scores_the_tail_is_the_maximum_likelihood_pareto() -> None:
    scores = np.random.default_rng(7).standard_t(3, 2000) + 20
    found = fit_calibration(scores, 2000, 0.01)
    start = np.sort(scores)[-201]
    shape, _, scale = stats.genpareto.fit(scores[scores > start] - start, floc=0)
    assert found.tail_start == start
    assert found.tail_share == 0.1
    assert (found.tail_shape, found.tail_scale) == (shape, scale)
    far = np.array([scores.max() + 1, scores.max() + 50])
    p, estimated = found.p_values(far)
    assert estimated.all()
    assert np.allclose(p, 0.1 * stats.genpareto.sf(far - start, shape, scale=scale))
    for alpha in (1e-4, 1e-6):
        at = start + stats.genpareto.isf(alpha / 0.1, shape, scale=scale)
        assert found.threshold(alpha) == pytest.approx(at)
        assert found.alpha_at(found.threshold(alpha) * (1 + 1e-12)) == pytest.approx(alpha)


def test_a_bounded_tail_is_taken_as_exponential_with_the_same_mean() -> None:
    scores = np.linspace(0, 1, 300)
    found = fit_calibration(scores, 300, 0.01)
    assert found.tail_shape == 0.0
    assert found.tail_scale == pytest.approx((scores[-30:] - found.tail_start).mean())
    assert found.threshold(1e-5) == pytest.approx(found.tail_start + found.tail_scale * np.log(found.tail_share / 1e-5))
    same = fit_calibration(np.full(50, 2.0), 50, 0.01)
    assert (same.tail_start, same.tail_scale, same.tail_shape) == (2.0, 1.0, 0.0)


@pytest.mark.parametrize(("rows", "top"), [(11, 10), (50, 10), (300, 30), (30_000, 2000)])
def test_the_tail_is_fitted_to_a_tenth_but_not_too_few_nor_too_many(rows: int, top: int) -> None:
    found = fit_calibration(np.arange(rows, dtype=float), rows, 0.01)
    assert found.tail_start == rows - top - 1
    assert found.tail_share == top / rows


def test_thresholds_flag_as_many_calibration_rows_as_alpha_allows(fitted: calibration.Calibration) -> None:
    n = len(fitted.scores)
    assert fitted.supported == 1 / (n + 1)
    for alpha in (0.5, 0.1, 0.01, 5 / (n + 1), 1 / (n + 1)):
        threshold = fitted.threshold(alpha)
        p = fitted.p_values(fitted.scores)[0]
        assert ((p <= alpha * (1 + 1e-12)) == (fitted.scores > threshold)).all()
        assert fitted.at(alpha).alpha == alpha
    assert fitted.threshold(1 / (n + 1)) == fitted.scores[-1]
    assert fitted.threshold(1.0) == fitted.scores[0]


def test_a_threshold_that_flags_too_much_or_nothing_is_refused(fitted: calibration.Calibration) -> None:
    n = len(fitted.scores)
    median, hundredth = np.median(fitted.scores), fitted.threshold(0.01)
    told = f"half of them score above {median:.3g}, one in a hundred above {hundredth:.3g}"
    with pytest.raises(UsageError) as caught:
        fitted.alpha_at(0.0)
    assert str(caught.value) == f"a threshold of 0 would flag more than half of the normal rows; {told}."
    with pytest.raises(UsageError) as caught:
        fitted.alpha_at(1e9)
    assert str(caught.value) == f"a threshold of 1e+09 would flag no row, however odd; {told}."
    assert fitted.alpha_at(float(fitted.scores[n // 2 + 1])) <= 0.5
    half = fit_calibration(np.arange(19.0), 19, 0.01)  # 9 of 19 at or above 10: p is (1 + 9) / 20
    assert half.alpha_at(10.0) == 0.5
    with pytest.raises(UsageError):
        half.alpha_at(9.0)


def test_the_rate_interval_is_that_of_the_beta(fitted: calibration.Calibration) -> None:
    low, high = fitted.rate_interval(0.02)
    a, b = 0.02 * 501, 0.98 * 501
    assert stats.beta.cdf([low, high], a, b) == pytest.approx([0.025, 0.975])


def test_exceedances_that_cluster_make_rows_worth_less() -> None:
    blocks = np.repeat(np.arange(10), 20)
    together = np.zeros(200, dtype=bool)
    together[:20] = True
    rate, size = 0.1, 20
    effect = ((20 - size * rate) ** 2 + 9 * (0 - size * rate) ** 2) / (200 * rate * (1 - rate))
    assert calibration.effective_rows(together, blocks) == pytest.approx(200 / effect)
    spread = np.zeros(200, dtype=bool)
    spread[::10] = True
    assert calibration.effective_rows(spread, blocks) == 200  # never more than there are
    assert calibration.effective_rows(np.zeros(200, dtype=bool), blocks) == 200
    few = np.repeat(np.arange(4), 50)
    assert calibration.effective_rows(together, few) == 200  # four blocks say nothing
    five = np.repeat(np.arange(5), 40)
    assert calibration.effective_rows(together, five) < 200
    assert calibration.effective_rows(together, blocks * 2) == calibration.effective_rows(together, blocks)


def test_a_calibration_from_blocks_counts_its_highest_rows() -> None:
    blocks, scores = np.repeat(np.arange(20), 100), np.random.default_rng(0).random(2000)
    scores[:100] += 1  # all in the first block
    found = calibration.calibrated(scores, blocks, 0.05)
    flagged = scores >= np.quantile(scores, 0.95)
    assert found.effective == calibration.effective_rows(flagged, blocks) < 200
    assert found.design == pytest.approx(2000 / found.effective)
    assert found.alpha == 0.05
    rare = calibration.calibrated(scores, blocks, 1e-4)  # ten rows at least are counted
    assert rare.effective == calibration.effective_rows(scores >= np.quantile(scores, 1 - 10 / 2000), blocks)


def test_the_design_of_a_file_widens_the_chance_of_its_flags() -> None:
    assert calibration.file_p_value(0, 0, 0.01, 500) == 1.0
    assert calibration.file_p_value(100, 0, 0.01, 500) == 1.0
    assert calibration.file_p_value(1, 1, 0.01, 500, design=4.0) == calibration.file_p_value(1, 1, 0.01, 500)
    for rows, flagged, design in ((2, 1, 3.0), (400, 12, 3.0), (400, 12, 1.5), (5000, 80, 8.0)):
        # a beta-binomial's variance is rows p (1 - p) (1 + (rows - 1) / (a + b + 1)): with the design it has to be as much
        # more as clustering in the file makes it
        worth = calibration._worth(rows, 500, design)
        plain = 1 + (rows - 1) / (500 + 1)
        assert 1 + (rows - 1) / (worth + 1) == pytest.approx(plain + design - 1)
        a, b = 0.01 * (worth + 1), 0.99 * (worth + 1)
        expected = stats.betabinom.sf(flagged - 1, rows, a, b)
        assert calibration.file_p_value(rows, flagged, 0.01, 500, design) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "said"),
    [(1.0, "ok"), (0.01, "ok"), (0.0099, "elevated"), (0.001, "elevated"), (0.00099, "anomalous"), (0.0, "anomalous")],
)
def test_verdicts_begin_below_a_hundredth_and_a_thousandth(p: float, said: str) -> None:
    assert calibration.verdict(p) == said


def test_severities_are_bounded_and_step_by_tenths() -> None:
    p = np.array([0.0, 1e-300, 1e-10, 10**-9.999, 10**-0.05, 10**-0.0101, 10**-0.0099, 1.0])
    assert calibration.severity(p).tolist() == [100.0, 100.0, 100.0, 99.9, 0.5, 0.1, 0.0, 0.0]


def test_no_row_of_an_empty_or_quiet_file_is_critical() -> None:
    counts = np.zeros(1001, dtype=np.intp)
    assert calibration.critical_severity(counts) == np.inf
    counts[100] = 50  # p 0.1 each
    assert calibration.critical_severity(counts) == np.inf
    assert calibration.critical_severity(counts, q=0.1) == 100.0


def test_few_rows_support_nothing_among_many_columns() -> None:
    values = np.arange(20.0)[:, None]
    assert fit_tails(values, [100]).limit == 0.0
    assert fit_tails(values, [3]).limit == pytest.approx(np.log(7))


def test_a_tail_heavier_than_can_be_used_is_cut_with_the_same_mean() -> None:
    scores = np.random.default_rng(2).random(2000) ** -2.0
    found = fit_calibration(scores, 2000, 0.01)
    excess = np.sort(scores)[-200:] - found.tail_start
    assert found.tail_shape == 0.9
    assert found.tail_scale == pytest.approx(0.1 * excess.mean())


def test_a_threshold_is_counted_while_it_can_be_and_never_under_the_largest_score_after() -> None:
    bounded = fit_calibration(np.linspace(0, 1, 300), 300, 0.01)  # its tail would put this threshold at 1.07
    assert bounded.threshold(1 / 301) == 1.0
    for seed in range(20):
        drawn = fit_calibration(np.random.default_rng(seed).gamma(2, 2, 300), 300, 0.01)
        assert drawn.threshold(0.99 / 301) >= drawn.scores[-1]


def test_blocks_of_one_row_count_too() -> None:
    blocks = np.concatenate([np.repeat(np.arange(10), 19), np.arange(10, 20)])
    flagged = np.arange(200) >= 190  # the rows that are a block of their own
    effect = (10 * (19 * 0.05) ** 2 + 10 * 0.95**2) / (200 * 0.05 * 0.95)
    assert calibration.effective_rows(flagged, blocks) == pytest.approx(200 / max(effect, 1.0))


def test_the_only_row_of_a_file_is_critical_from_its_own_p_value_on() -> None:
    for severity, limit in ((140, 131.0), (120, np.inf)):  # p 0.040 and 0.063; 10 ** -1.31 is the first below 0.05
        counts = np.zeros(1001, dtype=np.intp)
        counts[severity] = 1
        assert calibration.critical_severity(counts) == limit


def test_beyond_the_scores_p_is_the_tails_but_never_above_what_counting_supports(
    fitted: calibration.Calibration,
) -> None:
    largest = float(fitted.scores[-1])
    for share, p in ((0.5, 1 / 501), (1e-3, 1e-3 * np.exp(-0.5))):
        tail = {"tail_start": largest, "tail_share": share, "tail_scale": 1.0, "tail_shape": 0.0}
        found, estimated = msgspec.structs.replace(fitted, **tail).p_values(np.array([largest + 0.5]))
        assert estimated[0]
        assert found[0] == pytest.approx(p, rel=1e-12)
