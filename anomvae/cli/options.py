"""Options that commands share, and the precedence: flags > ANOMVAE_* > configuration file > defaults."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from anomvae.cli.command import setting
from anomvae.errors import EnvironmentFault
from anomvae.formats import FORMATS
from anomvae.settings import Config, Settings, changed, read_config

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=Settings)


class Place(click.types.StringParamType):
    """A file or folder on the command line: completed as one, checked by whoever opens it."""

    name = "path"

    def __init__(self, kind: str = "file") -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The shell knows its files best: only the kind is told, `file` or `dir`."""
        return [CompletionItem(incomplete, type=self.kind)]


FILE, FOLDER = Place(), Place("dir")


def everywhere(command: F) -> F:
    """Options of every command."""
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors (and --json)."),
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    ):
        command = option(command)
    return command


def configured(command: F) -> F:
    """The configuration file option."""
    return click.option(
        "-c", "--config", type=FILE, help="Configuration file. [default: anomvae.toml, where there is one]"
    )(command)


def modelled(command: F) -> F:
    """The model option."""
    return click.option("-m", "--model", type=FILE, help="Model file. [default: model.anomvae]")(command)


def reported(command: F) -> F:
    """The page option."""
    return click.option("--report", type=FILE, metavar="PAGE", help="Also write one offline HTML page.")(command)


def scoring(command: F) -> F:
    """Options of `score` and `watch`: what is written and told, and what makes the exit code 1."""
    for option in reversed(
        (
            click.option("-o", "--output", type=FILE, help="Where results go (see above)."),
            click.option("--emit", type=click.Choice(["all", "flagged"]), help="Which rows to write. [default: all]"),
            click.option("--top", type=int, help="Worst rows to show a file. [default: 10]"),
            click.option("--alpha", type=float, help="False-alarm rate of this run. [default: the model's]"),
            click.option(
                "--fail-on",
                type=click.Choice(["never", "any", "critical", "file"]),
                help="What makes the exit code 1: a flagged row, a critical row or an anomalous file, or the file "
                "alone. [default: critical]",
            ),
            click.option(
                "--on-schema",
                type=click.Choice(["strict", "warn"]),
                help="Extra columns: refuse or warn. [default: warn]",
            ),
            click.option(
                "--bad-rows",
                type=click.Choice(["reject", "quarantine"]),
                help="Unreadable rows: leave out, or refuse the file. [default: reject]",
            ),
            click.option(
                "--threads", metavar="N|auto", help="Threads that score a long file. [default: auto, at most 4]"
            ),
            click.option(
                "--spreadsheet-safe", is_flag=True, default=None, help="Guard text cells that a spreadsheet would run."
            ),
            click.option("--jobs", type=int, help="Processes that score several files at a time. [default: 1]"),
        )
    ):
        command = option(command)
    return command


def engines(command: F) -> F:
    """Options of `score FOLDER`: who scores, and where the ledger is."""
    for option in reversed(
        (
            click.option(
                "--engine",
                type=click.Choice(["local", "ray"]),
                help="Who scores: this machine, or a Ray cluster. [default: local]",
            ),
            click.option(
                "--address",
                metavar="auto|HOST:PORT",
                help="The Ray cluster. [default: RAY_ADDRESS, or one of this machine alone]",
            ),
            click.option(
                "--state",
                type=FOLDER,
                metavar="DIR",
                help="A folder of this machine for ledger, log and quarantine, where -o is on a network file system.",
            ),
        )
    ):
        command = option(command)
    return command


def folders(command: F) -> F:
    """Options of `watch` and of `score FOLDER`: what counts as a delivery, and when it is complete."""
    for option in reversed(
        (
            click.option(
                "--pattern", multiple=True, metavar="GLOB", help="Names that count. [default: *.csv *.csv.gz *.parquet]"
            ),
            click.option("--recursive", is_flag=True, default=None, help="Look into folders inside, too."),
            click.option("--settle", metavar="2s", help="A file is complete when still for so long. [default: 2s]"),
            click.option("--rescan", metavar="10s", help="Look into the folder at least so often. [default: 10s]"),
            click.option(
                "--existing",
                type=click.Choice(["score", "skip"]),
                help="Files that are there at the first start with this output folder. [default: score]",
            ),
            click.option(
                "--after",
                type=click.Choice(["keep", "move"]),
                help="Leave judged files where they are, or move them to the output folder. [default: keep]",
            ),
            click.option(
                "--ready", metavar="marker:.done", help="A file is complete when NAME.done is there, and only then."
            ),
            click.option("--format", type=click.Choice(list(FORMATS)), help="Format of results. [default: csv]"),
        )
    ):
        command = option(command)
    return command


def load_config(path: str | None) -> Config:
    """The configuration named, or ./anomvae.toml, or an empty one."""
    if path is not None:
        return read_config(Path(path))
    return read_config(Path("anomvae.toml")) if Path("anomvae.toml").is_file() else Config()


def given(settings: S, values: dict[str, Any]) -> S:
    """Settings with the flags that were really given (not None, not empty) laid over them."""
    flags = {name: value for name, value in values.items() if value is not None and value != ()}
    return changed(settings, flags, setting)


def some(settings: S, values: dict[str, Any], kind: type[S]) -> S:
    """As `given`, of flags for several tables, those of one."""
    return given(settings, {name: value for name, value in values.items() if name in kind.__struct_fields__})


def check_targets(*paths: str | None) -> None:
    """Refuse files that cannot be written, before any work is done for them.

    Raises:
        EnvironmentFault: the folder is not there or may not be written, or the path is a folder.
    """
    for path in (Path(path) for path in paths if path not in (None, "-")):
        folder = path.absolute().parent
        if not folder.is_dir():
            raise EnvironmentFault(f"{path}: cannot be written: there is no folder {folder}; make it, or name another.")
        if path.is_dir():
            raise EnvironmentFault(f"{path}: cannot be written: it is a folder; name a file.")
        if not os.access(folder, os.W_OK):
            raise EnvironmentFault(f"{path}: cannot be written: {folder} may not be written by this user.")


def open_model(name: str | None, config: Config, quiet: bool, *, generator: bool = False) -> Any:
    """Load the model of a command, and warn where others could have replaced it; its generator only where needed."""
    from anomvae.cli.show import note
    from anomvae.storage import model_file

    path = Path(name or config.model or "model.anomvae")
    detector = model_file.load(path, generator=generator)
    if model_file.writable_by_others(path):
        note(f"warning: {path} or its folder can be written by other users, who could replace the model", quiet=quiet)
    return detector
