"""The bad-input catalogue: one entry a case, made from a good table; what each must end as.

`state`: refused (nothing written, exit 3), rejected (those rows alone), scored (with a warning, or none).
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

HEADER = "when,amount,count,country,express"
ROWS = 40


def cells(rows: int, seed: int = 0) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [
        [
            f"2026-03-{1 + i % 28:02d}",
            f"{rng.normal(50, 5):.2f}",
            str(int(rng.integers(100, 900))),
            str(rng.choice(["DE", "FR", "NA"])),
            str(rng.choice(["true", "false"])),
        ]
        for i in range(rows)
    ]


def text(rows: int = ROWS, seed: int = 1) -> str:
    return "".join(",".join(row) + "\n" for row in [HEADER.split(","), *cells(rows, seed)])


GOOD = text()
LINES = GOOD.splitlines(keepends=True)


def with_line(number: int, line: str) -> bytes:
    """The good table with one physical line replaced."""
    return "".join([*LINES[: number - 1], line, *LINES[number:]]).encode()


def with_cell(number: int, column: int, value: str) -> bytes:
    fields = LINES[number - 1].rstrip("\n").split(",")
    fields[column] = value
    return with_line(number, ",".join(fields) + "\n")


def each(change: Callable[[str], str]) -> bytes:
    return "".join(change(line.rstrip("\n")) + "\n" for line in LINES).encode()


def body(change: Callable[[str], str]) -> bytes:
    return (LINES[0] + "".join(change(line.rstrip("\n")) + "\n" for line in LINES[1:])).encode()


def header(line: str) -> bytes:
    return (line + "\n" + "".join(LINES[1:])).encode()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a.csv", GOOD)
    return out.getvalue()


def model(folder: Path) -> Path:
    """A small model of the good table, of few steps."""
    from anomvae.cli import main

    (folder / "train.csv").write_text(text(300, seed=0))
    assert main(["fit", str(folder / "train.csv"), "-o", str(folder / "m.anomvae"), "--steps", "30", "-q"]) == 0
    return folder / "m.anomvae"


class Case(NamedTuple):
    number: str
    data: Callable[[], bytes]
    state: str
    code: str = ""
    line: int | None = None
    rows: int = ROWS
    suffix: str = ".csv"


def zipped(extra: bytes = b"", cut: int = 0) -> bytes:
    data = gzip.compress(GOOD.encode(), mtime=0)
    return data[: len(data) - cut] + extra


CASES = [
    Case("1 empty", lambda: b"", "refused", "empty_file"),
    Case("2 only newlines", lambda: b"\n \n\n", "refused", "empty_file"),
    Case("3 header only", lambda: LINES[0].encode(), "scored", "header_only", rows=0),
    Case("4 byte-order mark", lambda: b"\xef\xbb\xbf" + GOOD.encode(), "scored"),
    Case("5 two marks", lambda: b"\xef\xbb\xbf" * 2 + GOOD.encode(), "scored"),
    Case("5 mark in a cell", lambda: with_cell(4, 3, "\ufeffDE"), "scored", "stray_bom"),
    Case("6 UTF-16 LE", lambda: b"\xff\xfe" + GOOD.encode("utf-16-le"), "scored"),
    Case("6 UTF-16 BE", lambda: b"\xfe\xff" + GOOD.encode("utf-16-be"), "scored"),
    Case("7 UTF-16 without mark", lambda: GOOD.encode("utf-16-le"), "refused", "encoding_utf16_no_bom"),
    Case("8 UTF-32", lambda: GOOD.encode("utf-32"), "scored"),
    Case("8 UTF-32 without mark", lambda: GOOD.encode("utf-32-le"), "refused", "encoding_unknown"),
    Case("9 CP1252", lambda: with_cell(7, 3, "X").replace(b"X", b"\xd6"), "refused", "encoding_not_utf8", 7),
    Case("10 one bad byte", lambda: with_cell(41, 3, "X").replace(b"X", b"\xff"), "refused", "encoding_not_utf8", 41),
    Case("11 overlong", lambda: with_cell(5, 3, "X").replace(b"X", b"\xc0\xaf"), "refused", "encoding_not_utf8", 5),
    Case("11 surrogate", lambda: with_cell(5, 3, "X").replace(b"X", b"\xed\xa0\x80"), "refused", "encoding_not_utf8", 5),
    Case("12 NUL in a field", lambda: with_cell(6, 3, "D\0E"), "rejected", "nul_byte", 6),
    Case("13 block of NULs", lambda: GOOD.encode() + b"\0" * 512, "refused", "nul_tail"),
    Case("14 Ctrl-Z", lambda: GOOD.encode() + b"\x1a", "scored", "ctrl_z"),
    Case("15 short row", lambda: with_line(9, "2026-03-01,5\n"), "rejected", "row_width", 9),
    Case("16 long first row", lambda: with_line(2, LINES[1].strip() + ",x\n"), "rejected", "row_width", 2),
    Case("17 long later row", lambda: with_line(30, LINES[29].strip() + ",x\n"), "rejected", "row_width", 30),
    Case("18 every row longer", lambda: body(lambda row: row + ",7"), "refused", "width_mismatch_all", 2),
    Case("19 trailing comma", lambda: body(lambda row: row + ","), "scored", "trailing_delimiter"),
    Case("20 missing column", lambda: header("when,amount,number,country,express"), "refused", "missing_columns", 1),
    Case("21 extra column", lambda: each(lambda row: row + ",x"), "scored", "extra_columns"),
    Case("22 other order", lambda: each(lambda row: ",".join(reversed(row.split(",")))), "scored"),
    Case("23 column twice", lambda: each(lambda row: row + "," + row.split(",")[1]), "refused", "duplicate_columns", 1),
    Case("24 unnamed column", lambda: body(lambda row: row + ",1").replace(b"express\n", b"express,\n", 1), "scored", "unnamed_column"),
    Case("25 other case", lambda: header(HEADER.replace("amount", "Amount ")), "refused", "missing_columns", 1),
    Case("26 no header", lambda: "".join(LINES[1:]).encode(), "refused", "no_header", 1),
    Case("27 units row", lambda: (LINES[0] + "day,EUR,pieces,,\n" + "".join(LINES[1:])).encode(), "rejected", "bad_date", 2),
    Case("28 header again", lambda: (GOOD + GOOD).encode(), "scored", "repeated_header", rows=2 * ROWS),
    Case("29 comment first", lambda: b"# made by a till\n" + GOOD.encode(), "scored", "comment_lines"),
    Case("30 footer", lambda: (GOOD + "Total,1,2,,\n").encode(), "rejected", "totals_row", 42),
    Case("31 semicolons", lambda: GOOD.replace(",", ";").encode(), "refused", "delimiter_mismatch", 1),
    Case("32 unclosed quote", lambda: with_cell(20, 3, '"DE'), "refused", "unclosed_quote", 20),
    Case("33 backslash escape", lambda: with_cell(8, 3, '"D\\"E"'), "refused", "bad_quoting", 8),
    Case("33 text after quote", lambda: with_cell(8, 3, '"D"E'), "rejected", "bad_quoting", 8),
    Case("33 quote inside", lambda: with_cell(8, 3, 'D"x"E'), "scored", "unseen_category"),
    Case("34 newline in quotes", lambda: with_cell(8, 3, '"D\nE"'), "scored", "unseen_category"),
    Case("34 newline in a number", lambda: with_cell(8, 1, '"5\n6"'), "rejected", "not_a_number", 8),
    Case("35 CR only", lambda: GOOD.replace("\n", "\r").encode(), "scored"),
    Case("35 CRLF", lambda: GOOD.replace("\n", "\r\n").encode(), "scored"),
    Case("35 mixed ends", lambda: GOOD.replace("\n", "\r\n", 9).encode(), "scored"),
    Case("36 U+2028", lambda: with_cell(8, 3, "D\u2028E"), "scored", "unseen_category"),
    Case("37 no final newline", lambda: GOOD[:-1].encode(), "scored", "no_final_newline"),
    Case("38 cut last row", lambda: GOOD[:-12].encode(), "rejected", "row_width", 41),
    Case("39 unquoted 2 MiB field", lambda: with_cell(8, 3, "D" * (2 << 20)), "rejected", "field_too_long", 8),
    Case("39 quoted 2 MiB field", lambda: with_cell(8, 3, '"' + "D" * (2 << 20) + '"'), "refused", "field_too_long", 8),
    Case("40 9 MiB line", lambda: with_line(8, "x" * (9 << 20) + "\n"), "refused", "record_too_long", 8),
    Case("41 columns", lambda: (",".join(f"c{i}" for i in range(20_000)) + "\n").encode(), "refused", "too_many_columns", 1),
    Case("44 inf", lambda: with_cell(8, 1, "inf"), "rejected", "non_finite", 8),
    Case("44 nan", lambda: with_cell(8, 1, "nan"), "scored"),
    Case("45 1e400", lambda: with_cell(8, 1, "1e400"), "rejected", "non_finite", 8),
    Case("45 1e-400", lambda: with_cell(8, 1, "1e-400"), "scored"),
    Case("46 empty", lambda: with_cell(8, 1, ""), "scored", "missing_value"),
    Case("46 question mark", lambda: with_cell(8, 1, "?"), "rejected", "not_a_number", 8),
    Case("47 all missing", lambda: body(lambda row: row.replace(row.split(",")[1], "")), "scored", "column_all_missing"),
    Case("48 decimal comma quoted", lambda: with_cell(8, 1, '"5,25"'), "rejected", "not_a_number", 8),
    Case("49 decimal comma", lambda: with_cell(8, 1, "5,25"), "rejected", "row_width", 8),
    Case("50 thousands", lambda: with_cell(8, 1, "1 000"), "rejected", "not_a_number", 8),
    Case("50 underscore", lambda: with_cell(8, 1, "1_000"), "rejected", "not_a_number", 8),
    Case("51 unit", lambda: with_cell(8, 1, "5kg"), "rejected", "not_a_number", 8),
    Case("52 hex", lambda: with_cell(8, 2, "0x10"), "rejected", "not_a_number", 8),
    Case("52 010", lambda: with_cell(8, 2, "010"), "scored"),
    Case("53 full-width digits", lambda: with_cell(8, 1, "１２"), "rejected", "not_a_number", 8),
    Case("53 U+2212", lambda: with_cell(8, 1, "\u22125"), "rejected", "not_a_number", 8),
    Case("54 huge integer", lambda: with_cell(8, 2, "99999999999999999999"), "scored", "precision_loss"),
    Case("55 boolean", lambda: with_cell(8, 4, "perhaps"), "rejected", "not_a_number", 8),
    Case("56 other date format", lambda: with_cell(8, 0, "31/12/2026"), "rejected", "bad_date", 8),
    Case("56 31 February", lambda: with_cell(8, 0, "2026-02-31"), "rejected", "bad_date", 8),
    Case("57 mixed types", lambda: with_cell(8, 2, "twelve"), "rejected", "not_a_number", 8),
    Case("58 unseen category", lambda: with_cell(8, 3, "XX"), "scored", "unseen_category"),
    Case("59 trailing space", lambda: with_cell(8, 3, "DE "), "scored", "unseen_category"),
    Case("60 NA as a value", lambda: with_cell(8, 3, "NA"), "scored"),
    Case("61 far outside", lambda: with_cell(8, 1, "1e9"), "scored"),
    Case("62 all alike", lambda: (LINES[0] + LINES[1] * ROWS).encode(), "scored"),
    Case("63 gzip as .csv", zipped, "refused", "compressed_input"),
    Case("63 gzip", zipped, "scored", suffix=".csv.gz"),
    Case("63 text as .gz", GOOD.encode, "refused", "bad_gzip", suffix=".csv.gz"),
    Case("64 gzip bomb", lambda: gzip.compress(b"1" * (120 << 20), 1), "refused", "record_too_long", suffix=".csv.gz"),
    Case("64 gzip bomb of lines", lambda: gzip.compress(GOOD.encode() + (b"x" * 99_999 + b"\n") * 1300, 1), "refused", "inflate_limit", suffix=".csv.gz"),
    Case("65 cut gzip", lambda: zipped(cut=9), "refused", "bad_gzip", suffix=".csv.gz"),
    Case("65 two members", lambda: zipped(gzip.compress(LINES[1].encode())), "scored", rows=ROWS + 1, suffix=".csv.gz"),
    Case("65 garbage after", lambda: zipped(b"garbage"), "refused", "bad_gzip", suffix=".csv.gz"),
    Case("66 zip", archive, "refused", "not_csv"),
    Case("66 pdf", lambda: b"%PDF-1.7\n" + GOOD.encode(), "refused", "not_csv"),
    Case("66 html", lambda: b"<!DOCTYPE html><html><body>login</body></html>\n", "refused", "not_csv"),
    Case("66 json", lambda: json.dumps([{"a": 1}]).encode() + b"\n", "refused", "not_csv"),
    Case("66 parquet", lambda: b"PAR1" + b"\1" * 50, "refused", "not_csv"),
    Case("too many bad rows", lambda: body(lambda row: row.replace("2026", "x")), "refused", "too_many_bad_rows", 2),
]  # fmt: skip
