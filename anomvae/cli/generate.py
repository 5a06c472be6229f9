"""`anomvae generate`: make synthetic rows from a model, and compare them with real ones where that is asked for."""

import sys
from typing import Any

import click
import msgspec

from anomvae.cli import options, quality_options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.cli.quality_options import Comparison
from anomvae.config import Config, GenerateSettings
from anomvae.errors import UsageError
from anomvae.formats import listed


@click.command(
    "generate",
    cls=Command,
    examples=(
        "generate -m employees.anomvae -n 5 --where 'sex == F' --where 'job == developer'",
        "generate -m employees.anomvae --balance sex -o women.csv",
        "generate -m orders.anomvae -n 2000 --anomalies 0.05 --truth -o rows.csv",
    ),
)
@click.option("-n", "--rows", type=int, help="How many rows. [default: 10]")
@click.option("-o", "--output", type=options.FILE, help=f"A {listed()} file, or - for CSV on stdout. [default: -]")
@options.keys(GenerateSettings, "where", "balance", "to", "like", "temperature", "gate", "anomalies", "kinds", "truth")
@click.option("--show", is_flag=True, help="Draw image-like rows beside a typical one (rows only with -o).")
@options.keys(GenerateSettings, "seed")
@quality_options.compared
@options.modelled
@options.configured
@options.everywhere
def command(
    rows: int | None,
    output: str | None,
    show: bool,
    comparison: Comparison,
    model: str | None,
    config: Config,
    printer: Printer,
    **flags: Any,
) -> int:
    """Make synthetic rows from a model: never a copy of a training row. Needs no torch."""
    from anomvae.synthesis import generate, generate_report

    if flags["kinds"] is not None:
        flags["kinds"] = tuple(word.strip() for word in flags["kinds"].split(",") if word.strip())
    settings = options.overlaid(config.generate, flags)
    target = output if show else output or "-"
    to_stdout = target == "-"
    if to_stdout and (printer.as_json or show):
        raise UsageError("stdout takes the rows or this report; name a file for the rows with -o.")
    quality_options.check(comparison, target)
    options.check_targets(target, comparison.report)
    path = options.model_path(model, config)
    detector = options.open_model(path, printer, generator=True)
    with printer.progress() as advance:
        result = generate(
            detector,
            rows,
            settings,
            target,
            model=path,
            stdout=sys.stdout.buffer if to_stdout else None,
            show=show,
            progress=advance,
        )
    if comparison.against:
        quality = quality_options.compare(comparison, detector, str(target), settings.seed, printer)
        result = msgspec.structs.replace(result, quality=quality)
    printer.result(result, generate_report, stderr=to_stdout)
    return 0
