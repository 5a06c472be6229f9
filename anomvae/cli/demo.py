"""anomvae demo: the stories of the sample data, with the commands that tell them."""

import shlex
import sys
import tempfile
from pathlib import Path

import click

from anomvae.cli import options, show
from anomvae.errors import EnvironmentFault

STORIES = {
    "orders": [
        "fit {data}/orders --id order_id --drop customer -o {work}/orders.anomvae",
        "score {data}/incoming/2026-11-10.csv -m {work}/orders.anomvae",
        "score {data}/incoming/2026-11-12.csv -m {work}/orders.anomvae -o {work}/2026-11-12.scored.csv",
    ],
    "digits": [
        "fit {data}/digits.csv --where 'digit == 1' --drop digit --hidden 32 --latent 4 -o {work}/ones.anomvae",
        "score {data}/digits.csv -m {work}/ones.anomvae --top 5 -o {work}/digits.scored.csv",
    ],
    "employees": [
        "fit {data}/employees.csv -o {work}/employees.anomvae",
        "score {data}/employees_new.csv -m {work}/employees.anomvae",
    ],
}


@click.command("demo")
@click.argument("story", default="orders", type=click.Choice(list(STORIES)))
@options.everywhere
def command(story: str, as_json: bool, quiet: bool, verbose: bool, debug: bool) -> int:
    """Run a story on the sample data: orders (mixed columns), digits (images of a 1) or employees."""
    from anomvae.cli import root

    data = sample_data()
    with tempfile.TemporaryDirectory(prefix="anomvae-demo-") as work:
        for line in STORIES[story]:
            show.note(f"\n$ anomvae {_shown(line)}", quiet=quiet)
            sys.stderr.flush()
            words = [word.format(data=data, work=work) for word in shlex.split(line)]
            words += ["--json"] * as_json + ["--quiet"] * quiet
            root.main(args=words, prog_name="anomvae", standalone_mode=False)
            sys.stdout.flush()
    return 0


def _shown(line: str) -> str:
    return line.format(data="sample_data", work=".")


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
