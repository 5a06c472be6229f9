"""anomvae status: health and history of an output folder."""

from pathlib import Path

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.config import Config, seconds


@click.command(
    "status",
    cls=Command,
    examples=(
        "status anomvae-out",
        "status anomvae-out --since 7d",
    ),
)
@click.argument("out", type=options.FOLDER, required=False)
@click.option("--since", metavar="7d", help="Also the history of so long, by day; by hour up to two days.")
@options.configured
@options.everywhere
def command(out: str | None, since: str | None, config: Config, printer: Printer) -> int:
    """Health and history of the output folder OUT; exit code 0 when it is healthy, 1 when not."""
    from anomvae.folder.status import status
    from anomvae.report.folder import status_report

    past = None if since is None else seconds(since, "--since")
    result = status(Path(out or config.out or "anomvae-out"), past)
    printer.result(result, status_report)
    return 0 if result.healthy else 1
