"""docs/recipes.md: every block runs on sample data, each recipe in a folder of its own.

Fits are cut short by variables, which win over no flag of the page.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from anomvae.cli import main
from tests.conftest import ROOT, SAMPLE

pytestmark = pytest.mark.slow  # fits, and runs that wait

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"\s+# exit code (\d+)$")
DAY = SAMPLE / "incoming" / "2026-11-12.csv"
CLEAN = SAMPLE / "incoming" / "2026-11-10.csv"


def german() -> None:
    for name, source in (("bestellt.csv", "employees.csv"), ("neu.csv", "employees_new.csv")):
        rows = pd.read_csv(SAMPLE / source).assign(city="Zürich")
        rows["income"] = [f"{value:,.2f}".translate(str.maketrans(",.", ".,")) for value in rows["income"]]
        rows.to_csv(name, sep=";", index=False, encoding="cp1252")


def sites() -> None:
    for site, day in (("berlin", CLEAN), ("paris", DAY)):
        Path("sites", site).mkdir(parents=True)
        shutil.copy(day, Path("sites", site))


def incoming() -> None:
    Path("incoming").mkdir()
    shutil.copy(DAY, "incoming")


def wider() -> None:
    pd.read_csv(CLEAN, dtype=str, keep_default_na=False).assign(colour="red").to_csv("wider.csv", index=False)


def packed() -> None:
    shutil.copy(DAY, "day.csv")
    pd.read_csv(CLEAN).assign(weight_kg=4360.0).to_parquet("day.parquet")


FILES: dict[str, Callable[[], None]] = {
    "My files have German decimals": german,
    "My rows come from several sites": sites,
    "Score from cron, and mail only when something is wrong": incoming,
    "A column was added": wider,
    "gzip and Parquet in": packed,
}
LEFT = {  # what must be there at the end
    "One model per machine type": ["sales.anomvae", "developer.anomvae"],
    "What to do with a false alarm": ["new.anomvae"],
    "My rows come from several sites": ["out/results", "out-berlin/results"],
    "Synthetic rows of a rare class": ["rare.csv", "women.csv"],
    "A column was added": ["wider.scored.csv"],
    "gzip and Parquet in": ["day.scored.parquet", "day.scored.jsonl"],
}


@pytest.fixture
def folder(orders_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOMVAE_FIT_STEPS", "150")
    monkeypatch.setenv("ANOMVAE_FIT_NO_SELFTEST", "1")
    (tmp_path / "sample_data").symlink_to(SAMPLE)
    shutil.copy(orders_model, "orders.anomvae")
    return tmp_path


def run(line: str) -> int:
    if line.startswith("anomvae "):
        return main(shlex.split(line.removeprefix("anomvae ")))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(["bash", "-c", line], env={**os.environ, "PATH": path}, check=False).returncode


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipe_works(recipe: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    FILES.get(recipe, lambda: None)()
    blocks = BLOCK.findall(RECIPES[recipe])
    assert blocks
    for language, body in blocks:
        if language == "python":
            exec(compile(body, recipe, "exec"), {})  # noqa: S102 (our own page)
            continue
        for line in body.splitlines():
            code = CODE.search(line)
            assert run(CODE.sub("", line)) == (int(code[1]) if code else 0), f"{line}\n{capsys.readouterr().err}"
    assert [name for name in LEFT.get(recipe, []) if not (folder / name).exists()] == []
    if recipe == "Synthetic rows of a rare class":
        made = pd.read_csv("rare.csv")
        assert list(zip(made["sex"], made["job"], strict=True)) == [("F", "developer")] * 20
        assert set(pd.read_csv("women.csv")["sex"]) == {"F"}


def test_cron_hears_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    incoming()
    command = shlex.split("score incoming -m orders.anomvae -o out -q")
    assert main(command) == 1
    first = capsys.readouterr()
    assert (first.out, len(first.err.splitlines())) == ("", 1)
    assert main(command) == 0
    assert capsys.readouterr() == ("", "")
