"""The formulas of docs/method.md, worked out by hand beside the functions that the page names."""

import re
from collections import defaultdict

import numpy as np
import pytest
from scipy import stats

from anomvae.model.calibration import (
    Calibration,
    critical_severity,
    effective_rows,
    file_p_value,
    fit_calibration,
    severity,
)
from anomvae.model.vae import kl_divergence, padded
from anomvae.training.fit_detector import FittedDetector
from tests.conftest import ROOT, numbers

PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([a-z_]+)\.([A-Za-z_]\w*(?:\.\w+)*)`")


def known(n: int = 999, alpha: float = 0.01) -> Calibration:
    return fit_calibration(np.random.default_rng(3).gamma(2.0, size=n), effective=n / 2.5, alpha=alpha)


def test_p_value_and_threshold_are_those_of_the_page() -> None:
    calibration = known()
    for score in (0.5, 2.0, float(calibration.scores[-3])):
        by_hand = (1 + sum(other >= score for other in calibration.scores)) / (len(calibration.scores) + 1)
        p, estimated = calibration.p_values(np.array([score]))
        assert p[0] == pytest.approx(by_hand, rel=1e-12)
        assert not estimated[0]
    largest = sorted(calibration.scores, reverse=True)
    assert calibration.threshold(0.01) == largest[10 - 1]  # floor(0.01 * 1000) = 10


def test_beyond_the_calibration_rows_p_is_the_pareto_tail() -> None:
    known_ = known()
    score = float(known_.scores[-1]) + 3.0
    excess = (score - known_.tail_start) / known_.tail_scale
    tail = np.exp(-excess) if known_.tail_shape < 1e-9 else (1 + known_.tail_shape * excess) ** (-1 / known_.tail_shape)
    p, estimated = known_.p_values(np.array([score]))
    assert estimated[0]
    assert p[0] == pytest.approx(min(1 / 1000, known_.tail_share * tail), rel=1e-9)


def test_the_interval_of_the_rate_is_that_of_a_beta() -> None:
    calibration = known()
    n = calibration.effective
    low, high = stats.beta(0.01 * (n + 1), 0.99 * (n + 1)).interval(0.95)
    assert calibration.rate_interval(0.01) == pytest.approx((low, high), rel=1e-9)


def test_effective_rows_come_from_the_design_effect() -> None:
    rng = np.random.default_rng(5)
    blocks = np.repeat(np.arange(40), 25)
    flagged = rng.random(1000) < np.repeat(rng.choice([0.0, 0.08], 40), 25)  # flags cluster in blocks
    rate = flagged.mean()
    above = sum((flagged[blocks == b].sum() - 25 * rate) ** 2 for b in range(40))
    design = max(1.0, above / (1000 * rate * (1 - rate)))
    assert design > 1.2
    assert effective_rows(flagged, blocks) == pytest.approx(1000 / design, rel=1e-12)


def test_critical_rows_are_those_of_benjamini_and_hochberg() -> None:
    rng = np.random.default_rng(7)
    p = np.concatenate([rng.random(400), 10.0 ** -rng.uniform(3, 8, 12)])
    told = 10.0 ** (-severity(p) / 10)  # what a severity of whole tenths says of p
    ordered = np.sort(told)
    passing = ordered[ordered <= 0.05 * np.searchsorted(ordered, ordered, side="right") / len(p)]
    by_hand = told <= passing.max()
    counts = np.bincount(np.rint(severity(p) * 10).astype(np.intp), minlength=1001)
    critical = np.rint(severity(p) * 10) >= critical_severity(counts)
    assert 0 < by_hand.sum() < len(p)
    assert (critical == by_hand).all()


@pytest.mark.parametrize("design", [1.0, 3.0])
def test_the_verdict_is_that_of_a_beta_binomial(design: float) -> None:
    rows, flagged, alpha, effective = 395, 11, 0.01, 1500.0
    w = 1 / (1 / (effective + 1) + (design - 1) / (rows - 1)) - 1
    by_hand = stats.betabinom(rows, alpha * (w + 1), (1 - alpha) * (w + 1)).sf(flagged - 1)
    assert file_p_value(rows, flagged, alpha, effective, design) == pytest.approx(float(by_hand), rel=1e-6)


def test_deviances_and_kl_are_those_of_the_page(small: FittedDetector) -> None:
    detector = small.detector
    encoded = detector.encode(numbers(20, seed=9))
    member = detector.ensemble.member(0)
    _, block = next(padded(encoded.inputs))
    mu, logvar = member.vae.posterior(block)
    outputs = member.vae.decode(mu)[0]
    j = member.encoding.columns.index("a")  # a number without gaps: its unit is its place
    at = member.encoding.offsets[j]
    raw = outputs[member.encoding.width + j, :20]
    sigma = 0.05 + np.log1p(np.exp(raw + 0.5413))
    by_hand = 0.5 * ((encoded.x[:, at] - outputs[at, :20]) / sigma) ** 2 + np.log(sigma / 0.05)
    found = member.deviances(encoded)
    assert np.allclose(found.columns[0, :, j], by_hand, rtol=1e-9)
    kl = 0.5 * (mu[0] ** 2 + np.exp(logvar[0]) - logvar[0] - 1).sum(axis=0)
    assert np.allclose(kl_divergence(mu, logvar)[0], kl, rtol=1e-9)
    assert np.allclose(found.kl[0], kl[:20], rtol=1e-9)


def test_every_function_that_the_page_names_is_there() -> None:
    modules: dict[str, str] = defaultdict(str)  # several packages have a module of the same name
    for path in (ROOT / "anomvae").rglob("*.py"):
        modules[path.stem] += path.read_text(encoding="utf-8")
    named = [(module, name) for module, name in NAMED.findall(PAGE) if not name.startswith(("md", "py"))]
    assert len(named) > 15
    for module, name in named:
        for part in name.split("."):
            assert re.search(rf"(def|class) {part}\b", modules[module]), f"{module}.{name}"
