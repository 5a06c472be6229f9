"""anomvae evaluate: labelled files through the command line, beside figures made by hand from the scored rows."""

import csv
import json
import math
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from anomvae.cli import main
from anomvae.commands.evaluate import MOST, Labels
from anomvae.errors import UsageError
from anomvae.records.results import EvaluateResult
from tests.conftest import numbers

Captured = pytest.CaptureFixture[str]
COLUMNS = ["a", "b", "c", "d", "e"]


def write(path: Path, rows: list[list[str]], *names: str) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*COLUMNS, *names], *rows])
    return str(path)


def table(n: int, seed: int) -> list[list[str]]:
    columns = numbers(n, seed)
    return [["" if math.isnan(columns[c][i]) else f"{columns[c][i]:.4f}" for c in COLUMNS] for i in range(n)]


def labelled(n: int, odd: int, seed: int, words: tuple[str, ...]) -> list[list[str]]:
    """n rows with a last cell words[0], the last `odd` of them spoilt in b and labelled by the other words in turn."""
    rows = table(n, seed)
    for i in range(n - odd, n):
        rows[i][1] = "-3"
    return [[*row, words[0] if i < n - odd else words[1 + i % (len(words) - 1)]] for i, row in enumerate(rows)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("evaluate")
    train = write(folder / "train.csv", table(400, 1))
    model = str(folder / "m.anomvae")
    assert main(["fit", train, "-o", model, "--steps", "300", "--no-generator", "-q"]) == 0
    return model


def judged(capsys: Captured, *argv: str) -> EvaluateResult:
    capsys.readouterr()
    assert main(["evaluate", *argv, "--json"]) == 0
    text = capsys.readouterr().out
    assert json.loads(text)["schema"] == "anomvae.evaluate/1"
    return msgspec.json.decode(text, type=EvaluateResult)


def refused(capsys: Captured, *argv: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["evaluate", *argv])
    return code, capsys.readouterr().err


def test_figures_are_those_of_the_scored_rows(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(500, 40, 2, ("", "wild", "low"))
    for row, clean in zip(rows[-10:], table(10, 3), strict=True):
        row[:-1] = clean  # anomalies that nothing can find
    file = write(tmp_path / "new.csv", rows, "fault")
    result = judged(capsys, file, "--label", "fault", "-m", model)
    main(["score", file, "-m", model, "-o", str(tmp_path / "scored.csv"), "-q"])
    with (tmp_path / "scored.csv").open(newline="") as lines:
        scored = list(csv.DictReader(lines))
    truth = np.array([row["fault"] != "" for row in scored])
    scores = np.array([float(row["_av_score"]) for row in scored])
    flags = np.array([row["_av_flag"] == "true" for row in scored])
    assert result.auroc and result.aupr and result.recall and result.false_alarm_rate and result.precision
    assert result.auroc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert result.aupr.value == pytest.approx(average_precision_score(truth, scores), abs=1e-6)
    assert (result.found, result.false_alarms) == (flags[truth].sum(), flags[~truth].sum())
    assert result.precision.value == flags[truth].sum() / flags.sum()
    assert {one.kind: one.rows for one in result.kinds} == {"wild": 20, "low": 20}
    assert sum(one.flagged for one in result.kinds) == result.found
    assert 28 <= result.found < 40 and result.unlabelled == 0
    assert result.alpha_within == (result.false_alarm_rate.low <= 0.01 <= result.false_alarm_rate.high)
    assert result.rows == result.normal_rows + result.anomalous_rows == 500


def test_the_truth_of_generate_is_a_label_as_it_is(orders_model: Path, tmp_path: Path, capsys: Captured) -> None:
    rows, m = str(tmp_path / "rows.csv"), str(orders_model)
    assert main(["generate", "-m", m, "-n", "600", "--anomalies", "0.1", "--truth", "-o", rows, "-q"]) == 0
    result = judged(capsys, rows, "--label", "_av_kind", "-m", m)
    assert {one.kind for one in result.kinds} == {"wild", "swap", "unit", "dependency", "category"}
    assert result.auroc and result.auroc.low > 0.8
    assert result.normal == ("",) and not result.warnings


def test_alpha_of_this_run_sets_what_is_flagged(model: str, tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "new.csv", labelled(400, 30, 3, ("0", "1")), "y")
    strict, loose = (judged(capsys, file, "--label", "y", "-m", model, "--alpha", a) for a in ("0.0005", "0.3"))
    assert strict.false_alarms < loose.false_alarms and strict.auroc == loose.auroc
    assert strict.estimated and not loose.estimated
    assert (strict.alpha, loose.alpha) == (0.0005, 0.3)


def test_several_files_and_folders_are_one_evaluation(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(300, 30, 4, ("ok", "broken"))
    whole = write(tmp_path / "whole.csv", rows, "state")
    (tmp_path / "parts").mkdir()
    for part in (0, 1):
        write(tmp_path / "parts" / f"{part}.csv", rows[part * 150 : part * 150 + 150], "state")
    one = judged(capsys, whole, "--label", "state", "-m", model)
    parts = judged(capsys, str(tmp_path / "parts"), "--label", "state", "-m", model)
    assert len(parts.files) == 2
    assert (parts.auroc, parts.recall, parts.kinds) == (one.auroc, one.recall, one.kinds)


def test_unreadable_rows_are_rejected_as_score_rejects_them(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(200, 30, 5, ("ok", "broken"))
    rows[3][0], rows[9] = "n/a EUR", rows[9][:3]
    result = judged(capsys, write(tmp_path / "new.csv", rows, "state"), "--label", "state", "-m", model)
    assert (result.rows, result.rejected, result.normal_rows, result.anomalous_rows) == (200, 2, 168, 30)


def test_a_file_that_is_mostly_unreadable_refuses_the_evaluation(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(60, 30, 5, ("ok", "broken"))
    good = write(tmp_path / "good.csv", rows, "state")
    bad = write(tmp_path / "bad.csv", [["x", *row[1:]] if i % 3 else row for i, row in enumerate(rows)], "state")
    code, told = refused(capsys, good, bad, "--label", "state", "-m", model)
    assert code == 3 and "bad.csv" in told and "too_many_bad_rows" in told


def test_rows_without_a_label_are_left_out_and_told(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(200, 30, 6, ("0", "1"))
    for i in range(10):
        rows[i][-1] = ""
    result = judged(capsys, write(tmp_path / "new.csv", rows, "y"), "--label", "y", "-m", model)
    assert (result.unlabelled, result.normal_rows, result.anomalous_rows) == (10, 160, 30)


@pytest.mark.parametrize(("words", "missing"), [(("1", "1"), "normal"), (("0", "0"), "anomalous")])
def test_one_class_is_told_not_scored(
    model: str, tmp_path: Path, capsys: Captured, words: tuple[str, str], missing: str
) -> None:
    file = write(tmp_path / "new.csv", labelled(100, 50, 7, words), "y")
    result = judged(capsys, file, "--label", "y", "-m", model)
    assert (result.auroc, result.aupr, result.precision) == (None, None, None)
    assert (result.recall is None) == (missing == "anomalous")
    assert (result.false_alarm_rate is None) == (missing == "normal")
    assert any(f"no {missing} row" in warning for warning in result.warnings)
    assert main(["evaluate", file, "--label", "y", "-m", model]) == 0
    assert f"no {missing} row" in capsys.readouterr().out


def test_a_table_without_rows_is_told(model: str, tmp_path: Path, capsys: Captured) -> None:
    result = judged(capsys, write(tmp_path / "new.csv", [], "y"), "--label", "y", "-m", model)
    assert (result.rows, result.auroc, result.recall, result.kinds) == (0, None, None, ())


def test_the_report_fits_eighty_columns_and_names_the_figures(model: str, tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "new.csv", labelled(300, 40, 8, ("normal", "wild", "low")), "fault")
    capsys.readouterr()
    assert main(["evaluate", file, "--label", "fault", "-m", model]) == 0
    shown = capsys.readouterr().out
    assert all(len(line) <= 80 for line in shown.splitlines()) and "…" not in shown.split("\n", 1)[1]
    for word in ("AUROC", "AUPR", "recall", "false alarms", "precision", "wild", "low", "of 260; alpha 0.01 is"):
        assert word in shown


def test_a_label_that_the_model_was_shown_is_no_label(model: str, tmp_path: Path, capsys: Captured) -> None:
    code, told = refused(capsys, write(tmp_path / "n.csv", table(9, 1)), "--label", "e", "-m", model)
    assert code == 2 and "the model was shown the label" in told


def test_labels_that_are_not_understood_are_named(model: str, tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "n.csv", labelled(60, 30, 1, ("good", "bad", "ugly")), "y")
    code, told = refused(capsys, file, "--label", "y", "-m", model)
    assert (
        code == 2 and "'good', 'bad', 'ugly'" in told.replace("'ugly', 'bad'", "'bad', 'ugly'") and "--normal" in told
    )
    result = judged(capsys, file, "--label", "y", "--normal", "good", "--normal", "bad", "-m", model)
    assert (result.normal_rows, {one.kind for one in result.kinds}) == (45, {"ugly"})


@pytest.mark.parametrize(
    ("argv", "code", "word"),
    [
        (["{file}"], 2, "--label"),
        (["{file}", "--label", "nope"], 2, "no column 'nope'"),
        (["{file}", "--label", "y", "--alpha", "0.7"], 2, "above 0 and up to 0.5"),
        (["{file}", "--label", "y", "--alpha", "0"], 2, "above 0 and up to 0.5"),
        (["{file}", "--label", "y", "--alpha", "nan"], 2, "above 0 and up to 0.5"),
        (["{file}", "--label", "y", "--normal", "OK"], 2, "did you mean 'ok'"),
        (["{file}", "--label", "y", "--normal", "fine"], 2, "no row of column 'y' has a value of --normal; found: "),
        (["{file}.not", "--label", "y"], 3, "no such file"),
        (["{file}", "--label", "y", "-m", "{file}"], 4, "anomvae"),
    ],
)
def test_bad_input_ends_with_one_line(
    model: str, tmp_path: Path, capsys: Captured, argv: list[str], code: int, word: str
) -> None:
    file = write(tmp_path / "n.csv", labelled(60, 30, 1, ("ok", "bad")), "y")
    given = ["-m", model, *(part.replace("{file}", file) for part in argv)]
    found, told = refused(capsys, *given)
    assert found == code and word in told and told.count("\n") == 1


def test_the_files_own_faults_are_told_before_the_label_is_missed(model: str, tmp_path: Path, capsys: Captured) -> None:
    for text, code, word in (
        ("a;b;c;d;e;y\n1;2;3;4;5;ok\n", 3, "delimiter_mismatch"),
        ("a,b,c,d,y\n1,2,3,4,ok\n", 3, "missing_columns"),
        ("a,b,c,d,e,y,y\n1,2,3,4,5,ok,ok\n", 3, "duplicate_columns"),
        ("a,b,c,d,e\n1,2,3,4,5\n", 2, "only the model's are there"),
    ):
        (tmp_path / "n.csv").write_text(text)
        found, told = refused(capsys, str(tmp_path / "n.csv"), "--label", "y", "-m", model)
        assert found == code and word in told


def test_labels_of_parquet_and_hostile_labels_are_read_as_text(model: str, tmp_path: Path, capsys: Captured) -> None:
    rows = labelled(80, 30, 9, ("ok", "\x1b[31mred", "b" * 300))
    numbers = {name: [float(row[j] or "nan") for row in rows] for j, name in enumerate(COLUMNS)}
    pq.write_table(pa.table({**numbers, "y": [row[-1] for row in rows]}), tmp_path / "n.parquet")
    result = judged(capsys, str(tmp_path / "n.parquet"), "--label", "y", "-m", model)
    assert (result.normal_rows, len(result.kinds)) == (50, 2)
    assert main(["evaluate", str(tmp_path / "n.parquet"), "--label", "y", "-m", model]) == 0
    assert "\x1b" not in capsys.readouterr().out


def understood(values: list[str], *wanted: str) -> tuple[str, ...]:
    labels = Labels("y")
    labels.code(values)
    return labels.normal(wanted)


@pytest.mark.parametrize(
    ("values", "normal"),
    [
        (["0", "1"], ("0",)),
        (["0.0", "1.0", "0"], ("0.0", "0")),
        (["True", "False"], ("False",)),
        (["Normal", "anomaly"], ("Normal",)),
        (["ok", "broken", "late"], ("ok",)),
        (["", "wild", "swap"], ("",)),
        (["", "1"], ("",)),
        (["", "0", "1"], ("0",)),
        (["1"], ()),
        (["0"], ("0",)),
    ],
)
def test_labels_without_doubt_are_understood(values: list[str], normal: tuple[str, ...]) -> None:
    assert understood(values) == normal


@pytest.mark.parametrize(
    "values",
    [["a", "b"], ["0", "1", "2"], ["0", "ok"], ["normal", "ok"], ["wild"], ["", "3", "7"], ["false", "maybe"], ["-1", "1"]],
)  # fmt: skip
def test_labels_in_doubt_are_not(values: list[str]) -> None:
    with pytest.raises(UsageError, match="--normal VALUE"):
        understood(values)


def test_a_told_value_is_compared_as_a_number_where_it_is_one() -> None:
    assert understood(["01", "1"], "1") == ("1",)


def test_a_column_of_ever_new_values_is_no_label() -> None:
    with pytest.raises(UsageError, match="no label column"):
        Labels("id").code([str(i) for i in range(MOST + 1)])
