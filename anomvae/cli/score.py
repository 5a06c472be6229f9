"""anomvae score."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from anomvae.cli import options
from anomvae.cli.command import Command
from anomvae.cli.output import Printer, found, note
from anomvae.config import Config
from anomvae.errors import UsageError, worst
from anomvae.records.results import ScoreResult
from anomvae.records.sentences import rejection_sentences

FOLDER_ONLY = (
    *("pattern", "recursive", "settle", "rescan", "existing", "after", "ready", "format"),
    *("engine", "address", "state", "timeout"),
)


@click.command(
    "score",
    cls=Command,
    examples=(
        "score sample_data/incoming/2026-11-12.csv -m orders.anomvae",
        "score sample_data/incoming -m orders.anomvae -o anomvae-out -q",
        "score - -m orders.anomvae -o - -q < sample_data/incoming/2026-11-10.csv",
    ),
)
@click.argument("inputs", type=options.FILE, nargs=-1, metavar="INPUT...")
@options.scoring
@options.folders
@options.engines
@click.option("--timeout", metavar="10m", help="Of a folder: end after so long and leave the rest for the next run.")
@options.reported
@options.modelled
@options.configured
@options.everywhere
def command(
    inputs: tuple[str, ...],
    output: str | None,
    report: str | None,
    model: str | None,
    config: Config,
    printer: Printer,
    **flags: Any,
) -> int:
    """Score files (CSV, .csv.gz, Parquet), standard input (-), or what is new in a folder.

    Files: -o is a .csv, .jsonl or .parquet file, a folder for several inputs, or - for stdout; without it, only the
    report is made. A FOLDER: made for cron. Only deliveries that are not in the ledger of the output folder
    (-o, default anomvae-out) are scored, each exactly once, whatever was interrupted before.
    """
    options.check_targets(report)
    names = inputs or ((config.folder,) if config.folder else ())
    if not names:
        raise UsageError("nothing to score is named; give files, a folder or -.")
    request = options.ScoreRequest(output=output, report=report, model=model, config=config, flags=flags)
    if any("://" in place for place in (*names, output or config.out or "")):
        if len(names) > 1 or names == ("-",) or not ("://" in names[0] or Path(names[0]).is_dir()):
            raise UsageError(
                "a place such as s3://bucket/folder is scored alone, and takes the results of a folder only."
            )
        from anomvae.cli.score_folder import score_place

        return score_place(names[0], request, printer)
    if len(names) == 1 and Path(names[0]).is_dir():
        from anomvae.cli.score_folder import score_folder

        return score_folder(names[0], request, printer)
    source = click.get_current_context().get_parameter_source
    misplaced = [
        name for name in FOLDER_ONLY if source(name) is ParameterSource.COMMANDLINE
    ]  # a variable may be for all
    if misplaced:
        raise UsageError(f"--{misplaced[0].replace('_', '-')} goes with a folder, not with files.")
    return _score_files(names, request, printer)


def _score_files(inputs: tuple[str, ...], request: options.ScoreRequest, printer: Printer) -> int:
    from anomvae.report.terminal import score_report
    from anomvae.scoring.file import score

    config, to_stdout = request.config, request.output == "-"
    settings = options.overlaid(config.score, request.flags)
    if settings.engine != "local":
        raise UsageError("engine ray is for a folder; name it, or score these files here.")
    _check_inputs(inputs, request.output)
    if config.outlets.any():
        printer.note("anomvae: [outlets] tell of a folder; of single files nobody is told")
    path = options.model_path(request.model, config)
    detector = options.open_model(path, printer)
    with printer.progress() as advance:

        def progress(file: str, rows: int) -> None:
            advance(file, rows, 0)

        scorer = None
        if settings.jobs > 1 and len(inputs) > 1:
            from anomvae.workers.parallel_files import ParallelFiles

            scorer = ParallelFiles(path, detector, settings, progress)
        result = score(
            inputs,
            detector,
            settings,
            request.output or config.out,
            model=path,
            stdout=sys.stdout.buffer if to_stdout else None,
            progress=progress,
            scorer=scorer,
        )
    printer.result(result, score_report, stderr=to_stdout)
    if request.report:
        from anomvae.cli.report import write_page
        from anomvae.commands.inspect import card_of
        from anomvae.report.html_report import of_result

        write_page(request.report, of_result(result, detector, card_of(detector, path)), printer)
    if printer.silent or to_stdout:
        _print_refused(result)
    if printer.silent:
        _print_unreadable(result)
    return exit_code(result, settings.fail_on)


def _print_refused(result: ScoreResult) -> None:
    for one in result.refused:
        place = f"{one.file}:{one.line}" if one.line else one.file
        note(f"anomvae: {place}: {one.message} [{one.code}]")


def _print_unreadable(result: ScoreResult) -> None:
    """A line for each file with so many unreadable rows that it is anomalous: no output has these rows."""
    for one in result.files:
        if one.verdict == "anomalous":
            for text in rejection_sentences(one.why):
                note(f"anomvae: {one.file}: {one.verdict}: {text}")


def _check_inputs(inputs: tuple[str, ...], output: str | None) -> None:
    target = Path(output) if output and output != "-" else None
    for path in (Path(name) for name in inputs if name != "-"):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; score it alone, or name its files.")
        if target and target.exists() and path.exists() and path.samefile(target):
            raise UsageError(f"{target}: the output would replace the input.")
    if inputs.count("-") > 1:
        raise UsageError("standard input (-) can be read once.")


def exit_code(result: ScoreResult, fail_on: str) -> int:
    """0, 1 for findings at or above `fail_on`, 3 where a file was refused."""
    codes = [3] if result.refused else []
    codes += [1] if any(found(one, fail_on) for one in result.files) else []
    return worst(codes)
