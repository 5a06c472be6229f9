"""anomvae fit."""

from pathlib import Path
from typing import Any

import click
import msgspec

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer, note
from anomvae.config import Config, FitSettings, SchemaSettings
from anomvae.errors import UsageError


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
@options.keys(FitSettings, "where", "label", "normal", "group")
@options.keys(SchemaSettings, "drop", "id")
@options.keys(FitSettings, "alpha", "contamination", "threshold")
@options.keys(FitSettings, "hidden", "latent", "beta", "steps", "batch", "lr", "max_time", "max_rows", "device", "seed")
@options.keys(FitSettings, *options.DIALECT, "generator", "selftest")
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
    config: Config,
    printer: Printer,
    **flags: Any,
) -> int:
    """Learn normal rows from TRAIN (files or folders), calibrate the threshold, save the model.

    With --from the model goes to challenger.anomvae, or to -o, never over the old one.
    """
    from anomvae.commands.fit import fit
    from anomvae.records.sentences import table_warning
    from anomvae.report.terminal import fit_report

    model = output or config.model or "model.anomvae"
    old = None
    if champion is not None:
        model = output or "challenger.anomvae"
        old, config = _inherit(champion, config, model)
    elif compare:
        raise UsageError("--compare puts the new model beside an old one; name that with --from MODEL.")
    options.check_targets(model, report)
    flags = options.training(flags)
    flags["hidden"] = _layers(flags["hidden"])
    settings, schema = options.overlaid(config.fit, flags), options.overlaid(config.schema, flags)
    with printer.progress() as advance:
        result = fit(train or config.train, model, settings, schema, advance, champion=old if compare else None)
    printer.result(result, fit_report)
    if report:
        from anomvae.cli.report import write_page
        from anomvae.commands import inspect
        from anomvae.report import html_report
        from anomvae.store import model_file

        detector = model_file.load(model, generator=False)
        write_page(report, html_report.of_model(detector, inspect.card_of(detector, model)), printer)
    if printer.quiet:
        for warning in result.warnings:
            if warning.code == "posterior_collapse":
                note(f"warning: {table_warning(warning)}")
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
    from anomvae.commands.compare import NamedModel, inherited_settings
    from anomvae.store import model_file

    if Path(model).exists() and Path(name).exists() and Path(model).samefile(name):
        raise UsageError(f"{model}: is the model of --from; name another file for the new one with -o.")
    old = NamedModel(name, model_file.load(name))
    settings, schema = inherited_settings(old)
    hidden = tuple(dict.fromkeys([*schema.redact, *chosen.schema.redact]))  # what either says; never less
    columns = {**chosen.schema.columns, **schema.columns}
    schema = msgspec.structs.replace(schema, redact=hidden, columns=columns)
    return old, msgspec.structs.replace(chosen, fit=settings, schema=schema)
