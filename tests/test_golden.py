"""Reports as they look: tests/golden holds them, for one who changes a layout to see what changes.

Words are compared to the letter, numbers within what processors differ by. `python -m tests.test_golden` writes the files anew.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT, fit_orders
from tests.fits import SESSION
from tests.transcripts import difference

GOLDEN = ROOT / "tests" / "golden"
FILES = [
    f"sample_data/{name}" for name in (*(f"incoming/2026-11-{day}.csv" for day in (10, 11, 12)), "employees_new.csv")
]
COMMANDS = {  # golden file: width of the terminal, and the command that prints it
    "score_80.txt": ("80", ["score", *FILES, "-m", "orders.anomvae"]),
    "score_120.txt": ("120", ["score", *FILES, "-m", "orders.anomvae"]),
    "explain_80.txt": ("80", ["explain", f"{FILES[2]}:41", "-m", "orders.anomvae"]),
}


def printed(name: str, folder: Path) -> str:
    """What a command prints in the folder of the orders model."""
    width, argv = COMMANDS[name]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": width}
    done = subprocess.run(
        [sys.executable, "-m", "anomvae", *argv], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1, 3), done.stderr
    return done.stdout


def steady(report: str) -> str:
    """A report without its self-test: its shares, and which columns are found least, are not the same on every processor."""
    return report.partition("self-test")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_report_is_the_golden_one(name: str, orders_model: Path) -> None:
    assert difference((GOLDEN / name).read_text(encoding="utf-8"), printed(name, orders_model.parent)) == ""


def test_the_report_of_fit_is_the_golden_one(orders_model: Path) -> None:
    shown = steady((orders_model.parent / "fit.txt").read_text(encoding="utf-8"))
    assert difference((GOLDEN / "fit_100.txt").read_text(encoding="utf-8"), shown) == ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        (base / "fits").mkdir()
        os.environ[SESSION] = str(base / "fits")
        fit_orders(base, base / "fits")
        (GOLDEN / "fit_100.txt").write_text(steady((base / "fit.txt").read_text(encoding="utf-8")), encoding="utf-8")
        for each in COMMANDS:
            (GOLDEN / each).write_text(printed(each, base), encoding="utf-8")
