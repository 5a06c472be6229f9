"""Every bad input ends as the catalogue says, with its reason, its line, and every row accounted for."""

import csv
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anomvae.cli import main
from tests import bad_inputs
from tests.bad_inputs import CASES, GOOD, Case


def scored(path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    out = path.with_name("out.csv")
    code = main(["score", str(path), "-m", str(model), "-o", str(out), "--json", "--fail-on", "never"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.number)
def test_the_catalogue(case: Case, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"in{case.suffix}"
    path.write_bytes(case.data())
    code, result = scored(path, model, capsys)
    if case.state == "refused":
        (refused,) = result["refused"]
        assert (code, refused["code"], refused["exit_code"]) == (3, case.code, 3)
        assert case.line is None or refused["line"] == case.line
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        return
    assert code == 0, result
    (one,) = result["files"]
    assert one["rows"] == one["scored"] + one["rejected"]
    if case.state == "rejected":
        assert [(bad["code"], bad["line"]) for bad in one["rejects"]] == [(case.code, case.line)]
        assert one["rejected"] == 1
    else:
        assert (one["rejected"], one["scored"]) == (0, case.rows)
        codes = [warning.partition(":")[0] for warning in one["warnings"]]
        assert case.code in codes if case.code else set(codes) <= {"missing_value", "unseen_category"}
    check_output(tmp_path / "out.csv", one["scored"])


def check_output(path: Path, rows: int) -> None:
    """As many rows as were scored, each with all its columns."""
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file, strict=True))
    assert len(table) == rows + 1
    assert {len(row) for row in table} == {len(table[0])}


def test_original_cells_and_lines_come_back_unchanged(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(bad_inputs.with_cell(8, 3, '" =1+1, ""x""\nz"'))
    assert scored(path, model, capsys)[0] == 0
    with path.open(newline="", encoding="utf-8") as before, (tmp_path / "out.csv").open(newline="") as after:
        originals, rows = list(csv.reader(before)), list(csv.reader(after))
    assert [row[:5] for row in rows] == originals
    assert [int(row[5]) for row in rows[1:]] == [*range(2, 9), *range(10, 43)]


def test_a_near_name_is_suggested(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(bad_inputs.header(bad_inputs.HEADER.replace("amount", "Amount ")))
    _, result = scored(path, model, capsys)
    assert "did you mean 'Amount '" in result["refused"][0]["message"]


def test_bad_rows_can_refuse_the_file(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(bad_inputs.with_cell(8, 1, "5kg"))
    assert main(["score", str(path), "-m", str(model), "--bad-rows", "quarantine", "-q"]) == 3


def test_extra_columns_can_refuse_the_file(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(bad_inputs.each(lambda row: row + ",x"))
    assert main(["score", str(path), "-m", str(model), "--on-schema", "strict", "-q"]) == 3


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(-1, 255)), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_ends_in_one_known_state(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: list[tuple[int, int]]
) -> None:
    data = bytearray(GOOD.encode())
    for at, byte in sorted(damage, reverse=True):
        data[at : at + 1] = b"" if byte < 0 else bytes([byte])
    path = tmp_path / "in.csv"
    path.write_bytes(bytes(data))
    code, result = scored(path, model, capsys)
    assert code in (0, 3)
    assert len(result["files"]) + len(result["refused"]) == 1
    assert all(one["rows"] == one["scored"] + one["rejected"] for one in result["files"])
