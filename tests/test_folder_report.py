"""The live screen, the lines and the status: harmless whatever the names and cells, and as they should look."""

import io
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from anomvae.records.folder import Counters, HealthResult, Line, Quarantined, StatusResult
from anomvae.records.results import Waits
from anomvae.report import folder
from anomvae.report.sanitize import HARMFUL
from tests.test_report import GOLDEN, HOSTILE, record

ID = "5611465a46208b1841903a192bdc015b"


def line(text: str, verdict: Any = "anomalous") -> Line:
    told = f"{text} 9, expected 1"
    return Line(
        delivery_id=ID, at="2026-11-25T03:14:40+00:00", file=text, verdict=verdict, rows=1332, flagged=12, critical=3, told=told
    )  # fmt: skip


def health(text: str, **changes: Any) -> HealthResult:
    fields: dict[str, Any] = dict(  # noqa: C408 (reads like the record)
        folder=text, out=text, mode="watch", state="running", pid=1, host=text, boot="b", clock=1.0,
        started_utc="2026-11-25T03:00:00+00:00", at_utc="2026-11-25T04:01:02+00:00", model=text, model_id="1303b85d79f8" * 5,
        alpha=0.01, watcher="native", restarts=0, last_scan_seconds=1.0, backlog=7, oldest_wait_seconds=12.0, inflight=text,
        paused="", problems=(text,), waiting=(Waits(file=text, reason=text, seconds=5.0),), skipped={},
        counters=Counters(files=1203, quarantined=2, rows=455231, scored=455200, rejected=31, flagged=4731, critical=12),
        recent=(line(text, "ok"), line(text), line(text, "failed")), rates=(0.0, 0.01, 0.02, 0.2),
    )  # fmt: skip
    return HealthResult(**{**fields, **changes})


def refused(text: str) -> Quarantined:
    return Quarantined(
        sequence=1, delivery_id=ID, file=text, path_base64="", generation=1, sha256="0", size=1, reason_code="not_csv",
        message=text, line=3, column=text, offset=None, excerpt=text, retry="", move=False, model_id="", version="",
        committed_utc="2026-11-25T03:14:54+00:00",
    )  # fmt: skip


def status(text: str) -> StatusResult:
    return StatusResult(
        out=text, healthy=False, problems=(text,), health=health(text), age_seconds=1.0, files=3, rows=1107, scored=1105,
        rejected=2, flagged=28, critical=8, anomalous=2, drifted=0, quarantined=1, recent=(line(text),), in_quarantine=(line(text),),
    )  # fmt: skip


def drawn(renderable: Any, width: int = 100, *, wrap: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, emoji=False, highlight=False)
    console.print(renderable, soft_wrap=not wrap)
    return out.getvalue()


def everything(text: str) -> list[str]:
    lines = [folder.delivery_line(said, "03:14:54") for said in (record(text), refused(text))]
    return [
        *(drawn(one, wrap=False) for one in lines),
        drawn(folder.screen(health(text), (text,), 30)),
        drawn(folder.status_report(status(text)), width=400),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_cells_are_harmless_in_every_view(text: str) -> None:
    for shown, plain in zip(everything(text), everything("abc"), strict=True):
        assert not [char for char in shown if unicodedata.category(char) in HARMFUL and char != "\n"]
        assert shown.count("\n") == plain.count("\n") or len(text) > 20


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_text_is_harmless_in_every_view(text: str) -> None:
    for shown in everything(text):
        assert not [char for char in shown if unicodedata.category(char) in HARMFUL and char != "\n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_one_delivery_is_one_line(text: str) -> None:
    for said in (record(text), refused(text)):
        assert drawn(folder.delivery_line(said, "03:14:54"), wrap=False).count("\n") == 1


def test_the_screen_looks_as_it_should() -> None:
    told = health("incoming", inflight="", problems=(), recent=(line("a.csv", "ok"), line("b.csv")))
    shown = drawn(folder.screen(told, ("model was reloaded",), 30))
    assert shown == (GOLDEN / "screen.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_screen_fits_the_terminal(height: int) -> None:
    many = health(
        "x" * 200, waiting=(Waits(file="w.csv", reason="settling", seconds=1.0),) * 40, recent=(line("f"),) * 12
    )
    assert drawn(folder.screen(many, ("note",) * 3, height), width=80).count("\n") <= max(height, 24)


def test_a_rate_far_above_alpha_is_drawn_high() -> None:
    flat = drawn(folder.screen(health("f", rates=(0.01, 0.01)), (), 30))
    high = drawn(folder.screen(health("f", rates=(0.01, 0.5)), (), 30))
    assert "█" not in flat.splitlines()[4]
    assert flat.splitlines()[4].count("▃") == 2
    assert high.splitlines()[4].split()[2] == "▁█"


def test_the_golden_files_are_read(tmp_path: Path) -> None:
    assert {path.name for path in GOLDEN.iterdir()} >= {"file_report.txt", "screen.txt"}
