"""`[schema] redact`: no output shows a cell of these columns, but for the original columns of result rows."""

import json
import sqlite3
from pathlib import Path

import pytest

from anomvae.cli import main
from anomvae.store import model_file
from tests import bad_inputs
from tests.folders import score, table
from tests.receivers import receiver

CELLS = ("9999.00", "Xanadu-7", "77.31")  # a wild amount, an unseen country, an amount that is no number
LABELS = ("DE", "FR")  # known countries: as expected values they tell of other rows


@pytest.fixture(scope="module")
def redacted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("redacted")
    (base / "c.toml").write_text('version = 1\n[schema]\nredact = ["amount", "country", "when"]\n')
    (base / "train.csv").write_text(bad_inputs.text(300, seed=0))
    argv = ["fit", str(base / "train.csv"), "-c", str(base / "c.toml"), "-o", str(base / "m.anomvae"), "--steps", "30"]
    assert main([*argv, "-q"]) == 0
    return base / "m.anomvae"


def spoilt() -> bytes:
    """Rows that are flagged, and one that cannot be read, by cells of masked columns."""
    lines = table(20, 1).decode().splitlines()
    lines[3] = lines[3].replace(",XX,", ",Xanadu-7,")
    lines[5] = "2026-03-06,n/a 77.31 EUR,500,DE,true"
    return ("\n".join(lines) + "\n").encode()


def assert_masked(text: str, what: str) -> None:
    for cell in CELLS:
        assert cell not in text, what
    for label in LABELS:
        assert f"expected {label}" not in text, what
        assert f'"{label}"' not in text, what


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_no_output_of_a_folder_shows_a_masked_cell(
    redacted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.csv").write_bytes(spoilt())
    (folder / "b.csv").write_bytes(b'when,amount,count,country,express\n2026-03-06,77.31,5,"Xanadu-7,true\n')
    config = tmp_path / "c.toml"
    config.write_text('version = 1\n[outlets]\nwebhook = "env:HOOK"\n')
    with receiver() as hook:
        monkeypatch.setenv("HOOK", hook.url())
        command = ["score", str(folder), "-o", str(out), "-m", str(redacted), "-c", str(config), "--settle", "0.02s"]
        assert main([*command, "--format", kind, "--json"]) == 3
        said = "".join(capsys.readouterr())
        assert_masked(said, "--json")
        assert "amount ***" in said
        assert "column 'country' has '***' 1 times" in said
        assert "a cell cannot be read as numeric (redacted)" in said
        assert len(hook.taken) == 2
        for request in hook.taken:
            assert_masked(request.body.decode(), "message")
    assert score(folder, out, redacted) == 0
    assert main(["status", str(out)]) == 0
    assert_masked("".join(capsys.readouterr()), "status")
    for path in (*out.glob("*.json*"), *out.glob("*/*.json")):
        assert_masked(path.read_text(), path.name)
    page = tmp_path / "page.html"
    assert main(["report", str(out), "-m", str(redacted), "-o", str(page), "-q"]) == 0
    assert_masked(page.read_text(), "page")
    assert not [label for label in LABELS if f">{label}" in page.read_text()]
    db = sqlite3.connect(out / "ledger.sqlite")
    assert_masked("\n".join(db.iterdump()), "ledger")
    db.close()
    (result,) = (path for path in (out / "results").glob(f"*.{kind}"))
    rows = result.read_text().splitlines()
    assert any("9999.00" in row and "Xanadu-7" in row for row in rows)  # the original columns, unchanged
    if kind == "jsonl":
        reasons = [json.loads(row)["_av_reasons"] for row in rows if "9999.00" in row]
        assert_masked(json.dumps(reasons), "reasons")
        assert reasons[0]


def test_no_report_of_a_file_or_a_row_shows_a_masked_cell(
    redacted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(spoilt())
    for command in (["score", str(path)], ["explain", f"{path}:4"], ["inspect"]):
        for more in ([], ["--json"]):
            named = [str(redacted)] if command == ["inspect"] else ["-m", str(redacted)]
            assert main([*command, *named, *more]) in (0, 1)
            said = "".join(capsys.readouterr())
            assert_masked(said, command[0])
            assert "amount" in said
    assert main(["explain", f"{path}:6", "-m", str(redacted)]) == 3
    told = capsys.readouterr().err
    assert "column 'amount': a cell cannot be read as numeric (redacted)" in told


def test_ranges_and_constants_of_masked_columns_stay_out_of_the_fit_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text('version = 1\n[schema]\nredact = ["amount", "site", "country"]\n')
    lines = bad_inputs.text(100, seed=0).splitlines()
    rows = [lines[0] + ",site", *(f"{line},Xanadu-7" for line in lines[1:])]
    rows[5] = rows[5].replace(rows[5].split(",")[1], "n/a 77.31")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    argv = ["fit", str(tmp_path / "t.csv"), "-c", str(tmp_path / "c.toml"), "-o", str(tmp_path / "m"), "--steps", "5"]
    assert main([*argv, "--json"]) == 0
    out = capsys.readouterr().out
    assert_masked(out, "fit")
    columns = {one["name"]: one for one in json.loads(out)["columns"]}
    assert (columns["amount"]["low"], columns["amount"]["high"]) == (None, None)
    assert columns["count"]["low"] is not None
    assert columns["site"]["reason"] == "constant: a change is surprising"


def test_a_file_to_complete_is_refused_without_its_cell(
    redacted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "like.csv").write_text("country\nXanadu-7\n")
    assert main(["generate", "-m", str(redacted), "--like", str(tmp_path / "like.csv")]) == 2
    told = capsys.readouterr().err
    assert "like.csv:2: column 'country' never was '***' in training" in told
    assert_masked(told, "generate")


def test_scores_are_the_same_and_an_unknown_column_is_refused(
    redacted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = bad_inputs.model(tmp_path)
    masked, shown = model_file.load(redacted), model_file.load(plain)
    assert masked.schema.redacted == {"amount", "country", "when"}
    assert shown.schema.redacted == frozenset()
    assert (masked.calibration.scores == shown.calibration.scores).all()
    (tmp_path / "c.toml").write_text('version = 1\n[schema]\nredact = ["emial"]\n')
    assert main(["fit", str(tmp_path / "train.csv"), "-c", str(tmp_path / "c.toml"), "-o", str(tmp_path / "x")]) == 2
    assert "column 'emial' of" in capsys.readouterr().err
