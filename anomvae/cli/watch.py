"""anomvae watch: score the files of a folder as they arrive."""

import os
import sys
from contextlib import ExitStack
from typing import Any

import click

from anomvae.cli import folder, options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer, note
from anomvae.config import Config, WatchSettings
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
@options.keys(WatchSettings, "observer", "idle_exit", "ui")
@options.modelled
@options.configured
@options.everywhere
def command(
    inbox: str | None,
    output: str | None,
    model: str | None,
    config: Config,
    printer: Printer,
    **flags: Any,
) -> int:
    """Score files as they arrive in FOLDER, each exactly once, until told to stop.

    Results go to an output folder (-o, default anomvae-out): results/, quarantine/, alerts.jsonl, a ledger and
    health.json. Files in FOLDER are left as they are.
    """
    name = inbox or config.folder
    if name is None:
        raise UsageError("no folder is named; give one, or set 'folder' in the configuration.")
    request = options.ScoreRequest(output=output, report=None, model=model, config=config, flags=flags)
    plan = folder.make_plan("watch", name, request)
    plan.say = printed = folder.LinePrinter(plan.settings, printer)
    with ExitStack() as stack:
        if wants_live_screen(plan.watch.ui, printer):
            from anomvae.cli.live import Screen

            screen = Screen()
            plan.say, plan.show, plan.ready, plan.publish = screen.say, screen.show, screen.start, screen.show
            stack.callback(screen.stop)
        elif printer.as_json:
            plan.publish = printed.json
        elif not printer.quiet:
            plan.ready = lambda: note(f"watching {plan.folder}, writing to {plan.out}; Ctrl-C ends it")
        summary = folder.run_folder(plan)
    record = folder.stopped_record(summary)
    if printer.as_json:
        printed.json(record)
    elif not printer.quiet:
        from anomvae.report.folder import stopped_report

        note(stopped_report(record))
    return summary.code


def wants_live_screen(ui: str, printer: Printer) -> bool:
    """Whether to draw a live screen, by the value of --ui and where the output goes."""
    if printer.silent or ui == "plain":
        return False
    return ui == "live" or (sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb")
