"""docs/operations.md: every code and verdict has its advice, and what may be deleted can be."""

import re
from pathlib import Path
from typing import get_args

from anomvae.errors import PRECEDENCE
from anomvae.records.results import Verdict
from tests.conftest import ROOT
from tests.folders import ids, score, table

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_exit_code_and_every_verdict_has_its_advice() -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d+) \|", section("After each exit code"), re.MULTILINE)]
    assert codes == sorted({*PRECEDENCE, 2, 130})
    verdicts = re.findall(r"^\| `(\w+)` \|", section("After each verdict"), re.MULTILINE)
    assert set(verdicts) == {*get_args(Verdict), "failed"}


def test_old_results_may_be_deleted_while_the_ledger_lives(tmp_path: Path, model: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(2):
        (folder / f"{i}.csv").write_bytes(table(20, i))
    score(folder, out, model)
    before = ids(out, "committed")
    for path in (out / "results").iterdir():
        path.unlink()
    assert score(folder, out, model) == 0
    assert ids(out, "committed") == before  # known, though their results are gone
    assert not list((out / "results").iterdir())
    (out / "ledger.sqlite").unlink()
    score(folder, out, model)
    assert len(list((out / "results").glob("*.csv"))) == 2  # made again: without manifest and ledger they are new
