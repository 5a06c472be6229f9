"""anomvae watch."""

import os
import sys
from contextlib import ExitStack
from typing import Any

import click

from anomvae.cli import folder, options, show
from anomvae.cli.command import Command
from anomvae.errors import UsageError


@click.command(
    "watch",
    cls=Command,
    examples=(
        "watch sample_data/incoming -m orders.anomvae -o anomvae-out",
        "watch sample_data/incoming -m orders.anomvae --idle-exit 5s --json",
    ),
)
@click.argument("inbox", type=options.FOLDER, required=False, metavar="FOLDER")
@options.scoring
@options.folders
@click.option(
    "--observer",
    type=click.Choice(["auto", "native", "poll"]),
    help="Events of the system, or looking. [default: auto]",
)
@click.option("--idle-exit", metavar="30s", help="End when nothing has arrived for so long.")
@click.option("--ui", type=click.Choice(["auto", "live", "plain"]), help="A live screen, or lines. [default: auto]")
@options.modelled
@options.configured
@options.everywhere
def command(
    inbox: str | None,
    output: str | None,
    model: str | None,
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int:
    """Score files as they arrive in FOLDER, each exactly once, until told to stop.

    Results go to an output folder (-o, default anomvae-out): results/, quarantine/, alerts.jsonl, a ledger and
    health.json. Files in FOLDER are left as they are.
    """
    chosen = options.load_config(config)
    name = inbox or chosen.folder
    if name is None:
        raise UsageError("no folder is named; give one, or set 'folder' in the configuration.")
    plan = folder.planned("watch", name, output, model, chosen, flags)
    plan.say = plain = folder.LinePrinter(plan.settings, as_json=as_json, quiet=quiet)
    with ExitStack() as stack:
        if live(plan.watch.ui, as_json=as_json, quiet=quiet):
            from anomvae.cli.live import Screen

            screen = Screen()
            plan.say, plan.show, plan.ready, plan.publish = screen.say, screen.show, screen.start, screen.show
            stack.callback(screen.stop)
        elif as_json:
            plan.publish = plain.json
        elif not quiet:
            plan.ready = lambda: show.note(
                f"watching {plan.folder}, writing to {plan.out}; Ctrl-C ends it", quiet=False
            )
        ended = folder.run_folder(plan)
    finished = folder.stopped(ended)
    if as_json:
        plain.json(finished)
    elif not quiet:
        from anomvae.report.folder import stopped_report

        show.note(stopped_report(finished), quiet=False)
    return ended.code


def live(ui: str, *, as_json: bool, quiet: bool) -> bool:
    """Whether to draw a live screen."""
    if as_json or quiet or ui == "plain":
        return False
    return ui == "live" or (sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb")
