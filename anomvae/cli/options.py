"""Options that commands share, and the precedence: flags > ANOMVAE_* > configuration file > defaults."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from anomvae.settings import Config, Settings, changed, read_config

F = TypeVar("F", bound=Callable[..., Any])
S = TypeVar("S", bound=Settings)


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
        "-c", "--config", type=click.Path(), help="Configuration file. [default: anomvae.toml, where there is one]"
    )(command)


def modelled(command: F) -> F:
    """The model option."""
    return click.option("-m", "--model", help="Model file. [default: model.anomvae]")(command)


def load_config(path: str | None) -> Config:
    """The configuration named, or ./anomvae.toml, or an empty one."""
    if path is not None:
        return read_config(Path(path))
    return read_config(Path("anomvae.toml")) if Path("anomvae.toml").is_file() else Config()


def given(settings: S, values: dict[str, Any]) -> S:
    """Settings with the flags that were really given (not None, not empty) laid over them."""
    flags = {name: value for name, value in values.items() if value is not None and value != ()}
    return changed(settings, flags, "command line")


def open_model(name: str | None, config: Config, quiet: bool) -> Any:
    """Load the model of a command, and warn where others could have replaced it."""
    from anomvae.cli.show import note
    from anomvae.storage import model_file

    path = Path(name or config.model or "model.anomvae")
    detector = model_file.load(path)
    if model_file.writable_by_others(path):
        note(f"warning: {path} or its folder can be written by other users, who could replace the model", quiet=quiet)
    return detector
