"""fit --contamination: anomalies among the training rows are left out, told with their lines, and alpha still holds."""

import csv
import io
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anomvae.cli import main
from anomvae.commands.fit import fit
from anomvae.config import FitSettings
from anomvae.errors import DataError
from anomvae.model.calibration import fit_calibration
from anomvae.model.cross_fitting import NORMAL_P, are_normal, most_anomalous, score_without_hiding, with_more_scores
from anomvae.records.results import FitResult
from anomvae.report.terminal import fit_report
from anomvae.training.fit_detector import FittedDetector
from tests.conftest import learn_numbers, numbers

pytestmark = pytest.mark.slow  # fits of 1,200 rows

ROWS, SHARE, STEPS = 1200, 0.05, 600


def spoilt(n: int, share: float, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows of which a share break the relation of b to a, and which ones do."""
    columns = numbers(n, seed)
    rng = np.random.default_rng(seed + 100)
    bad = np.zeros(n, dtype=bool)
    bad[rng.choice(n, round(share * n), replace=False)] = True
    columns["b"] = np.where(bad, columns["b"] + rng.choice([-4, 4], n), columns["b"])
    return columns, bad


@pytest.fixture(scope="module")
def mixed() -> tuple[dict[str, np.ndarray], np.ndarray]:
    return spoilt(ROWS, SHARE, seed=2)


@pytest.fixture(scope="module")
def treated(mixed: tuple[dict[str, np.ndarray], np.ndarray]) -> FittedDetector:
    return learn_numbers(mixed[0], steps=STEPS, contamination=SHARE, selftest=False)


def test_the_rows_to_review_are_the_spoilt_ones_the_worst_first(
    mixed: tuple[dict[str, np.ndarray], np.ndarray], treated: FittedDetector
) -> None:
    columns, bad = mixed
    assert treated.suspects is not None
    review = treated.suspects.review()
    assert bad[review].mean() >= 0.9
    assert len(review) >= 0.8 * bad.sum()
    scores = treated.detector.score({name: values[review] for name, values in columns.items()}).score
    assert (np.diff(scores) <= 0).all()


def test_no_row_to_review_is_calibrated_on(treated: FittedDetector) -> None:
    assert treated.suspects is not None
    assert len(treated.detector.calibration.scores) == ROWS - treated.suspects.out.sum()
    assert treated.out_of_fold.deviances.kl.shape[1] == ROWS - len(treated.suspects.rows) == ROWS - 60
    assert treated.suspects.scores[treated.suspects.out].min() > np.quantile(treated.detector.calibration.scores, 0.99)


def test_treated_training_finds_what_untreated_training_takes_for_normal(
    mixed: tuple[dict[str, np.ndarray], np.ndarray], treated: FittedDetector
) -> None:
    fresh, bad = spoilt(4000, 0.1, seed=7)
    untreated = learn_numbers(mixed[0], steps=STEPS, selftest=False)
    found, missed = treated.detector.p_values(fresh) <= 0.01, untreated.detector.p_values(fresh) <= 0.01
    assert found[bad].mean() > 0.9
    assert found[bad].mean() > missed[bad].mean() + 0.3


def test_normal_rows_are_not_flagged_more_often_than_alpha_says(treated: FittedDetector) -> None:
    fresh = numbers(4000, seed=8)
    assert (treated.detector.p_values(fresh) <= 0.01).mean() <= 0.03


def test_clean_rows_are_hardly_suspected() -> None:
    learned = learn_numbers(numbers(ROWS, seed=3), steps=STEPS, contamination=SHARE, selftest=False)
    assert learned.suspects is not None
    assert len(learned.suspects.review()) <= 0.04 * ROWS
    assert (learned.detector.p_values(numbers(4000, seed=9)) <= 0.01).mean() <= 0.07


def test_no_contamination_is_the_plain_fit(small: FittedDetector) -> None:
    again = learn_numbers(numbers(300, seed=1), steps=200, contamination=0.0, selftest=False)
    assert again.suspects is None
    assert np.array_equal(again.detector.calibration.scores, small.detector.calibration.scores)


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.01, 3), (0.05, 15), (0.499, 150)])
def test_the_share_is_rounded_up(small: FittedDetector, share: float, count: int) -> None:
    assert most_anomalous(score_without_hiding(small.detector.anomaly_score, small.out_of_fold), share).sum() == count


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_usual_rows_come_back_and_absurd_ones_stay_out(seed: int, scores: list[float]) -> None:
    kept = np.random.default_rng(seed).exponential(2, 400)
    given = np.array(scores)
    back, before = are_normal(given, kept), fit_calibration(kept, 400.0, 0.01)
    assert np.array_equal(back, before.p_values(given)[0] > NORMAL_P)
    assert not back[given > 1e5].any()
    assert with_more_scores(before, given[back]).scores.tolist() == sorted([*kept, *given[back]])


def write(path: Path, columns: dict[str, np.ndarray], first: int, last: int) -> None:
    """Rows as CSV, each with a quoted note of two lines, so that lines and rows differ."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["note", "shop", *columns])
        for i in range(first, last):
            writer.writerow(["a\nb", "x" if i % 3 else "y", *(f"{values[i]:.4f}" for values in columns.values())])


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitResult, list[tuple[str, int]]]:
    """A fit of the rows of one shop in two files, and the places of the spoilt ones."""
    folder = tmp_path_factory.mktemp("mixed")
    columns, bad = spoilt(900, 0.03, seed=4)
    del columns["e"]
    write(folder / "1.csv", columns, 0, 400)
    write(folder / "2.csv", columns, 400, 900)
    spots = [(str(folder / ("1.csv" if i < 400 else "2.csv")), 2 + 2 * (i if i < 400 else i - 400)) for i in range(900)]
    wanted = FitSettings(where=("shop == x",), contamination=0.05, steps=STEPS, selftest=False, generator=False)
    result = fit([str(folder)], folder / "m.anomvae", wanted)
    return folder, result, [spots[i] for i in np.flatnonzero(bad) if i % 3]


def test_rows_to_review_are_told_by_the_line_that_they_start_on(
    fitted: tuple[Path, FitResult, list[tuple[str, int]]],
) -> None:
    _, result, spoilt_places = fitted
    assert (result.suspected, result.contamination) == (30, 0.05)
    assert 0 < len(result.review) <= min(20, result.to_review)
    told = [(row.file, row.line) for row in result.review]
    assert len(set(told) & set(spoilt_places)) >= 0.9 * min(len(told), len(spoilt_places))
    assert {file for file, _ in told} == {file for file, _ in spoilt_places}
    assert [row.score for row in result.review] == sorted((row.score for row in result.review), reverse=True)
    assert all(row.reason.startswith(("a ", "b ", "c ")) for row in result.review[:5])


def test_explaining_a_row_to_review_gives_its_score(
    fitted: tuple[Path, FitResult, list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
) -> None:
    from anomvae.records.results import ExplainResult

    folder, result, _ = fitted
    row = result.review[0]
    assert main(["explain", f"{row.file}:{row.line}", "-m", str(folder / "m.anomvae"), "--json"]) == 0
    explained = msgspec.json.decode(capsys.readouterr().out, type=ExplainResult).rows[0]
    assert (explained.score, explained.p) == (row.score, row.p)


def test_the_report_lists_them_and_a_clean_one_does_not(
    fitted: tuple[Path, FitResult, list[tuple[str, int]]],
) -> None:
    def drawn(result: FitResult) -> str:
        out = io.StringIO()
        Console(file=out, width=160, markup=False, highlight=False).print(fit_report(result))
        return out.getvalue()

    _, result, _ = fitted
    first = result.review[0]
    assert f":{first.line}  score {first.score:.1f}  {first.reason}"[:60] in drawn(result)
    assert f"{result.to_review} to review" in drawn(result)
    assert "to review" not in drawn(msgspec.structs.replace(result, contamination=0.0))


@pytest.mark.parametrize("share", ["0.5", "-0.1", "nan"])
def test_a_share_outside_its_range_is_usage(tmp_path: Path, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "none.csv", "--contamination", share, "-o", str(tmp_path / "m")]) == 2
    assert "contamination" in capsys.readouterr().err


def test_a_column_that_only_suspected_rows_fill_is_refused() -> None:
    columns = numbers(300, seed=5)
    columns["e"] = np.full(300, np.nan)
    columns["e"][:3], columns["b"][:3] = 1.0, 1e4
    with pytest.raises(DataError, match="column 'e' has values in suspected rows only"):
        learn_numbers(columns, steps=200, contamination=0.03, selftest=False)
