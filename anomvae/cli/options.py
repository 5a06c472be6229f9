"""The options of the command line, and the precedence: flags > ANOMVAE_* > configuration file > defaults.

An option that sets a key of the configuration is made from that key (`config.Key`): its type, its default and its
help stand in `config.py` alone. The options that every command has are put together here, too.
"""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import click
import msgspec
from click.shell_completion import CompletionItem

from anomvae.cli.command import setting
from anomvae.cli.output import Printer
from anomvae.config import Config, Key, ScoreSettings, Settings, WatchSettings, changed, keys_of, read_config
from anomvae.errors import EnvironmentFault

S = TypeVar("S", bound=Settings)
Body = Callable[..., int]  # of a command: takes its parameters by name, returns the exit code


class Place(click.types.StringParamType):
    """The type of a file or folder on the command line: the shell completes it, and whoever opens it checks it."""

    name = "path"

    def __init__(self, kind: str = "file") -> None:
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave the completion to the shell: only the kind is given, `file` or `dir`."""
        return [CompletionItem(incomplete, type=self.kind)]


FILE, FOLDER = Place(), Place("dir")
DIALECT = (
    "encoding",
    "delimiter",
    "decimal",
    "thousands",
    "skip_lines",
    "units_lines",
)  # keys of how training files are written
PLACES = {"FILE": FILE, "DIR": FOLDER}  # values with these names are completed as paths


def everywhere(command: Body) -> Body:
    """Options of every command, which gets them as its `printer`."""

    @wraps(command)
    def with_printer(*, as_json: bool, quiet: bool, debug: bool, **values: Any) -> int:
        return command(printer=Printer(as_json=as_json, quiet=quiet), **values)  # `main` itself looks for --debug

    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors (and --json)."),
        click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    ):
        with_printer = option(with_printer)
    return with_printer


def configured(command: Body) -> Body:
    """The configuration file option; the command gets the configuration itself, as its `config`."""

    @wraps(command)
    def with_config(*, config: str | None, **values: Any) -> int:
        return command(config=load_config(config), **values)

    return click.option(
        "-c", "--config", type=FILE, help="Configuration file. [default: anomvae.toml, where there is one]"
    )(with_config)


def modelled(command: Body) -> Body:
    """The model option; see `model_path`."""
    return click.option("-m", "--model", type=FILE, help="Model file. [default: model.anomvae]")(command)


def reported(command: Body) -> Body:
    """The page option."""
    return click.option("--report", type=FILE, metavar="PAGE", help="Also write one offline HTML page.")(command)


def keys(kind: type[Settings], *names: str) -> Callable[[Body], Body]:
    """Options that set keys of one table of the configuration, in this order.

    Args:
        kind: the table.
        names: of its keys.
    """

    def decorate(command: Body) -> Body:
        known = keys_of(kind)
        for name in reversed(names):
            command = _option(*known[name])(command)
        return command

    return decorate


def scoring(command: Body) -> Body:
    """Options of `score` and `watch`: what is written and printed, and what makes the exit code 1."""
    names = "emit", "top", "alpha", "fail_on", "on_schema", "bad_rows", "threads", "spreadsheet_safe", "jobs"
    output = click.option("-o", "--output", type=FILE, help="Where results go (see above).")
    return output(keys(ScoreSettings, *names)(command))


class ScoreRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a scoring run; its inputs are given apart.

    Args:
        output: of -o: where results go.
        report: the HTML page to write.
        model: of -m; see `model_path`.
        config: the configuration.
        flags: the options that lie over its tables, by the names of their parameters; see `overlaid`.
    """

    output: str | None
    report: str | None
    model: str | None
    config: Config
    flags: dict[str, Any]


def engines(command: Body) -> Body:
    """Options of `score FOLDER`: the engine that scores, and the folder of the ledger."""
    return keys(ScoreSettings, "engine", "address", "state")(command)


def folders(command: Body) -> Body:
    """Options of `watch` and of `score FOLDER`: what counts as a delivery, and when it is complete."""
    names = "pattern", "recursive", "settle", "rescan", "existing", "after", "ready", "format"
    return keys(WatchSettings, *names)(command)


def _option(field: msgspec.structs.FieldInfo, key: Key) -> Callable[[Body], Body]:
    """The option that sets a key."""
    kind = _type_of(field.type)
    default = _default_of(field, key)
    more: dict[str, Any] = {"help": (key.help or key.meaning) + (f" [default: {default}]" if default else "")}
    if kind is bool:
        more |= {"is_flag": True, "default": None}
    elif get_origin(kind) is Literal and key.value is None:
        more |= {"type": click.Choice(get_args(kind))}
    else:
        place = PLACES.get(key.value or "")
        more |= {"type": place or {int: int, float: float}.get(kind, str), "metavar": key.value}
        several = get_origin(kind) is tuple
        more |= {"multiple": several and "," not in (key.value or "")}  # else one value, with commas between
    return click.option(*declaration(field, key), **more)


def declaration(field: msgspec.structs.FieldInfo, key: Key) -> tuple[str, ...]:
    """How the option of a key is declared to click."""
    return key.option or (f"--{field.name.replace('_', '-')}",)


def parameter(field: msgspec.structs.FieldInfo, key: Key) -> str:
    """The parameter of the option that sets a key; its variable is named by it as well."""
    return str(click.Option(declaration(field, key)).name)


def _type_of(hint: Any) -> Any:
    """A type without its annotations and without None."""
    if get_origin(hint) is Annotated:
        return _type_of(get_args(hint)[0])
    kinds = [one for one in get_args(hint) if one is not NoneType]
    return _type_of(kinds[0]) if NoneType in get_args(hint) and len(kinds) == 1 else hint


def _default_of(field: msgspec.structs.FieldInfo, key: Key) -> str:
    """The default as the help shows it; empty where the help shows none."""
    value = field.default
    if key.default is not None or value is None or isinstance(value, bool):
        return key.default or ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def load_config(path: str | None) -> Config:
    """The configuration named, or ./anomvae.toml, or an empty one."""
    if path is not None:
        return read_config(Path(path))
    return read_config(Path("anomvae.toml")) if Path("anomvae.toml").is_file() else Config()


def overlaid(settings: S, flags: Mapping[str, Any]) -> S:
    """Settings with the flags of their keys laid over them.

    Args:
        settings: one table of the configuration.
        flags: the parameters of the command by name; those of other tables, and those not given (None, or nothing
            of what can be repeated), are left alone.

    Raises:
        UsageError: a value is not allowed.
    """
    values = {}
    for name, (field, key) in keys_of(type(settings)).items():
        flag = parameter(field, key)
        value = flags.get(flag)
        if flag == f"no_{name}":
            value = False if value else None
        if value is not None and value != ():
            values[name] = value
    return changed(settings, values, setting)


def training(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags of a command that reads training files; a tab may be written as `tab` or as an escape."""
    tab = flags["delimiter"] in ("\\t", "tab")
    return {**flags, "delimiter": "\t" if tab else flags["delimiter"]}


def model_path(model: str | None, config: Config) -> str:
    """The model file of a command: the one of -m, else of the configuration, else model.anomvae."""
    return model or config.model or "model.anomvae"


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


def open_model(path: str, printer: Printer, *, generator: bool = False) -> Any:
    """Load the model of a command, and warn where others could have replaced it; its generator only where needed."""
    from anomvae.store import model_file

    file = Path(path)
    detector = model_file.load(file, generator=generator)
    if model_file.writable_by_others(file):
        printer.note(f"warning: {file} or its folder can be written by other users, who could replace the model")
    return detector
