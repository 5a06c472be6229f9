"""anomvae generate."""

import sys
from typing import Any

import click
import msgspec

from anomvae.cli import judge, options, show
from anomvae.cli.command import Command
from anomvae.errors import UsageError


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
@click.option(
    "-o", "--output", type=options.FILE, help="A .csv, .jsonl or .parquet file, or - for CSV on stdout. [default: -]"
)
@click.option("--where", multiple=True, metavar="'COL OP VALUE'", help="Rows that meet this; repeat for AND.")
@click.option("--balance", metavar="COL", help="Make what the rarer classes of a column lack.")
@click.option("--to", metavar="majority|N", help="Rows that every class should reach. [default: majority]")
@click.option(
    "--like", type=options.FILE, metavar="FILE", help="Complete each row of FILE: keep what is filled, make the rest."
)
@click.option("--temperature", type=float, help="Below 1 more usual rows, above 1 more varied. [default: 1]")
@click.option("--gate/--no-gate", default=None, help="Replace rows unlike training and copies. [default: gate]")
@click.option("--anomalies", type=float, metavar="SHARE", help="Spoil this share of the rows.")
@click.option("--kinds", metavar="wild,swap,...", help="Faults: wild, swap, unit, dependency, category. [default: all]")
@click.option("--truth", is_flag=True, default=None, help="Columns _av_kind and _av_column say what was spoilt.")
@click.option("--show", "draw", is_flag=True, help="Draw image-like rows beside a typical one (rows only with -o).")
@click.option("--seed", type=int, help="Same model and seed: the same rows. [default: 0]")
@judge.judged
@options.modelled
@options.configured
@options.everywhere
def command(
    rows: int | None,
    output: str | None,
    kinds: str | None,
    draw: bool,
    report: str | None,
    against: tuple[str, ...],
    holdout: tuple[str, ...],
    label: str | None,
    model: str | None,
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int:
    """Make synthetic rows from a model: never a copy of a training row. Needs no torch."""
    from anomvae.synthesis import generate, generate_report

    chosen = options.load_config(config)
    words = None if kinds is None else tuple(word.strip() for word in kinds.split(",") if word.strip())
    settings = options.given(chosen.generate, {**flags, "kinds": words})
    target = output if draw else output or "-"
    if target == "-" and (as_json or draw):
        raise UsageError("stdout takes the rows or this report; name a file for the rows with -o.")
    judge.check(target, report, against, holdout, label)
    options.check_targets(target, report)
    detector = options.open_model(model, chosen, quiet, generator=True)
    to_stdout = target == "-"
    with show.progress(quiet=quiet or as_json) as advance:
        result = generate(
            detector,
            rows,
            settings,
            target,
            model=str(model or chosen.model or "model.anomvae"),
            stdout=sys.stdout.buffer if to_stdout else None,
            show=draw,
            progress=advance,
        )
    if against:
        silent = quiet or as_json
        seed = settings.seed
        compared = judge.judge(detector, str(target), report, against, holdout, label, seed=seed, silent=silent)
        result = msgspec.structs.replace(result, quality=compared)
    show.result(result, generate_report, as_json=as_json, quiet=quiet, stderr=to_stdout)
    return 0
