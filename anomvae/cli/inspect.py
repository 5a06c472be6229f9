"""anomvae inspect."""

import click

from anomvae.cli import options, show
from anomvae.cli.command import Command


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
def command(model: str, as_json: bool, quiet: bool, debug: bool) -> int:
    """Show what is in MODEL: columns, network, threshold, lineage. Needs no torch."""
    from anomvae.pipeline.card import card_of
    from anomvae.report.terminal import inspect_report
    from anomvae.storage import model_file

    result = card_of(model_file.load(model), model)
    show.result(result, inspect_report, as_json=as_json, quiet=quiet)
    return 0
