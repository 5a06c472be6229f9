"""What is told about files and fits: warnings as data, and verdicts of files with unreadable rows."""

import json
from pathlib import Path

import numpy as np
import pytest

from anomvae.cli import main
from anomvae.commands.fit import fit
from anomvae.config import FitSettings
from anomvae.records.sentences import TableWarning, table_warning
from anomvae.report.terminal import console, fit_report

FAST = FitSettings(steps=300, generator=False, selftest=False)


def csv_rows(seed: int, rows: int) -> list[str]:
    """Lines of a small table: a whole number, an amount that follows it, and one of three codes."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 60, rows)
    amounts = counts * 3 + rng.normal(0, 1, rows)
    return [f"{n},{a:.2f},{'RGB'[n % 3]}" for n, a in zip(counts, amounts, strict=True)]


def write(path: Path, lines: list[str], header: str = "count,amount,code") -> str:
    """A CSV file of these lines."""
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def test_warnings_of_a_fit_are_records_with_their_place(tmp_path: Path) -> None:
    lines = csv_rows(1, 300)
    lines[41] = "7,many,R"  # the header is line 1
    lines[99] = "7,21.0"
    file = write(tmp_path / "train.csv", lines)
    result = fit([file], tmp_path / "m.anomvae", FAST)
    rejected = {one.line: one for one in result.warnings if one.code == "rejected_row"}
    assert {line: (one.error, one.file) for line, one in rejected.items()} == {
        43: ("not_a_number", file),
        101: ("row_width", file),
    }
    assert rejected[43].column == "amount"
    assert table_warning(rejected[43]).startswith(f"{file}:43: rejected_row: ")
    shown = console(width=200)
    with shown.capture() as text:
        shown.print(fit_report(result))
    assert f"! {file}:43: rejected_row: column 'amount': 'many' is not a number" in text.get()


def test_fit_prints_warnings_as_objects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "train.csv", csv_rows(2, 200))
    options = ["--alpha", "0.001", "--steps", "200", "--no-generator", "--no-selftest", "--json"]
    assert main(["fit", file, "-o", str(tmp_path / "m"), *options]) == 0
    told = json.loads(capsys.readouterr().out)["warnings"]
    assert {"code": "alpha_estimated", "total": 200, "alpha": 0.001} in told
    warning = TableWarning(code="alpha_estimated", total=200, alpha=0.001)
    assert table_warning(warning) == (
        "alpha_estimated: 200 rows support alpha 0.00498 by counting; "
        "alpha 0.001 rests on a tail estimate, without a guarantee"
    )
