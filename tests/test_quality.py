"""Quality of synthetic rows: known answers, what cannot be told, and a page that no cell can spoil."""

import io
import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import msgspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import anomvae
from anomvae.cli.output import Printer
from anomvae.cli.quality_options import Comparison, check, compare, compared
from anomvae.errors import DataError, UsageError
from anomvae.model.conditions import Condition
from anomvae.quality import similarity
from anomvae.quality.records import ColumnShape, QualityResult
from anomvae.quality.report import figures, heat_class, quality_page, quality_report
from anomvae.report.html_page import render
from anomvae.report.svg import short
from anomvae.store import model_file
from anomvae.table import frames

pytestmark = pytest.mark.slow  # fits, and classifiers that compare tables

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m"


def people(n: int, seed: int) -> pd.DataFrame:
    """Pay follows age and the team; one cell in ten of pay is missing."""
    rng = np.random.default_rng(seed)
    age, team = rng.normal(40, 10, n), rng.choice(["red", "green", "blue"], n, p=[0.6, 0.3, 0.1])
    pay = 2 * age + 20 * (team == "red") + rng.normal(0, 3, n)
    joined = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    return pd.DataFrame({"age": age, "team": team, "pay": np.where(rng.random(n) < 0.1, np.nan, pay), "joined": joined})


TRAIN, HELD, FRESH = people(1000, 1), people(1000, 2), people(1000, 3)


@pytest.fixture(scope="module")
def fresh() -> QualityResult:
    """Rows of the same source: what a perfect generator would give."""
    return anomvae.quality(TRAIN, FRESH, HELD, label="team")


def marks(result: QualityResult) -> dict[str, str]:
    return {figure.name: figure.mark for figure in figures(result)}


def test_rows_of_the_same_source_cannot_be_told_apart(fresh: QualityResult) -> None:
    assert fresh.c2st is not None and abs(fresh.c2st.auc - 0.5) < 0.05
    assert fresh.nearer is not None and abs(fresh.nearer.share - 0.5) < 0.06
    assert fresh.tstr is not None and fresh.tstr.metric == "accuracy"
    assert fresh.tstr.ratio is not None and abs(fresh.tstr.ratio - 1) < 0.1
    assert fresh.copies == 0 and fresh.rare_kept == fresh.rare == 3
    assert fresh.attainable is not None and abs(fresh.overall - fresh.attainable) < 0.02
    assert set(marks(fresh).values()) == {"good"}
    assert fresh.cannot_tell == ()


def test_a_table_with_shuffled_columns_keeps_its_shapes_and_loses_its_trends() -> None:
    rng = np.random.default_rng(0)
    shuffled = FRESH.apply(lambda column: rng.permutation(column.to_numpy()))
    result = anomvae.quality(TRAIN, shuffled, HELD)
    assert result.trend is not None and result.shape > 0.95
    pair = next(pair for pair in result.pairs if (pair.first, pair.second) == ("age", "pay"))
    assert pair.real is not None and pair.real > 0.8
    assert pair.synthetic is not None and abs(pair.synthetic) < 0.1
    assert result.c2st is not None and result.c2st.auc > 0.8
    assert marks(result)["told apart"] == "poor"


def test_a_copied_table_is_told_as_copies_and_as_remembered() -> None:
    result = anomvae.quality(TRAIN, TRAIN, HELD)
    assert result.copies == 1000 and result.copies_held_out == 0
    assert result.nearer is not None and result.nearer.share == 1.0
    assert marks(result)["copies"] == marks(result)["nearer to training"] == "poor"
    assert "remembered" in quality_page(result)


def test_rows_that_training_has_twice_are_no_copies() -> None:
    training = pd.DataFrame({"a": ["x", "x", "y", ""], "b": [1.0, 1.0, 2.0, np.nan]})
    synthetic = pd.DataFrame({"a": ["x", "y", "", "x"], "b": [1.0, 2.0, np.nan, 2.0]})
    assert anomvae.quality(training, synthetic).copies == 2  # (y, 2) and the row without values


def test_a_lost_and_an_invented_category_are_counted() -> None:
    spoilt = FRESH.assign(team=FRESH["team"].replace({"blue": "violet"}))
    result = anomvae.quality(TRAIN, spoilt, HELD)
    team = next(column for column in result.columns if column.column == "team")
    assert (team.lost, team.invented) == (("blue",), 1)
    assert (result.rare_kept, result.rare) == (2, 3)


def test_missing_cells_are_compared_with_the_training_rows() -> None:
    result = anomvae.quality(TRAIN, FRESH.assign(pay=FRESH["pay"].fillna(0.0)), HELD)
    assert result.missing_gap == pytest.approx(TRAIN["pay"].isna().mean())
    assert marks(result)["missing cells"] == "poor"


def test_without_held_out_rows_the_record_says_what_cannot_be_told() -> None:
    result = anomvae.quality(TRAIN, FRESH, label="team")
    assert result.nearer is result.tstr is result.attainable is None
    assert result.against == "training"
    assert len(result.cannot_tell) == 3 and all("held-out" in text or "copies" in text for text in result.cannot_tell)
    assert "cannot be told" in quality_page(result)


def test_the_label_sets_the_kind_of_the_transfer_test() -> None:
    told = {label: anomvae.quality(TRAIN, FRESH, HELD, label=label).tstr for label in ("pay", "team")}
    assert {label: test.metric for label, test in told.items() if test} == {"pay": "r2", "team": "accuracy"}
    flags = [table.assign(rich=np.where(table["age"] > 40, 1, 0)) for table in (TRAIN, FRESH, HELD)]
    test = anomvae.quality(*flags, label="rich").tstr
    assert test is not None and test.metric == "auc" and test.on_synthetic > 0.99


def test_a_synthetic_table_of_one_class_teaches_nothing() -> None:
    parts = [table.assign(rich=np.where(table["age"] > 40, "yes", "no")) for table in (TRAIN, FRESH, HELD)]
    test = anomvae.quality(parts[0], parts[1].assign(rich="no"), parts[2], label="rich").tstr
    assert test is not None and test.on_synthetic == 0.5 and test.on_real > 0.99


def test_the_same_tables_and_seed_give_the_same_record_and_page(fresh: QualityResult) -> None:
    again = anomvae.quality(TRAIN, FRESH, HELD, label="team")
    assert again == fresh
    assert quality_page(again) == quality_page(fresh)


def test_paths_give_what_frames_give(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.csv" for name in ("real", "synthetic", "held")]
    for path, table in zip(paths, (TRAIN, FRESH, HELD), strict=True):
        table.to_csv(path, index=False, date_format="%Y-%m-%d")
    read, frames = anomvae.quality(*paths), anomvae.quality(TRAIN, FRESH, HELD)
    assert read.synthetic == str(paths[1])
    assert [c.kind for c in read.columns] == ["number", "category", "number", "date"]
    assert msgspec.structs.replace(read, real="", synthetic="", held_out="") == msgspec.structs.replace(
        frames, real="", synthetic="", held_out=""
    )


def test_a_models_schema_and_selection_hold_for_the_real_rows(orders_model: Path) -> None:
    detector = model_file.load(orders_model)
    days = sorted((Path(__file__).parent.parent / "sample_data" / "orders").iterdir())
    result = anomvae.quality(days[:2], days[2], days[3], detector=detector)
    assert {column.column for column in result.columns} == set(detector.columns)
    assert result.overall > 0.8 and result.c2st is not None
    assert detector.about is not None
    where = (Condition("channel", "!=", "fax and post"), Condition("country", "==", "DE"))
    chosen_rows = msgspec.structs.replace(detector.about.origin, conditions=where)
    detector = detector.with_about(msgspec.structs.replace(detector.about, origin=chosen_rows))
    german = pd.concat([pd.read_csv(day) for day in days[:2]])["country"].eq("DE").sum()
    chosen = anomvae.quality(days[:2], days[2], detector=detector)
    assert chosen.rows_real == german and chosen.rows_synthetic == result.rows_synthetic


@pytest.mark.parametrize(
    ("tables", "label", "told"),
    [
        ((TRAIN, FRESH.rename(columns=str.upper)), None, "share no column"),
        ((TRAIN, FRESH), "wages", "label 'wages'"),
        ((TRAIN, FRESH.assign(age="old")), None, "column 'age' is numbers in one table and text in another"),
        ((TRAIN, "fresh.csv"), None, "all tables as DataFrames"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_clear_line(tables: tuple[object, ...], label: str | None, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)) as caught:
        anomvae.quality(*tables, label=label)
    assert "\n" not in str(caught.value)


def test_every_dtype_of_a_frame_is_a_number_a_date_or_a_category() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "text": pd.array(["a", None, "b"], dtype="string"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "level": pd.Categorical(["x", None, "y"]),
            "zoned": pd.to_datetime(["1970-01-02", None, "1970-01-03"], utc=True),
            "mixed": ["1", 2, None],
        }
    )
    columns, kinds = frames.typed(frame)
    assert list(kinds.values()) == ["numeric", *["categorical"] * 3, "datetime", "categorical"]
    assert np.array_equal(columns["whole"].astype(float), [1.0, np.nan, 3.0], equal_nan=True)
    assert np.array_equal(columns["zoned"].astype(float), [86400.0, np.nan, 172800.0], equal_nan=True)
    assert [columns[name].tolist() for name in ("text", "flag", "level", "mixed")] == [
        ["a", "", "b"], ["true", "", "false"], ["x", "", "y"], ["1", "2", ""],
    ]  # fmt: skip


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="stands twice"):
        anomvae.quality(pd.concat([TRAIN, TRAIN], axis=1), FRESH)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        anomvae.quality(TRAIN, FRESH[:0])
    (tmp_path / "real.csv").write_text("a,b\n1,2\n")
    (tmp_path / "none.csv").write_text("a,b\n")
    with pytest.raises(DataError, match="no rows"):
        anomvae.quality(tmp_path / "real.csv", tmp_path / "none.csv")


def test_without_scikit_learn_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.meta_path.insert(0, type('No', (), {'find_spec': lambda self, name, *_: "
        "(_ for _ in ()).throw(ModuleNotFoundError(name)) if name == 'sklearn' else None})());\n"
        "import importlib.util as u; found = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'sklearn' else found(name, *a)\n"
        "import anomvae\n"
        "try: anomvae.quality('a.csv', 'b.csv')\n"
        "except anomvae.AnomvaeError as error: print(error, error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'anomvae[sklearn]'. 2" in done.stdout and done.stdout.count("\n") == 1


def test_the_name_is_the_function_also_after_its_room_was_imported() -> None:
    code = "import anomvae.quality.report; from anomvae.quality import quality; assert anomvae.quality is quality"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert anomvae.quality is sys.modules["anomvae.quality"].quality


def printed(result: QualityResult) -> str:
    out = io.StringIO()
    Console(file=out, width=110, markup=False, emoji=False, highlight=False).print(quality_report(result))
    return out.getvalue()


@click.command()
@click.option("-o", "--output")
@compared
def writing(output: str | None, comparison: Comparison) -> int:
    """A command that has just written rows."""
    check(comparison, output)
    compare(comparison, None, str(output), 0, Printer())
    return 0


def test_a_command_compares_what_it_wrote(tmp_path: Path) -> None:
    names = {"real": TRAIN, "synthetic": FRESH, "held": HELD}
    for name, table in names.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    real, synthetic, held = (str(tmp_path / f"{name}.csv") for name in names)
    page = tmp_path / "page.html"
    words = ["-o", synthetic, "--against", real, "--holdout", held, "--label", "team", "--report", str(page)]
    done = CliRunner().invoke(writing, words)
    assert done.exit_code == 0, done.output
    assert "use for prediction" in done.stdout and f"wrote {page}" in done.stderr
    assert page.read_text(encoding="utf-8") == quality_page(anomvae.quality(real, synthetic, held, label="team"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-o", "a.csv", "--report", "p.html"], "--report needs --against"),
        (["-o", "a.csv", "--holdout", "h.csv"], "--holdout needs --against"),
        (["-o", "a.csv", "--against", "r.csv", "--label", "x"], "--label needs --holdout"),
        (["--against", "r.csv"], "-o NAME.csv"),
        (["-o", "a.jsonl", "--against", "r.csv"], "-o NAME.csv"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_any_work(words: list[str], told: str) -> None:
    error = CliRunner().invoke(writing, words).exception
    assert isinstance(error, UsageError) and told in str(error)


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def hostile() -> QualityResult:
    tables = [table.rename(columns={"team": HOSTILE, "age": HOSTILE + "2"}) for table in (TRAIN, FRESH, HELD)]
    for table in tables:
        table[HOSTILE] = table[HOSTILE].replace({"red": '"><img src=x onerror=y>'})
    return anomvae.quality(*tables, label=HOSTILE)


def test_a_hostile_column_name_is_text_and_nothing_else() -> None:
    result = hostile()
    page = quality_page(result)
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert not {"\x1b", "\u202e"} & set(printed(result))


def test_the_page_runs_nothing_loads_nothing_and_is_small(fresh: QualityResult) -> None:
    page = quality_page(fresh)
    tags = Tags(page).found
    assert not {tag for tag, _ in tags} & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    names = {name for _, attributes in tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href", "action")}
    assert "http" not in re.sub(r"http-equiv", "", page) and "url(" not in page and "@import" not in page
    assert len(page.encode()) < 500_000


def test_the_page_of_a_wide_table_stays_small() -> None:
    rng = np.random.default_rng(0)
    tables = [pd.DataFrame(rng.normal(size=(200, 120)), columns=[f"sensor_{j}" for j in range(120)]) for _ in range(3)]
    result = anomvae.quality(*tables)
    page = quality_page(result)
    assert len(page.encode()) < 500_000
    assert "60 of 120 columns are drawn" in page
    assert any("first 100 columns" in text for text in result.cannot_tell)


def test_every_figure_of_the_page_is_in_the_terminal_table(fresh: QualityResult) -> None:
    text, page = printed(fresh), quality_page(fresh)
    assert len(figures(fresh)) == 7
    for figure in figures(fresh):
        assert figure.name in text and figure.name in page
        assert figure.value in text and figure.value in page


def test_a_template_without_a_value_fails_rather_than_print_nothing() -> None:
    with pytest.raises(Exception, match="undefined"):
        render("quality.html")


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_the_ks_statistic_is_the_largest_distance_of_two_distributions(left: list[int], right: list[int]) -> None:
    naive = max(abs(np.mean(np.array(left) <= t) - np.mean(np.array(right) <= t)) for t in range(9))
    told = similarity.ks_statistic(np.sort(np.array(left, dtype=float)), np.sort(np.array(right, dtype=float)))
    assert told == pytest.approx(naive)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_a_column_is_exactly_like_itself_in_any_order(values: list[str], seed: int) -> None:
    column = np.array(values, dtype=object)
    shuffled = np.random.default_rng(seed).permutation(column)
    shape: ColumnShape = similarity.shape("c", column, column, shuffled)
    assert shape.similarity == pytest.approx(1.0)
    assert shape.lost == () and shape.invented == 0
    assert sum(shape.real) == pytest.approx(0.0 if set(values) == {""} else 1.0)


def test_contingency_similarity_is_one_minus_total_variation() -> None:
    real = {"a": np.array(["x", "x", "y", "y"], dtype=object), "b": np.array(["u", "v", "u", "v"], dtype=object)}
    other = {"a": np.array(["x", "x", "y", "y"], dtype=object), "b": np.array(["u", "u", "v", "v"], dtype=object)}
    (pair,) = similarity.pair_trends(real, other, ["a", "b"])
    assert pair.similarity == pytest.approx(0.5)  # two of the four cells, a quarter each, are empty in the other


def test_a_number_and_a_category_are_compared_in_ten_bins_of_the_real_range() -> None:
    real = {"n": np.linspace(0, 10, 11), "c": np.array(["x"] * 11, dtype=object)}
    moved = {"n": np.linspace(0, 10, 11) + 100.0, "c": np.array(["x"] * 11, dtype=object)}
    (pair,) = similarity.pair_trends(real, moved, ["n", "c"])
    assert pair.similarity == pytest.approx(2 / 11)  # all in the last bin, which holds 2 of the 11 real ones


@pytest.mark.parametrize(("similarity", "heat"), [(1.0, 0), (0.98, 0), (0.97, 1), (0.7, 5), (0.1, 6)])
def test_heat_grows_as_likeness_falls(similarity: float, heat: int) -> None:
    assert heat_class(similarity) == heat


def test_axis_ends_are_short() -> None:
    values = (0.0, 1995.0, 1234567.0, 0.012345, -12.3456, 2193.4, 1e12)
    assert [short(v) for v in values] == ["0", "1995", "1,234,567", "0.0123", "-12.3", "2193", "1e+12"]
    assert short(0.0, date=True) == "1970-01-01"


def test_distances_count_ties_half() -> None:
    same = {"a": np.array(["x", "y"] * 10, dtype=object)}
    told = similarity.nearer(same, same, same, 100, np.random.default_rng(0))
    assert told.share == 0.5


def test_pairs_are_every_two_columns(fresh: QualityResult) -> None:
    assert [(p.first, p.second) for p in fresh.pairs] == list(itertools.combinations(TRAIN.columns, 2))
