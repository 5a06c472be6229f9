"""What is told about files and fits: warnings as data, and verdicts of files with unreadable rows."""

import json
import warnings
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomvae.cli import main
from anomvae.commands.fit import fit
from anomvae.config import FitSettings, SchemaSettings, ScoreSettings
from anomvae.folder.ledger import Ledger
from anomvae.folder.status import status
from anomvae.model.calibration import rejected_verdict
from anomvae.model.far_off import far_off
from anomvae.model.schema import Column, Schema
from anomvae.records.results import GRAVITY, FileResult
from anomvae.records.sentences import TableWarning, rejection_sentences, table_warning
from anomvae.report.tables import console
from anomvae.report.terminal import fit_report
from anomvae.scoring.batch import Chunk, score_chunk
from anomvae.scoring.file import score
from anomvae.scoring.summary import SummaryBuilder
from anomvae.store import model_file
from anomvae.table import reader
from anomvae.table.typed_reader import TypedReader, dialect_of
from tests.receivers import receiver

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


# --- files with many unreadable rows


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of 400 rows of the small table, of which all could be read."""
    folder = tmp_path_factory.mktemp("told")
    fit([write(folder / "train.csv", csv_rows(3, 400))], folder / "m.anomvae", FAST)
    return str(folder / "m.anomvae")


def with_unreadable(rows: int, unreadable: int, seed: int = 4) -> list[str]:
    """Rows like those of training, of which so many, from the fifth row on, have a word for an amount."""
    lines = csv_rows(seed, rows)
    for i in range(4, 4 + unreadable):
        count, _, code = lines[i].split(",")
        lines[i] = f"{count},unknown,{code}"
    return lines


def judged(model: str, file: str, usual: tuple[int, int] = (0, 400)) -> FileResult:
    """The result of a file, where training had so many unreadable rows beside so many that it used."""
    detector = model_file.load(Path(model))
    assert detector.about is not None
    origin = msgspec.structs.replace(detector.about.origin, rows_rejected=usual[0], rows_used=usual[1])
    known = detector.with_about(msgspec.structs.replace(detector.about, origin=origin))
    return score([file], known, ScoreSettings(threads=1)).files[0]


@pytest.mark.parametrize(
    ("rows", "unreadable", "verdict"),
    [
        (100, 45, "anomalous"),
        (20, 4, "elevated"),  # 20 %, but fewer than 5
        (50, 5, "elevated"),  # 10 %, and not more
        (50, 6, "anomalous"),
        (100, 2, "ok"),  # 2 %, but fewer than 3
        (300, 3, "ok"),  # 1 %, and not more
        (300, 4, "elevated"),
    ],
)
def test_the_share_of_unreadable_rows_decides(
    small_model: str, tmp_path: Path, rows: int, unreadable: int, verdict: str
) -> None:
    result = judged(small_model, write(tmp_path / "a.csv", with_unreadable(rows, unreadable)))
    assert (result.verdict, result.rows, result.rejected) == (verdict, rows, unreadable)
    if verdict == "ok":
        assert result.why == ()
    else:
        (why,) = result.why
        assert (why.count, why.total, why.line, why.error) == (unreadable, rows, 6, "not_a_number")
        assert rejection_sentences(result.why) == (
            f"{unreadable} of {rows} rows cannot be read, in training none; the first is line 6: "
            "column 'amount': 'unknown' is not a number (not_a_number)",
        )


@pytest.mark.parametrize(
    ("unreadable", "usual", "verdict"),
    [
        (5, (8, 392), "ok"),  # 2 % in training: 5 or more of 100 have the chance 0.0508
        (8, (8, 392), "elevated"),  # 8 or more: 0.000932
        (7, (8, 392), "ok"),  # 7 or more: 0.00406
        (12, (40, 360), "anomalous"),  # as usual as it is, a tenth of the rows is lost
    ],
)
def test_as_many_unreadable_rows_as_in_training_are_usual(
    small_model: str, tmp_path: Path, unreadable: int, usual: tuple[int, int], verdict: str
) -> None:
    result = judged(small_model, write(tmp_path / "a.csv", with_unreadable(100, unreadable)), usual)
    assert result.verdict == verdict
    rejected, used = usual
    for why in result.why:
        assert why.usual == pytest.approx(rejected / (used + rejected))


def test_the_fit_keeps_how_many_rows_it_could_not_read(tmp_path: Path) -> None:
    lines = csv_rows(3, 394)
    fit([write(tmp_path / "train.csv", [*lines[:9], *["7,21.0"] * 6, *lines[9:]])], tmp_path / "m.anomvae", FAST)
    detector = model_file.load(tmp_path / "m.anomvae")
    assert detector.about is not None
    origin = detector.about.origin
    assert (origin.rows_read, origin.rows_used, origin.rows_rejected, origin.rejected_share) == (400, 394, 6, 0.015)


def test_a_file_with_many_unreadable_rows_ends_with_one_line_and_exit_1(
    small_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "a.csv", with_unreadable(100, 45))
    assert main(["score", file, "-m", small_model, "-q", "--fail-on", "file"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        f"anomvae: {file}: anomalous: 45 of 100 rows cannot be read, in training none; the first is line 6: "
        "column 'amount': 'unknown' is not a number (not_a_number)\n"
    )
    assert main(["score", file, "-m", small_model, "-q", "--fail-on", "never"]) == 0
    assert main(["score", file, "-m", small_model]) == 1
    assert "ANOMALOUS" in (out := capsys.readouterr().out)
    assert "45 of 100 rows cannot be read" in out


def test_a_folder_tells_a_file_with_many_unreadable_rows(
    small_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out, config = tmp_path / "in", tmp_path / "out", tmp_path / "anomvae.toml"
    folder.mkdir()
    config.write_text('version = 1\n[outlets]\nwebhook = "env:HOOK"\non = "file"\n')
    write(folder / "a.csv", with_unreadable(100, 45))
    write(folder / "b.csv", csv_rows(5, 100))
    options = ["-m", small_model, "-o", str(out), "-c", str(config), "--settle", "0.1s", "-q"]
    with receiver() as hook:
        monkeypatch.setenv("HOOK", hook.url())
        assert main(["score", str(folder), *options]) == 1
        told = [request.message() for request in hook.taken]
    (line,) = capsys.readouterr().err.splitlines()
    assert "anomalous" in line
    assert "45 of 100 rows cannot be read, in training none; the first is line 6" in line
    assert [(one["kind"], one["file"], one["verdict"]) for one in told] == [
        ("found", "a.csv", "anomalous"),
        ("recovered", "b.csv", "ok"),
    ]
    assert told[0]["text"].startswith("45 of 100 rows cannot be read")
    found = status(out)
    assert (found.anomalous, found.rejected) == (1, 45)
    assert {one.file: one.told for one in found.recent}["a.csv"].startswith("45 of 100 rows cannot be read")
    ledger = Ledger(out / "ledger.sqlite", read_only=True)
    try:
        pooled = ledger.evidence(model_file.load(Path(small_model)).model_id, 0.01)
    finally:
        ledger.close()
    assert [one.rows for one in pooled] == [100]  # of b.csv: what is left of a.csv is no fair sample


@given(
    st.integers(1, 400).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(0, rows))),
    st.integers(0, 40),
)
def test_more_unreadable_rows_never_lower_a_verdict(counts: tuple[int, int], usual: int) -> None:
    rows, rejected = counts
    found = [rejected_verdict(rows, some, usual / 400) for some in (rejected, min(rejected + 1, rows))]
    assert GRAVITY.index(found[0]) <= GRAVITY.index(found[1])
    if rejected < 3 or rejected <= 0.01 * rows:
        assert found[0] == "ok"
    if rejected >= 5 and rejected > 0.1 * rows:
        assert found[0] == "anomalous"


# --- columns that are no longer what they were


@pytest.fixture(scope="module")
def sparse_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of the small table with a column that is empty in every row."""
    folder = tmp_path_factory.mktemp("sparse")
    lines = [f"{line},{gap}" for line, gap in zip(csv_rows(6, 400), ["", "NA"] * 200, strict=True)]
    fit([write(folder / "train.csv", lines, "count,amount,code,note")], folder / "m.anomvae", FAST)
    return str(folder / "m.anomvae")


@pytest.mark.parametrize("rows", [200, 9000])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_values_in_a_column_that_was_empty_in_training_are_told(
    sparse_model: str, tmp_path: Path, rows: int, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FAST_FROM", 0)  # the fast parser reads the second block of the longer file
    filled = {20: " late ", 150: "late", rows - 1: "again"}
    lines = [f"{line},{filled.get(i, ['', 'NA', ' null '][i % 3])}" for i, line in enumerate(csv_rows(7, rows))]
    file = write(tmp_path / "new.csv", lines, "count,amount,code,note")
    if suffix == ".parquet":
        table = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False))
        file = str(tmp_path / "new.parquet")
        pyarrow.parquet.write_table(table, file)
    result = score([file], model_file.load(Path(sparse_model)), ScoreSettings(threads=1)).files[0]
    assert result.scored == rows
    assert [text for text in result.warnings if text.startswith("empty_in_training")] == [
        "empty_in_training: column 'note' was empty in training and is left out; here it has 3 values, such as ' late '; "
        "fit again with rows that have it"
    ]


def test_an_empty_column_that_stays_empty_or_is_gone_is_not_told(sparse_model: str, tmp_path: Path) -> None:
    detector = model_file.load(Path(sparse_model))
    still = write(tmp_path / "still.csv", [f"{line}," for line in csv_rows(8, 100)], "count,amount,code,note")
    gone = write(tmp_path / "gone.csv", csv_rows(8, 100))
    for one in score([still, gone], detector, ScoreSettings(threads=1)).files:
        assert one.warnings == ()


def test_a_redacted_empty_column_is_told_without_its_value(tmp_path: Path) -> None:
    header = "count,amount,code,note"
    train = write(tmp_path / "train.csv", [f"{line}," for line in csv_rows(6, 300)], header)
    fit([train], tmp_path / "m.anomvae", FAST, SchemaSettings(redact=("note", "count")))
    lines = [f"{line},secret" for line in csv_rows(7, 100)]
    lines[3] = "41.5,124.5,R,secret"
    detector = model_file.load(tmp_path / "m.anomvae")
    (result,) = score([write(tmp_path / "new.csv", lines, header)], detector, ScoreSettings(threads=1)).files
    told = " ".join(result.warnings)
    assert "column 'note' was empty in training and is left out; here it has 100 values, such as '***'" in told
    assert "column 'count' has decimals 1 times, such as '***'" in told
    assert "secret" not in told
    assert "41.5" not in told


@pytest.mark.parametrize("rows", [200, 9000])
def test_whole_numbers_that_get_decimals_are_told_and_scored_as_they_are(
    small_model: str, tmp_path: Path, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "FAST_FROM", 0)
    lines = csv_rows(9, rows)
    for i, count in ((30, "12.5"), (40, "13.0"), (rows - 1, "7.25")):
        _, amount, code = lines[i].split(",")
        lines[i] = f"{count},{amount},{code}"
    file = write(tmp_path / "new.csv", lines)
    out = tmp_path / "scored.csv"
    (result,) = score([file], model_file.load(Path(small_model)), ScoreSettings(threads=1), str(out)).files
    assert [text for text in result.warnings if text.startswith("new_decimals")] == [
        "new_decimals: column 'count' has decimals 2 times, such as '12.5', in training whole numbers only"
    ]
    assert out.read_text(encoding="utf-8").splitlines()[31].startswith("12.5,")


def test_chunks_of_a_file_tell_the_same_as_the_whole(sparse_model: str, tmp_path: Path) -> None:
    lines = [f"{line},{'x' if i % 50 == 1 else ''}" for i, line in enumerate(csv_rows(7, 300))]
    lines[7] = "5.5,16,R,x"
    file = write(tmp_path / "new.csv", lines, "count,amount,code,note")
    table = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False))
    file = str(tmp_path / "new.parquet")
    pyarrow.parquet.write_table(table, file, row_group_size=100)
    detector = model_file.load(Path(sparse_model))
    whole = score([file], detector, ScoreSettings(threads=1)).files[0]
    typed = TypedReader(file, detector.schema, dialect_of(detector))
    settings = ScoreSettings(threads=1)
    builder = SummaryBuilder(settings.top)
    for line, rows in typed.table.chunks(400):
        chunk = Chunk(
            file=file, settings=settings, names=typed.table.names, positions=typed.positions, suffix="", line=line,
            rows=rows,
        )  # fmt: skip
        for batch in score_chunk(chunk, detector).batches:
            builder.add(batch.counts, batch.flagged)
    told = tuple(map(table_warning, builder.warnings(detector)))
    assert told == whole.warnings
    assert any("here it has 7 values" in text for text in told)
    assert any("has decimals 1 times, such as '5.5'" in text for text in told)


# --- a number that is far off all others


@pytest.mark.parametrize(
    ("cell", "column"), [("1e308", "amount"), ("-1e308", "amount"), ("1e308", "count"), ("1" + "0" * 308, "count")]
)
def test_one_overflowing_cell_of_training_is_told_and_changes_nothing_else(
    tmp_path: Path, cell: str, column: str
) -> None:
    at = ("count", "amount", "code").index(column)
    lines = csv_rows(10, 300)
    strange = lines[:]
    cells = strange[120].split(",")
    cells[at] = cell
    strange[120] = ",".join(cells)
    file = write(tmp_path / "strange.csv", strange)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        found = fit([file], tmp_path / "strange.anomvae", FAST)
    assert abs(found.training.elbo) < 1000
    assert abs(found.calibration.threshold) < 1000
    assert found.rows_used + found.rows_rejected == 300
    told = [table_warning(one) for one in found.warnings if one.error == "far_off"]
    if found.rows_rejected:  # else the cell is a gap mark, which the reasons of the columns tell
        shown_cell = "-1e+308" if cell.startswith("-") else "1e+308"
        assert told == [
            f"{file}:122: rejected_row: column '{column}': {shown_cell} is far off all others (far_off); "
            "the row is left out"
        ]
    schema = model_file.load(tmp_path / "strange.anomvae").schema
    assert [(one.kind, one.digits) for one in schema.columns[:2]] == [("integer", 0), ("numeric", 2)]


@pytest.mark.parametrize("cell", ["1e308", "-1e308", "9" * 308])
def test_an_overflowing_cell_is_flagged_with_a_readable_reason(small_model: str, tmp_path: Path, cell: str) -> None:
    lines = csv_rows(11, 50)
    count, _, code = lines[20].split(",")
    lines[20] = f"{count},{cell},{code}"
    detector = model_file.load(Path(small_model))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        (result,) = score([write(tmp_path / "a.csv", lines)], detector, ScoreSettings(threads=1)).files
    row = result.worst[0]
    assert (row.line, row.critical, row.reasons[0].column) == (22, True, "amount")
    assert np.isfinite([row.score, row.recon, row.kl]).all()
    assert len(row.reasons[0].text) < 200


@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=60, max_size=300),
    st.sampled_from([1e30, -1e30, 1e308, -1e308]),
)
def test_only_what_is_far_off_is_found(values: list[float], strange: float) -> None:
    column = Column(name="x", kind="numeric", modelled=True)
    schema = Schema(columns=(column,))
    numbers = np.array(values)
    spread = np.sort(np.abs(numbers - np.median(numbers)))
    if spread[-1] <= 1e6 * (spread[-3] or max(abs(float(np.median(numbers))), 1.0)):
        assert far_off(schema, {"x": numbers}) == {}
    numbers[7] = strange
    assert far_off(schema, {"x": numbers})[7] == "x"


# --- a folder whose deliveries are all refused


def test_status_is_unhealthy_while_all_new_deliveries_are_refused(
    small_model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    run = ["score", str(folder), "-m", small_model, "-o", str(out), "--settle", "0.1s", "-q"]
    write(folder / "0.csv", csv_rows(12, 60))
    assert main(run) in (0, 1)
    for i, unhealthy in ((1, False), (2, False), (3, True)):  # a log that was rotated: no header any more
        (folder / f"{i}.csv").write_text("\n".join(csv_rows(20 + i, 60)) + "\n", encoding="utf-8")
        assert main(run) == 3
        found = status(out)
        assert found.healthy is not unhealthy
    (told,) = found.problems
    assert told.startswith("the newest 3 deliveries were all refused; the last, 3.csv: ")
    assert "no_header" in told
    assert main(["status", str(out)]) == 1
    assert "the newest 3 deliveries were all refused" in capsys.readouterr().out
    write(folder / "4.csv", csv_rows(30, 60))
    assert main(run) in (0, 1)
    assert status(out).healthy


def test_status_is_unhealthy_where_the_only_delivery_of_a_day_was_refused(small_model: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "1.csv").write_bytes(b"%PDF-1.7 no table\n")
    assert main(["score", str(folder), "-m", small_model, "-o", str(out), "--settle", "0.1s", "-q"]) == 3
    (told,) = status(out).problems
    assert told.startswith("the only delivery of 24 h was refused; the last, 1.csv: ")
