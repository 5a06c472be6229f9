"""Shapes of text files: what stands around the rows is skipped and told, and no row is lost or moved."""

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.cli import main
from anomvae.config import Dialect, FitSettings, read_config
from anomvae.errors import DataError, UsageError
from anomvae.model.schema import Column, Schema
from anomvae.records.sentences import TableWarning, table_warning
from anomvae.table import csv_decode, reader
from anomvae.table.csv_decode import PhysicalLines, ResumePoint
from anomvae.table.header_search import find_delimiter
from anomvae.table.reader import TableReader
from anomvae.table.training_rows import read_training_table
from anomvae.table.typed_reader import TypedReader

MILL = "batch,weight,moisture\n"
MILL_ROWS = [f"B{i},{20 + i * 0.25:.2f},{11.5 - i * 0.1:.1f}\n" for i in range(12)]


def write(folder: Path, text: str, name: str = "in.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return str(folder / name)


class Read:
    """A file that was read to its end."""

    def __init__(self, path: str, needed: tuple[str, ...] = (), dialect: Dialect | None = None, **more: object) -> None:
        self.table = TableReader(path, dialect or Dialect(), needed=needed, **more)  # type: ignore[arg-type]
        self.rows: list[list[str]] = []
        self.lines: list[int] = []
        for batch in self.table.batches():
            self.rows += list(batch.rows)
            self.lines += list(batch.lines)
        assert self.table.rows == len(self.rows) + self.table.rejected

    @property
    def told(self) -> dict[str, tuple[int, int]]:
        """Count and first line of every warning, by its code."""
        return {warning.code: (warning.count, warning.line) for warning in self.table.warnings}

    @property
    def rejects(self) -> list[tuple[int, str]]:
        return [(bad.line, bad.code) for bad in self.table.rejects]


def split(lines: list[str], delimiter: str = ",") -> list[list[str]]:
    return [line.rstrip("\n").split(delimiter) for line in lines]


# --- the delimiter ---


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str, tmp_path: Path) -> None:
    text = MILL + "".join(MILL_ROWS)
    found = Read(write(tmp_path, text.replace(",", delimiter)))
    assert found.table.dialect.delimiter == delimiter
    assert (found.table.names, found.rows) == (["batch", "weight", "moisture"], split(MILL_ROWS))
    assert list(found.told) == ([] if delimiter == "," else ["delimiter_found"])


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("day;cost;tax\n1;2,50;0,48\n2;3,10;0,59\n3;4,00;0,76\n", ";"),  # as many commas as semicolons in every row
        ("name;note\nA;one, two, three\nB;four\nC;five, six\n", ";"),
        ("name,note\nA,x;y\nB,x;y\nC,x;y\n", ","),
        ("a|b,c|d\n1|2,3|4\n5|6,7|8\n", ","),  # both fit: the comma
        ('a;b\n"1;2";3\n"4;5";6\n', ";"),
        ("temperature\n1.5\n2.5\n3.5\n", ","),
        ("temperature\n1,5\n2,5\n3,5\n", ","),  # a column of decimal commas is no table of two columns
        ("Report of May, all mills\nx;y\n1;2\n3;4\n5;6\n", ";"),
        ("", ","),
    ],
)
def test_the_delimiter_is_the_one_that_makes_a_table(text: str, delimiter: str) -> None:
    assert find_delimiter(text.splitlines(keepends=True)) == delimiter


def test_a_later_training_file_with_another_delimiter_is_refused(tmp_path: Path) -> None:
    text = MILL + "".join(MILL_ROWS)
    files = [write(tmp_path, text.replace(",", ";"), "a.csv"), write(tmp_path, text, "b.csv")]
    with pytest.raises(DataError, match="split by a comma, not by ';'") as refused:
        read_training_table(files, FitSettings(), ())
    assert (refused.value.code, refused.value.file) == ("delimiter_mismatch", files[1])


def test_what_was_found_goes_with_the_model(tmp_path: Path) -> None:
    text = "batch;weight;moisture\n;kg;%\n" + "".join(MILL_ROWS).replace(",", ";")
    table = read_training_table([write(tmp_path, text)], FitSettings(), ())
    assert (table.dialect.delimiter, table.dialect.units_lines, table.dialect.skip_lines) == (";", 1, "auto")
    assert FitSettings(alpha=0.05).read_as(table.dialect).dialect() == table.dialect


@pytest.mark.parametrize("value", ["ab", "", "\n"])
def test_a_delimiter_is_one_character(value: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f"[fit]\ndelimiter = {value!r}\n".replace("'", '"'))
    with pytest.raises(UsageError, match="must be 'auto', or one character"):
        read_config(tmp_path / "c.toml")


# --- lines before the header ---

PREAMBLES = {
    "a title": ["Mill report, week 7\n"],
    "a title and a blank line": ["Mill report\n", "\n"],
    "keys and values": ["Station: North\n", "Operator: J. Doe\n", "Export: 2026-03-01 10:00\n", "\n"],
    "keys and values in cells": ["Station:,North,\n", "Export:,2026-03-01,\n"],
    "a title padded to the width of the table": ["Mill report,,\n", ",,\n"],
    "comments": ["# exported by mill 2.1\n", "// do not edit, please\n"],
    "groups of columns": [",scales,,\n".replace(",,\n", ",\n")],
}


@pytest.mark.parametrize("before", PREAMBLES.values(), ids=PREAMBLES)
@pytest.mark.parametrize("needed", [(), ("weight", "moisture")], ids=["fit", "score"])
def test_lines_before_the_header_are_skipped_and_told(
    before: list[str], needed: tuple[str, ...], tmp_path: Path
) -> None:
    found = Read(write(tmp_path, "".join([*before, MILL, *MILL_ROWS])), needed)
    assert (found.table.names, found.table.header_line) == (["batch", "weight", "moisture"], len(before) + 1)
    assert found.rows == split(MILL_ROWS)
    assert found.lines == list(range(len(before) + 2, len(before) + 14))
    assert sum(count for count, _ in found.told.values()) == sum(any(c not in ",\n" for c in line) for line in before)
    assert {line for _, line in found.told.values()} == {1}


def test_skip_lines_overrules_the_search(tmp_path: Path) -> None:
    path = write(tmp_path, "Mill report\nk,v,w\n" + MILL + "".join(MILL_ROWS))
    assert Read(path, dialect=Dialect(skip_lines=1)).table.names == ["k", "v", "w"]
    found = Read(path, dialect=Dialect(skip_lines=2))
    assert (found.table.names, found.table.header_line, found.lines[0]) == (["batch", "weight", "moisture"], 3, 4)
    assert found.told == {}


def test_rows_before_the_header_are_never_skipped(tmp_path: Path) -> None:
    text = "".join(MILL_ROWS[:3]) + MILL + "".join(MILL_ROWS[3:])
    with pytest.raises(DataError, match="rows stand before the header, which is in line 4") as refused:
        TableReader(write(tmp_path, text), Dialect(), needed=["batch", "weight"])
    assert (refused.value.code, refused.value.line) == ("no_header", 1)
    with pytest.raises(DataError) as refused:
        read_training_table([write(tmp_path, text)], FitSettings(), ())
    assert refused.value.code == "no_header"


@pytest.mark.parametrize("row", ["1,2,x\n", "1,2\n"])
def test_values_of_any_width_are_no_preamble(row: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        TableReader(write(tmp_path, row + MILL + "".join(MILL_ROWS)), Dialect(), needed=["batch", "weight"])
    assert refused.value.code == "no_header"


def test_a_header_without_the_name_of_its_first_column_is_refused(tmp_path: Path) -> None:
    for rows in ("r1,x,y\nr2,u,v\nr3,s,t\n", "1,x,5\n2,y,6\n3,z,7\n"):
        found = TableReader(write(tmp_path, "name,kind\n" + rows), Dialect())
        assert found.names == ["name", "kind"]
        with pytest.raises(DataError) as refused:
            list(found.batches())
        assert refused.value.code == "width_mismatch_all"


def test_a_commented_header_is_a_header(tmp_path: Path) -> None:
    found = Read(write(tmp_path, "# x,y\n1.5,2.5\n2.5,3.5\n1.0,4.5\n"))
    assert (found.table.names, len(found.rows), found.told) == (["# x", "y"], 3, {})


# --- lines under the header ---


@pytest.mark.parametrize(
    "units",
    [
        [",kg,%\n"],
        [",(kg),(%)\n"],
        ["-,[kg],[°C]\n"],
        ["object,float64,float64\n"],
        ["VARCHAR(10),DOUBLE,\n"],
        [",Kilogramm,Prozent\n"],  # not a known unit, but in both columns that hold numbers
        [",kg,%\n", ",Avg,Smp\n"],
    ],
)
def test_lines_of_units_are_skipped_and_told(units: list[str], tmp_path: Path) -> None:
    text = "".join([MILL, *units, *MILL_ROWS])
    fitted = Read(write(tmp_path, text))
    assert (fitted.rows, fitted.lines[0]) == (split(MILL_ROWS), 2 + len(units))
    assert fitted.told == {"units_lines": (len(units), 2)}
    assert fitted.table.dialect.units_lines == len(units)
    again = Read(write(tmp_path, text), ("weight", "moisture"), fitted.table.dialect)
    assert (again.rows, again.told) == (fitted.rows, fitted.told)
    without = Read(write(tmp_path, MILL + "".join(MILL_ROWS)), ("weight", "moisture"), fitted.table.dialect)
    assert (without.rows, without.told) == (fitted.rows, {})


def test_a_model_of_a_table_without_units_takes_none(tmp_path: Path) -> None:
    found = Read(write(tmp_path, MILL + ",kg,%\n" + "".join(MILL_ROWS)), ("weight",), Dialect(units_lines=0))
    assert (found.rows[0], len(found.rows)) == (["", "kg", "%"], 13)


def test_a_file_of_units_alone_has_no_rows(tmp_path: Path) -> None:
    found = Read(write(tmp_path, MILL + ",kg,%\n"), ("weight",), Dialect(units_lines=1))
    assert (found.rows, list(found.told)) == ([], ["units_lines", "header_only"])


@pytest.mark.parametrize(
    "row",
    [
        "B0,-,-\n",  # gap marks
        "B0,NA,NA\n",
        "B0,#N/A,#DIV/0!\n",
        "B0,,\n",
        "B0,error,error\n",  # stands in later rows as well
        "B0,20.5,broken\n",
        "B0,,bad\n",
    ],
)
def test_a_first_row_without_values_stays_a_row(row: str, tmp_path: Path) -> None:
    rows = [row, *MILL_ROWS, "B99,error,error\n", *MILL_ROWS]
    found = Read(write(tmp_path, MILL + "".join(rows)))
    assert (found.rows, found.told) == (split(rows), {})


# --- the header again ---


def test_repeats_of_the_header_are_skipped_counted_and_told(tmp_path: Path) -> None:
    again = '"batch" , weight,moisture\n'.replace('" ', '"')
    text = MILL + "".join(MILL_ROWS[:5]) + MILL + "".join(MILL_ROWS[5:]) + again
    found = Read(write(tmp_path, text), ("weight",))
    assert (found.rows, found.rejects) == (split(MILL_ROWS), [])
    assert found.lines == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14]
    assert found.told == {"repeated_header": (2, 7)}


def test_a_block_of_header_lines_is_skipped_where_it_stands_again(tmp_path: Path) -> None:
    rows = [f'"2026-04-{1 + i:02} 06:00:00",{i},{3.5 + i / 8:.3f}\n' for i in range(24)]

    def block(program: str) -> str:
        return f'"TOA5","Weir","CR300","{program}"\n"TIME","RECORD","Level_Avg"\n"TS","RN","m"\n"","","Avg"\n'

    for needed in ((), ("TIME", "Level_Avg")):
        text = block("777") + "".join(rows[:9]) + block("778") + "".join(rows[9:])
        found = Read(write(tmp_path, text), needed, Dialect(units_lines=2))
        assert found.rows == [next(csv.reader([row])) for row in rows]
        assert found.told == {"preamble": (2, 1), "units_lines": (4, 3), "repeated_header": (1, 15)}
        assert (found.lines[8:10], found.rejects) == ([13, 18], [])


def test_a_cut_row_before_a_repeated_header_is_rejected(tmp_path: Path) -> None:
    found = Read(write(tmp_path, MILL + "".join(MILL_ROWS[:6]) + "B6,2\n" + MILL + "".join(MILL_ROWS[6:])))
    assert (found.rows, found.rejects) == (split(MILL_ROWS), [(8, "row_width")])


# --- padding ---


@pytest.mark.parametrize("extra", [1, 2, 9])
@pytest.mark.parametrize("named", [False, True])
def test_padding_is_left_out_and_told(extra: int, named: bool, tmp_path: Path) -> None:
    tail = "," * extra
    rows = [row.replace("\n", tail + "\n") for row in MILL_ROWS]
    found = Read(write(tmp_path, MILL.replace("\n", tail * named + "\n") + "".join(rows)))
    if named and extra == 1:  # one unnamed column, as ever
        assert found.table.names == ["batch", "weight", "moisture", ""]
        return
    assert (found.table.names, found.rows) == (["batch", "weight", "moisture"], split(MILL_ROWS))
    assert found.told == ({"trailing_delimiter": (0, 0)} if extra == 1 else {"padding_columns": (extra, 0)})


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("B3,20,11,,0.7,\n", "row_width"),  # a value in the padding
        ("B3,20,,,\n", "row_width"),  # a field is absent: the rest would be shifted
        ("B3,20,,\n", "row_width"),
        ("B3,20,\n", "row_width"),
        ("B3,20,11,,,,\n", "row_width"),
    ],
)
def test_a_row_whose_padding_is_odd_is_rejected(row: str, code: str, tmp_path: Path) -> None:
    rows = [line.replace("\n", ",,,\n") for line in MILL_ROWS]
    found = Read(write(tmp_path, MILL + "".join(rows[:3]) + row + "".join(rows[3:])))
    assert (found.rows, found.rejects) == (split(MILL_ROWS), [(5, code)])
    if "0.7" in row:
        assert found.table.rejects[0].message == "'0.7' stands beyond the 3 columns of the header"


def test_values_beyond_the_header_in_every_row_refuse_the_file(tmp_path: Path) -> None:
    rows = [line.replace("\n", f",,{i}\n") for i, line in enumerate(MILL_ROWS)]
    table = TableReader(write(tmp_path, MILL + "".join(rows)), Dialect())
    with pytest.raises(DataError) as refused:
        list(table.batches())
    assert (refused.value.code, refused.value.line) == ("width_mismatch_all", 2)


# --- comments ---


def test_comment_lines_are_skipped_unless_they_are_as_wide_as_a_row(tmp_path: Path) -> None:
    rows = [*MILL_ROWS[:4], "# scale was cleaned\n", "#7,21.0,11.0\n", '# "odd" one, two\n', "// end\n", *MILL_ROWS[4:]]
    found = Read(write(tmp_path, MILL + "".join(rows)))
    assert found.rows == split([*MILL_ROWS[:4], "#7,21.0,11.0\n", *MILL_ROWS[4:]])
    assert found.told == {"comment_lines": (3, 6)}


def test_a_comment_never_swallows_the_lines_below_it(tmp_path: Path) -> None:
    text = MILL + "".join(MILL_ROWS[:4]) + '# see,"note\n' + "".join(MILL_ROWS[4:8]) + 'x" end\n' + "".join(MILL_ROWS)
    with pytest.raises(DataError) as refused:
        Read(write(tmp_path, text))
    assert (refused.value.code, refused.value.line) == ("bad_quoting", 6)


def test_a_column_may_be_called_by_a_number_sign(tmp_path: Path) -> None:
    path = write(tmp_path, "#,x\n" + "".join(f"{i},{i * 7 % 5}\n" for i in range(1, 30)))
    assert read_training_table([path], FitSettings(), ()).names == ["#", "x"]


# --- totals ---


@pytest.mark.parametrize(
    "total",
    [
        "TOTAL,256.50,131.4\n",  # the word, and numbers above all others
        "Total:,256.50,\n",
        "Gesamt,,\n",
        "Grand total,256.50,\n",
        "Average,21.38,\n",
        "Subtotal,,131.4\nTotal,,131.4\n",
        ",256.50,131.4\n",  # no word, but the sums
    ],
)
def test_totals_at_the_end_are_rejected_with_their_code(total: str, tmp_path: Path) -> None:
    found = Read(write(tmp_path, MILL + "".join(MILL_ROWS) + total))
    assert found.rows == split(MILL_ROWS)
    assert found.rejects == [(14 + i, "totals_row") for i in range(total.count("\n"))]


@pytest.mark.parametrize(
    "last",
    [
        "Total,20.25,11.0\n",  # a name like any other: nothing is empty, and nothing stands out
        "Average,20.25,11.0\n",
        "Average,900.00,900.0\n",  # a statistic that does not add up is no totals row
        ",256.51,131.4\n",  # not the sums
        ",,131.4\n".replace("131.4", "11.0"),
        "B99,,\n",
        "Totally new,20.25,\n",
    ],
)
def test_a_last_row_that_only_looks_like_totals_stays_a_row(last: str, tmp_path: Path) -> None:
    found = Read(write(tmp_path, MILL + "".join(MILL_ROWS) + last))
    assert (found.rows, found.rejects) == (split([*MILL_ROWS, last]), [])


def test_a_word_that_the_column_has_elsewhere_is_a_value(tmp_path: Path) -> None:
    rows = [MILL_ROWS[0], "Total,21,11\n", *MILL_ROWS[1:], "Total,,\n"]
    assert Read(write(tmp_path, MILL + "".join(rows))).rejects == []


def test_totals_need_three_rows_and_the_end_of_the_file(tmp_path: Path) -> None:
    assert Read(write(tmp_path, MILL + "".join(MILL_ROWS[:2]) + "Total,40.25,22.9\n")).rejects == []
    rows = [*MILL_ROWS, "Total,256.50,131.4\n", *MILL_ROWS]
    assert Read(write(tmp_path, MILL + "".join(rows))).rows == split(rows)


def test_totals_at_fit_are_left_out_and_told(tmp_path: Path) -> None:
    days = "".join(f"2026-05-{1 + i:02},{i % 4},{(i % 4) * 2.5:.2f}\n" for i in range(28))
    table = read_training_table([write(tmp_path, "day,pieces,sales\n" + days + "TOTAL,42,105.00\n")], FitSettings(), ())
    assert (len(table.rows), table.rows_read, table.rejected) == (28, 29, 1)
    assert table.column("day")[-1] == "2026-05-28"
    (told,) = table.warnings
    assert (told.code, told.line, told.error) == ("rejected_row", 30, "totals_row")
    assert told.message == "a totals row, which adds up the rows above it"


def test_sums_are_not_known_of_a_part_of_a_file(tmp_path: Path) -> None:
    base = (MILL + "".join(MILL_ROWS[:6])).encode()
    new = "".join(MILL_ROWS[6:]) + f",{sum(20 + i * 0.25 for i in range(6, 12)):.2f},{65.5 - 1.5:.1f}\n"
    (tmp_path / "in.csv").write_bytes(base + new.encode())
    with (tmp_path / "in.csv").open("rb") as file:
        resume = ResumePoint(len(base), 7, hashlib.sha256(base))
        assert len(Read("in.csv", ("weight",), file=file, resume=resume).rows) == 7


# --- grown files ---


def test_a_grown_file_is_read_on_in_its_shape(tmp_path: Path) -> None:
    lines = ["Mill report\n", MILL.replace("\n", ",,\n"), ",kg,%,,\n"]
    lines += [row.replace("\n", ",,\n") for row in MILL_ROWS]
    lines[9:9] = [lines[1], lines[2], "# cleaned\n"]
    whole = Read(write(tmp_path, "".join(lines)), ("weight",), Dialect(units_lines=1))
    assert whole.rows == split(MILL_ROWS)
    for at in [at for at in range(4, len(lines)) if at != 10]:  # there, units are cut from their header
        base = "".join(lines[:at]).encode()
        with (tmp_path / "in.csv").open("rb") as file:
            resume = ResumePoint(len(base), at, hashlib.sha256(base))
            rest = Read("in.csv", ("weight",), Dialect(units_lines=1), file=file, resume=resume)
        kept = [i for i, line in enumerate(whole.lines) if line > at]
        assert (rest.lines, rest.rows) == ([whole.lines[i] for i in kept], [whole.rows[i] for i in kept])


# --- any table, decorated ---

NAMES = ["key", "x", "when", "note"]
texts = st.text(st.sampled_from('abcd ",;é'), min_size=1, max_size=6).map(lambda text: "n" + text)
row = st.tuples(
    st.integers(0, 999).map(lambda i: f"K{i}"),
    st.one_of(*[st.integers(-99_999, 99_999).map(lambda i: f"{i / 100:.2f}")] * 9, st.just("")),
    st.dates().map(str),
    texts,
)
tables = st.lists(row, min_size=8, max_size=30)


def written(fields: list[str], delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(fields)
    return text.getvalue()


@settings(max_examples=150, deadline=None)
@given(
    rows=tables,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    before=st.lists(st.sampled_from(["Report of the day\n", "Site: North\n", "\n", "# a comment\n"]), max_size=4),
    units=st.booleans(),
    padding=st.sampled_from([0, 0, 2, 5]),
    inside=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["header", "comment", "stray"])), max_size=2),
    needed=st.booleans(),
)
def test_every_row_of_a_decorated_table_is_read_with_its_line(
    rows: list[tuple[str, ...]],
    delimiter: str,
    before: list[str],
    units: bool,
    padding: int,
    inside: list[tuple[int, str]],
    needed: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    tail = [""] * padding
    header = written([*NAMES, *tail], delimiter)
    lines = [*before, header]
    lines += [written(["", "(kg)", "(UTC)", "", *tail], delimiter)] if units else []
    expected = []
    skipped = {"header": header, "comment": "# cleaned\n", "stray": f"x{delimiter}y\n"}
    for i, cells in enumerate(rows):
        lines += [skipped[what] for at, what in inside if at == i]
        expected.append((len(lines) + 1, list(cells)))
        lines.append(written([*cells, *tail], delimiter))
    path = write(tmp_path_factory.mktemp("shape"), "".join(lines))
    dialect = Dialect(delimiter=delimiter, units_lines=int(units)) if needed else Dialect()
    found = Read(path, ("x", "when") if needed else (), dialect)
    assert found.table.names == NAMES
    assert list(zip(found.lines, found.rows, strict=True)) == expected
    kinds = [what for at, what in inside if at < len(rows)]
    assert len(found.rejects) == kinds.count("stray")
    assert found.told.get("repeated_header", (0, 0))[0] == kinds.count("header")


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.lists(
            st.sampled_from(["", "1", "2.5", "NA", "-", "abc", "kg", "x y", "2026-01-02"]), min_size=3, max_size=3
        ),
        min_size=1,
        max_size=12,
    ),
    needed=st.booleans(),
)
def test_no_row_of_any_plain_table_is_lost(
    rows: list[list[str]], needed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ["first", "second", "third"]
    text = "".join(written(fields, ",") for fields in [names, *rows])
    found = Read(
        write(tmp_path_factory.mktemp("plain"), text),
        tuple(names) if needed else (),
        Dialect(delimiter=",", units_lines=0),
    )
    assert found.table.names == names
    assert found.rows == rows[: len(found.rows)]
    assert {code for _, code in found.rejects} <= {"totals_row"}


# --- the fast path ---

SCHEMA = Schema(
    columns=(
        Column(name="batch", kind="categorical", modelled=True),
        Column(name="weight", kind="numeric", modelled=True),
        Column(name="moisture", kind="numeric", modelled=True),
    )
)
ODD = [MILL, " batch,weight ,moisture\n", "# note\n", "Total,,\n", ",,\n", ",9999.5,9999.5\n", ",kg,%\n", "\n", "B,1\n"]


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(st.one_of(*[st.sampled_from(MILL_ROWS)] * 9, st.sampled_from(ODD)), min_size=10, max_size=70),
    chunk=st.sampled_from([16, 64, 256]),
    head=st.sampled_from(["", "Report\n", "Report,,\n"]),
)
def test_both_paths_skip_and_reject_the_same_lines(
    lines: list[str], chunk: int, head: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("fast"), head + MILL + ",kg,%\n" + "".join(lines))
    results = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(csv_decode, "CHUNK", chunk)
        monkeypatch.setattr(reader, "PEEK", 8)
        monkeypatch.setattr(reader, "BATCH_ROWS", 7)
        for start in (1 << 60, 0):
            monkeypatch.setattr(reader, "FAST_FROM", start)
            results.append(typed(path))
    assert results[0] == results[1]


def typed(path: str) -> object:
    try:
        read = TypedReader(path, SCHEMA, Dialect(delimiter=",", units_lines=1))
        rows = []
        for batch in read.batches():
            values = [np.asarray(batch.columns[name]).tolist() for name in ("batch", "weight", "moisture")]
            rows += [(line, repr(cells)) for line, *cells in zip(batch.lines, *values, strict=True)]
    except DataError as error:
        return error.code, error.line, error.message
    table = read.table
    return rows, [(bad.line, bad.code) for bad in table.rejects], table.rows, table.warnings, table.lines


def test_a_block_is_taken_only_where_enough_lines_follow_it() -> None:
    lines = PhysicalLines(iter(["a\nb\n", "c\n", "d\ne\n"]))
    assert lines.take_block(reserve=3) == "a\nb\n"
    assert lines.take_block(reserve=3) is None
    assert list(lines) == ["c\n", "d\n", "e\n"]


def test_lines_that_are_looked_at_stay() -> None:
    lines = PhysicalLines(iter(["a\nb\n", "c\nd\n"]))
    assert lines.peek(3, 100) == ["a\n", "b\n", "c\n"]
    assert lines.peek(9, 2) == ["a\n"]
    assert list(lines) == ["a\n", "b\n", "c\n", "d\n"]


# --- sentences, and commands ---


def test_every_tolerance_is_told_with_its_count_and_line() -> None:
    told = table_warning(TableWarning(code="preamble", count=3, line=2, value="Mill report"))
    assert told == "preamble: lines before the header, skipped: 3; the first, line 2: 'Mill report'"


def test_a_file_without_its_header_says_how_to_go_on(tmp_path: Path) -> None:
    with pytest.raises(DataError) as refused:
        TypedReader(write(tmp_path, "".join(MILL_ROWS)), SCHEMA, Dialect(delimiter=","))
    assert refused.value.code == "no_header"
    assert "rotated without its header?" in refused.value.message
    assert "(batch, weight, moisture)" in refused.value.message


@pytest.mark.slow
def test_fit_and_score_of_a_file_of_all_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)

    def make(name: str, rows: int, title: str, total: bool) -> str:
        lines = [f"{title}\n", "\n", "time;flow;level;state;;\n", ";l/s;m;;;\n"]
        for i in range(rows):
            flow = 30 + 5 * rng.standard_normal()
            lines.append(f"2026-03-{1 + i % 28:02};{flow:.2f};{flow / 20:.3f};{'on' if i % 3 else 'off'};;\n")
            if i % 50 == 49:
                lines.append(lines[2])
        return write(tmp_path, "".join([*lines, "Total;99999.00;;;;\n"][: None if total else -1]), name)

    model = str(tmp_path / "m.anomvae")
    options = ["--steps", "30", "--no-selftest"]
    assert main(["fit", make("a.csv", 300, "Weir", True), "-o", model, *options, "--json"]) == 0
    fitted = capsys.readouterr().out
    for code in ("delimiter_found", "preamble", "units_lines", "padding_columns", "repeated_header", "totals_row"):
        assert code in fitted
    assert '"rows_used":300' in fitted.replace(" ", "")
    out = tmp_path / "out.csv"
    argv = ["score", make("b.csv", 60, "Weir, a longer title", True), "-m", model, "-o", str(out), "--fail-on", "never"]
    assert main([*argv, "--json"]) == 0
    scored = capsys.readouterr().out.replace(" ", "")
    assert '"rows":61' in scored
    assert '"code":"totals_row"' in scored
    assert out.read_text().startswith("time,flow,level,state,_av_line")
    assert main(["generate", "-m", model, "-n", "5", "-o", str(tmp_path / "made.csv")]) == 0
    assert (tmp_path / "made.csv").read_text().startswith("time;flow;level;state\n")
