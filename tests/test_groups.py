"""fit --group: rows that belong together lie in one fold, whether they are stated or found, and alpha holds for new groups."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from anomvae import AnomVAE
from anomvae.cli import main
from anomvae.commands.fit import fit
from anomvae.commands.inspect import card_of
from anomvae.config import FitSettings, SchemaSettings
from anomvae.errors import UsageError
from anomvae.model import groups as grouping
from anomvae.model.cross_fitting import balanced_folds, block_folds, dependence, group_folds
from anomvae.model.encoder import encode, fit_encoding
from anomvae.model.groups import GroupColumn, Groups, find_groups, group_columns, left_out_columns, stated_groups
from anomvae.model.schema import Column
from anomvae.report.terminal import fit_report, inspect_report
from anomvae.store import model_file
from benchmarks.groups import Cells, false_alarms, patients, stations, typed
from tests.conftest import SAMPLE

DAY = 86_400.0
QUICK = {"steps": 60, "selftest": False, "generator": False}


def names(*cells: str, name: str = "who") -> GroupColumn:
    return GroupColumn(name, "name", "value", np.unique(cells, return_inverse=True)[1].astype(np.intp))


def search(cells: Cells, ids: Sequence[str] = (), seed: int = 0) -> Groups | None:
    """What the fit looks for, without a fit."""
    schema, columns, unmodelled = typed(cells, ids)
    encoding = fit_encoding(schema, columns)
    rows = encode(encoding, columns)
    folds = block_folds(len(rows), dependence(rows.x).length, None, np.random.default_rng(seed))
    said = [one for column in schema.modelled for one in group_columns(column, columns[column.name])]
    left_out = [column.name for column in schema.columns if not column.modelled]
    said += [one for name in left_out for one in left_out_columns(name, cells[name])]
    return find_groups([*said, *unmodelled], encoding, rows, folds.fold, folds.pools, seed=seed)


# Folds


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60), st.integers(0, 1000))
def test_folds_of_blocks_differ_by_no_more_rows_than_the_largest_block(sizes: list[int], seed: int) -> None:
    fold = balanced_folds(np.array(sizes), np.random.default_rng(seed))
    rows = np.bincount(fold, weights=sizes)
    assert len(rows) == min(5, len(sizes))
    assert rows.min() > 0
    assert rows.max() - rows.min() <= max(sizes)
    for start in range(0, len(sizes) - 4, 5):
        assert sorted(fold[start : start + 5]) == [0, 1, 2, 3, 4]


@given(st.lists(st.integers(0, 30), min_size=2, max_size=300), st.integers(0, 1000))
def test_no_group_is_in_two_folds_and_no_member_trains_on_its_own(values: list[int], seed: int) -> None:
    codes = np.unique(values, return_inverse=True)[1].astype(np.intp)
    folds = group_folds(codes, np.random.default_rng(seed))
    for group in range(codes.max() + 1):
        assert len(set(folds.fold[codes == group])) == len(set(folds.blocks[codes == group])) == 1
    for block in range(folds.blocks.max() + 1):
        assert len(set(folds.fold[folds.blocks == block])) == 1
    assert len(folds.pools) == min(5, codes.max() + 1)
    for member, pool in enumerate(folds.pools):
        assert np.array_equal(pool, folds.fold != member)


def test_many_groups_are_dealt_in_a_hundred_blocks_of_neighbours() -> None:
    folds = group_folds(np.repeat(np.arange(1000), 3), np.random.default_rng(0))
    assert folds.blocks.tolist() == [row // 30 for row in range(3000)]
    assert np.bincount(folds.fold).tolist() == [600] * 5


# What a column says


def test_names_are_compared_without_spaces_around_them_and_a_gap_is_no_name() -> None:
    (modelled,) = group_columns(
        Column(name="who", kind="categorical", modelled=True), np.array(["b", " b", "", "a", "NA"], dtype=object)
    )
    assert modelled.codes.tolist() == [0, 0, -1, 1, 2]  # a level may be called NA
    (left_out,) = left_out_columns("who", ["b", " b", "", "a", "NA", "null"])
    assert (left_out.nature, left_out.codes.tolist()) == ("name", [0, 0, -1, 1, -1, -1])


def test_a_date_with_times_has_days_and_moments_and_one_without_has_days_alone() -> None:
    column = Column(name="at", kind="datetime", modelled=True)
    days, moments = group_columns(column, np.array([DAY + 5, 0.0, DAY + 5, np.nan, 10.0, 5 * DAY]))
    assert (days.part, days.codes.tolist()) == ("day", [1, 0, 1, -1, 0, 2])
    assert (moments.part, moments.codes.tolist()) == ("value", [2, 0, 2, -1, 1, 3])
    (midnights,) = group_columns(column, np.array([DAY, 0.0, DAY]))
    assert (midnights.part, midnights.codes.tolist()) == ("value", [1, 0, 1])


def test_dates_and_numbers_of_a_column_that_is_left_out_are_recognised() -> None:
    days, moments = left_out_columns("at", ["2026-03-02 10:00", "2026-03-01 09:00", "2026-03-02 11:30"])
    assert (days.nature, days.codes.tolist(), moments.codes.tolist()) == ("date", [1, 0, 1], [1, 0, 2])
    (numbers,) = left_out_columns("no", ["7", "3", "3.0", "12"])
    assert (numbers.nature, numbers.codes.tolist()) == ("number", [1, 0, 0, 2])


@pytest.mark.parametrize(
    ("cells", "measured"),
    [(["1", "2", "3", "5"], False), (["1", "2", "8"], True), (["1.5", "2", "3"], True), (["4", "4"], False)],
)
def test_a_price_is_no_name(cells: list[str], measured: bool) -> None:
    assert left_out_columns("x", [*cells, *cells])[0].measured is measured


def test_a_column_of_some_rows_has_no_empty_groups() -> None:
    column = GroupColumn("who", "name", "value", np.array([0, 3, -1, 1, 3, 2]))
    assert column.take(np.array([False, True, True, True, True, False])).codes.tolist() == [1, -1, 0, 1]


# Stated groups


def test_a_gap_is_a_group_of_its_own() -> None:
    column = GroupColumn("who", "name", "value", np.array([0, -1, 0, 1, -1]))
    assert stated_groups(["who"], [column]).codes.tolist() == [0, 2, 0, 1, 3]


def test_rows_that_share_a_value_of_any_column_belong_together() -> None:
    visit = names("a", "a", "b", "c", "c", "d", name="visit")
    patient = names("P", "P", "P", "Q", "R", "S", name="patient")
    found = stated_groups(["visit", "patient"], [visit, patient])
    assert found.codes.tolist() == [0, 0, 0, 1, 1, 2]  # a and b have P, Q and R have c
    assert (found.columns, found.found) == (("visit", "patient"), False)


def test_columns_that_cross_each_other_leave_no_folds() -> None:
    day = names(*(["1", "2", "3"] * 4), name="day")
    station = names(*("AAABBBCCCDDD"), name="station")
    with pytest.raises(
        UsageError, match=r"--group 'day' --group 'station': .*12 of 12 rows.*\('station' has the most\)"
    ):
        stated_groups(["day", "station"], [day, station])


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ("dya", "--group 'dya': there is no such column; did you mean 'day'?"),
        ("row", "--group 'row': no two rows share a value, so there is nothing to keep together; leave it out."),
        ("same", "--group 'same': all rows have the same value, of which no folds can be made; leave it out."),
        ("most", "--group 'most': one value has 19 of 20 rows, which leaves too few to learn from; leave it out."),
    ],
)
def test_groups_of_which_no_folds_can_be_made_are_usage(group: str, message: str) -> None:
    columns = [
        names(*"ab" * 10, name="day"),
        names(*"abcdefghijklmnopqrst", name="row"),
        names(*"a" * 20, name="same"),
        names("b", *"a" * 19, name="most"),
    ]
    with pytest.raises(UsageError) as error:
        stated_groups([group], columns)
    assert str(error.value) == message


def test_of_a_date_the_day_counts_unless_there_are_few_days_and_shared_moments() -> None:
    def chosen(values: list[float]) -> str:
        column = Column(name="at", kind="datetime", modelled=True)
        return stated_groups(["at"], group_columns(column, np.array(values))).part

    assert chosen([DAY * (i % 12) + i for i in range(36)]) == "day"
    assert chosen([3600.0 * (i % 20) for i in range(60)]) == "value"  # one day of twenty hours
    assert chosen([DAY * (i % 3) + i for i in range(30)]) == "day"  # no two rows share a moment


# The search


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("order", ["station", "random"])
def test_days_that_lie_apart_are_found_where_they_make_rows_alike(order: str, seed: int) -> None:
    found = search(stations(365, seed, order=order))
    assert found is not None
    assert (found.columns, found.part, found.found) == (("day",), "value", True)
    assert found.codes.tolist() == (list(range(365)) * 3 if order == "station" else found.codes.tolist())
    assert found.share is not None
    assert found.chance is not None
    assert found.share > 0.05 + found.chance


def test_a_column_that_is_left_out_is_found_as_well() -> None:
    found = search(patients(400, 0), ids=("patient",))
    assert found is not None
    assert found.columns == ("patient",)
    numbered = search(patients(400, 0, numbered=True), ids=("patient",))
    assert numbered is not None
    assert numbered.columns == ("patient",)


def test_days_that_stand_together_are_kept_together_by_blocks_already() -> None:
    assert search(stations(365, 0, order="day")) is None


def test_nothing_is_found_where_groups_make_no_rows_alike() -> None:
    assert search(stations(365, 0, common=0.01)) is None
    assert search(patients(400, 0, effect=0.0), ids=("patient",)) is None


def shop(rows: int, products: int, seed: int) -> Cells:
    """Orders in any order, of products that decide category, price and weight."""
    rng = np.random.default_rng(seed)
    price, weight, kind = (
        np.exp(rng.normal(3, 1, products)),
        np.exp(rng.normal(0, 1, products)),
        rng.integers(0, 5, products),
    )
    chosen, count = rng.integers(0, products, rows), rng.integers(1, 6, rows)
    return {
        "product": [f"product {i}" for i in chosen],
        "kind": [f"kind {kind[i]}" for i in chosen],
        "count": [str(i) for i in count],
        "amount": [f"{value:.2f}" for value in price[chosen] * count * np.exp(rng.normal(0, 0.02, rows))],
        "weight": [f"{value:.2f}" for value in weight[chosen] * count * np.exp(rng.normal(0, 0.02, rows))],
    }


@pytest.mark.parametrize(("rows", "products"), [(3000, 60), (600, 60), (2000, 300)])
def test_a_category_that_decides_others_is_no_group(rows: int, products: int) -> None:
    assert search(shop(rows, products, 0)) is None


def test_a_number_of_which_the_next_one_is_as_much_alike_is_no_group() -> None:
    rng = np.random.default_rng(0)
    age = rng.permutation(np.repeat(np.arange(20, 80), 5))
    follows = {f"v{j}": [f"{value:.3f}" for value in age / 10 + rng.normal(0, 0.02, len(age))] for j in range(3)}
    cells = {"age": [str(value) for value in age], **follows}
    assert search(cells) is None
    ways = rng.normal(0, 1, (100, 3))
    machine = {
        f"v{j}": [f"{ways[i - 20, j] + noise:.3f}" for i, noise in zip(age, rng.normal(0, 0.1, len(age)), strict=True)]
        for j in range(3)
    }
    found = search({"age": cells["age"], **machine})
    assert found is not None
    assert found.columns == ("age",)


def sample(path: Path) -> Cells:
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    table = pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files])
    return {name: table[name].tolist() for name in table.columns}


@pytest.mark.parametrize("name", ["employees.csv", "orders", "digits.csv"])
def test_no_groups_are_found_in_the_sample_data(name: str) -> None:
    assert search(sample(SAMPLE / name)) is None


def test_names_met_by_chance_are_known_early_or_vary_in_number() -> None:
    rng = np.random.default_rng(0)
    uneven = 1 / np.arange(20, 120)
    for popularity, most in ((np.ones(100), 20), (uneven, 2)):
        draws = [rng.choice(100, 300, p=popularity / popularity.sum()) for _ in range(200)]
        found = [grouping._will_be_new(np.unique(draw, return_inverse=True)[1].astype(np.intp)) for draw in draws]
        assert sum(found) <= most
    assert not grouping._will_be_new(np.tile(np.arange(50), 8))  # all of them are in the first eighth
    assert grouping._will_be_new(np.tile(np.arange(100), 3))  # three each
    coming = np.concatenate([rng.integers(i, i + 20, 10) for i in range(100)])
    assert grouping._will_be_new(np.unique(coming, return_inverse=True)[1].astype(np.intp))


# The whole way


def write(path: Path, cells: Cells) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(cells)
        writer.writerows(zip(*cells.values(), strict=True))
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("stations") / "weather.csv", stations(120, 0))


def drawn(renderable: object) -> str:
    out = io.StringIO()
    Console(file=out, width=200, markup=False, highlight=False).print(renderable)
    return out.getvalue()


def test_a_stated_group_is_told_by_fit_and_inspect(table: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.anomvae"
    result = fit([str(table)], model, FitSettings(group=("day",), **QUICK))
    assert result.groups is not None
    told = (result.groups.columns, result.groups.part, result.groups.groups, result.groups.largest, result.groups.folds)
    assert told == (("day",), "value", 120, 3, 5)
    assert (result.groups.found, result.groups.share) == (False, None)
    text = "Rows of the same value of 'day' are kept in one fold (--group): 120 groups (at most 3 rows) in 5 folds"
    assert text in drawn(fit_report(result))
    card = card_of(model_file.load(model), model)
    assert card.groups == result.groups
    assert text in drawn(inspect_report(card))
    assert result.calibration.blocks == 60  # of two days each


def test_a_found_group_is_told_with_its_figures(table: Path, tmp_path: Path) -> None:
    result = fit([str(table)], tmp_path / "m.anomvae", FitSettings(**QUICK))
    assert result.groups is not None
    assert result.groups.found
    text = drawn(fit_report(result))
    assert "Rows of the same value of 'day' are alike, so they are kept in one fold: 120 groups" in text
    assert (
        f"in {100 * result.groups.share:.2g} % of the groups, in {100 * result.groups.chance:.2g} % by chance" in text
    )


@pytest.mark.parametrize("order", ["station", "day"])
def test_none_looks_for_no_groups(order: str, tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", stations(120, 0, order=order))
    none = fit([str(path)], tmp_path / "n.anomvae", FitSettings(group=("none",), **QUICK))
    assert none.groups is None
    itself = fit([str(path)], tmp_path / "i.anomvae", FitSettings(**QUICK))
    assert (itself.groups is None) == (order == "day")
    assert (itself.calibration == none.calibration) == (order == "day")


def test_fewer_groups_than_folds_are_fewer_folds(table: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.anomvae"
    result = fit([str(table)], model, FitSettings(group=("station",), **QUICK))
    assert result.groups is not None
    assert (result.groups.groups, result.groups.folds, result.training.members) == (3, 3, 3)
    assert ("group_modelled", "station") in [(warning.code, warning.column) for warning in result.warnings]
    assert main(["score", str(table), "-m", str(model), "-o", str(tmp_path / "out.csv"), "--fail-on", "never"]) == 0


def test_a_column_that_is_left_out_may_be_the_group(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", patients(80, 0))
    left_out = SchemaSettings(id=("patient",))
    result = fit([str(path)], tmp_path / "m.anomvae", FitSettings(group=("patient",), **QUICK), left_out)
    assert result.groups is not None
    assert result.groups.groups == len(set(patients(80, 0)["patient"]))
    assert "group_modelled" not in [warning.code for warning in result.warnings]


def test_rows_that_are_suspected_leave_their_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", patients(80, 0))
    settings = FitSettings(group=("patient",), contamination=0.05, **QUICK)
    result = fit([str(path)], tmp_path / "m.anomvae", settings, SchemaSettings(id=("patient",)))
    assert result.groups is not None
    assert result.suspected > 0
    assert result.groups.groups <= len(set(patients(80, 0)["patient"]))


def test_a_redacted_group_shows_its_name_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", patients(80, 0))
    left_out = SchemaSettings(id=("patient",), redact=("patient",))
    result = fit([str(path)], tmp_path / "m.anomvae", FitSettings(group=("patient",), **QUICK), left_out)
    assert "'patient'" in drawn(fit_report(result))
    assert "P00" not in drawn(fit_report(result))


def test_the_command_line_takes_several_groups_and_says_what_is_wrong(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "m.anomvae"
    assert main(["fit", str(table), "--group", "day", "--group", "station", "-o", str(model)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "name the one of which new values keep coming ('day' has the most)" in error
    assert main(["fit", str(table), "--group", "dya", "-o", str(model)]) == 2
    assert "did you mean 'day'?" in capsys.readouterr().err
    assert not model.exists()


def test_the_configuration_and_a_later_fit_take_the_group(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, model = tmp_path / "anomvae.toml", tmp_path / "m.anomvae"
    config.write_text('[fit]\ngroup = ["day"]\nsteps = 60\nselftest = false\ngenerator = false\n')
    assert main(["fit", str(table), "-c", str(config), "-o", str(model), "--json"]) == 0
    stated = json.loads(capsys.readouterr().out)["groups"]
    assert (stated["columns"], stated["found"]) == (["day"], False)
    assert main(["fit", str(table), "--from", str(model), "-o", str(tmp_path / "n.anomvae"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"] == stated


def test_the_estimator_takes_the_group() -> None:
    frame = pd.DataFrame(patients(80, 0))
    fitted = AnomVAE(group=("patient",), steps=60, random_state=0).fit(frame)
    groups = fitted.detector_.about.groups
    assert (groups.columns, groups.groups) == (("patient",), frame["patient"].nunique())
    with pytest.raises(ValueError, match="did you mean 'patient'"):
        AnomVAE(group=("patiens",), steps=60, random_state=0).fit(frame)
    numbers = np.column_stack([np.repeat(np.arange(20.0), 5), np.random.default_rng(0).normal(size=(100, 2))])
    assert AnomVAE(group=("x0",), steps=60, random_state=0).fit(numbers).detector_.about.groups.groups == 20


@pytest.mark.slow
def test_new_days_are_flagged_as_often_as_promised_with_groups_and_more_often_with_blocks() -> None:
    cells = stations(1460, 0)
    training = np.array([day < "2025-01-01" for day in cells["day"]])
    blocks, _ = false_alarms(cells, training, ("none",), (), seed=0)
    groups, found = false_alarms(cells, training, (), (), seed=0)
    assert found
    assert 0.5 <= groups[0] / 0.01 <= 1.6
    assert 0.6 <= groups[1] / 0.05 <= 1.4
    assert blocks[0] >= 0.015
    assert blocks[1] > groups[1]
