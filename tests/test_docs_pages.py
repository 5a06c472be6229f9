"""Pages that are made from the code are what the code would make today."""

import sys
from collections.abc import Callable
from importlib import import_module

import click
import pytest

from anomvae import cli
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "docs"))
MADE = {"commands.md": "make_commands.commands"}


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
            inner = command.commands if isinstance(command, click.Group) else {"": command}
            for below, one in inner.items():
                part = parts[f"{name} {below}".strip()]
                flags = {
                    flag for option in one.params for flag in (*option.opts, *option.secondary_opts) if flag[0] == "-"
                }
                assert {flag for flag in flags if f"`{flag}`" not in part + shared} == set()


def test_an_epilog_is_shown() -> None:
    section = import_module("make_commands")._section

    @click.command(epilog="\b\nExamples:\n  anomvae try it")
    def tried() -> None:
        """Try."""

    text = section(click.Context(tried, info_name="tried", parent=click.Context(cli.root, info_name="anomvae")))
    assert "```\nExamples:\n  anomvae try it\n```" in text
