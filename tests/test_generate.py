"""`anomvae generate` as a user meets it: formats, conditions, balance, completion, gate, faults, pictures, bad input."""

import csv
import json
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest

import anomvae
from anomvae.cli import main
from anomvae.config import FitSettings, GenerateSettings, SchemaSettings
from anomvae.store import model_file
from anomvae.synthesis.command import generate
from anomvae.synthesis.privacy_filter import PrivacyFilter
from anomvae.synthesis.records import GenerateResult, Picture
from tests.conftest import SAMPLE
from tests.test_cli import read, run
from tests.test_model_file import rebuilt

EMPLOYEES = SAMPLE / "employees.csv"
COLUMNS = ["ordered_at", "country", "currency", "channel", "product", "quantity", "unit_price", "discount", "amount"]


def rows(model: Path, tmp_path: Path, *flags: str) -> list[dict[str, str]]:
    out = tmp_path / "out.csv"
    assert main(["generate", "-m", str(model), "-o", str(out), "-q", *flags]) == 0
    return read(out)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def employees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("employees") / "m.anomvae"
    anomvae.fit([str(EMPLOYEES)], model, FitSettings(steps=300))
    return model


@pytest.fixture(scope="module")
def ones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("ones") / "ones.anomvae"
    settings = FitSettings(where=("digit == 1",), hidden=(32,), latent=4, steps=200)
    anomvae.fit([str(SAMPLE / "digits.csv")], model, settings, SchemaSettings(drop=("digit",)))
    return model


def test_rows_read_back_by_the_detector_and_are_normal_to_it(orders_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "made.csv"
    assert main(["generate", "-m", str(orders_model), "-n", "2000", "-o", str(out), "-q"]) == 0
    done = run("score", str(out), "-m", str(orders_model), "--json", "--fail-on", "never")
    (file,) = json.loads(done.stdout)["files"]
    assert (file["scored"], file["rejected"]) == (2000, 0)
    assert [warning.split(":")[0] for warning in file["warnings"]] == ["counter_falls"]  # dates are drawn in no order
    assert file["flagged"] < 80  # of 2,000: 20 by design of the threshold, a gate bounds the rest
    assert list(read(out)[0])[:9] == COLUMNS


def test_dependencies_hold_in_every_written_row(orders_model: Path, tmp_path: Path) -> None:
    made = rows(orders_model, tmp_path, "-n", "3000")
    with (SAMPLE / "orders" / "2026-11-03.csv").open(newline="") as file:
        currency = {row["country"]: row["currency"] for row in csv.DictReader(file)}
    for row in made:
        assert row["currency"] == currency[row["country"]]
        whole = int(row["quantity"]) * float(row["unit_price"]) * (1 - float(row["discount"]))
        assert abs(whole - float(row["amount"])) <= 0.00501
        assert len(row["amount"].partition(".")[2]) == 2
        assert len(row["ordered_at"]) == len("2026-11-02T00:00:00")
        assert row["warehouse"] == "north"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_holds_the_same_rows(employees: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"o.{suffix}"
    assert main(["generate", "-m", str(employees), "-n", "30", "-o", str(out), "-q"]) == 0
    made = read(out)
    assert list(made[0]) == ["sex", "age", "city", "income", "job"]
    assert [str(row["age"]) for row in made] == [row["age"] for row in rows(employees, tmp_path, "-n", "30")]
    if suffix != "csv":
        assert isinstance(made[0]["age"], int)
        assert isinstance(made[0]["income"], float)


def test_the_first_rows_are_the_same_however_many_are_asked_for(employees: Path) -> None:
    small = run("generate", "-m", str(employees), "-n", "7", "-q").stdout
    large = run("generate", "-m", str(employees), "-n", "5000", "-q").stdout
    assert large.startswith(small)
    assert len(large.splitlines()) == 5001
    assert run("generate", "-m", str(employees), "-n", "7", "-q").stdout == small
    assert run("generate", "-m", str(employees), "-n", "7", "-q", "--seed", "1").stdout != small


def test_conditions_hold_in_what_is_written(orders_model: Path, tmp_path: Path) -> None:
    flags = [
        "-n", "500", "--where", "currency == SEK", "--where", "amount > 200", "--where", "delivery_days != ",
        "--where", "ordered_at >= 2026-11-05T10:00:00", "--where", "ordered_at < 2026-11-07",
    ]  # fmt: skip
    made = rows(orders_model, tmp_path, *flags)
    assert len(made) == 500
    for row in made:
        assert row["country"] == "SE"
        assert float(row["amount"]) > 200
        assert row["delivery_days"] != ""
        assert "2026-11-05T10:00:00" <= row["ordered_at"] < "2026-11-07"


def test_balance_adds_what_each_class_lacks(employees: Path, tmp_path: Path) -> None:
    with EMPLOYEES.open(newline="") as file:
        sexes = [row["sex"] for row in csv.DictReader(file)]
    made = rows(employees, tmp_path, "--balance", "sex")
    assert {row["sex"] for row in made} == {"F"}
    assert len(made) == sexes.count("M") - sexes.count("F")
    made = rows(employees, tmp_path, "--balance", "sex", "--to", "200", "--where", "job == developer")
    assert [row["sex"] for row in made].count("F") == 200 - sexes.count("F")
    assert {row["job"] for row in made} == {"developer"}


def test_like_keeps_what_a_file_has_filled(orders_model: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.csv"
    given.write_text("currency,product,delivery_days\nSEK,,\n,lamp,3\nEUR,desk,\n" * 30)
    made = rows(orders_model, tmp_path, "--like", str(given))
    assert len(made) == 90
    for i, row in enumerate(made):
        want = [("SEK", None, None), (None, "lamp", "3"), ("EUR", "desk", None)][i % 3]
        found = row["currency"], row["product"], row["delivery_days"]
        assert all(w is None or w == f for w, f in zip(want, found, strict=True))
        assert (row["country"] == "SE") == (row["currency"] == "SEK")
    assert len({row["weight_kg"] for row in made}) > 30


def test_the_gate_lets_no_copy_and_nothing_strange_through(employees: Path) -> None:
    detector = anomvae.load(employees)
    result = generate(detector, 3000, GenerateSettings(temperature=1.5))
    open_ = generate(detector, 3000, GenerateSettings(temperature=1.5, gate=False))
    assert result.unlike > 0
    assert (result.rows, open_.rows, open_.drawn) == (3000, 3000, 3000)
    assert result.drawn == 3000 + result.unlike + result.copies
    assert open_.unlike == open_.copies == 0


def test_the_gate_knows_a_training_row(employees: Path) -> None:
    from anomvae.model.schema import parse

    detector = anomvae.load(employees)
    with EMPLOYEES.open(newline="") as file:
        table = list(csv.DictReader(file))
    schema = detector.schema
    columns = {c.name: parse(c, [row[c.name] for row in table]).values for c in schema.modelled}
    _, copies = PrivacyFilter(detector).find_refused(columns)
    assert copies.all()
    _, copies = PrivacyFilter(detector).find_refused(
        {**columns, "income": np.asarray(columns["income"], dtype=float) + 0.01}
    )
    assert not copies.any()


def test_faults_are_what_their_truth_says(orders_model: Path, tmp_path: Path) -> None:
    spoilt = rows(orders_model, tmp_path, "-n", "2000", "--anomalies", "0.1", "--truth")
    clean = rows(orders_model, tmp_path, "-n", "2000")
    names = list(clean[0])
    kinds = {row["_av_kind"] for row in spoilt}
    assert kinds == {"", "wild", "swap", "unit", "dependency", "category"}
    assert 140 < sum(row["_av_kind"] != "" for row in spoilt) < 260
    for before, after in zip(clean, spoilt, strict=True):
        changed = [name for name in names if before[name] != after[name]]
        assert sorted(changed) == sorted(after["_av_column"].split("|") if after["_av_column"] else [])
    only = rows(orders_model, tmp_path, "-n", "300", "--anomalies", "1", "--kinds", "unit", "--truth")
    assert {row["_av_kind"] for row in only} == {"unit"}


def test_the_detector_finds_wild_values_and_new_categories(orders_model: Path, tmp_path: Path) -> None:
    flags = ["-n", "400", "--anomalies", "0.5", "--kinds", "wild,category", "--truth"]
    made = rows(orders_model, tmp_path, *flags)
    out = tmp_path / "scored.csv"
    main(["score", str(tmp_path / "out.csv"), "-m", str(orders_model), "-o", str(out), "-q"])
    flags_ = [row["_av_flag"] == "true" for row in read(out)]
    found = [flag for flag, row in zip(flags_, made, strict=True) if row["_av_kind"]]
    assert np.mean(found) > 0.9


def test_a_one_is_drawn_beside_a_typical_one(ones: Path) -> None:
    done = run("generate", "-m", str(ones), "-n", "1", "--show")
    assert done.returncode == 0, done.stderr
    assert "a typical training row" in done.stdout
    assert "\x1b" not in done.stdout
    at = next(i for i, line in enumerate(done.stdout.splitlines()) if "synthetic row 1" in line)
    lines = done.stdout.splitlines()[at + 1 : at + 9]
    values = [[int(word) for word in line[:23].split()] for line in lines]
    assert [len(row) for row in values] == [8] * 8
    assert all(0 <= value <= 16 for row in values for value in row)
    assert sum(values[i][3] + values[i][4] for i in range(8)) > 120  # a vertical stroke
    assert "█" in done.stdout


def test_pictures_are_shades_of_the_cells() -> None:
    from anomvae.synthesis.report import picture_cells, picture_shades

    picture = Picture(side=2, cells=("0", "16", "8", "4"), shades=(0.0, 1.0, 0.5, 0.25))
    assert picture_cells(picture).plain == " 0 16\n 8  4"
    assert picture_shades(picture).plain == "  ██\n▒▒░░"


def test_json_is_one_document_of_the_published_schema(ones: Path) -> None:
    done = run("generate", "-m", str(ones), "-n", "2", "--show", "--json")
    result = msgspec.json.decode(done.stdout, type=GenerateResult)
    assert (result.rows, len(result.pictures), done.stderr) == (2, 2, "")
    assert result.typical is not None
    assert len(result.typical.cells) == 64


def test_the_layout_of_the_story_is_64_32_4(ones: Path) -> None:
    generator = anomvae.load(ones).generator
    assert generator is not None
    shapes = [generator.decoder.arrays[f"{name}.weight"].shape for name in ("decoder.0", "output")]
    assert shapes == [(4, 32), (32, 64)]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["-n", "0"], "at least one row"),
        (["-n", "-3"], "at least one row"),
        (["--where", "shoe == 1"], "'shoe'"),
        (["--where", "country == XX"], "never was 'XX'"),
        (["--where", "country"], "OP is one of"),
        (["--where", "amount == 1.005"], "can meet"),
        (["--where", "country == DE", "--where", "currency == SEK"], "never seen together"),
        (["--where", "quantity > 5", "--where", "discount == 0"], "never seen together"),
        (["--where", "country == US", "--where", "delivery_days == 1"], "never seen together"),
        (["--balance", "amount"], "not a column of classes"),
        (["--balance", "shoe"], "no such column"),
        (["--balance", "country", "--to", "many"], "neither 'majority'"),
        (["--balance", "country", "-n", "5"], "--to N"),
        (["--like", "{employees}"], "not in the model"),
        (["--like", "{strange}"], "never was 'XX'"),
        (["--like", "{computed}"], "is computed"),
        (["--like", "{broken}"], "breaks what held"),
        (["--like", "{strange}", "-n", "5"], "goes without"),
        (["--anomalies", "0.1", "--kinds", "silly"], "is no kind of fault"),
        (["--truth"], "goes with --anomalies"),
        (["--anomalies", "2"], "anomalies"),
        (["-o", "x.txt"], ".csv, .jsonl or .parquet"),
        (["--show"], "square images"),
        (["--json", "-o", "-"], "name a file"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    argv: list[str], told: str, orders_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    tables = {
        "strange": "country\nXX\n",
        "computed": "amount\n12.00\n",
        "broken": "country,currency\nDE,SEK\n",
        "employees": EMPLOYEES.read_text(),
    }
    files = {name: tmp_path / f"{name}.csv" for name in tables}
    for name, text in tables.items():
        files[name].write_text(text)
    words = [word.format(**files) if "{" in word else word for word in argv]
    assert main(["generate", "-m", str(orders_model), "-q", *words]) == 2
    err = capsys.readouterr().err
    assert any(part in err for part in told.split("|")), err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert not (tmp_path / "x.txt").exists()


def test_a_model_without_a_generator_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m"
    assert main(["fit", str(EMPLOYEES), "-o", str(model), "--steps", "30", "--no-generator", "-q"]) == 0
    with_one = tmp_path / "g"
    assert main(["fit", str(EMPLOYEES), "-o", str(with_one), "--steps", "30", "-q"]) == 0
    assert main(["generate", "-m", str(model)]) == 2
    assert "no generator" in capsys.readouterr().err
    scores = [anomvae.score([str(EMPLOYEES)], anomvae.load(path)).files[0].worst for path in (model, with_one)]
    assert scores[0] == scores[1]


def test_the_generator_survives_the_file(employees: Path, tmp_path: Path) -> None:
    detector = anomvae.load(employees)
    model_file.save(detector, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == employees.read_bytes()


def changed(data: bytes, **changes: object) -> bytes:
    length = int.from_bytes(data[:8], "little")
    inner = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["anomvae"])
    return rebuilt(data, document={"generator": {**inner["generator"], **changes}})


def overwritten(data: bytes, tensor: str, values: np.ndarray) -> bytes:
    length = int.from_bytes(data[:8], "little")
    at = 8 + length + json.loads(data[8 : 8 + length])[tensor]["data_offsets"][0]
    return data[:at] + values.tobytes() + data[at + values.nbytes :]


BAD = {
    "another latent": lambda data: changed(data, latent=1),
    "no components": lambda data: changed(data, components=0),
    "negative hashes": lambda data: changed(data, hashes=-1),
    "no parts": lambda data: changed(data, parts=[]),
    "unknown parent": lambda data: changed(
        data, dependencies=[{"column": "sex", "parents": ["shoe"], "form": "product"}]
    ),
    "a text level for a number": lambda data: changed(data, key="x"),
    "not finite": lambda data: overwritten(data, "gen.sigma", np.array([np.nan], dtype=np.float32)),
    "falling quantiles": lambda data: overwritten(data, "gen.knots.value", np.array([1e9])),
    "weights": lambda data: overwritten(data, "gen.mixture.weights", np.array([-5.0])),
    "bounds": lambda data: overwritten(data, "gen.knots.bounds", np.array([3], dtype=np.int64)),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_generator_is_refused_in_one_line(
    name: str, employees: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.anomvae"
    path.write_bytes(BAD[name](employees.read_bytes()))
    assert main(["generate", "-m", str(path)]) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1


def test_no_lone_number_of_training_is_in_the_generators_tables(employees: Path) -> None:
    generator = anomvae.load(employees).generator
    assert generator is not None
    with EMPLOYEES.open(newline="") as file:
        incomes = np.array([float(row["income"]) for row in csv.DictReader(file)])
    (j,) = [j for j, part in enumerate(generator.marginals.parts) if part.column == "income"]
    quantiles = generator.marginals.quantiles[j]
    assert quantiles is not None
    assert set(quantiles.value[np.isin(quantiles.value, incomes)]) == {incomes.min(), incomes.max()}
    assert all(a <= b for a, b in pairwise(quantiles.value))
