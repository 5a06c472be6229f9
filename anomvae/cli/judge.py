"""Judging the rows a command has written: options, the checks that come before any work, the table and the page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from anomvae.cli import options, show
from anomvae.errors import UsageError

if TYPE_CHECKING:
    from anomvae.quality import QualityResult

F = TypeVar("F", bound=Callable[..., Any])
READABLE = (".csv", ".parquet")


def judged(command: F) -> F:
    """Options of a command whose rows can be judged."""
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
        command = option(command)
    return command


def check(
    output: str | None, report: str | None, against: tuple[str, ...], holdout: tuple[str, ...], label: str | None
) -> None:
    """Refuse what cannot be judged, before any row is made.

    Raises:
        UsageError: options that need another one, or an output that cannot be read again.
    """
    wanting = [name for name, given in (("report", report), ("holdout", holdout), ("label", label)) if given]
    if wanting and not against:
        raise UsageError(f"--{wanting[0]} needs --against FILE: a model keeps no training row to compare with.")
    if against and Path(output or "-").suffix not in READABLE:
        raise UsageError("--against needs rows in a file: -o NAME.csv or NAME.parquet.")
    if label and not holdout:
        raise UsageError("--label needs --holdout FILE: what was learnt is tested on rows that the model never saw.")


def judge(
    detector: Any,
    output: str,
    report: str | None,
    against: tuple[str, ...],
    holdout: tuple[str, ...],
    label: str | None,
    *,
    seed: int,
    silent: bool,
) -> "QualityResult":
    """Compare the rows in `output` with real ones, print the table unless `silent`, write the page where asked.

    Raises:
        AnomvaeError: as `anomvae.quality`; or the page cannot be written.
    """
    from anomvae.disk import replacing
    from anomvae.quality import quality, quality_page, quality_report

    result = quality(list(against), output, list(holdout) or None, label, seed, detector=detector)
    show.result(result, quality_report, as_json=False, quiet=silent)
    if report is not None:
        with replacing(Path(report)) as file:
            file.write(quality_page(result).encode())
        show.note(f"wrote {report}", quiet=silent)
    return result
