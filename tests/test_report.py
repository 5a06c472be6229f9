"""What is seen: no byte of a file reaches the terminal as a command; the same record gives the same text."""

import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from anomvae.records.results import ColumnBlame, FileResult, Reason, RejectedRow, RowResult
from anomvae.report import terminal
from anomvae.report.sanitize import HARMFUL, sanitize

GOLDEN = Path(__file__).parent / "golden"
HOSTILE = ["\x1b[31mred", "\x1b]52;c;AAAA\x07", "[red]x[/red]", "\u202eabc", "a\nb\r\tc", "x\u0301\u0301\u0301\u0301\u0301", "\udcff", "\x9b1m", ":smile:", "\u2028", "a" * 10_000]  # fmt: skip


def record(text: str) -> FileResult:
    reason = Reason(column=text, share=0.5, value=text, expected="1", low="0", high="2", text=f"{text} 9, expected 1")
    row = RowResult(
        file=text,
        line=7,
        score=12.3,
        recon=4.5,
        kl=6.7,
        p=1e-4,
        estimated=True,
        severity=40.0,
        critical=True,
        reasons=(reason,),
    )
    return FileResult(
        file=text, sha256="0" * 64, model_id="1" * 64, alpha=0.01, rows=101, scored=100, rejected=1, flagged=3, critical=1,
        expected_flags=1.0, verdict="elevated", p_file=0.004, seconds=0.1, outputs=(text,), worst=(row,),
        blame=(ColumnBlame(column=text, rows=3),), rejects=(RejectedRow(line=9, code="row_width", message=text),),
        warnings=(text,),
    )  # fmt: skip


def drawn(result: FileResult, width: int = 100) -> str:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, emoji=False, highlight=False).print(terminal.file_report(result))
    return out.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_cells_are_harmless_everywhere(text: str) -> None:
    shown = drawn(record(text))
    assert not [char for char in shown if unicodedata.category(char) in HARMFUL and char != "\n"]
    assert shown.count("\n") == drawn(record("abc")).count("\n") or len(text) > 50


@given(st.text())
def test_any_text_becomes_one_harmless_line(text: str) -> None:
    shown = sanitize(text, 50)
    assert len(shown) <= 50
    assert not [char for char in shown if unicodedata.category(char) in HARMFUL]


@given(st.text(alphabet=st.characters(categories=["L", "N"]), max_size=40))
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert sanitize(text, 50) == text


def test_brackets_are_kept() -> None:
    assert "price[usd]=3" in drawn(record("price[usd]=3"))


def test_the_file_report_looks_as_it_should() -> None:
    assert drawn(record("amount")) == (GOLDEN / "file_report.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(("severity", "cells"), [(0, 0), (50, 4), (100, 8), (1000, 8)])
def test_the_bar_is_as_long_as_the_severity(severity: float, cells: int) -> None:
    assert terminal.bar(severity).count("█") == cells
    assert len(terminal.bar(severity)) == terminal.BAR
