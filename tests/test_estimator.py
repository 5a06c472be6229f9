"""The scikit-learn face: its own checks, any kind of table, and the way to the command line and back."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

import anomvae
from anomvae import AnomVAE
from anomvae.cli import main

from .conftest import SAMPLE


def mixed(n: int, seed: int) -> pd.DataFrame:
    """Numbers, whole numbers with gaps, text, categories, booleans and dates, with gaps in most of them."""
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 60, n)
    frame = pd.DataFrame(
        {
            "price": np.round(size * 2.5 + rng.normal(0, 1, n), 2),
            "size": pd.Series(size, dtype="float64"),
            "city": rng.choice(["Bern", "Oslo", "Rome"], n),
            "grade": pd.Categorical(rng.choice(["1", "2", "3"], n)),
            "paid": rng.random(n) < 0.7,
            "at": pd.Timestamp("2026-03-01") + pd.to_timedelta(np.arange(n) * 7000, unit="s"),
        }
    )
    for name in ("price", "size", "city", "at"):
        frame.loc[rng.random(n) < 0.05, name] = None
    return frame


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return mixed(240, seed=1)


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame) -> AnomVAE:
    return AnomVAE(random_state=0, generator=True).fit(table)


@pytest.mark.slow
def test_scikit_learns_own_checks_pass_without_an_expected_failure() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # array API input: needs a variable before scipy is imported
        results = check_estimator(AnomVAE())
    assert {result["status"] for result in results} <= {"passed", "skipped"}
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= {"check_array_api_input"}
    assert not any(result["expected_to_fail"] for result in results)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_defaults_flag_some_but_not_all_of_300_training_rows_whatever_the_seed(seed: int) -> None:
    rows, _ = make_blobs(n_samples=300, random_state=0)
    assert 0 < (AnomVAE(random_state=seed).fit_predict(rows) == -1).sum() < 60


def test_a_row_is_judged_alike_in_every_company(fitted: AnomVAE, table: pd.DataFrame) -> None:
    together = fitted.score_samples(table)
    assert together.dtype == np.float64
    for part in (*(slice(i, i + 1) for i in range(60)), slice(3, 5), slice(100, 240)):
        assert np.array_equal(fitted.score_samples(table.iloc[part]), together[part])
    assert np.array_equal(fitted.score_samples(table.iloc[::-1])[::-1], together)
    assert fitted.explain(table.iloc[40:41]) == fitted.explain(table.iloc[:50])[40:41]


@pytest.mark.parametrize("make", [pl.from_pandas, lambda frame: pa.Table.from_pandas(frame, preserve_index=False)])
def test_pandas_polars_and_arrow_make_the_same_model_and_scores(fitted: AnomVAE, table: pd.DataFrame, make) -> None:
    other = make(table)
    again = AnomVAE(random_state=0).fit(other)
    for scored in (fitted.score_samples(other), again.score_samples(table), again.score_samples(other)):
        assert np.array_equal(scored, fitted.score_samples(table))
    assert again.explain(other[:3]) == fitted.explain(table[:3])


def test_the_index_of_a_data_frame_is_no_column(fitted: AnomVAE, table: pd.DataFrame) -> None:
    assert np.array_equal(fitted.score_samples(table.set_axis(range(900, 1140))), fitted.score_samples(table))


def test_columns_are_what_the_table_says_they_are(fitted: AnomVAE) -> None:
    kinds = {column.name: column.kind for column in fitted.detector_.schema.columns}
    assert kinds == {
        **{"price": "numeric", "size": "integer", "city": "categorical"},
        **{"grade": "categorical", "paid": "boolean", "at": "datetime"},
    }
    assert list(fitted.feature_names_in_) == list(kinds)
    assert fitted.n_features_in_ == 6


def test_the_numbers_of_a_row_fit_together(fitted: AnomVAE, table: pd.DataFrame) -> None:
    parts, score = fitted.components(table), fitted.anomaly_score(table)
    assert np.allclose(sum(parts.columns.values()), parts.recon)
    assert np.all(parts.kl > 0)
    assert np.array_equal(-score, fitted.score_samples(table))
    flagged = fitted.predict(table) == -1
    assert np.array_equal(flagged, fitted.p_values(table) <= fitted.alpha_)
    assert np.array_equal(flagged, fitted.decision_function(table) < 0)


def test_a_spoilt_cell_is_flagged_and_named_in_its_own_units(fitted: AnomVAE, table: pd.DataFrame) -> None:
    row = table.dropna().head(1).copy()
    row["price"] = 98765.25
    reasons = fitted.explain(row, top=1)[0]
    assert fitted.predict(row)[0] == -1
    assert [reason.column for reason in reasons] == ["price"]
    assert reasons[0].value == "98765.25"
    assert float(reasons[0].low) < float(reasons[0].expected) < float(reasons[0].high) < 500


def test_a_category_never_seen_is_an_anomaly_not_an_error(fitted: AnomVAE, table: pd.DataFrame) -> None:
    row = table.dropna().head(1).assign(city="Atlantis")
    assert fitted.predict(row)[0] == -1
    assert fitted.explain(row)[0][0].column == "city"


def test_the_model_file_scores_the_same_bits_in_python_and_on_the_command_line(
    fitted: AnomVAE, table: pd.DataFrame, tmp_path: Path
) -> None:
    model, csv, scored = (str(tmp_path / name) for name in ("m.anomvae", "rows.csv", "scored.csv"))
    model_id = fitted.save(model)
    again = AnomVAE.from_file(model)
    assert anomvae.load(model).model_id == model_id
    assert np.array_equal(again.score_samples(table), fitted.score_samples(table))
    assert np.array_equal(again.predict(table), fitted.predict(table))
    table.to_csv(csv, index=False)
    assert main(["score", csv, "-m", model, "-o", scored, "-q", "--fail-on", "never"]) == 0
    read = pd.read_csv(scored)
    shown = np.array([float(f"{score:.6g}") for score in fitted.anomaly_score(table)])
    assert np.allclose(read["_av_score"], shown, rtol=1e-5)
    assert np.array_equal(read["_av_flag"], fitted.predict(table) == -1)


def test_the_command_line_and_the_estimator_learn_the_same_model(tmp_path: Path) -> None:
    csv, model = SAMPLE / "employees.csv", str(tmp_path / "m.anomvae")
    assert main(["fit", str(csv), "--no-generator", "--alpha", "0.05", "--steps", "100", "-q", "-o", model]) == 0
    frame = pd.read_csv(csv)
    mine = AnomVAE(alpha=0.05, steps=100, random_state=0).fit(frame)
    assert np.array_equal(AnomVAE.from_file(model).score_samples(frame), mine.score_samples(frame))
    assert anomvae.load(model).calibration.alpha == mine.alpha_


def test_samples_are_a_table_like_the_training_table(fitted: AnomVAE, table: pd.DataFrame) -> None:
    rows = fitted.sample(200, given={"city": "Oslo", "paid": True}, random_state=3)
    assert list(rows.columns) == list(table.columns)
    assert set(rows["city"]) == {"Oslo"}
    assert rows["paid"].all()
    assert rows["price"].dropna().between(table["price"].min(), table["price"].max()).all()
    assert pd.api.types.is_datetime64_any_dtype(rows["at"])
    assert rows.equals(fitted.sample(200, given={"city": "Oslo", "paid": True}, random_state=3))
    assert np.mean(fitted.predict(rows) == 1) > 0.5


def test_without_a_generator_sample_says_what_to_do() -> None:
    plain = AnomVAE(random_state=0, steps=20).fit(np.random.default_rng(0).normal(size=(40, 2)))
    with pytest.raises(ValueError, match=r"AnomVAE\(generator=True\)"):
        plain.sample(5)


def test_arrays_may_have_gaps_and_columns_without_a_value() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 4))
    rows[::5, 1] = np.nan
    rows[:, 2] = np.nan
    fitted = AnomVAE(random_state=0, steps=50).fit(rows)
    assert list(fitted.components(rows).columns) == ["x0", "x1", "x3"]
    assert np.isfinite(fitted.score_samples(rows)).all()


def test_parameters_survive_cloning_and_numpys_numbers_are_numbers() -> None:
    given = AnomVAE(alpha=np.float64(0.05), latent=np.int64(2), steps=np.int64(30), hidden=(8,), random_state=5)
    copy = clone(given)
    assert copy.get_params() == given.get_params()
    rows = np.random.default_rng(0).normal(size=(40, 3))
    assert copy.fit(rows).detector_.about.training.layout == "3-8-[2,2]-2-8-3"
    assert copy.detector_.about.origin.seed == 5


def test_it_takes_its_place_in_pipelines_and_grid_searches(table: pd.DataFrame) -> None:
    wrong = table.dropna().head(20).assign(price=-500.0)
    rows = pd.concat([table, table.head(40), wrong], ignore_index=True)
    truth = np.repeat([1, -1], [280, 20])
    line = make_pipeline(FunctionTransformer(lambda frame: frame.drop(columns="at")), AnomVAE(random_state=0, steps=60))
    split = PredefinedSplit(np.repeat([-1, 0], [240, 60]))
    search = GridSearchCV(line, {"anomvae__beta": [0.03, 1.0]}, scoring="roc_auc", cv=split, refit=False)
    assert search.fit(rows, truth).best_score_ > 0.95


BAD_TABLES = {
    "another column": (lambda f: f.rename(columns={"city": "town"}), "feature names should match"),
    "a column less": (lambda f: f.drop(columns="city"), "feature names should match"),
    "another order": (lambda f: f[f.columns[::-1]], "same order"),
    "no rows": (lambda f: f.head(0), "0 rows"),
    "infinity": (lambda f: f.assign(price=np.inf), "'price' has infinity"),
    "words for numbers": (lambda f: f.assign(price="dear"), "row 0, column 'price': 'dear' is not a number"),
    "an array": (lambda f: np.zeros((3, 6)), "give a table"),
}


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", BAD_TABLES)
def test_another_table_than_the_fitted_one_is_a_value_error(name: str, fitted: AnomVAE, table: pd.DataFrame) -> None:
    spoil, told = BAD_TABLES[name]
    with pytest.raises(ValueError, match=told):
        fitted.predict(spoil(table))


BAD_FITS = {
    "alpha": ({"alpha": 1.5}, np.zeros((30, 2)), "alpha"),
    "steps": ({"steps": 0}, np.zeros((30, 2)), "steps"),
    "constants": ({}, np.zeros((30, 2)), "every column is constant"),
    "few rows": ({}, np.random.default_rng(0).normal(size=(9, 2)), "9 rows are left"),
    "identifiers": ({}, pd.DataFrame({"id": [f"k{i}" for i in range(50)]}), "no column is left"),
    "twice": ({}, pd.DataFrame(np.ones((30, 2)), columns=["a", "a"]), "'a' 2 times|stands twice"),
}


@pytest.mark.parametrize("name", BAD_FITS)
def test_what_cannot_be_learnt_is_a_value_error(name: str) -> None:
    settings, rows, told = BAD_FITS[name]
    with pytest.raises(ValueError, match=told):
        AnomVAE(random_state=0, **settings).fit(rows)


def test_nothing_can_be_saved_or_drawn_before_fit(tmp_path: Path) -> None:
    for call in (lambda: AnomVAE().save(tmp_path / "m"), lambda: AnomVAE().sample(1), lambda: AnomVAE().explain([[1]])):
        with pytest.raises(NotFittedError):
            call()
    assert not list(tmp_path.iterdir())


def test_without_scikit_learn_the_rest_works_and_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from anomvae import fit, load, score, generate\n"
        "try:\n    from anomvae import AnomVAE\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'anomvae[sklearn]'" in done.stdout
