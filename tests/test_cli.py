"""The command line as a stranger meets it: real files, exit codes, streams, JSON, precedence."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from anomvae.cli import main
from anomvae.records.results import FitResult, ScoreResult
from tests.conftest import ROOT, SAMPLE
from tests.fits import SESSION
from tests.transcripts import WIDTH

INCOMING = SAMPLE / "incoming"
DIGITS = SAMPLE / "digits.csv"
BARE = ["--no-generator", "--no-selftest"]  # for fits of which only the detector matters
BARE = ["--no-generator", "--no-selftest"]  # for fits of which only the detector matters


def run(*argv: str, text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "anomvae", *argv]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, env={**os.environ, **env})


def truth(name: str) -> set[int]:
    with (SAMPLE / "incoming.truth.csv").open(newline="") as file:
        return {int(row["line"]) for row in csv.DictReader(file) if row["file"] == name}


def test_the_orders_story_finds_its_faults(orders_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [str(INCOMING / f"2026-11-{day}.csv") for day in (10, 11, 12)]
    assert main(["score", *files, "-m", str(orders_model), "-o", str(out), "-q"]) == 1
    found = 0
    for name in ("2026-11-11.csv", "2026-11-12.csv"):
        with (out / name.replace(".csv", ".scored.csv")).open(newline="") as file:
            flagged = {int(row["_av_line"]) for row in csv.DictReader(file) if row["_av_flag"] == "true"}
        found += len(flagged & truth(name))
        assert len(flagged - truth(name)) <= 12
    assert found >= 20  # of 24; the four that only break a relation between columns are hard


def test_a_clean_day_passes(orders_model: Path) -> None:
    assert main(["score", str(INCOMING / "2026-11-10.csv"), "-m", str(orders_model), "-q"]) == 0


def test_json_is_one_document_of_the_published_schema(orders_model: Path) -> None:
    done = run("score", str(INCOMING / "2026-11-12.csv"), "-m", str(orders_model), "--json")
    result = msgspec.json.decode(done.stdout, type=ScoreResult)
    assert json.loads(done.stdout)["schema"] == "anomvae.score/1"
    assert (done.returncode, done.stderr) == (1, "")
    assert result.rows == result.scored + result.rejected == 397
    assert [bad.code for bad in result.files[0].rejects] == ["row_width", "not_a_number"]
    assert [bad.line for bad in result.files[0].rejects] == [207, 304]


def test_published_schemas_are_current() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    from make_schemas import schemas  # type: ignore[import-not-found]

    assert (ROOT / "docs" / "schemas.json").read_text() == schemas()


def test_rows_go_through_a_pipe(orders_model: Path) -> None:
    text = (INCOMING / "2026-11-12.csv").read_text()
    done = run("score", "-", "-m", str(orders_model), "-o", "-", text=text)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert len(rows) == 395
    assert "ANOMALOUS" in done.stderr
    broken = run("score", "-", "-m", str(orders_model), "-o", "-", text=text + '"open\n')
    assert (broken.returncode, broken.stdout) == (3, "")


def test_a_reader_that_leaves_early_is_no_error(orders_model: Path) -> None:
    command = f"{sys.executable} -m anomvae score {INCOMING}/2026-11-12.csv -m {orders_model} -o - -q | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] in ("0", "1")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_holds_the_same_rows(orders_model: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"o.{suffix}"
    source = INCOMING / "2026-11-11.csv"
    assert main(["score", str(source), "-m", str(orders_model), "-o", str(out), "-q", "--emit", "flagged"]) == 1
    rows = read(out)
    assert len({int(row["_av_line"]) for row in rows} & truth(source.name)) >= 9  # of 10
    with source.open(newline="") as file:
        originals = list(csv.reader(file))
    for row in rows:
        assert list(row.values())[:15] == originals[int(row["_av_line"]) - 1]
        assert row["_av_reasons"]


def read(path: Path) -> list[dict[str, object]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_parquet_comes_in_as_csv_does(orders_model: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = INCOMING / "2026-11-11.csv"
    with source.open(newline="") as file:
        header, *rows = csv.reader(file)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    table = {name: [cell or None for cell in cells] for name, cells in columns.items()}
    table["amount"] = [float(cell) for cell in columns["amount"]]  # type: ignore[misc]
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    results = []
    for path in (source, tmp_path / "in.parquet"):
        main(["score", str(path), "-m", str(orders_model), "-o", str(tmp_path / "o.jsonl"), "-q"])
        results.append([row["_av_score"] for row in read(tmp_path / "o.jsonl")])
    assert results[0] == results[1]


@pytest.mark.slow
def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f'train = ["{SAMPLE / "employees.csv"}"]\nmodel = "{tmp_path / "m"}"\n[fit]\nsteps = 21\nseed = 3\nbatch = 64\n'
    )
    done = run("fit", "-c", str(config), "--json", *BARE, "--steps", "23", ANOMVAE_FIT_SEED="4", ANOMVAE_FIT_STEPS="22")
    result = msgspec.json.decode(done.stdout, type=FitResult)
    assert (result.training.steps, result.training.seed) == (23, 4)


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["nonsense"], 2, "there is no command 'nonsense'"),
        (["fit"], 2, "no training file"),
        (["fit", "nowhere.csv"], 3, "nowhere.csv"),
        (["fit", "{employees}", "--where", "sex"], 2, "OP is one of"),
        (["fit", "{employees}", "--where", "sex == X"], 3, "no row meets"),
        (["fit", "{employees}", "--where", "shoe == 1"], 2, "shoe"),
        (["fit", "{employees}", "--drop", "shoe"], 2, "shoe"),
        (["fit", "{employees}", "--hidden", "a"], 2, "--hidden"),
        (["fit", "{employees}", "--alpha", "2"], 2, "alpha"),
        (["fit", "{employees}", "--max-time", "soon"], 2, "duration"),
        (["fit", "{employees}", "--lr", "1e30", "--steps", "200"], 3, "diverged"),
        (["fit", "{employees}", "--where", "age > 59"], 3, "at least 20"),
        (["score", "{employees}", "-m", "nowhere.anomvae"], 4, "no such model"),
        (["score", "{employees}", "-m", "{model}"], 3, "more are missing"),
        (["score", "nowhere.csv", "-m", "{model}"], 3, "no such file"),
        (["score", "{incoming}", "-m", "{model}", "-o", "x.txt"], 2, ".csv, .jsonl or .parquet"),
        (["score", "{incoming}", "{incoming}", "-m", "{model}", "-o", "out"], 2, "both write"),
        (["score", "{incoming}", "-m", "{model}", "-o", "{incoming}"], 2, "replace the input"),
        (["score", "{incoming}", "-m", "{model}", "--fail-on", "x"], 2, "fail-on"),
        (["inspect", "{incoming}"], 4, "not an anomvae model"),
    ],
)
def test_what_goes_wrong_is_told_in_one_line(
    argv: list[str], code: int, told: str, orders_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {"employees": SAMPLE / "employees.csv", "model": orders_model, "incoming": INCOMING / "2026-11-10.csv"}
    assert main([word.format(**names) for word in argv] + ["-q"] * (argv[0] != "nonsense")) == code
    err = capsys.readouterr().err
    assert told in err
    assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_constant_tables_and_single_columns_end_clearly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "same.csv").write_text("a,b\n" + "1,x\n" * 50)
    assert main(["fit", str(tmp_path / "same.csv"), "-o", str(tmp_path / "m")]) == 3
    assert "every column is constant" in capsys.readouterr().err
    values = np.random.default_rng(0).normal(size=200)
    (tmp_path / "one.csv").write_text("a\n" + "".join(f"{value:.3f}\n" for value in values))
    assert main(["fit", str(tmp_path / "one.csv"), "-o", str(tmp_path / "m"), "-q"]) == 0
    (tmp_path / "far.csv").write_text("a\n99\n0.1\n")
    assert main(["score", str(tmp_path / "far.csv"), "-m", str(tmp_path / "m"), "-q"]) == 1


@pytest.mark.slow
def test_collapse_is_said_loudly(tmp_path: Path) -> None:
    done = run("fit", str(SAMPLE / "employees.csv"), "-o", str(tmp_path / "m"), "--beta", "1000", *BARE, "-q")
    assert done.returncode == 0
    assert "posterior_collapse" in done.stderr


@pytest.mark.slow
def test_max_time_ends_training_early_and_says_so(tmp_path: Path) -> None:
    done = run(
        "fit",
        str(DIGITS),
        "--drop",
        "digit",
        "-o",
        str(tmp_path / "m"),
        "--max-time",
        "1s",
        "--steps",
        "90000",
        *BARE,
        "--json",
    )
    result = msgspec.json.decode(done.stdout, type=FitResult)
    assert result.training.steps < result.training.steps_planned == 90_000
    assert [(one.count, one.total) for one in result.warnings if one.code == "max_time"] == [
        (result.training.steps, 90_000)
    ]


@pytest.mark.slow
def test_labels_select_normal_rows_and_stay_unseen(tmp_path: Path) -> None:
    labels = ["--label", "digit", "--normal", "1"]
    done = run("fit", str(DIGITS), *labels, "-o", str(tmp_path / "m"), "--steps", "20", *BARE, "--json")
    result = msgspec.json.decode(done.stdout, type=FitResult)
    assert result.rows_used == 182
    assert [column.reason for column in result.columns if not column.modelled] == ["the label"]


def test_a_dialect_is_kept_in_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"Zürich;{value:.2f}".replace(".", ",") for value in rng.normal(100, 9, 200)]
    table = tmp_path / "t.csv"
    table.write_text("made by a till\nort;preis\n" + "\n".join(rows) + "\n", encoding="cp1252")
    flags = ["--delimiter", ";", "--decimal", ",", "--encoding", "cp1252", "--skip-lines", "1"]
    assert main(["fit", str(table), *flags, "-o", str(tmp_path / "m"), "--steps", "30", "-q"]) == 0
    table.write_text("made by a till\nort;preis\nZürich;100,50\nZürich;9000,00\nBern;x\n", encoding="cp1252")
    done = run("score", str(table), "-m", str(tmp_path / "m"), "--json")
    (one,) = msgspec.json.decode(done.stdout, type=ScoreResult).files
    assert [row.line for row in one.worst] == [4]
    assert [bad.line for bad in one.rejects] == [5]


def test_output_is_plain_without_a_terminal_and_under_no_color(orders_model: Path) -> None:
    done = run("score", str(INCOMING / "2026-11-12.csv"), "-m", str(orders_model), NO_COLOR="1")
    assert "\x1b" not in done.stdout
    forced = run(
        "score", str(INCOMING / "2026-11-12.csv"), "-m", str(orders_model), FORCE_COLOR="1", TERM="xterm-256color"
    )
    assert "\x1b[" in forced.stdout


def test_spreadsheets_cannot_run_cells(orders_model: Path, tmp_path: Path) -> None:
    text = (INCOMING / "2026-11-10.csv").read_text().replace("A-", "=A-", 1)
    (tmp_path / "in.csv").write_text(text)
    for flags, start in (([], "=A-"), (["--spreadsheet-safe"], "'=A-")):
        main(["score", str(tmp_path / "in.csv"), "-m", str(orders_model), "-o", str(tmp_path / "o.csv"), "-q", *flags])
        assert read(tmp_path / "o.csv")[0]["order_id"].startswith(start)  # type: ignore[attr-defined]


def demo(story: str, fits: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tests.fits", "demo", story]
    env = {**os.environ, "COLUMNS": WIDTH, SESSION: str(fits)}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "Threshold" in done.stdout
    assert "flagged" in done.stdout
    return done


@pytest.mark.slow
def test_the_demo_tells_the_story_of_the_orders(fits: Path) -> None:
    demo("orders", fits)


@pytest.mark.slow
def test_the_demo_tells_the_story_of_the_digits(fits: Path) -> None:
    digits = demo("digits", fits).stdout
    for told in ("most typical of the 182 ones", "VAE 64-32-[4,4]-4-32-64", "synthetic row 1", "1 synthetic row "):
        assert told in digits


@pytest.mark.slow
def test_the_demo_tells_the_story_of_the_employees(fits: Path) -> None:
    employees = demo("employees", fits)
    assert "sex == F" in employees.stderr
    made = [line.split(",") for line in employees.stdout.splitlines() if line.startswith("F,")]
    assert len(made) == 10
    assert sum(line[4] == "developer" for line in made) >= 5


@pytest.mark.slow
def test_the_readme_digits_command_trains_on_389_rows(tmp_path: Path) -> None:
    table = ROOT.parent / "shared" / "data" / "optdigits_train.csv"
    if not table.is_file():
        pytest.skip("the full UCI training file is not part of the project")
    flags = ["--where", "digit == 1", "--drop", "digit", "--hidden", "32", "--latent", "4"]
    done = run("fit", str(table), *flags, "-o", str(tmp_path / "m"))
    assert "Trained on 389 rows where digit == 1 of 3,823 read" in done.stdout
    assert "VAE 64-32-[4,4]-4-32-64" in done.stdout
