"""explain: what is told of one row is what scoring it says, and a line that is not there is told in one line."""

import gzip
import io
import json
import unicodedata
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anomvae.cli import main
from anomvae.commands.explain import explain, parse_place
from anomvae.errors import DataError, UsageError
from anomvae.model.detector import Detector
from anomvae.model.explain import explain_row
from anomvae.records.results import ExplainResult, ScoreResult
from anomvae.report.explain import explain_report
from anomvae.report.sanitize import HARMFUL
from anomvae.store import model_file
from anomvae.training.fit_detector import FittedDetector
from tests.conftest import SAMPLE, numbers

DAY = SAMPLE / "incoming" / "2026-11-12.csv"
HEADER = DAY.read_text().splitlines()[0]
ROW = DAY.read_text().splitlines()[1]


@pytest.fixture(scope="module")
def detector(orders_model: Path) -> Detector:
    return model_file.load(orders_model)


def drawn(result: ExplainResult, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False).print(explain_report(result))
    return out.getvalue()


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(["explain", *argv])
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return code, err


def test_a_row_has_the_figures_that_score_gives_it(
    orders_model: Path, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["score", str(DAY), "-m", str(orders_model), "--json"])
    worst = msgspec.json.decode(capsys.readouterr().out, type=ScoreResult).files[0].worst
    found = explain([f"{DAY}:{row.line}" for row in worst], detector)
    assert [row.line for row in found.rows] == [row.line for row in worst]
    for explained, scored in zip(found.rows, worst, strict=True):
        assert (explained.score, explained.p, explained.recon, explained.kl) == (
            scored.score,
            scored.p,
            scored.recon,
            scored.kl,
        )
        assert explained.flagged
        assert explained.columns[0].column == scored.reasons[0].column
        assert (explained.columns[0].expected, explained.columns[0].share) == (
            scored.reasons[0].expected,
            scored.reasons[0].share,
        )


def test_the_largest_view_is_the_score_and_deviances_add_up_to_recon(detector: Detector) -> None:
    for row in explain([f"{DAY}:{line}" for line in (2, 41, 64, 172, 223)], detector).rows:
        terms = row.terms
        views = (terms.whole, terms.worst, terms.latent, terms.place, terms.hidden)
        known = row.score - terms.unseen
        assert max(views) <= known + 1e-9  # every member counts with its own largest, so their mean is no smaller
        assert known < max(views) + 3
        assert terms.unseen > -1e-9
        assert sum(part.deviance for part in row.columns) == pytest.approx(row.recon)
        assert sum(part.share for part in row.columns) == pytest.approx(1, abs=1e-3)
        assert {part.column for part in row.columns} == set(detector.columns)
        inside = row.latent.low <= row.latent.kl <= row.latent.high
        assert inside == (row.latent.state == "usual")


def test_making_the_change_gives_the_score_that_was_told(detector: Detector, tmp_path: Path) -> None:
    """The promise is checked by writing the changed row into a file and explaining that."""
    lines = DAY.read_text().splitlines()
    names = HEADER.split(",")
    checked = 0
    for line in (41, 64, 151, 197, 223):
        change = explain([f"{DAY}:{line}"], detector).rows[0].changes[-1]
        cells = lines[line - 1].split(",")
        for one in change.cells:
            assert cells[names.index(one.column)] == one.value
            cells[names.index(one.column)] = one.expected
        file = tmp_path / f"{line}.csv"
        file.write_text("\n".join([*lines[: line - 1], ",".join(cells)]) + "\n")
        again = explain([f"{file}:{line}"], detector).rows[0]
        assert again.score == pytest.approx(change.score, rel=1e-9)
        assert again.flagged != change.suffices
        checked += change.suffices
    assert checked >= 4


def test_a_row_that_is_not_flagged_needs_no_change(detector: Detector) -> None:
    row = explain([f"{DAY}:2"], detector).rows[0]
    assert not row.flagged
    assert row.changes == ()


def test_where_one_change_does_not_suffice_two_are_told(small: FittedDetector) -> None:
    columns = {name: values[:1].copy() for name, values in numbers(20, seed=9).items()}
    columns["d"][0], columns["e"][0] = 60.0, -80.0
    encoded = small.detector.encode(columns)
    row = explain_row(small.detector, encoded, [str(values[0]) for values in columns.values()])
    one, two = row.changes
    assert (len(one.cells), len(two.cells)) == (1, 2)
    assert not one.suffices
    assert one.p <= small.detector.calibration.alpha
    assert two.score < one.score
    assert {cell.column for cell in two.cells} >= {"e"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), st.booleans())
def test_a_change_never_raises_what_the_best_one_promises(
    small: FittedDetector, values: list[float], gap: bool
) -> None:
    columns = {name: np.array([value]) for name, value in zip("abcde", values, strict=True)}
    if gap:
        columns["a"] = np.array([np.nan])
    row = explain_row(small.detector, small.detector.encode(columns), ["x"] * 5)
    assert bool(row.decision.flagged[0]) == bool(row.changes)
    assert all(np.isfinite([change.score, change.p]).all() for change in row.changes)
    assert all(change.suffices == (change.p > small.detector.calibration.alpha) for change in row.changes)
    assert len(row.changes) < 2 or not row.changes[0].suffices
    assert all(np.isfinite(part.surprise) and part.deviance >= 0 for part in row.columns)


def test_several_rows_come_in_the_order_asked_for(detector: Detector) -> None:
    rows = explain([f"{DAY}:64", f"{DAY}:2", f"{DAY}:64"], detector).rows
    assert [row.line for row in rows] == [64, 2, 64]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_every_format_and_a_colon_in_the_name(detector: Detector, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a:b{suffix}"
    lines = DAY.read_text().splitlines()
    if suffix == ".parquet":
        from pyarrow import csv, parquet

        plain = tmp_path / "plain.csv"
        plain.write_text("\n".join(lines[:41]) + "\n")
        parquet.write_table(csv.read_csv(plain), file)
    else:
        text = ("\n".join(lines[:41]) + "\n").encode()
        file.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    row = explain([f"{file}:41"], detector).rows[0]
    assert row.score == pytest.approx(explain([f"{DAY}:41"], detector).rows[0].score)


@pytest.mark.parametrize(
    ("where", "code", "text"),
    [
        (f"{DAY}:900", 2, f"{DAY} has lines 2-398; 900 is not one."),
        (f"{DAY}:0", 2, f"{DAY} has lines 2-398; 0 is not one."),
        (f"{DAY}:1", 2, f"{DAY}:1 is the header; rows begin at line 2."),
        (f"{DAY}:207", 3, f"{DAY}:207: this row is rejected: 9 fields where the header has 15 [row_width]"),
        (f"{DAY}:304", 3, "column 'amount': 'n/a EUR' is not a number [not_a_number]"),
        (f"{DAY}", 2, "is not FILE:LINE, for example orders.csv:17"),
        (f"{DAY}:x", 2, "is not FILE:LINE, for example orders.csv:17"),
        ("nowhere.csv:3", 3, "nowhere.csv: cannot be read (no such file) [unreadable]"),
    ],
)
def test_bad_places_are_one_clear_line(
    orders_model: Path, capsys: pytest.CaptureFixture[str], where: str, code: int, text: str
) -> None:
    found, err = told(capsys, where, "-m", str(orders_model))
    assert found == code
    assert text in err


def test_lines_inside_a_quoted_record_and_blank_lines(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    cells = ROW.split(",")
    cells[0] = '"A\r\nB\nC"'
    file.write_bytes(f"{HEADER}\n{ROW}\n{','.join(cells)}\n\n{ROW}\n{ROW}".encode())
    assert [row.line for row in explain([f"{file}:3", f"{file}:7", f"{file}:8"], detector).rows] == [3, 7, 8]
    for line in (4, 5):
        with pytest.raises(UsageError, match=f":{line} lies inside a record that starts at line 3"):
            explain([f"{file}:{line}"], detector)
    with pytest.raises(UsageError, match=":6 is blank"):
        explain([f"{file}:6"], detector)
    with pytest.raises(UsageError, match="has lines 2-8; 9 is not one"):
        explain([f"{file}:9"], detector)


def test_a_file_without_rows_and_a_rejected_record_of_two_lines(detector: Detector, tmp_path: Path) -> None:
    empty, bad = tmp_path / "empty.csv", tmp_path / "bad.csv"
    empty.write_text(HEADER + "\n")
    with pytest.raises(UsageError, match="has no rows; 2 is not one"):
        explain([f"{empty}:2"], detector)
    bad.write_text(f'{HEADER}\n{ROW}\n"a\nb",c\n{ROW}\n{ROW}\n')
    with pytest.raises(DataError, match="2 fields where the header has 15"):
        explain([f"{bad}:3"], detector)
    with pytest.raises(UsageError, match="inside a rejected record"):
        explain([f"{bad}:4"], detector)
    assert explain([f"{bad}:5"], detector).rows[0].line == 5


def test_the_file_is_read_no_further_than_the_last_line_asked_for(detector: Detector, tmp_path: Path) -> None:
    file = tmp_path / "long.csv"
    file.write_bytes(f"{HEADER}\n".encode() + f"{ROW}\n".encode() * 20_000 + b"\xff\xff\n")
    assert explain([f"{file}:5"], detector).rows[0].line == 5
    with pytest.raises(DataError, match="is not utf-8"):
        explain([f"{file}:20002"], detector)


@given(st.text(min_size=1), st.integers(0, 10**12))
def test_the_last_colon_splits(file: str, line: int) -> None:
    assert parse_place(f"{file}:{line}") == (file, line)


def test_json_and_quiet(orders_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", f"{DAY}:41", "-m", str(orders_model), "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["schema"] == "anomvae.explain/1"
    assert msgspec.json.decode(text, type=ExplainResult).rows[0].line == 41
    assert main(["explain", f"{DAY}:41", "-m", str(orders_model), "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert told(capsys, "-m", str(orders_model))[0] == 2


def test_the_report_fits_80_columns_and_names_culprit_and_change(detector: Detector) -> None:
    text = drawn(explain([f"{DAY}:41"], detector))
    assert max(map(len, text.splitlines())) <= 80
    body = text.splitlines()
    assert "FLAGGED" in body[0]
    assert "the largest counts: " in text
    assert next(line for line in body if line.startswith("amount")).split()[1] == "31595.00"
    assert "One change: amount 31595.00 ->" in text


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "\u202eabc", "a\nb\r\tc", "\udcff", "[red]x[/red]", "x" * 5000])
def test_hostile_cells_are_harmless(detector: Detector, hostile: str) -> None:
    found = explain([f"{DAY}:41"], detector)
    text = msgspec.json.encode(found).decode()
    assert "31595.00" in text
    rows = [
        msgspec.structs.replace(
            row,
            file=hostile,
            columns=tuple(
                msgspec.structs.replace(part, column=hostile, value=hostile, expected=hostile) for part in row.columns
            ),
            changes=tuple(
                msgspec.structs.replace(
                    change,
                    cells=tuple(
                        msgspec.structs.replace(one, column=hostile, value=hostile, expected=hostile)
                        for one in change.cells
                    ),
                )
                for change in row.changes
            ),
        )
        for row in found.rows
    ]
    shown = drawn(msgspec.structs.replace(found, rows=tuple(rows), warnings=(hostile,)))
    assert not [char for char in shown if unicodedata.category(char) in HARMFUL and char != "\n"]
    assert len(shown) < 20_000
