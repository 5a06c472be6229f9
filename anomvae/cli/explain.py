"""anomvae explain."""

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.config import Config
from anomvae.errors import UsageError


@click.command(
    "explain",
    cls=Command,
    examples=("explain sample_data/incoming/2026-11-12.csv:41 -m orders.anomvae",),
)
@click.argument("places", type=options.FILE, nargs=-1, metavar="FILE:LINE...")
@options.modelled
@options.configured
@options.everywhere
def command(places: tuple[str, ...], model: str | None, config: Config, printer: Printer) -> int:
    """Show one row in depth: every column beside what is expected there, and the change that would mend the row.

    LINE is the line that the row starts on (the header is 1), as in the _av_line of a result.
    """
    from anomvae.commands.explain import explain
    from anomvae.report.explain import explain_report

    if not places:
        raise UsageError("no row is named; give FILE:LINE, for example orders.csv:17.")
    path = options.model_path(model, config)
    result = explain(places, options.open_model(path, printer), model=path)
    printer.result(result, explain_report)
    return 0
