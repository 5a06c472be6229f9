"""Drift: the statistic against exact tests, its calibration, the sequence over files, and what a folder tells."""

import csv
import json
import shutil
import signal
import sqlite3
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from anomvae.cli import main
from anomvae.commands.compare import NamedModel, inherited_settings
from anomvae.commands.fit import fit
from anomvae.config import Dialect, FitSettings, SchemaSettings
from anomvae.model import drift
from anomvae.model.calibration import file_p_value
from anomvae.model.drift import FALSE_ALARMS
from anomvae.model.encoder import Encoding, encode, fit_encoding
from anomvae.model.schema import Column, Schema, Values
from anomvae.quality.read_tables import read_tables
from anomvae.records.folder import Manifest
from anomvae.records.results import Drift, FileResult, FitResult, ScoreResult
from anomvae.store import model_file
from benchmarks.drift import World
from sample_data import make_orders
from tests.folders import Watch, lines, score

Captured = pytest.CaptureFixture[str]

# --- the statistic


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_a_deviation_is_fishers_exact_test(data: st.DataObject) -> None:
    n, m = data.draw(st.integers(20, 3000)), data.draw(st.integers(200, 30_000))
    k, j = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    assume(0 < k + j < n + m)
    z = drift.deviation(*(np.array([float(x)]) for x in (k, n, j, m)))[0]
    known = stats.hypergeom(n + m, k + j, n)
    exact = known.sf(k - 1) if k * m > j * n else known.cdf(k)
    assume(1e-100 < exact < 0.2)
    assert stats.norm.logsf(abs(z)) == pytest.approx(np.log(exact), rel=0.02, abs=0.15)
    assert z * (k * m - j * n) > 0


def test_rows_that_count_as_less_than_one_tell_nothing() -> None:
    z = drift.deviation(np.array([0.3, 40.0]), np.array([0.4, 50.0]), np.array([10.0, 10.0]), np.array([90.0, 90.0]))
    assert z[0] == 0 and z[1] > 5


@pytest.mark.parametrize("freedom", [9, 30, 99, 5000])
def test_the_tail_is_students_and_never_too_small(freedom: int) -> None:
    for z in np.linspace(0.1, 15, 30):
        exact = 2 * stats.t.sf(z, freedom)
        assert 0.999 * exact <= drift.tail(float(z), freedom) <= 1.25 * exact + 1e-300


def reference(values: dict[str, Values], blocks: np.ndarray | None = None) -> tuple[Encoding, drift.Reference]:
    kinds = {name: "categorical" if v.dtype == object else "numeric" for name, v in values.items()}
    schema = Schema(columns=tuple(Column(name=n, kind=k, modelled=True) for n, k in kinds.items()))
    encoding, n = fit_encoding(schema, values), len(next(iter(values.values())))
    blocks = np.arange(n) // max(n // 100, 1) if blocks is None else blocks
    return encoding, drift.fit_reference(encoding, values, encode(encoding, values), np.arange(n) / n, blocks)


def test_a_design_effect_is_how_alike_the_rows_of_a_block_are() -> None:
    rng = np.random.default_rng(0)
    single, whole = rng.standard_normal(6000), np.repeat(rng.standard_normal(300), 20)
    _, found = reference({"single": single, "whole": whole}, np.arange(6000) // 20)
    assert found.blocks == 300
    assert np.median(found.bins[0].design) < 1.2 and max(found.bins[0].design) < 1.6
    assert np.median(found.bins[1].design) == pytest.approx(20, rel=0.05)


values = st.lists(st.one_of(st.floats(-1e300, 1e300), st.just(np.nan), st.integers(-3, 3)), min_size=1, max_size=60)


@settings(deadline=None)
@given(values, st.lists(st.sampled_from(["a", "b", "new", ""]), min_size=60, max_size=60))
def test_every_row_counts_once_in_every_column(numbers: list[float], texts: list[str]) -> None:
    rng = np.random.default_rng(0)
    known: dict[str, Values] = {
        "x": np.where(rng.random(400) < 0.1, np.nan, rng.normal(size=400)),
        "c": np.array(["a", "b", "c", ""], dtype=object)[rng.integers(0, 4, 400)],
    }
    encoding, found = reference(known)
    n = len(numbers)
    rows: dict[str, Values] = {"x": np.array(numbers, dtype=float), "c": np.array(texts[:n], dtype=object)}
    scores = np.linspace(-1, 2, n)
    counts = drift.count(found, encoding, rows, encode(encoding, rows), scores)
    assert [int(of.sum()) for of in counts] == [n, n, n]
    assert [len(of) for of in counts] == [len(bins.counts) for bins in found.all]
    assert counts[0][-1] == np.isnan(rows["x"].astype(float)).sum()
    assert counts[1].tolist()[-2:] == [texts[:n].count("new"), texts[:n].count("")]
    assert [sum(bins.counts) for bins in found.all] == [400, 400, 400]


def test_a_reference_is_bounded() -> None:
    rng = np.random.default_rng(0)
    many: dict[str, Values] = {f"x{j}": rng.standard_normal(2000) * 1e6 for j in range(40)}
    many |= {f"c{j}": np.array([f"{v}" for v in rng.integers(0, 300, 2000)], dtype=object) for j in range(40)}
    _, found = reference(many)
    assert max(len(bins.counts) for bins in found.bins) <= 42
    assert len(msgspec.json.encode(found)) / 80 < 800  # bytes a column: 500 columns stay below half a megabyte


# --- the sequence


def test_clean_files_are_quiet_and_a_shift_is_told_with_its_column() -> None:
    world = World(1, columns=6, phi=0.0, rows=5000)
    files = [world.file() for _ in range(60)]
    assert not [found for found, _ in files if found.drifted]
    assert sum(world.anomalous(flagged) for _, flagged in files) <= 1
    found, _ = world.file(shift=0.5)
    assert found.drifted and world.alone.outlier and found.files == 1
    first = min(found.changes, key=lambda change: change.p)
    assert found.changes.index(first) == 0 and first.shift == pytest.approx(0.5, abs=0.1)


def test_one_bad_file_is_told_once() -> None:
    world = World(2, columns=5, phi=0.0, rows=5000)
    for _ in range(3):
        world.file()
    assert world.file(shift=3.0)[0].drifted
    world.file(rate=40.0)
    assert world.alone.outlier
    assert not [found for found, _ in (world.file() for _ in range(9)) if found.drifted]


def test_a_doubled_flag_rate_is_told_by_files_together() -> None:
    told = []
    for seed in range(9):
        world = World(seed, columns=2, phi=0.0, rows=20_000)
        files = (world.file(rate=2.0)[0] for _ in range(12))
        told.append(next(i for i, found in enumerate(files, 1) if found.drifted))
    assert np.median(told) <= 4


def test_neighbours_that_are_alike_are_no_drift() -> None:
    world = World(3, columns=5, phi=0.9, rows=8000)
    assert not [found for found, _ in (world.file() for _ in range(60)) if found.drifted]


def test_a_file_whose_flags_cluster_is_judged_by_its_design_effect() -> None:
    assert file_p_value(1000, 25, 0.01, 5000, 1.0) < 1e-3 < file_p_value(1000, 25, 0.01, 5000, 4.0) < 0.1
    rng = np.random.default_rng(0)
    clusters = 5 * rng.binomial(200, 0.01, 4000)  # five rows flagged at a time: a design effect of five
    p = np.array([file_p_value(1000, int(k), 0.01, 1e6, 5.0) for k in clusters])
    assert (p < 0.001).mean() <= 0.004


# --- the story


def orders(path: Path, seed: int, rows: int = 700, spoil: str = "") -> None:
    """A day of clean orders; `spoil`: amounts a fifth higher, express never known, or a new country in a tenth."""
    rng = np.random.default_rng(seed)
    day = (date(2026, 11, 10) + timedelta(days=seed % 9)).isoformat()
    table = make_orders.day(rng, day, rows, 10_000 * seed)
    for i, row in enumerate(table):
        if spoil == "amount":
            row["amount"] = f"{float(row['amount']) * 1.5 + 40:.2f}"
        elif spoil == "gaps" and i % 5 == 0:
            row["delivery_days"] = ""
        elif spoil == "new" and i % 10 == 0:
            row["country"] = "AT"
    make_orders.write(path, make_orders.HEADER, [[row[name] for name in make_orders.HEADER] for row in table])


def drifts(capsys: Captured, model: Path, *files: Path) -> list[FileResult]:
    capsys.readouterr()
    main(["score", *map(str, files), "-m", str(model), "--json"])
    return list(msgspec.json.decode(capsys.readouterr().out, type=ScoreResult).files)


def told(result: FileResult) -> str:
    assert isinstance(result.drift, Drift)
    return "; ".join(result.drift.told)


def test_what_changed_is_told_in_words(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    for i, spoil in enumerate(("", "amount", "gaps", "new")):
        orders(tmp_path / f"{i}.csv", 20 + i, spoil=spoil)
    clean, amount, gaps, new = drifts(capsys, orders_model, *sorted(tmp_path.glob("*.csv")))
    assert clean.verdict in ("ok", "elevated") and told(clean) == ""
    assert "amount shifted up by" in told(amount) and "standard deviations (p" in told(amount)
    assert "delivery_days missing 2" in told(gaps) and "usual 3" in told(gaps)
    assert "country new value 'AT' in 10 %, usual 0 %" in told(new)
    assert [one.verdict for one in (amount, gaps, new)] == ["drifted"] * 3
    assert new.drift is not None
    country = next(one for one in new.drift.columns if one.column == "country")
    assert country.new == "AT" and sum(country.counts) == 700 and len(country.bins) == len(country.usual)
    assert country.bins[-2:] == ("never seen", "missing") and country.counts[-2] == 70


def test_drift_fails_a_run_and_is_printed(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    orders(tmp_path / "a.csv", 21, spoil="gaps")
    capsys.readouterr()
    assert main(["score", str(tmp_path / "a.csv"), "-m", str(orders_model), "--fail-on", "file"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "DRIFTED" in shown and "drift: delivery_days missing" in shown


def test_a_model_from_before_there_was_drift_tells_none(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    detector = model_file.load(orders_model)
    assert detector.about is not None and detector.about.reference is not None
    detector = detector.with_about(msgspec.structs.replace(detector.about, reference=None))
    model_file.save(detector, tmp_path / "old.anomvae")
    orders(tmp_path / "a.csv", 22, spoil="gaps")
    (result,) = drifts(capsys, tmp_path / "old.anomvae", tmp_path / "a.csv")
    assert result.drift is None and result.verdict != "drifted"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda bins: {"edges": (*bins.edges[1:], bins.edges[0])},
        lambda bins: {"counts": bins.counts[1:]},
        lambda bins: {"counts": (-1, *bins.counts[1:])},
        lambda bins: {"design": (0.5, *bins.design[1:])},
        lambda bins: {"column": "other"},
    ],
)
def test_a_reference_that_does_not_fit_is_refused(
    wrong: Callable[[drift.Bins], dict[str, object]], orders_model: Path, tmp_path: Path, capsys: Captured
) -> None:
    detector = model_file.load(orders_model)
    assert detector.about is not None and detector.about.reference is not None
    last = next(one for one in detector.about.reference.bins if one.numeric)
    bins = [msgspec.structs.replace(one, **wrong(one)) if one is last else one for one in detector.about.reference.bins]
    broken = msgspec.structs.replace(detector.about.reference, bins=tuple(bins))
    detector = detector.with_about(msgspec.structs.replace(detector.about, reference=broken))
    model_file.save(detector, tmp_path / "m.anomvae")
    assert main(["inspect", str(tmp_path / "m.anomvae")]) == 4
    assert "is corrupt" in capsys.readouterr().err


# --- folders


def fill(folder: Path, days: int = 12) -> None:
    """Small days: from the fifth on a few more gaps, which no day tells by itself."""
    folder.mkdir()
    for i in range(days):
        path = folder / f"{i:02d}.csv"
        orders(path, 40 + i, rows=150)
        if i >= 5:
            with path.open(newline="") as file:
                head, *rows = list(csv.reader(file))
            at = head.index("delivery_days")
            rows = [[*row[:at], "" if j % 7 == 0 else row[at], *row[at + 1 :]] for j, row in enumerate(rows)]
            make_orders.write(path, head, rows)


def judged(out: Path) -> list[tuple[str, str, float, int]]:
    facts = [msgspec.json.decode(p.read_bytes(), type=Manifest) for p in (out / "results").glob("*.manifest.json")]
    facts.sort(key=lambda fact: fact.sequence)
    return [(f.file, f.result.verdict, f.result.drift.p, f.result.drift.files) for f in facts if f.result.drift]


def test_a_run_that_is_broken_off_tells_what_one_run_tells(orders_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in")
    score(tmp_path / "in", tmp_path / "whole", orders_model)
    wanted = judged(tmp_path / "whole")
    assert len(wanted) == 12 and [p for _, _, p, files in wanted if files > 1 and p <= FALSE_ALARMS]
    parts = tmp_path / "parts"
    parts.mkdir()
    for i, path in enumerate(sorted((tmp_path / "in").iterdir())):
        shutil.copy(path, parts / path.name)
        score(parts, tmp_path / "out", orders_model)
        if i == 7:  # the ledger is lost, and rebuilt from the manifests
            for old in (tmp_path / "out").glob("ledger.sqlite*"):
                old.unlink()
    assert judged(tmp_path / "out") == wanted


@pytest.mark.slow
def test_a_killed_watch_tells_the_same_again(orders_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in")
    score(tmp_path / "in", tmp_path / "whole", orders_model)
    for k in (60, 61, 75, 90):  # changes of the disk before which it dies
        watch = Watch(tmp_path / "in", tmp_path / "out", orders_model, "--idle-exit", "1s", fault={"kill": k})
        assert watch.ended(120)[0] == -signal.SIGKILL
    watch = Watch(tmp_path / "in", tmp_path / "out", orders_model, "--idle-exit", "1s")
    code, said, _ = watch.ended(120)
    assert code in (0, 1) and lines(said, "stopped")
    assert judged(tmp_path / "out") == judged(tmp_path / "whole")


def test_another_model_begins_a_new_sequence(orders_model: Path, tmp_path: Path) -> None:
    fill(tmp_path / "in", 9)
    model = Path(shutil.copy(orders_model, tmp_path / "m.anomvae"))
    score(tmp_path / "in", tmp_path / "out", model)
    assert main(["threshold", "set", "--alpha", "0.02", "-m", str(model), "-q"]) == 0
    orders(tmp_path / "in" / "later.csv", 60, rows=150)
    score(tmp_path / "in", tmp_path / "out", model)
    assert judged(tmp_path / "out")[-1][3] == 1
    db = sqlite3.connect(tmp_path / "out" / "ledger.sqlite")
    assert db.execute("SELECT count(*), count(DISTINCT model_id) FROM evidence").fetchone() == (1, 1)
    db.close()


# --- recalibration


def test_recalibrate_makes_what_is_approved_normal(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    model = Path(shutil.copy(orders_model, tmp_path / "m.anomvae"))
    for i in range(8):
        orders(tmp_path / f"{i}.csv", 70 + i, spoil="gaps")
    before = model_file.load(model)
    *approved, last = sorted(tmp_path.glob("?.csv"))
    assert drifts(capsys, model, last)[0].verdict == "drifted"
    capsys.readouterr()
    assert main(["threshold", "recalibrate", *map(str, approved), "-m", str(model), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    after = model_file.load(model)
    assert result["changed"] and result["model_id"] == after.model_id != before.model_id
    assert [one["by"] for one in result["history"]] == ["fit", "recalibrate"]
    assert result["calibration"]["rows"] == 4900 and result["calibration"]["effective_rows"] <= 4900
    assert main(["threshold", "show", "-m", str(model)]) == 0
    assert "4,900 approved rows in" in capsys.readouterr().out
    assert after.calibration.alpha == before.calibration.alpha
    (again,) = drifts(capsys, model, last)
    assert again.verdict == "ok" and told(again) == ""
    assert 0.002 <= again.flagged / again.scored <= 0.03
    assert all(np.array_equal(after.ensemble.vae.arrays[k], v) for k, v in before.ensemble.vae.arrays.items())


def test_recalibrate_warns_of_rows_that_were_trained_on(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    model = Path(shutil.copy(orders_model, tmp_path / "m.anomvae"))
    trained = sorted((Path(make_orders.__file__).parent / "orders").glob("*.csv"))[0]
    assert main(["threshold", "recalibrate", str(trained), "-m", str(model), "--json"]) == 0
    assert "the name of a training file" in json.loads(capsys.readouterr().out)["warnings"][-1]


@pytest.mark.parametrize("rows", [0, 99])
def test_recalibrate_wants_a_hundred_rows(rows: int, orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    model = Path(shutil.copy(orders_model, tmp_path / "m.anomvae"))
    data = model.read_bytes()
    orders(tmp_path / "a.csv", 80, rows=rows)
    assert main(["threshold", "recalibrate", str(tmp_path / "a.csv"), "-m", str(model)]) == 3
    assert f"{rows} rows to calibrate with; at least 100" in capsys.readouterr().err or rows == 0
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    assert main(["threshold", "recalibrate", str(tmp_path / "b.csv"), "-m", str(model)]) == 3
    assert "missing" in capsys.readouterr().err and model.read_bytes() == data


# --- champion and challenger


def fit_new(tmp_path: Path, champion: Path, *more: str) -> int:
    tables = tmp_path / "new"
    if not tables.exists():
        tables.mkdir()
        for i in range(12):
            orders(tables / f"{i:02d}.csv", 90 + i, rows=60)
    return main(["fit", str(tables), "--from", str(champion), "--steps", "20", "--no-generator", *more])


def test_a_challenger_takes_the_champions_choices_and_both_judge_the_same_rows(
    orders_model: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = orders_model.read_bytes()
    capsys.readouterr()
    assert fit_new(tmp_path, orders_model, "--compare", "--alpha", "0.05", "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=FitResult)
    assert result.model == "challenger.anomvae" and orders_model.read_bytes() == data
    left_out = {column.name: column.reason for column in result.columns if not column.modelled}
    assert left_out == {"order_id": "identifier (--id)", "customer": "dropped (--drop)"}
    assert (result.rows_read, result.rows_used) == (720, 660)  # of twelve files the last one is held out
    found = result.comparison
    assert found is not None and found.rows == 60 and found.unreadable == 0
    assert (found.champion.alpha, found.challenger.alpha) == (0.01, 0.05)
    assert found.champion.flagged == found.both + found.champion_only
    assert found.challenger.flagged == found.both + found.challenger_only
    last = tmp_path / "new" / "11.csv"
    for side, model in ((found.champion, orders_model), (found.challenger, tmp_path / "challenger.anomvae")):
        (scored,) = drifts(capsys, model, last)
        assert (side.flagged, side.model_id) == (scored.flagged, scored.model_id)
        assert side.low <= side.rate <= side.high


def test_a_challenger_is_made_as_its_champion_was(tmp_path: Path) -> None:
    for i in range(2):
        orders(tmp_path / f"{i}.csv", i, rows=60)
    files, model = [str(tmp_path / f"{i}.csv") for i in range(2)], tmp_path / "old.anomvae"
    old = FitSettings(hidden=(16,), latent=3, steps=30, beta=0.1, seed=3, generator=False, selftest=False)
    fit(files, model, old, SchemaSettings(id=("order_id",), redact=("customer",)))
    settings, schema = inherited_settings(NamedModel(str(model), model_file.load(model)))
    assert settings == old.read_as(Dialect(delimiter=",", units_lines=0))
    assert (schema.id, schema.redact) == (("order_id",), ("customer",))
    easy = msgspec.structs.replace(old, hidden=None, latent="auto")
    fit(files, model, easy)
    assert inherited_settings(NamedModel(str(model), model_file.load(model)))[0] == easy.read_as(
        Dialect(delimiter=",", units_lines=0)
    )


def test_a_challenger_never_takes_the_champions_place(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    assert fit_new(tmp_path, orders_model, "-o", str(orders_model)) == 2
    assert "is the model of --from" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "new"), "--compare"]) == 2
    assert "--from MODEL" in capsys.readouterr().err


def awkward(path: Path) -> Path:
    """A table of which a column and a value have an ` and ` in their names."""
    rng = np.random.default_rng(5)
    rows = [f"{i % 2},{('a and b > 3', 'c')[i // 2 % 2]},{rng.normal():.3f},{rng.normal():.3f}" for i in range(200)]
    path.write_text("\n".join(["salt and pepper,name,x,y", *rows]) + "\n")
    return path


@pytest.mark.parametrize(
    ("where", "rows"),
    [("salt and pepper == 1", 100), ("name == a and b > 3", 100), ("name != a and b > 3", 100)],
)
def test_a_selection_with_an_and_in_it_is_the_same_again(
    where: str, rows: int, tmp_path: Path, capsys: Captured
) -> None:
    table, model, again = str(awkward(tmp_path / "t.csv")), str(tmp_path / "m"), str(tmp_path / "again")
    fast = ["--steps", "5", "--no-generator", "--no-selftest", "--json"]
    assert main(["fit", table, "--where", where, "-o", model, *fast]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["fit", table, "--from", model, "-o", again, *fast]) == 0
    second = json.loads(capsys.readouterr().out)
    assert (first["rows_used"], first["selection"]) == (rows, where)
    assert (second["rows_used"], second["selection"]) == (rows, where)
    read = read_tables([table], [table], detector=model_file.load(model))
    assert [len(side.columns["x"]) for side in read] == [rows, 200]


def test_a_label_is_left_out_and_selects_again(tmp_path: Path) -> None:
    table, model = awkward(tmp_path / "t.csv"), tmp_path / "m"
    chosen = FitSettings(label="name", normal="a and b > 3", steps=5, generator=False, selftest=False)
    fit([str(table)], model, chosen, SchemaSettings(drop=("salt and pepper",)))
    kept, schema = inherited_settings(NamedModel(str(model), model_file.load(model)))
    assert kept == chosen.read_as(Dialect(delimiter=",", units_lines=0))
    assert schema == SchemaSettings(drop=("salt and pepper",))
    again = fit([str(table)], tmp_path / "again", kept, schema)
    assert again.rows_used == 100 and [column.name for column in again.columns if column.modelled] == ["x", "y"]
