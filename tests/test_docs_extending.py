"""docs/extending.md names files and symbols that are there."""

import ast
import re

import pytest

from anomvae.outlets.desk import _outlets
from anomvae.outlets.webhook import Webhook
from anomvae.settings import OutletSettings
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w/]+\.\w+)` \| (.*?) \|", PAGE, re.MULTILINE)


def symbols(file: str) -> set[str]:
    """Names that a file defines or imports, and `Class.method` of its classes."""
    found = set()
    for node in ast.parse((ROOT / "anomvae" / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


@pytest.mark.parametrize(("file", "named"), ROWS)
def test_what_the_page_names_is_there(file: str, named: str) -> None:
    names = re.findall(r"`([\w.]+)`", named)
    if file.endswith(".py"):
        assert names
        assert set(names) <= symbols(file)
    assert (ROOT / "anomvae" / file).is_file()


def test_every_file_in_the_text_is_there() -> None:
    files = set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE))
    assert len(ROWS) > 20
    assert [file for file in files if not (ROOT / "anomvae" / file).is_file() and not (ROOT / file).is_file()] == []
    assert {"TableWriter", "OutputRows", "FORMATS"} <= symbols("formats.py")


def test_an_outlet_is_made_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.example/x")
    (made,) = _outlets(OutletSettings(webhook="env:HOOK"))
    assert isinstance(made, Webhook)
    assert made.name
