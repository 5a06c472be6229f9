"""anomvae evaluate."""

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.config import Config


@click.command(
    "evaluate",
    cls=Command,
    examples=("evaluate rows.csv --label _av_kind -m orders.anomvae",),
)
@click.argument("inputs", type=options.FILE, nargs=-1, required=True, metavar="INPUT...")
@click.option("--label", required=True, metavar="COL", help="The column that says what a row is.")
@click.option("--normal", multiple=True, metavar="VALUE", help="Its value of normal rows; repeat for several.")
@click.option("--alpha", type=float, help="False-alarm rate to judge at. [default: the model's]")
@options.modelled
@options.configured
@options.everywhere
def command(
    inputs: tuple[str, ...],
    label: str,
    normal: tuple[str, ...],
    alpha: float | None,
    model: str | None,
    config: Config,
    printer: Printer,
) -> int:
    """Compare scores with known labels in INPUT (files, folders of them, or -). Needs no torch.

    Without --normal these labels are understood: 0 beside 1, false beside true, "normal" or "ok" beside anything, and
    an empty cell beside names of faults, as `generate --truth` writes them (--label _av_kind). Other labels name the
    kind of anomaly. Elsewhere an empty cell is no label, and the row is left out.
    """
    from anomvae.commands.evaluate import evaluate
    from anomvae.report.evaluate import evaluate_report

    settings = options.overlaid(config.score, {"alpha": alpha})
    path = options.model_path(model, config)
    detector = options.open_model(path, printer)
    with printer.progress() as advance:
        result = evaluate(
            inputs,
            detector,
            label,
            normal,
            settings.alpha,
            model=path,
            progress=lambda file, rows: advance(file, rows, 0),
        )
    printer.result(result, evaluate_report)
    return 0
