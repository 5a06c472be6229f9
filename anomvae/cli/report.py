"""anomvae report."""

from pathlib import Path
from typing import Any

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.config import Config
from anomvae.errors import ModelError, UsageError

PAGE = "report.html"


@click.command(
    "report",
    cls=Command,
    examples=(
        "report anomvae-out -o page.html",
        "report orders.anomvae -o model.html",
    ),
)
@click.argument("source", type=options.FILE, required=False)
@click.option("-o", "--output", type=options.FILE, metavar="PAGE", help=f"The page to write. [default: {PAGE}]")
@options.modelled
@options.configured
@options.everywhere
def command(source: str | None, output: str | None, model: str | None, config: Config, printer: Printer) -> int:
    """Write one HTML page about SOURCE, to read offline and to print.

    SOURCE is the output folder of 'watch' or 'score FOLDER' (default anomvae-out), a file that 'score --json' has
    printed, or a model. Without -m the model that judged last is described, where it is still there.
    """
    from anomvae.records.results import ReportResult

    place = Path(source or config.out or "anomvae-out")
    found = _overview(place, model or config.model, printer)
    size = write_page(output or PAGE, found, Printer(quiet=True))
    files = sum(found.verdicts.values())
    result = ReportResult(page=output or PAGE, bytes=size, files=files, rows=found.totals["rows"])
    printer.result(result, _sentence)
    return 0


def _sentence(result: Any) -> str:
    from anomvae.report.sanitize import sanitize

    about = f"{result.files:,} files, {result.rows:,} rows" if result.files else "the model"
    return f"wrote {sanitize(result.page, 120)}: {about}, {result.bytes / 1024:,.0f} KiB"


def _overview(place: Path, model: str | None, printer: Printer) -> Any:
    from anomvae.folder.health import read_health
    from anomvae.report import html_report

    if place.is_dir():
        health = read_health(place)
        detector, card = _model(model, health.model if health else None, printer)
        return html_report.of_folder(place, detector, card)
    if place.suffix == ".json":
        result = html_report.read_result(place)
        detector, card = _model(model, result.model, printer)
        return html_report.of_result(result, detector, card)
    if not place.exists():
        raise UsageError(f"{place}: no such folder, result or model; name the output folder of 'score' or 'watch'.")
    detector, card = _model(str(place), None, printer)
    return html_report.of_model(detector, card)


def _model(named: str | None, last: str | None, printer: Printer) -> tuple[Any, Any]:
    """The model that is named, or the last one used; without either the page describes none."""
    from anomvae.commands.inspect import card_of
    from anomvae.store import model_file

    if named is None and last is None:
        return None, None
    try:
        detector = model_file.load(named or str(last), generator=False)
    except ModelError as error:
        if named is not None:
            raise
        printer.aside(f"anomvae: the model is left out of the page: {error}")
        return None, None
    return detector, card_of(detector, named or str(last))


def write_page(path: str, report: Any, printer: Printer) -> int:
    """Write a page, whole or not at all; returns its bytes."""
    from anomvae.durable_io import faults, replacing

    page = report.page().encode()
    with faults(f"{path}: the page cannot be written"), replacing(Path(path)) as file:
        file.write(page)
    printer.aside(f"wrote {path}")
    return len(page)
