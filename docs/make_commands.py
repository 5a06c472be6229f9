"""Write docs/commands.md: every command with its options, from the command line itself."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
from pages import NOTE, code, paragraph, table

from anomvae import cli, errors
from anomvae.cli.command import variable
from anomvae.cli.options import parameter
from anomvae.config import (
    FitSettings,
    GenerateSettings,
    SchemaSettings,
    ScoreSettings,
    Settings,
    WatchSettings,
    keys_of,
)

TABLES: dict[str, tuple[type[Settings], ...]] = {
    "schema": (FitSettings, SchemaSettings),
    "fit": (FitSettings, SchemaSettings),
    "score": (ScoreSettings, WatchSettings),
    "watch": (ScoreSettings, WatchSettings),
    "generate": (GenerateSettings,),
}  # which tables of the configuration a command's options lie over
SAID = re.compile(r"\s*\[default: (.*)\]")
HEAD = """# Commands

Where results and talk go, and which of flag, variable and configuration wins: `../README.md`. The keys of the
configuration: `configuration.md`. What `--json` prints and what files look like: `formats.md`. Every option can also be
given by the variable beside it: a switch by `1`; of one that may be repeated the values stand there with spaces
between, so none may hold a space itself.

## Exit codes

"""
OWN = {
    0: "finished, and nothing that `--fail-on` names; single rows may have been left out, which is told",
    1: "finished, and something that `--fail-on` names; `status`: not healthy",
    5: "all is written, but a message to an outlet is waiting or was given up (`score FOLDER`)",
    130: "interrupted; nothing is left half-written (`watch` ends with 0 on SIGTERM)",
}
EVERYWHERE = ("quiet", "as_json", "debug")  # options of every command, told once
COLUMNS = ["option", "value", "default", "meaning", "variable"]
FOOT = f"""
Several at once: the first of {", ".join(str(one) for one in errors.PRECEDENCE)} counts.
What to do after each: `operations.md`.

## Options of every command

`-h` and `--help` show the help; `anomvae --version` the version. `COMMAND` stands for the command's name.

"""


def commands() -> str:
    """The page."""
    parts = [NOTE.format(source="anomvae/cli"), HEAD, _exit_codes(), FOOT]
    with click.Context(cli.root, info_name="anomvae", auto_envvar_prefix="ANOMVAE") as top:
        found = list(every_command(top))
        shared = [_row(found[0], option) for option in options_of(found[0]) if option.name in EVERYWHERE]
        parts.append(table(COLUMNS, [[*row[:-1], row[-1].replace("FIT", "COMMAND")] for row in shared]))
        parts += [_section(context) for context in found]
    return "".join(parts)


def every_command(group: click.Context) -> Iterator[click.Context]:
    """A context for every command, and for every command of a group in it."""
    commands = group.command
    for name in commands.list_commands(group) if isinstance(commands, click.Group) else ():
        command = commands.get_command(group, name)
        context = click.Context(command, info_name=name, parent=group)
        if isinstance(command, click.Group):
            yield from every_command(context)
        else:
            yield context


def key_of(command: str, option: click.Option) -> tuple[type[Settings], str] | None:
    """The table and the name of the key that an option of a command sets; None where it sets none."""
    for kind in TABLES.get(command, ()):
        for name, (field, key) in keys_of(kind).items():
            if parameter(field, key) == option.name:
                return kind, name
    return None


def default_of(command: str, option: click.Option) -> str:
    """The default as one writes it: that of the key that is set, else what the help says, else that of click."""
    if found := key_of(command, option):
        kind, name = found
        value = getattr(kind(), name)
        if value is not None and not isinstance(value, bool):
            return " ".join(value) if isinstance(value, tuple) else str(value)
    said = SAID.search(option.help or "")
    if said:
        return said[1]
    return "off" if option.is_flag else ""


def _exit_codes() -> str:
    told = dict(OWN)
    for kind in (
        errors.UsageError,
        errors.DataError,
        errors.ModelError,
        errors.AnomvaeError,
        errors.EnvironmentFault,
        errors.HeldError,
    ):
        first = "a bug in anomvae." if kind is errors.AnomvaeError else paragraph(kind.__doc__).split("\n\n")[0]
        told[kind.exit_code] = first[0].lower() + first[1:].rstrip(".")
    return table(["code", "meaning"], [[str(exit_code), told[exit_code]] for exit_code in sorted(told)])


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"\n## {context.command_path}\n\n```\n{usage}\n```\n\n{paragraph(command.help)}\n"
    if examples := getattr(command, "examples", ()):
        text += "\n```\n" + "".join(f"anomvae {line}\n" for line in examples) + "```\n"
    rows = [_row(context, option) for option in options_of(context) if option.name not in EVERYWHERE]
    return text + ("\n" + table(COLUMNS, rows) if rows else "")


def options_of(context: click.Context) -> list[click.Option]:
    """The options of a command, but for --help."""
    return [one for one in context.command.params if isinstance(one, click.Option)]


def _row(context: click.Context, option: click.Option) -> list[str]:
    names = ", ".join(code(name) for name in (*reversed(option.opts), *option.secondary_opts))
    default = default_of(context.command_path.split()[1], option)
    return [names, code(value_of(option)), code(default), meaning_of(option), code(variable(context, option))]


def value_of(option: click.Option) -> str:
    """What an option takes, empty for a switch."""
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        value = "|".join(str(choice) for choice in option.type.choices)
    else:
        value = option.metavar or option.type.name.upper()
    return value + ("..." if option.multiple else "")


def meaning_of(option: click.Option) -> str:
    """The help of an option, without its default."""
    return SAID.sub("", option.help or "")


if __name__ == "__main__":
    (Path(__file__).parent / "commands.md").write_text(commands(), encoding="utf-8")
