"""anomvae demo: the stories of the sample data, with the commands that tell them."""

import contextlib
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import click

from anomvae.cli import options, show
from anomvae.errors import EnvironmentFault

STORIES = {
    "orders": [
        "fit sample_data/orders --id order_id --drop customer -o orders.anomvae",
        "score sample_data/incoming/2026-11-10.csv -m orders.anomvae",
        "score sample_data/incoming/2026-11-12.csv -m orders.anomvae -o 2026-11-12.scored.csv",
    ],
    "digits": [
        "fit sample_data/digits.csv --where 'digit == 1' --drop digit --hidden 32 --latent 4 -o ones.anomvae",
        "score sample_data/digits.csv -m ones.anomvae --top 5 -o digits.scored.csv",
    ],
    "employees": [
        "fit sample_data/employees.csv -o employees.anomvae",
        "score sample_data/employees_new.csv -m employees.anomvae",
    ],
}


@click.command("demo")
@click.argument("story", default="orders", type=click.Choice(list(STORIES)))
@options.everywhere
def command(story: str, as_json: bool, quiet: bool, debug: bool) -> int:
    """Run a story on the sample data: orders (mixed columns), digits (images of a 1) or employees."""
    from anomvae.cli import root

    with tempfile.TemporaryDirectory(prefix="anomvae-demo-") as folder, contextlib.chdir(folder):
        shutil.copytree(sample_data(), "sample_data")
        for line in STORIES[story]:
            show.note(f"$ anomvae {line}", quiet=quiet)
            words = shlex.split(line) + ["--json"] * as_json + ["--quiet"] * quiet
            root.main(args=words, prog_name="anomvae", standalone_mode=False)
            sys.stdout.flush()
            show.note("", quiet=quiet)
    return 0


def sample_data() -> Path:
    """The sample data: inside an installed package, beside the package in a checkout.

    Raises:
        EnvironmentFault: it is in neither place.
    """
    package = Path(__file__).parent.parent
    for folder in (package / "sample_data", package.parent / "sample_data"):
        if (folder / "digits.csv").is_file():
            return folder
    raise EnvironmentFault("the sample data is not installed; reinstall anomvae, or run from a checkout.")
