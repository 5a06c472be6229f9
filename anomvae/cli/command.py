"""The base class of all commands, with examples in their help, and the messages of usage errors."""

import os
import re
from collections.abc import Sequence
from typing import Any

import click
from click.core import ParameterSource

from anomvae.errors import UsageError

COMMON_OPTIONS = ("config", "as_json", "quiet", "debug")
QUOTED = re.compile(r"^'([^']*)'").match


class Command(click.Command):
    """A command whose help ends with examples.

    Args:
        examples: command lines without the program's name; tests run each.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*args, **more)
        self.examples = tuple(examples)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; a variable that names no option of the command is an error."""
        check_variables(ctx, self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of this command, then those that every command has."""
        own: list[tuple[str, str]] = []
        common: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)):
                (common if param.name in COMMON_OPTIONS or "--help" in param.opts else own).append(record)
        for title, records in (("Options", own), ("As in every command", common)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples as they are typed, not wrapped."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}anomvae {line}\n")


def check_variables(ctx: click.Context, params: Sequence[click.Parameter]) -> None:
    """Refuse ANOMVAE_COMMAND_NAME variables that set nothing.

    Raises:
        UsageError: one has the name of no option of this command.
    """
    prefix = f"{ctx.auto_envvar_prefix}_"
    known = [variable(ctx, param) for param in params if isinstance(param, click.Option)]
    for name in sorted(os.environ):
        if ctx.auto_envvar_prefix and name.startswith(prefix) and name not in known:
            from anomvae.config_errors import near

            raise UsageError(f"{name}: no option of '{ctx.command_path}' is set by this variable{near(name, known)}")


def variable(ctx: click.Context, param: click.Parameter) -> str:
    """The name of the variable that sets a parameter."""
    return f"{ctx.auto_envvar_prefix}_{str(param.name).upper()}"


def spelled(ctx: click.Context, param: click.Parameter) -> str:
    """How the user wrote a parameter: an option, an argument, or a variable's name."""
    if ctx.get_parameter_source(str(param.name)) is ParameterSource.ENVIRONMENT:
        return variable(ctx, param)
    return max(param.opts, key=len) if isinstance(param, click.Option) else str(param.name).upper()


def setting(keys: tuple[str, ...], value: Any) -> str:
    """How a setting was written on this command line; see `config.build`."""
    ctx = click.get_current_context()
    if value is None:
        return "command line"
    param = next((one for one in ctx.command.params if one.name == keys[-1]), None)
    name = spelled(ctx, param) if param else f"--{keys[-1]}"
    text = ",".join(map(str, value)) if isinstance(value, tuple | list) else value
    return f"{name}={text}" if name.isupper() else f"{name} {text}"


def usage_message(error: click.ClickException) -> str:
    """A usage error of click as one line that says what to do."""
    from anomvae.config_errors import near

    if isinstance(error, click.NoSuchOption) and error.ctx:
        name, params = error.ctx.command_path, error.ctx.command.get_params(error.ctx)
        known = [word for param in params if isinstance(param, click.Option) for word in param.opts]
        listed = f"'{name} --help' lists them"
        return f"'{name}' has no option {error.option_name}{near(error.option_name, known, listed)}"
    if not isinstance(error, click.BadParameter) or error.param is None or error.ctx is None:
        return error.format_message()
    if isinstance(error, click.MissingParameter):
        name = error.ctx.command_path
        return f"'{name}' needs {spelled(error.ctx, error.param)}; '{name} --help' shows how."
    value = QUOTED(error.message)
    message, choices = error.message, getattr(error.param.type, "choices", ())
    if value and choices:
        message = f"'{value[1]}' is no choice{near(value[1], map(str, choices))}"
    return f"{spelled(error.ctx, error.param)}: {message}"
