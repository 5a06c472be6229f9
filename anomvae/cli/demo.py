"""`anomvae demo`: runs the commands of a story on a copy of the sample data, as a user would type them."""

import contextlib
import csv
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import click

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer
from anomvae.errors import EnvironmentFault

STORIES = {
    "orders": [
        "fit sample_data/orders --id order_id --drop customer -o orders.anomvae",
        "score sample_data/incoming/2026-11-10.csv -m orders.anomvae",
        "score sample_data/incoming/2026-11-12.csv -m orders.anomvae -o 2026-11-12.scored.csv",
    ],
    "digits": [
        "fit sample_data/digits.csv --where 'digit == 1' --drop digit --hidden 32 --latent 4 -o ones.anomvae",
        "generate -m ones.anomvae -n 1 --show",
        "score sample_data/digits.csv -m ones.anomvae --top 5 -o digits.scored.csv",
    ],
    "employees": [
        "fit sample_data/employees.csv --where 'sex == F' -o women.anomvae",
        "generate -m women.anomvae -n 5",
        "fit sample_data/employees.csv -o employees.anomvae",
        "generate -m employees.anomvae --balance sex -o women.csv",
        "generate -m employees.anomvae -n 5 --where 'sex == F' --where 'job == developer'",
        "score sample_data/employees_new.csv -m employees.anomvae",
    ],
}


@click.command(
    "demo",
    cls=Command,
    examples=(
        "demo",
        "demo digits",
    ),
)
@click.argument("story", default="orders", type=click.Choice(list(STORIES)))
@options.everywhere
def command(story: str, printer: Printer) -> int:
    """Run a story on the sample data: orders (mixed columns), digits (images of a 1) or employees."""
    from anomvae.cli import root

    with tempfile.TemporaryDirectory(prefix="anomvae-demo-") as folder, contextlib.chdir(folder):
        shutil.copytree(sample_data(), "sample_data")
        if story == "digits" and not printer.silent:
            _print_typical(Path("sample_data/digits.csv"))
        for line in STORIES[story]:
            printer.note(f"$ anomvae {line}")
            words = shlex.split(line) + ["--json"] * printer.as_json + ["--quiet"] * printer.quiet
            root.main(args=words, prog_name="anomvae", standalone_mode=False)
            sys.stdout.flush()
            printer.note("")
    return 0


def _print_typical(table: Path) -> None:
    """Print the medoid of the ones in a table of digits: the row with the least sum of differences to all others."""
    from anomvae.report.tables import console
    from anomvae.synthesis import Picture, picture_cells, picture_shades

    with table.open(newline="", encoding="utf-8") as file:
        rows = [row[:-1] for row in csv.reader(file) if row[-1] == "1"]
    pixels = [list(map(int, row)) for row in rows]
    differences = [sum(abs(a - b) for other in pixels for a, b in zip(row, other, strict=True)) for row in pixels]
    typical = differences.index(min(differences))
    picture = Picture(side=8, cells=tuple(rows[typical]), shades=tuple(value / 16 for value in pixels[typical]))
    screen = console()
    screen.print(f"The most typical of the {len(rows)} ones in {table}:")
    screen.print(picture_cells(picture), picture_shades(picture), "", sep="\n")


def sample_data() -> Path:
    """The folder of the sample data: inside an installed package, beside the package in a checkout.

    Raises:
        EnvironmentFault: there is no such folder.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "sample_data", package.parent / "sample_data"):
        if (folder / "digits.csv").is_file():
            return folder
    raise EnvironmentFault("the sample data is not installed; reinstall anomvae, or run from a checkout.")
