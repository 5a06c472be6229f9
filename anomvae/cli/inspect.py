"""anomvae inspect."""

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer


@click.command(
    "inspect",
    cls=Command,
    examples=(
        "inspect orders.anomvae",
        "inspect orders.anomvae --json",
    ),
)
@click.argument("model", type=options.FILE, default="model.anomvae")
@options.everywhere
def command(model: str, printer: Printer) -> int:
    """Show what is in MODEL: columns, network, threshold, lineage. Needs no torch."""
    from anomvae.commands.inspect import card_of
    from anomvae.report.terminal import inspect_report
    from anomvae.store import model_file

    printer.result(card_of(model_file.load(model), model), inspect_report)
    return 0
