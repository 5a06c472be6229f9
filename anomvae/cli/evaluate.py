"""anomvae evaluate."""

import click

from anomvae.cli import options, show
from anomvae.cli.command import Command


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
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> int:
    """Compare scores with known labels in INPUT (files, folders of them, or -). Needs no torch.

    Without --normal these labels are understood: 0 beside 1, false beside true, "normal" or "ok" beside anything, and
    an empty cell beside names of faults, as `generate --truth` writes them (--label _av_kind). Other labels name the
    kind of anomaly. Elsewhere an empty cell is no label, and the row is left out.
    """
    from anomvae.pipeline.evaluate import evaluate
    from anomvae.report.evaluate import evaluate_report

    chosen = options.load_config(config)
    settings = options.given(chosen.score, {"alpha": alpha})
    detector = options.open_model(model, chosen, quiet)
    with show.progress(quiet=quiet or as_json) as advance:
        result = evaluate(
            inputs,
            detector,
            label,
            normal,
            settings.alpha,
            model=str(model or chosen.model or "model.anomvae"),
            progress=lambda file, rows: advance(file, rows, 0),
        )
    show.result(result, evaluate_report, as_json=as_json, quiet=quiet)
    return 0
