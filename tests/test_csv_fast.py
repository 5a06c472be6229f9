"""The fast parser against the strict reader: the same rows, values, line numbers and rejects, or no answer at all."""

import csv
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomvae.config import Dialect
from anomvae.errors import DataError
from anomvae.formats import open_writer, suffixes
from anomvae.model.date_format import DateFormat
from anomvae.model.number_format import Affix, NumberFormat
from anomvae.model.schema import NO_VALUES, Column, Schema
from anomvae.records.results import Reason
from anomvae.table import csv_decode, reader
from anomvae.table.csv_fast import FastCsvParser, UnquotedRows
from anomvae.table.typed_reader import TypedReader
from anomvae.table.writer import ScoredRows, number_texts, scored_columns

NEVER = 1 << 60
LONG = "id" * 2100  # the first 4 KiB are one block whatever the size of a read: the header fills it
NAMES = ["n", LONG, "i", "c", "d", "b"]
SCHEMA = Schema(
    columns=(
        Column(name="n", kind="numeric", modelled=True),
        Column(name=LONG, kind="ignore", modelled=False, reason=NO_VALUES),
        Column(name="i", kind="integer", modelled=True),
        Column(name="c", kind="categorical", modelled=True),
        Column(name="d", kind="datetime", modelled=True, dates=(DateFormat(pattern="iso"),)),
        Column(name="b", kind="boolean", modelled=True),
    )
)
NUMBERS = ["1", "-2.5", "+.5", "5.", "1e5", "1E-320", "00012", "", "NA", "nan", "0.1234567890123456789", " 7 ", " "]
ODD_NUMBERS = [
    "1_000",
    "\uff11",
    "inf",
    "-Infinity",
    "-nan",
    "nan(1)",
    "1e999",
    "0x10",
    "1,5",
    "\t1",
    "1\xa0",
    "1e",
    "x",
]
TEXTS = ["", "a", "NA", "b c", " a", "é", "\u2028", "\x1c", "'", "#", "\ufeff", "n"]
DATES = [
    "2024-01-02",
    "2024-01-02T03:04:05",
    "2024-01-02 03:04:05.25Z",
    "",
    "2024-02-30",
    "02/01/2024",
    "2024-01-02 03",
]
BOOLEANS = ["true", "F", "yes", "", "maybe", "1", " true"]
HOSTILE = ["", " ", "\t", '"', '""', ",", "1,2", '"a"b', "\0", "x" * 50, ",".join(NAMES), ",".join(NAMES[:3])]

plain_row = st.tuples(
    *(st.sampled_from(cells) for cells in (NUMBERS, TEXTS, NUMBERS, TEXTS[:6], DATES[:4], BOOLEANS[:4]))
)
odd_row = st.tuples(
    *(st.sampled_from(cells) for cells in (NUMBERS + ODD_NUMBERS, TEXTS, NUMBERS, TEXTS, DATES, BOOLEANS))
)
quoted_row = st.tuples(*(st.sampled_from([*TEXTS, "two\nlines", "a,b", 'say "hi"']) for _ in NAMES))
ends = st.sampled_from(["\n"] * 30 + ["\r\n", "\r", "\n\n"])
line = st.one_of(
    *[plain_row.map(",".join)] * 12,
    odd_row.map(",".join),
    quoted_row.map(lambda cells: _quoted(cells)),
    st.sampled_from(HOSTILE),
)
bodies = st.lists(st.tuples(line, ends).map("".join), max_size=60).map("".join)


def _quoted(cells: tuple[str, ...]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def read(path: Path, schema: Schema = SCHEMA) -> tuple[object, list[bool]]:
    """All that a file says, or why it is refused; and which batches the fast parser has read."""
    shortcuts: list[bool] = []
    try:
        typed = TypedReader(str(path), schema, Dialect())
        rows: list[object] = []
        filled: dict[str, tuple[int, str]] = {}
        for batch in typed.batches():
            shortcuts.append(isinstance(batch.rows, UnquotedRows))
            for name, cells in batch.filled.items():
                count, first = filled.get(name, (0, cells.first))
                filled[name] = count + cells.count, first
            for i, number in enumerate(batch.lines):
                rows.append((number, batch.rows[i], [_value(values[i]) for values in batch.columns.values()]))
        table = typed.table
    except DataError as error:
        return (error.code, error.message, error.line), shortcuts
    rejects = sorted((bad.line, bad.code, bad.message, bad.column or "") for bad in table.rejects)
    return (rows, filled, rejects, table.rows, table.rejected, table.lines, table.sha256, table.warnings), shortcuts


def _value(value: object) -> object:
    return value if isinstance(value, str) else np.float64(value).tobytes()  # bits: NaN and -0.0 count


def both(data: bytes, monkeypatch: pytest.MonkeyPatch, chunk: int, *, schema: Schema = SCHEMA) -> list[bool]:
    monkeypatch.setattr(csv_decode, "CHUNK", chunk)
    monkeypatch.setattr(reader, "PEEK", 2)
    monkeypatch.setattr(reader, "BATCH_ROWS", 7)
    handle, name = tempfile.mkstemp(suffix=".csv")
    os.close(handle)
    path = Path(name)
    try:
        path.write_bytes(data)
        monkeypatch.setattr(reader, "FAST_FROM", NEVER)
        strict, none = read(path, schema)
        monkeypatch.setattr(reader, "FAST_FROM", 0)
        found, shortcuts = read(path, schema)
    finally:
        path.unlink()
    assert not any(none)
    assert found == strict
    return shortcuts


@settings(max_examples=300, deadline=None)
@example(body="1,x,2,a,2024-01-02,true\n" * 20 + "1,x,2,a\n" + "1,x,2,a,2024-01-02,true\n" * 20, chunk=64)
@example(body="1,x,2,a,2024-01-02,true\n" * 9 + '1,"two\nlines",2,a,,\n' + "1,x,2,a,,\n" * 20, chunk=32)
@example(body="1,x,2,a,,\n" * 9 + ",".join(NAMES) + "\n" + "1,x,2,a,,\n" * 20, chunk=32)
@given(body=bodies, chunk=st.sampled_from([16, 64, 256, 4096]))
def test_both_paths_read_the_same_rows_rejects_and_lines(body: str, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        both((",".join(NAMES) + "\n" + body).encode(), monkeypatch, chunk)


looks_like_a_number = st.text(st.sampled_from("0123456789+-.eE_ nNaAiIfFxX\t\uff11"), max_size=6)


@settings(max_examples=300, deadline=None)
@given(cells=st.lists(st.one_of(*[st.sampled_from(NUMBERS)] * 9, looks_like_a_number), min_size=8, max_size=40))
@example(cells=["1"] * 9 + ["\t1"] + ["1"] * 9)
def test_both_paths_agree_on_any_cell_that_looks_like_a_number(cells: list[str]) -> None:
    schema = Schema(columns=(Column(name="n", kind="numeric", modelled=True),))
    with pytest.MonkeyPatch.context() as monkeypatch:
        both((f"n,{LONG}\n" + "".join(f"{cell},\n" for cell in cells)).encode(), monkeypatch, 16, schema=schema)


@settings(max_examples=100, deadline=None)
@given(cells=st.lists(st.sampled_from([*["a", "b", "c,d"] * 5, LONG, "\ufeffa", "", " "]), min_size=8, max_size=40))
@example(cells=["a"] * 9 + [LONG] + ["a"] * 9)
@example(cells=["aaaaaaaaaaaaaaa"] * 9 + ["\ufeffa"] * 20)
def test_both_paths_agree_on_a_column_of_text(cells: list[str]) -> None:
    schema = Schema(columns=(Column(name=LONG, kind="categorical", modelled=True),))
    with pytest.MonkeyPatch.context() as monkeypatch:
        both("".join(f"{cell}\n" for cell in [LONG, *cells]).encode(), monkeypatch, 16, schema=schema)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_both_paths_agree_on_any_bytes(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        both((",".join(NAMES) + "\n").encode() + data, monkeypatch, 32)


def test_plain_text_takes_the_shortcut(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{i}.25,key{i},{i},é,2024-01-02T03:04:{i % 60:02},yes\n" for i in range(300))
    shortcuts = both((",".join(NAMES) + "\n" + rows).encode(), monkeypatch, 1024)
    assert sum(shortcuts) > 0.8 * len(shortcuts)


def test_a_short_file_never_loads_arrow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text(",".join(NAMES) + "\n" + "1,x,2,a,2024-01-02,true\n" * 1000)
    monkeypatch.setattr(FastCsvParser, "parse", None)  # would fail if it were asked
    found, shortcuts = read(path)
    assert not any(shortcuts)
    monkeypatch.setattr(reader, "FAST_FROM", NEVER)
    assert found == read(path)[0]


@settings(max_examples=300, deadline=None)
@given(numbers=st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=5), max_size=9))
@example(numbers=[[1e-5, 9.9e-5, 1e-4, 1e16, 0.0], [1.0, 12.3, 123456789.125, 10.00001, -0.0]])
def test_numbers_are_written_as_repr_writes_them(numbers: list[list[float]]) -> None:
    assert number_texts(numbers) == [",".join(map(repr, row)) for row in numbers]


@pytest.mark.parametrize("suffix", suffixes())
@pytest.mark.parametrize("guarded", [(), (1,)])
def test_unquoted_rows_are_written_as_split_ones(suffix: str, guarded: tuple[int, ...]) -> None:
    why = Reason(column="a,b", share=0.5, value="7", expected="3", low="1", high="5", text="a,b 7, expected 3 (1 to 5)")
    plain = UnquotedRows(["1.50,=x,", " 2,é\u2028,b", "7,,c"], ",")
    files = []
    for cells in (plain, [plain[i] for i in range(3)]):
        file = io.BytesIO()
        writer = open_writer(file, suffix, scored_columns(["a,b", "t", "u"], guarded))
        numbers = [[0.5, 2.0, 1e-7, 0.25, 6.0], [3.0] * 5, [9.5, 1.0, 0.1, 1e-05, 50.0]]
        writer.write(ScoredRows(cells, [2, 3, 4], numbers, [False, False, True], {2: (why,)}))
        writer.close()
        files.append(file.getvalue())
    assert files[0] == files[1]
    assert suffix != ".csv" or b'\n7,,c,4,9.5,1.0,0.1,1e-05,50.0,true,"a,b","a,b:0.50"\n' in files[0]


SPELT = Schema(
    columns=(
        Column(
            name="m",
            kind="numeric",
            modelled=True,
            number=NumberFormat(thousands="'", affix=Affix("$"), negative="parentheses", digits=2),
            marks=("usual",),
        ),
        Column(name="g", kind="numeric", modelled=True, marks=("usual", "pending"), gaps=("pending", "-999")),
        Column(name="l", kind="numeric", modelled=True, marks=("usual", "<")),
        Column(name="d", kind="datetime", modelled=True, dates=(DateFormat(pattern="%d/%m/%Y"),), marks=("usual", "-")),
        Column(name="t", kind="counter", modelled=True, counter=True),
    )
)
SPELLINGS = (
    ["$5", "($1'234.50)", "$1'234", "$.50", "$12.00"],
    ["7", "pending", "-999", "#N/A", "", "0.25"],
    ["<0.05", "> 100", "3.2", "<= 4", ""],
    ["31/12/2025", "1/2/2026", "-", "0000-00-00", ""],
    ["1", "2", "10", "", "9"],
)
ODD_SPELLINGS = ("5 EUR", "$1'23", "(5)", "N/A", "31/02/2026", "1e5", "< x", "\u22125", "?", "x", "1 000", "2026-01-02")
spelt_row = st.tuples(*(st.sampled_from([*usual * 4, *ODD_SPELLINGS]) for usual in SPELLINGS)).map(",".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(spelt_row, min_size=1, max_size=60))
def test_both_paths_agree_on_every_spelling(rows: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        both("\n".join(["m,g,l,d,t", *rows, ""]).encode(), patch, 4096, schema=SPELT)


def test_spellings_are_read_by_the_fast_path() -> None:
    rows = [",".join(cells[i % len(cells)] for cells in SPELLINGS) for i in range(400)]
    with pytest.MonkeyPatch.context() as patch:
        assert any(both("\n".join(["m,g,l,d,t", *rows, ""]).encode(), patch, 4096, schema=SPELT))
