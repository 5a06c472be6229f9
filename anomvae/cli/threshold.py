"""anomvae threshold show|set|recalibrate."""

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.config import Config
from anomvae.errors import UsageError


@click.group("threshold")
def command() -> None:
    """Show the threshold of a model, or move it without fitting again."""


@command.command("show", cls=Command, examples=("threshold show -m orders.anomvae",))
@options.modelled
@options.configured
@options.everywhere
def show_command(model: str | None, config: Config, printer: Printer) -> int:
    """The threshold, what it promises, what another alpha would mean, and what set it."""
    from anomvae.commands.threshold import show_threshold
    from anomvae.report.terminal import threshold_report

    result = show_threshold(options.model_path(model, config))
    printer.result(result, threshold_report)
    return 0


@command.command("set", cls=Command, examples=("threshold set --alpha 0.005 -m orders.anomvae",))
@click.option("--alpha", type=float, help="Accepted false-alarm rate, above 0 and at most 0.5.")
@click.option("--score", type=float, help="Or the score to flag from.")
@options.modelled
@options.configured
@options.everywhere
def set_command(alpha: float | None, score: float | None, model: str | None, config: Config, printer: Printer) -> int:
    """Move the threshold: the file is replaced at once, and a running watch reloads it."""
    from anomvae.commands.threshold import set_threshold
    from anomvae.report.terminal import threshold_report

    if (alpha is None) == (score is None):
        raise UsageError("give --alpha A or --score S, one of them.")
    result = set_threshold(options.model_path(model, config), alpha, score)
    printer.result(result, threshold_report)
    return 0


@command.command("recalibrate", cls=Command, examples=("threshold recalibrate sample_data/orders -m orders.anomvae",))
@click.argument("files", type=options.FILE, nargs=-1, required=True, metavar="FILES...")
@options.modelled
@options.configured
@options.everywhere
def recalibrate_command(files: tuple[str, ...], model: str | None, config: Config, printer: Printer) -> int:
    """Set the threshold, and what is compared for drift, from FILES whose rows are normal; alpha stays.

    Their rows take the place of the calibration rows; at least 100. The network stays, and the score of every row.
    """
    from anomvae.commands.threshold import recalibrate
    from anomvae.report.terminal import threshold_report

    path = options.model_path(model, config)
    with printer.progress() as advance:
        result = recalibrate(files, path, lambda file, rows: advance(file, rows, 0))
    printer.result(result, threshold_report)
    return 0
