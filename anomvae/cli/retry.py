"""anomvae retry: have quarantined files processed again."""

from pathlib import Path

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.records.folder import RetryResult


@click.command(
    "retry",
    cls=Command,
    examples=("retry anomvae-out 3f9a2c",),
)
@click.argument("out", type=options.FOLDER)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@options.everywhere
def command(out: str, ids: tuple[str, ...], printer: Printer) -> int:
    """Have quarantined deliveries judged again, by a `watch` that is running or by the next run.

    OUT is the output folder, ID a delivery's id or its first characters; `anomvae status OUT` lists them.
    """
    from anomvae.folder.retry import retry
    from anomvae.report.folder import retry_report

    result = RetryResult(out=out, retried=tuple(retry(Path(out), ids)))
    printer.result(result, retry_report)
    return 0
