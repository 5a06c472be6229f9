"""`anomvae report`, and --report: what is on the page, that it is harmless, and that it can be read without seeing it."""

import json
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.cli import main
from anomvae.records.folder import Manifest
from anomvae.records.results import FileResult, Reason, RowResult, ScoreResult
from anomvae.report.html_report import Overview, of_folder
from tests.conftest import SAMPLE

pytestmark = pytest.mark.slow  # whole folders and large pages

VOID = {"meta", "br", "path", "rect", "circle", "link", "img", "input"}


class Page(HTMLParser):
    """Collects what a reader meets: tags with their attributes, visible text, and whether tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def check(text: str) -> Page:
    """What must hold of every page: one file, no script, nothing from elsewhere, readable aloud."""
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "link", "img", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "xlink:href")]
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if tag == "html":
            assert attributes.get("lang") == "en"
    assert "url(" not in text
    assert page.open == []
    assert len(text.encode()) < 500_000
    return page


@pytest.fixture(scope="module")
def scored(orders_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder: the sample's three files, and one that is no table of orders."""
    inbox, out = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("x") / "out"
    for path in sorted((SAMPLE / "incoming").glob("*.csv")):
        (inbox / path.name).write_bytes(path.read_bytes())
    (inbox / "wrong.csv").write_text("a,b\n1,2\n3,4\n")
    main(["score", str(inbox), "-m", str(orders_model), "-o", str(out), "-q", "--ready", "marker:.ok"])
    for path in list(inbox.iterdir()):
        path.with_name(path.name + ".ok").touch()
    code = main(["score", str(inbox), "-m", str(orders_model), "-o", str(out), "-q", "--ready", "marker:.ok"])
    assert code == 3
    return out


def test_a_folder_becomes_one_page(scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["report", str(scored), "-o", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "schema": "anomvae.page/1", "page": str(page), "bytes": page.stat().st_size, "files": 4, "rows": told["rows"],
    }  # fmt: skip
    text = check(page.read_text()).text
    manifests = [
        msgspec.json.decode(path.read_bytes(), type=Manifest) for path in (scored / "results").glob("*.manifest.json")
    ]
    assert told["rows"] == sum(one.result.rows for one in manifests)
    worst = max((row for one in manifests for row in one.result.worst), key=lambda row: row.score)
    assert f"{worst.file}:{worst.line}" in text
    assert worst.reasons[0].column in text
    assert "wrong.csv" in text
    assert "of 4 files need a look" in text
    assert "95 % interval" in text
    assert "The model" in text


def test_the_numbers_on_the_page_are_those_of_the_ledger(scored: Path) -> None:
    found = of_folder(scored, None, None)
    manifests = [
        msgspec.json.decode(path.read_bytes(), type=Manifest) for path in (scored / "results").glob("*.manifest.json")
    ]
    for name in ("rows", "scored", "rejected", "flagged", "critical"):
        assert found.totals[name] == sum(getattr(one.result, name) for one in manifests)
    assert sum(found.severities.values()) == found.totals["scored"]
    assert sum(found.verdicts.values()) == 4
    assert [bar.files for bar in found.bars()] == [1, 1, 1, 1]
    assert found.card is None


def test_score_writes_the_page_of_its_run(orders_model: Path, tmp_path: Path) -> None:
    page, files = tmp_path / "p.html", [str(path) for path in sorted((SAMPLE / "incoming").glob("*.csv"))]
    main(["score", *files, "-m", str(orders_model), "-q", "--report", str(page)])
    assert "2026-11-12.csv" in check(page.read_text()).text


def test_what_score_printed_as_json_can_be_drawn_later(
    orders_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["score", str(SAMPLE / "incoming" / "2026-11-12.csv"), "-m", str(orders_model), "--json"])
    saved, page = tmp_path / "run.json", tmp_path / "p.html"
    saved.write_text(capsys.readouterr().out)
    assert main(["report", str(saved), "-o", str(page), "-q"]) == 0
    text = check(page.read_text()).text
    result = msgspec.json.decode(saved.read_bytes(), type=ScoreResult)
    assert f"{result.files[0].file}:{result.files[0].worst[0].line}" in text


def test_a_model_has_a_page_of_its_own(orders_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    assert main(["report", str(orders_model), "-o", str(page), "-q"]) == 0
    found = check(page.read_text())
    assert "false alarms per 1,000 normal rows" in found.text
    drawn = [a["aria-label"] for tag, a in found.tags if tag == "svg" and a.get("aria-label")]
    assert any("unit_price" in str(label) for label in drawn)


def test_a_model_that_is_gone_is_left_out_and_told(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    health = json.loads((scored / "health.json").read_text())
    place = tmp_path / "copy"
    place.mkdir()
    for name in ("ledger.sqlite", "results"):
        (place / name).symlink_to(scored / name)
    (place / "health.json").write_text(json.dumps({**health, "model": "/nowhere/m.anomvae"}))
    assert main(["report", str(place), "-o", str(tmp_path / "p.html")]) == 0
    assert "left out of the page" in capsys.readouterr().err
    assert "The model" not in check((tmp_path / "p.html").read_text()).text


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("absent", None, 2), ("x.json", "{}", 3), ("x.json", "[" * 5000, 3), ("m.anomvae", "no model", 4)],
)
def test_what_is_no_source_is_refused_in_one_line(
    tmp_path: Path, name: str, content: str | None, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    assert main(["report", str(tmp_path / name), "-o", str(tmp_path / "p.html")]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "p.html").exists()


def result(**changes: object) -> FileResult:
    known = {
        "file": "f.csv", "sha256": "0", "model_id": "m", "alpha": 0.01, "rows": 10, "scored": 10, "rejected": 0,
        "flagged": 1, "critical": 1, "expected_flags": 0.1, "verdict": "ok", "p_file": 0.5, "seconds": 0.0,
        "outputs": (), "worst": (), "blame": (), "rejects": (), "warnings": (), "severities": (5, 4, 1),
    }  # fmt: skip
    return FileResult(**{**known, **changes})


hostile = st.text(max_size=40) | st.sampled_from(
    ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "'; drop", "</style><script>", "\x1b[31m",
     "=cmd|' /C calc'!A0", "\u202egpj.exe", "<![CDATA[", "&lt;b&gt;", "]]>", "--><script>"]
)  # fmt: skip


@given(hostile, hostile, hostile, hostile)
@settings(deadline=None, max_examples=60)
def test_hostile_cells_names_and_warnings_are_inert(file: str, column: str, cell: str, warning: str) -> None:
    why = Reason(column=column, share=1.0, value=cell, expected=cell, low=cell, high=cell, text=cell)
    row = RowResult(file=file, line=2, score=9.0, recon=1.0, kl=1.0, p=1e-9, estimated=True, severity=90.0,
                    critical=True, reasons=(why,))  # fmt: skip
    overview = Overview("files", file)
    overview.add(result(file=file, verdict="anomalous", worst=(row,), warnings=(warning,)), "2026-01-01T00:00:00+00:00")
    overview.refuse(file, "", cell)
    page = check(overview.page("2026-01-01T00:00:00+00:00"))
    assert not any(control in page.text for control in "\x1b\u202e")


def test_of_rows_with_equal_scores_the_first_ones_are_shown() -> None:
    known = {"recon": 1.0, "kl": 1.0, "p": 1e-9, "estimated": True, "severity": 90.0, "critical": True, "reasons": ()}
    overview = Overview("files", "f.csv")
    for score in (9.0, 10.0):
        rows = tuple(RowResult(file="f.csv", line=line, score=score, **known) for line in range(2, 42))
        overview.add(result(worst=rows), "")
    assert [(row.score, row.line) for row in overview.worst_rows()] == [(10.0, line) for line in range(2, 14)]


def test_many_files_share_bars_and_stay_small() -> None:
    overview = Overview("folder", "out")
    for i in range(5000):
        bad = i % 500 == 7
        overview.add(
            result(file=f"{i}.csv", verdict="anomalous" if bad else "ok", critical=0), "2026-01-01T00:00:00+00:00"
        )
    bars = overview.bars()
    assert sum(bar.files for bar in bars) == 5000
    assert len(bars) <= 240
    assert sum(bar.verdict == "anomalous" for bar in bars) == 10
    assert [item.file for item in overview.to_review()] == [f"{i}.csv" for i in range(4507, 0, -500)]
    check(overview.page("2026-01-01T00:00:00+00:00"))


@pytest.mark.parametrize(("verdict", "told"), [("ok", False), ("drifted", True)])
def test_a_file_that_drifted_in_its_flags_alone_is_explained(verdict: str, told: bool) -> None:
    overview = Overview("folder", "out")
    overview.add(result(verdict=verdict), "2026-01-01T00:00:00+00:00")
    text = check(overview.page("2026-01-01T00:00:00+00:00")).text
    assert "No column differs from the training rows by more than chance" in text
    assert ("what drifted is the share of rows flagged" in text) is told
