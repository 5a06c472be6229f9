"""anomvae explain."""

import click

from anomvae.cli import options, show
from anomvae.cli.command import Command
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
def command(
    places: tuple[str, ...], model: str | None, config: str | None, as_json: bool, quiet: bool, debug: bool
) -> int:
    """Show one row in depth: every column beside what is expected there, and the change that would mend the row.

    LINE is the line that the row starts on (the header is 1), as in the _av_line of a result.
    """
    from anomvae.pipeline.explain import explain
    from anomvae.report.explain import explain_report

    if not places:
        raise UsageError("no row is named; give FILE:LINE, for example orders.csv:17.")
    chosen = options.load_config(config)
    detector = options.open_model(model, chosen, quiet)
    result = explain(places, detector, model=str(model or chosen.model or "model.anomvae"))
    show.result(result, explain_report, as_json=as_json, quiet=quiet)
    return 0
