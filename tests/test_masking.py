"""What the rest of a row says: hidden columns, what training never showed, and the self-test."""

import numpy as np
import pytest
from msgspec import structs

from anomvae.config import FitSettings
from anomvae.model.anomaly_score import HIDDEN_COST, VIEW_COSTS
from anomvae.model.detector import Detector
from anomvae.model.explain import surprise_explained
from anomvae.model.fault_injection import FaultInjector
from anomvae.model.likelihood import hide_each_column
from anomvae.model.schema import Column, Schema, Values
from anomvae.training.fit_detector import FittedDetector, fit_detector

pytestmark = pytest.mark.slow  # fits with every column hidden

COLORS = np.array(["red", "green", "blue"], dtype=object)


def rows(n: int, seed: int) -> dict[str, Values]:
    """`b` follows `a`, `tone` follows `a` as well, `c` and `noise` follow nothing."""
    rng = np.random.default_rng(seed)
    a = rng.normal(10, 3, n)
    return {
        "a": a,
        "b": 2 * a + rng.normal(0, 0.1, n),
        "c": rng.normal(0, 1, n),
        "noise": COLORS[rng.integers(3, size=n)],
        "tone": COLORS[np.digitize(a, [8, 12])],
    }


SCHEMA = Schema(
    columns=(
        *(Column(name=name, kind="numeric", modelled=True) for name in "abc"),
        *(Column(name=name, kind="categorical", modelled=True) for name in ("noise", "tone")),
    )
)


@pytest.fixture(scope="module")
def learned() -> FittedDetector:
    return fit_detector(SCHEMA, rows(1200, 0), FitSettings(steps=1200))


@pytest.fixture(scope="module")
def detector(learned: FittedDetector) -> Detector:
    return learned.detector


def test_only_columns_that_the_rest_tells_are_asked_for(detector: Detector) -> None:
    told = dict(zip(detector.columns, detector.anomaly_score.predictable, strict=True))
    assert told["a"] == told["b"] == 1
    assert told["c"] == told["noise"] == 0


def test_a_broken_relation_of_usual_values_is_flagged_and_blamed(detector: Detector) -> None:
    broken = rows(200, 1)
    broken["b"] = 2 * broken["a"][::-1] + 0.0
    apart = np.abs(broken["a"] - broken["a"][::-1]) > 2
    encoded = detector.encode(broken)
    scores = detector.score_encoded(encoded)
    assert np.mean(detector.decide(scores).p[apart] <= 0.01) > 0.9
    gains, _ = surprise_explained(detector, encoded, scores, np.flatnonzero(apart))
    blamed = np.array(detector.columns)[gains.argmax(axis=1)]
    assert np.mean(np.isin(blamed, ["a", "b"])) > 0.9


def test_what_training_never_showed_is_flagged_in_every_column(detector: Detector) -> None:
    for name in detector.columns:
        table = rows(100, 2)
        table[name] = np.full(100, "" if table[name].dtype == object else np.nan, dtype=table[name].dtype)
        assert np.mean(detector.p_values(table) <= 0.01) >= 0.95, name
    for name in ("noise", "tone"):
        table = rows(100, 2) | {name: np.full(100, "violet", dtype=object)}
        assert np.mean(detector.p_values(table) <= 0.01) >= 0.95, name
    for name in "abc":
        table = rows(100, 2) | {name: np.full(100, 1000.0)}
        assert np.mean(detector.p_values(table) <= 0.01) >= 0.95, name


def test_clean_rows_keep_the_promised_rate(detector: Detector) -> None:
    assert 0.002 <= np.mean(detector.p_values(rows(5000, 3)) <= 0.01) <= 0.025


def test_columns_are_hidden_only_where_a_row_is_not_plain_and_then_only_raise_it(detector: Detector) -> None:
    table = rows(800, 4)
    encoded = detector.encode(table)
    scores = detector.score_encoded(encoded)
    hidden = scores.terms[:, len(VIEW_COSTS)]
    asked = hidden > -HIDDEN_COST
    assert 0 < asked.sum() < 120
    spared = structs.replace(detector.anomaly_score, hide_from=np.inf)
    without = spared.score(detector.ensemble, encoded).score
    assert np.array_equal(scores.score[~asked], without[~asked])
    assert np.array_equal(scores.score[asked], np.maximum(without, hidden)[asked])
    assert (scores.score[asked] > without[asked]).any()


def test_members_beyond_the_first_are_asked_only_where_it_doubts(detector: Detector) -> None:
    encoded = detector.encode(rows(800, 4))
    rule = structs.replace(detector.anomaly_score, hide_from=np.inf, unseen_score=-np.inf)
    first = rule.member_scores(detector.ensemble.first, encoded)
    every = rule.member_scores(detector.ensemble, encoded)
    scores = rule.score(detector.ensemble, encoded)
    sure = first.score < rule.doubtful_from
    assert 0 < sure.sum() < len(sure)
    assert np.array_equal(scores.kl[sure], first.kl[sure])
    assert np.array_equal(scores.contributions[sure], first.columns[sure])
    assert np.allclose(scores.kl[~sure], every.kl[~sure], rtol=1e-12)
    assert np.allclose(scores.score[~sure], every.score[~sure], rtol=1e-12)


def test_hiding_says_nothing_of_the_hidden_value(detector: Detector) -> None:
    table, other = rows(20, 5), rows(20, 6)
    at = detector.columns.index("b")
    surprise = detector.anomaly_score.columns.surprise
    one, two = (
        hide_each_column(detector.ensemble, detector.encode(t), surprise) for t in (table, table | {"b": other["b"]})
    )
    assert np.array_equal(one.others[:, at], two.others[:, at])
    feature = next(j for j, f in enumerate(detector.encoding.features) if f.column == "b")
    assert np.array_equal(one.expected[:, feature], two.expected[:, feature])


def test_what_is_left_is_the_surprise_of_the_other_columns(detector: Detector) -> None:
    encoded = detector.encode(rows(8, 7))
    tails, ensemble = detector.anomaly_score.columns, detector.ensemble
    found = hide_each_column(ensemble, encoded, tails.surprise)
    for j in range(len(detector.columns)):
        x, hidden = encoded.x.copy(), encoded.hidden.copy()
        for k, (f, at) in enumerate(zip(detector.encoding.features, detector.encoding.offsets, strict=True)):
            if f.column == detector.columns[j]:
                x[:, at : at + f.units + f.gaps], hidden[:, k] = 0, 1
        parts = []
        for i in range(8):
            for _, outputs, _ in ensemble.vae.blocks(np.hstack([x[i : i + 1], hidden[i : i + 1]])):
                row = encoded.take(slice(i, i + 1))
                parts.append(ensemble.by_column(ensemble.deviances_from(outputs, row)))
        deviance = np.concatenate(parts, axis=1).mean(axis=0)
        others = np.delete(tails.surprise(deviance), j, axis=1)
        assert np.allclose(found.others[:, j], others.sum(axis=1))
        assert np.allclose(found.own[:, j], deviance[:, j])


def test_reasons_do_not_depend_on_which_rows_are_chosen(detector: Detector) -> None:
    encoded = detector.encode(rows(300, 8))
    scores = detector.score_encoded(encoded)
    alone, guess = surprise_explained(detector, encoded, scores, np.array([17]))
    both, guesses = surprise_explained(detector, encoded, scores, np.array([3, 17, 250]))
    assert np.array_equal(alone[0], both[1])
    assert np.array_equal(guess[0], guesses[1])


def test_a_batch_without_a_flagged_row_has_no_reasons(detector: Detector) -> None:
    encoded = detector.encode(rows(20, 8))
    nobody = np.zeros(0, dtype=np.intp)
    gains, guess = surprise_explained(detector, encoded, detector.score_encoded(encoded), nobody)
    assert gains.shape == (0, len(detector.columns))
    assert guess.shape == (0, len(detector.encoding.features))


def test_the_self_test_tells_the_power_that_fresh_rows_show(learned: FittedDetector, detector: Detector) -> None:
    told = {power.kind: power for power in learned.self_test if not power.column}
    assert set(told) == {"wild", "unit", "swap", "dependency", "category", "gap"}
    for kind, numbers in (("wild", "abc"), ("category", ("noise", "tone")), ("gap", detector.columns)):
        found = []
        for name in numbers:
            spoilt, _, where = FaultInjector(SCHEMA, (), name).inject(
                rows(200, 9), 1.0, [kind], np.random.default_rng(1)
            )
            found.append(np.mean(detector.p_values(spoilt)[where != ""] <= 0.01))
        assert told[kind].low - 0.05 <= np.mean(found) <= told[kind].high + 0.05, kind
    for power in learned.self_test:
        assert 0 <= power.low <= power.found <= power.high <= 1
        assert power.rows > 0


def test_without_a_self_test_nothing_is_told() -> None:
    assert fit_detector(SCHEMA, rows(60, 0), FitSettings(steps=20, selftest=False)).self_test == ()
