"""What docs/formats.md names is in real output: results, records of --json, and the files of an output folder."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from safetensors import safe_open

from anomvae.cli import main
from tests.conftest import ROOT, SAMPLE

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
DAY = SAMPLE / "incoming" / "2026-11-12.csv"


def named(table: str) -> list[str]:
    """The first column of a table of the page."""
    block = re.search(rf"<!-- table: {table} -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert block, table
    return re.findall(r"^\| `([^`]+)`", block[1], re.MULTILINE)


@pytest.fixture(scope="module")
def out(orders_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder with a result, alerts and a refused file."""
    folder = tmp_path_factory.mktemp("formats")
    (folder / "in").mkdir()
    (folder / "in" / DAY.name).write_bytes(DAY.read_bytes())
    (folder / "in" / "broken.csv").write_bytes(b"%PDF-1.7 no table at all\n")
    options = ["-m", str(orders_model), "-o", str(folder / "out"), "-q", "--settle", "0.1s"]
    assert main(["score", str(folder / "in"), *options]) == 3
    return folder / "out"


def keys(text: str) -> list[str]:
    document: dict[str, Any] = json.loads(text)
    return list(document)


def test_columns_of_results(orders_model: Path, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        main(["score", str(DAY), "-m", str(orders_model), "-q", "-o", str(tmp_path / f"o.{suffix}")])
    original = DAY.read_text(encoding="utf-8").splitlines()[0].split(",")
    expected = [*original, *named("columns")]
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == expected
    assert pyarrow.parquet.read_schema(tmp_path / "o.parquet").names == expected
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(rows[0]) == expected
    flagged = next(row for row in rows if row["_av_flag"])
    assert list(flagged["_av_reasons"][0]) == named("reasons")


def test_files_of_an_output_folder(out: Path) -> None:
    manifest, reason = next(out.glob("results/*.manifest.json")), next(out.glob("quarantine/*.reason.json"))
    assert keys(manifest.read_text(encoding="utf-8")) == named("manifest")
    assert keys(reason.read_text(encoding="utf-8")) == named("quarantined")
    assert keys((out / "health.json").read_text(encoding="utf-8")) == named("health")
    assert keys((out / "alerts.jsonl").read_text(encoding="utf-8").splitlines()[0]) == named("row")


def test_the_document_of_a_model(orders_model: Path) -> None:
    with safe_open(orders_model, "np") as file:
        assert keys(file.metadata()["anomvae"]) == named("document")


def test_every_schema_that_a_command_prints_is_in_the_table(
    out: Path, orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["-m", str(orders_model), "--json"]
    found = set()
    for arguments in (
        ["score", str(DAY), *model],
        ["generate", "-n", "2", "-o", str(tmp_path / "made.csv"), *model],
        ["threshold", "show", *model],
        ["explain", f"{DAY}:41", *model],
        ["inspect", str(orders_model), "--json"],
        ["status", str(out), "--json"],
        ["report", str(out), "-o", str(tmp_path / "page.html"), "--json"],
        ["inspect", "nothing.anomvae", "--json"],
    ):
        main(arguments)
        found.add(json.loads(capsys.readouterr().out)["schema"])
    assert len(found) == 8
    assert found <= set(named("kinds"))


@pytest.mark.parametrize(("word", "rejected"), [("NA", 0), ("-", 1)])
def test_a_word_for_a_gap_is_one_in_a_number(
    word: str, rejected: int, orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (SAMPLE / "incoming" / "2026-11-10.csv").read_text(encoding="utf-8").splitlines()[:60]
    at = lines[0].split(",").index("weight_kg")
    cells = lines[5].split(",")
    cells[at] = word
    (tmp_path / "in.csv").write_text("\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n", encoding="utf-8")
    main(["score", str(tmp_path / "in.csv"), "-m", str(orders_model), "--json"])
    assert json.loads(capsys.readouterr().out)["rejected"] == rejected
