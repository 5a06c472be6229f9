"""Pages that are made from the code are what the code would make today."""

import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from anomvae import cli
from anomvae.config import ColumnSettings, Config, Settings, read_config
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
MADE = {
    "commands.md": "make_commands.commands",
    "configuration.md": "make_configuration.configuration",
    "formats.md": "make_formats.formats",
}


def maker(place: str) -> Callable[[], str]:
    room, name = place.split(".")
    made: Callable[[], str] = getattr(import_module(room), name)
    return made


@pytest.mark.parametrize("page", MADE)
def test_a_made_page_is_current(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == maker(MADE[page])(), "run `make docs`"


def test_every_command_and_every_option_is_shown() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    parts = {part.splitlines()[0].removeprefix("anomvae "): part for part in page.split("\n## ")[1:]}
    shared = parts["Options of every command"]
    with click.Context(cli.root) as top:
        for name in cli.root.list_commands(top):
            command = cli.root.get_command(top, name)
            assert command
            inner = command.commands if isinstance(command, click.Group) else {"": command}
            for below, one in inner.items():
                part = parts[f"{name} {below}".strip()]
                flags = {
                    flag for option in one.params for flag in (*option.opts, *option.secondary_opts) if flag[0] == "-"
                }
                assert {flag for flag in flags if f"`{flag}`" not in part + shared} == set()


def test_examples_of_the_help_are_shown() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    with click.Context(cli.root) as top:
        shown = [getattr(cli.root.get_command(top, name), "examples", ()) for name in cli.root.list_commands(top)]
    lines = [line for examples in shown for line in examples]
    assert len(lines) > 10
    assert [line for line in lines if f"\nanomvae {line}\n" not in page] == []


def keys(kind: type[Settings], above: str = "") -> set[str]:
    """Every key that the parser knows, by its path; a column's name is NAME."""
    found = set()
    for field in msgspec.structs.fields(kind):
        path = f"{above}{field.name}"
        inner = {"columns": ColumnSettings}.get(field.name, field.type)
        if isinstance(inner, type) and issubclass(inner, Settings):
            found |= keys(inner, f"{path}.NAME." if field.name == "columns" else f"{path}.")
        else:
            found.add(path)
    return found


def leaves(document: dict[str, Any], above: str = "") -> set[str]:
    found = set()
    for name, value in document.items():
        path = above + ("NAME" if above == "schema.columns." else name)
        found |= leaves(value, f"{path}.") if isinstance(value, dict) else {path}
    return found


def test_the_file_with_every_key_is_read_and_lacks_none(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    block = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[-1]
    (tmp_path / "all.toml").write_text(block, encoding="utf-8")
    assert read_config(tmp_path / "all.toml").watch.marker() == ".done"
    assert leaves(tomllib.loads(block)) == keys(Config)


def test_every_key_has_a_row_with_a_meaning() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) == len(keys(Config))
    assert [row[0] for row in rows if not row[1] or not row[4]] == []


@pytest.mark.parametrize(
    ("key", "variable", "value"), [("top", "ANOMVAE_SCORE_TOP", "-1"), ("emit", "ANOMVAE_SCORE_EMIT", "x")]
)
def test_a_variable_of_the_page_reaches_its_key(
    key: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert re.search(rf"\| `{key}` \|.*`{variable}`", page)
    monkeypatch.setenv(variable, value)
    assert cli.main(["score", "nothing.csv"]) == 2
    assert variable in capsys.readouterr().err


COMMAND = re.compile(rf"(?:^|[ /])anomvae ((?:{'|'.join(cli.COMMANDS)})\b.*)")


def written_commands() -> list[tuple[str, str]]:
    """Every command line in a code block of the pages, with its page."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [
                (page.name, told[1]) for line in lines if (told := COMMAND.search(line)) and "[OPTIONS]" not in line
            ]
    return found


def test_every_command_line_of_the_pages_is_one() -> None:
    lines = written_commands()
    assert len(lines) > 30
    for page, line in lines:
        lexer = shlex.shlex(line, posix=False, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for word in lexer:
            if word[0] in "|<>&;()":
                break
            words += shlex.split(word)
        command: click.Command = cli.root
        while isinstance(command, click.Group):
            below = command.get_command(click.Context(command), words.pop(0))
            assert below, f"{page}: {line}"
            command = below
        try:
            command.make_context(str(command.name), words)
        except click.ClickException as error:
            pytest.fail(f"{page}: anomvae {line}: {error.format_message()}")


def test_every_link_between_pages_leads_somewhere() -> None:
    named = re.compile(r"(?<![\w/.-])(?:docs/)?([a-z]+\.md)(?![\w/])")
    for page in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for name in named.findall(text):
            assert (ROOT / "docs" / name).is_file(), f"{page.name} names {name}"


def test_the_index_leads_to_every_page() -> None:
    page = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\]\(([^)#]+)", page))
    assert [name for name in linked if not (ROOT / "docs" / name).resolve().is_file()] == []
    assert {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked
    assert page.count("\n- **") == 4
    assert "## What is promised" in (ROOT / "docs" / "outlets.md").read_text(encoding="utf-8")
