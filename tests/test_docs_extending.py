"""docs/extending.md names files and symbols that are there, and every module that must know a new kind or format."""

import ast
import re
from typing import get_args

import pytest

from anomvae.config import Kind, OutletSettings
from anomvae.notify.http_outlets import Webhook
from anomvae.notify.notifier import make_receivers
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


def modules_with(words: set[str]) -> set[str]:
    """The modules of the package in which one of these words stands alone as a string: where code asks for it by name."""
    found = set()
    for path in (ROOT / "anomvae").rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if words & {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}:
            found.add(path.relative_to(ROOT / "anomvae").as_posix())
    return found


def named_after(beginning: str, end: str) -> set[str]:
    """The files that the page names in one of its parts."""
    return set(re.findall(r"`((?:\w+/)*\w+\.py)`", PAGE.partition(beginning)[2].partition(end)[0]))


def test_the_page_names_every_module_that_asks_for_a_kind_of_column() -> None:
    kinds = set(get_args(Kind)) - {"ignore"}
    assert modules_with(kinds) - named_after("## A column kind", "\n## ") == set()


def test_the_page_names_every_module_that_asks_for_an_output_format() -> None:
    known = modules_with({"jsonl", ".jsonl"})  # the one format that is only written: the others are read too
    assert known == {"formats.py"}  # everything else takes the formats from the list there
    assert known - named_after("## An output format", "\n## ") == set()
    named = {name for file, cell in ROWS if file == "formats.py" for name in re.findall(r"`(\w+)`", cell)}
    assert {"TableWriter", "OutputRows", "FORMATS"} <= named


def test_the_page_says_where_each_walk_starts_and_ends() -> None:
    walks = dict(re.findall(r"^## (.+)\n([^#]*)", PAGE, re.MULTILINE))
    assert list(walks) == [
        *("A column kind", "An output format", "An outlet", "A section of the report", "Smaller things"),
    ]
    for name, walk in list(walks.items())[:-1]:
        assert "| file | symbol |" in walk, name
        assert "tests/" in walk, name
        assert re.search(r"Then\s+`", walk), name  # what has to be made or written anew


def test_an_outlet_is_made_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "https://hooks.example/x")
    (made,) = make_receivers(OutletSettings(webhook="env:HOOK"))
    assert isinstance(made, Webhook)
    assert made.name
