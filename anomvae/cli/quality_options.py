"""Compares the rows that a command has written with real ones: the options for it, their checks, table and page."""

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from anomvae.cli import options
from anomvae.cli.output import Printer
from anomvae.errors import UsageError
from anomvae.formats import suffixes

if TYPE_CHECKING:
    from anomvae.quality import QualityResult


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """The values of the options of a comparison.

    Attributes:
        report: the page to write.
        against: files of training rows; empty: no comparison.
        holdout: files of real rows that the model never saw.
        label: the column to be predicted by a model that is trained on the synthetic rows.
    """

    report: str | None = None
    against: tuple[str, ...] = ()
    holdout: tuple[str, ...] = ()
    label: str | None = None


def compared(command: options.Body) -> options.Body:
    """Add the options of a comparison to a command, which gets their values as its argument `comparison`."""

    @wraps(command)
    def with_comparison(
        *, report: str | None, against: tuple[str, ...], holdout: tuple[str, ...], label: str | None, **values: Any
    ) -> int:
        comparison = Comparison(report=report, against=against, holdout=holdout, label=label)
        return command(comparison=comparison, **values)

    for option in (
        click.option("--label", metavar="COL", help="Also: train on the rows, predict COL of the held-out rows."),
        click.option(
            "--holdout",
            type=options.FILE,
            multiple=True,
            metavar="FILE",
            help="Real rows that the model never saw; repeatable.",
        ),
        click.option(
            "--against",
            type=options.FILE,
            multiple=True,
            metavar="FILE",
            help="Compare with these training rows; repeatable.",
        ),
        click.option(
            "--report",
            type=options.FILE,
            metavar="PAGE",
            help="Write the comparison as one HTML page; needs --against.",
        ),
    ):
        with_comparison = option(with_comparison)
    return with_comparison


def check(comparison: Comparison, output: str | None) -> None:
    """Refuse a comparison that cannot be made, before any row is made.

    Raises:
        UsageError: an option lacks another one that it needs, or the output cannot be read again.
    """
    options_given = [name for name in ("report", "holdout", "label") if getattr(comparison, name)]
    if options_given and not comparison.against:
        raise UsageError(f"--{options_given[0]} needs --against FILE: a model keeps no training row to compare with.")
    readable = suffixes(readable=True)
    if comparison.against and Path(output or "-").suffix not in readable:
        files = " or ".join(f"NAME{suffix}" for suffix in readable)
        raise UsageError(f"--against needs rows in a file: -o {files}.")
    if comparison.label and not comparison.holdout:
        raise UsageError("--label needs --holdout FILE: what was learnt is tested on rows that the model never saw.")


def compare(comparison: Comparison, detector: Any, output: str, seed: int, printer: Printer) -> "QualityResult":
    """Compare written rows with real ones, print the table and write the page.

    Args:
        comparison: the options; at least `against` is given.
        detector: the model that made the rows.
        output: the file of the rows.
        seed: of the comparison's own samples and classifiers.
        printer: prints the table; with --json there is none, as the document holds the comparison.

    Returns:
        The comparison.

    Raises:
        AnomvaeError: the tables cannot be compared, or the page cannot be written.
    """
    from anomvae.durable_io import replacing
    from anomvae.quality import quality, quality_page, quality_report

    held_out = list(comparison.holdout) or None
    result = quality(list(comparison.against), output, held_out, comparison.label, seed, detector=detector)
    Printer(quiet=printer.silent).result(result, quality_report)
    if comparison.report is not None:
        with replacing(Path(comparison.report)) as file:
            file.write(quality_page(result).encode())
        printer.aside(f"wrote {comparison.report}")
    return result
