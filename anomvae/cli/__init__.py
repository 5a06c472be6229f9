"""The command line: parse, call, print, exit code. `main(argv)` returns the code and can be called in-process.

Commands are loaded when they are asked for, so that `--help` costs neither numpy nor torch.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

import anomvae
from anomvae.errors import AnomvaeError, UsageError

COMMANDS = {
    "schema": "Show how the columns of training files would be read, and why.",
    "fit": "Learn normal rows, calibrate, save a model.",
    "score": "Score files, or what is new in a folder; exit 1 when something critical is in them.",
    "watch": "Score files as they arrive in a folder, each exactly once.",
    "status": "Health and history of a watched folder; exit 1 when something is wrong.",
    "report": "One offline HTML page about a folder, a run or a model.",
    "retry": "Judge a quarantined file again.",
    "generate": "Make synthetic rows: never a copy of a training row.",
    "evaluate": "Compare scores with known labels: how much is found, how often the alarm is false.",
    "threshold": "Show the threshold, or move it without fitting again.",
    "explain": "Show one row in depth, and the change that would mend it.",
    "inspect": "Show what is in a model file.",
    "demo": "The whole story on the sample data.",
    "completion": "Print the script that makes bash, zsh or fish complete.",
}


class Lazy(click.Group):
    """A group whose commands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of a first use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"anomvae.cli.{cmd_name}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; the error about an unknown name suggests the nearest one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from anomvae.config_errors import near

            raise UsageError(f"there is no command '{args[0]}'{near(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any."""
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Lazy, context_settings={"auto_envvar_prefix": "ANOMVAE", "help_option_names": ["-h", "--help"]})
@click.version_option(anomvae.__version__, prog_name="anomvae", message="%(prog)s %(version)s")
def root() -> None:
    """Which rows of an arriving table are not normal, why, and how often that answer will be wrong."""


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911 (one way out for each kind of end)
    """Run one command; returns the exit code of the table in the README.

    Args:
        argv: arguments without the program's name.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _forgiving_streams()
    try:
        with contextlib.suppress(ValueError, AttributeError):  # a thread, or a system without the signal
            signal.signal(signal.SIGTERM, _terminate)
        code: Any = root.main(args=arguments, prog_name="anomvae", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:  # a group alone
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.ClickException as error:
        from anomvae.cli.command import usage_message

        return _fail(arguments, "usage", usage_message(error), 2)
    except AnomvaeError as error:
        return _fail(arguments, error.code, str(error), error.exit_code, error)
    except _TerminatedError:
        if arguments[:1] == ["watch"]:  # it was stopped before it had begun
            return 0
        return _fail(arguments, "interrupted", "interrupted; nothing was left half-written", 130)
    except (KeyboardInterrupt, click.Abort):
        return _fail(arguments, "interrupted", "interrupted; nothing was left half-written", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _fail(arguments, "environment", f"{error.filename or 'I/O'}: {error.strerror}", 74, error)
    except Exception as error:
        message = f"a bug in anomvae: {type(error).__name__}: {error}. Please report it; --debug shows where."
        return _fail(arguments, "internal", message, 70, error)


class _TerminatedError(BaseException):
    """SIGTERM, as an exception."""


def _terminate(number: int, frame: Any) -> None:
    raise _TerminatedError


def _forgiving_streams() -> None:
    """Text that a terminal's encoding lacks is escaped, never an error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _fail(arguments: list[str], code: str, message: str, exit_code: int, error: BaseException | None = None) -> int:
    from anomvae.cli.output import fail

    if error is not None and "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    fail(code, message, exit_code, error, as_json="--json" in arguments)
    return exit_code
