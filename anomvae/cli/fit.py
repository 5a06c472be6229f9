"""anomvae fit."""

from pathlib import Path
from typing import Any

import click
import msgspec

from anomvae.cli import options, show
from anomvae.cli.command import Command
from anomvae.errors import UsageError
from anomvae.settings import Config


@click.command(
    "fit",
    cls=Command,
    examples=(
        "fit sample_data/orders --id order_id --drop customer -o orders.anomvae",
        "fit sample_data/digits.csv --where 'digit == 1' --drop digit -o ones.anomvae",
        "fit sample_data/orders --from orders.anomvae --compare",
    ),
)
@click.argument("train", type=options.FILE, nargs=-1)
@click.option("-o", "--output", type=options.FILE, help="Model file to write. [default: model.anomvae]")
@click.option("--where", multiple=True, metavar="'COL OP VALUE'", help="Train on rows that meet this; repeat for AND.")
@click.option("--label", metavar="COL", help="A label column: never shown to the model.")
@click.option("--normal", metavar="VALUE", help="The label of normal rows; only these are trained on.")
@click.option("--drop", multiple=True, metavar="COL", help="Leave a column out.")
@click.option("--id", "ids", multiple=True, metavar="COL", help="An identifier: kept in results, not modelled.")
@click.option("--alpha", type=float, help="Accepted false-alarm rate. [default: 0.01]")
@click.option(
    "--contamination",
    type=float,
    metavar="SHARE",
    help="Share of anomalies that may be among the training rows: leave it out, list rows to review. [default: 0]",
)
@click.option("--threshold", metavar="auto|SCORE", help="Flag from this score on. [default: auto]")
@click.option("--hidden", metavar="64,64", help="Units of the hidden layers.")
@click.option("--latent", metavar="N|auto", help="Latent dimensions.")
@click.option("--beta", type=float, help="Weight of the KL term. [default: 0.03]")
@click.option("--steps", metavar="N|auto", help="Training steps. [default: by the number of rows]")
@click.option("--batch", type=int, help="Rows of one step. [default: 128]")
@click.option("--lr", type=float, help="Learning rate. [default: 0.0045]")
@click.option("--max-time", metavar="10m", help="End training after this long, and the generator's as well.")
@click.option("--max-rows", type=int, help="Keep at most so many rows, evenly spread. [default: 200000]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to train. [default: auto]")
@click.option("--seed", type=int, help="Same data and seed: the same model, byte for byte. [default: 0]")
@click.option("--encoding", help="Text encoding. [default: utf-8]")
@click.option("--delimiter", help="Field delimiter. [default: ,]")
@click.option("--decimal", help="Decimal sign, . or ,")
@click.option("--thousands", help="Thousands separator.")
@click.option("--skip-lines", type=int, help="Lines before the header.")
@click.option("--no-generator", is_flag=True, help="Only score with this model: it cannot make synthetic rows.")
@click.option("--no-selftest", is_flag=True, help="Do not measure how well injected faults are found.")
@click.option(
    "--from",
    "champion",
    type=options.FILE,
    metavar="MODEL",
    help="Take columns, selection, alpha and dialect of this model.",
)
@click.option("--compare", is_flag=True, help="With --from: hold out the last tenth, and put both models side by side.")
@options.reported
@options.configured
@options.everywhere
def command(
    train: tuple[str, ...],
    output: str | None,
    champion: str | None,
    compare: bool,
    report: str | None,
    drop: tuple[str, ...],
    ids: tuple[str, ...],
    hidden: str | None,
    no_generator: bool,
    no_selftest: bool,
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int:
    """Learn normal rows from TRAIN (files or folders), calibrate the threshold, save the model.

    With --from the model goes to challenger.anomvae, or to -o, never over the old one.
    """
    from anomvae.pipeline.fit import COLLAPSED, fit
    from anomvae.report.terminal import fit_report

    chosen = options.load_config(config)
    model = output or chosen.model or "model.anomvae"
    old = None
    if champion is not None:
        model = output or "challenger.anomvae"
        old, chosen = _inherit(champion, chosen, model)
    elif compare:
        raise UsageError("--compare puts the new model beside an old one; name that with --from MODEL.")
    options.check_targets(model, report)
    if flags["delimiter"] in ("\\t", "tab"):
        flags["delimiter"] = "\t"
    skipped = {
        "generator": False if no_generator else None,
        "selftest": False if no_selftest else None,
    }
    settings = options.given(chosen.fit, {**flags, **skipped, "hidden": _layers(hidden)})
    schema = options.given(chosen.schema, {"drop": drop, "id": ids})
    with show.progress(quiet=quiet or as_json) as advance:
        result = fit(train or chosen.train, model, settings, schema, advance, champion=old if compare else None)
    show.result(result, fit_report, as_json=as_json, quiet=quiet)
    if report:
        from anomvae.cli.report import write_page
        from anomvae.pipeline import card, overview
        from anomvae.storage import model_file

        detector = model_file.load(model, generator=False)
        write_page(report, overview.of_model(detector, card.card_of(detector, model)), quiet=quiet or as_json)
    if quiet and result.training.latents_used == 0:
        show.note(f"warning: {COLLAPSED}", quiet=False)
    return 0


def _layers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--hidden '{text}' is not a list of layer sizes such as 64,64.") from None


def _inherit(name: str, chosen: Config, model: str) -> tuple[Any, Config]:
    """The old model, and its choices in place of those of the configuration."""
    from anomvae.pipeline.challenge import Champion, inherited
    from anomvae.storage import model_file

    if Path(model).exists() and Path(name).exists() and Path(model).samefile(name):
        raise UsageError(f"{model}: is the model of --from; name another file for the new one with -o.")
    old = Champion(name, model_file.load(name))
    settings, schema = inherited(old)
    hidden = tuple(dict.fromkeys([*schema.redact, *chosen.schema.redact]))  # what either says; never less
    schema = msgspec.structs.replace(schema, redact=hidden)
    return old, msgspec.structs.replace(chosen, fit=settings, schema=schema)
