"""docs/security.md: every test that it names is there, its numbers are those of the code, and scoring stays at home."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from anomvae.folder import process_file
from anomvae.store import tensors
from anomvae.table import csv_decode
from anomvae.workers import process
from tests.conftest import ROOT
from tests.folders import environment, table

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
CLAIM = re.compile(r"`(test_\w+\.py)::(test_\w+)`")

AT_HOME = """
import sys
leaving = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen", "os.system", "os.exec", "os.fork")
def hook(event, args):
    if event in leaving:
        print("LEFT", event, args, file=sys.stderr)
        sys.stderr.flush()
sys.addaudithook(hook)
if sys.argv[1] == "try":
    import socket
    socket.getaddrinfo("localhost", 80)
else:
    from anomvae.cli import main
    sys.exit(main(sys.argv[1:]))
"""


def test_every_test_that_the_page_names_is_there() -> None:
    claims = set(CLAIM.findall(PAGE))
    assert len(claims) > 20
    for file, name in claims:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"


def test_every_row_of_the_claims_names_a_test() -> None:
    rows = PAGE.split("## What never happens")[1].split("## What is written")[0].splitlines()
    told = [row for row in rows if row.startswith("| ") and not row.startswith(("| claim", "| a file"))]
    assert len(told) > 15
    assert [row for row in told if not CLAIM.search(row)] == []


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ("line over 8 MiB", csv_decode.MAX_RECORD == 8 << 20),
        ("field over 1 MiB", csv_decode.MAX_FIELD == 1 << 20),
        ("10,000 columns", csv_decode.MAX_COLUMNS == 10_000),
        ("or to 1 TiB", csv_decode.MAX_INFLATED == 1 << 40),
        ("with 4 GiB", process.ADDRESS_SPACE == 4 << 30),
        ("120 s", process_file.TIME_LIMIT == 120),
        ("may have 2 GiB", tensors.MAX_FILE == 2 << 30),
        ("header 8 MiB", tensors.MAX_HEADER == 1 << 23),
    ],
)
def test_limits_are_those_of_the_code(told: str, value: bool) -> None:
    assert told in PAGE
    assert value


def at_home(*argv: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", AT_HOME, *argv], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stderr


def test_scoring_connects_to_nothing_and_starts_nothing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(table(20, 1))
    page = ["--report", str(tmp_path / "page.html")]
    assert "LEFT" in at_home("try")  # the hook sees what it should
    assert "LEFT" not in at_home("score", str(tmp_path / "in" / "a.csv"), "-m", str(model), *page)
    folder = ["score", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "-m", str(model), "--settle", "0.05s"]
    assert "LEFT" not in at_home(*folder)
