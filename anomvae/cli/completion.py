"""anomvae completion: the script that makes a shell complete this command line."""

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from anomvae.cli.command import Command

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the script that completes commands, options, choices and file names in SHELL.

    \b
    bash, in ~/.bashrc:  eval "$(anomvae completion bash)"
    zsh, in ~/.zshrc:    eval "$(anomvae completion zsh)"
    fish, in its config: anomvae completion fish | source
    """  # noqa: D301 (click keeps lines after a backspace as they are)
    click.echo(SHELLS[shell](ctx.find_root().command, {}, "anomvae", "_ANOMVAE_COMPLETE").source())
    return 0
