"""anomvae score."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from anomvae.cli import options, show
from anomvae.cli.command import Command
from anomvae.cli.exits import found
from anomvae.errors import UsageError, worst
from anomvae.results import ScoreResult
from anomvae.settings import Config, ScoreSettings

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
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int:
    """Score files (CSV, .csv.gz, Parquet), standard input (-), or what is new in a folder.

    Files: -o is a .csv, .jsonl or .parquet file, a folder for several inputs, or - for stdout; without it, only the
    report is made. A FOLDER: made for cron. Only deliveries that are not in the ledger of the output folder
    (-o, default anomvae-out) are scored, each exactly once, whatever was interrupted before.
    """
    chosen = options.load_config(config)
    options.check_targets(report)
    names = inputs or ((chosen.folder,) if chosen.folder else ())
    if not names:
        raise UsageError("nothing to score is named; give files, a folder or -.")
    if any("://" in place for place in (*names, output or chosen.out or "")):
        if len(names) > 1 or names == ("-",) or not ("://" in names[0] or Path(names[0]).is_dir()):
            raise UsageError(
                "a place such as s3://bucket/folder is scored alone, and takes the results of a folder only."
            )
        from anomvae.cli.score_place import score_place

        return score_place(names[0], output, report, model, chosen, flags, as_json=as_json, quiet=quiet)
    if len(names) == 1 and Path(names[0]).is_dir():
        from anomvae.cli.score_folder import score_folder

        return score_folder(names[0], output, report, model, chosen, flags, as_json=as_json, quiet=quiet)
    source = click.get_current_context().get_parameter_source
    told = [name for name in FOLDER_ONLY if source(name) is ParameterSource.COMMANDLINE]  # a variable may be for all
    if told:
        raise UsageError(f"--{told[0].replace('_', '-')} goes with a folder, not with files.")
    return _score_files(names, output, report, model, chosen, flags, as_json=as_json, quiet=quiet)


def _score_files(
    inputs: tuple[str, ...],
    output: str | None,
    report: str | None,
    model: str | None,
    chosen: Config,
    flags: dict[str, Any],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from anomvae.pipeline.score import score
    from anomvae.report.terminal import score_report

    settings = options.some(chosen.score, flags, ScoreSettings)
    if settings.engine != "local":
        raise UsageError("engine ray is for a folder; name it, or score these files here.")
    _check(inputs, output)
    if chosen.outlets.any():
        show.note("anomvae: [outlets] tell of a folder; of single files nobody is told", quiet=quiet)
    detector = options.open_model(model, chosen, quiet)
    name, to_stdout = str(model or chosen.model or "model.anomvae"), output == "-"
    stdout = sys.stdout.buffer if to_stdout else None
    with show.progress(quiet=quiet or as_json) as advance:

        def progress(file: str, rows: int) -> None:
            advance(file, rows, 0)

        scorer = None
        if settings.jobs > 1 and len(inputs) > 1:
            from anomvae.pipeline.several import Several

            scorer = Several(name, detector, settings, progress)
        target = output or chosen.out
        result = score(inputs, detector, settings, target, model=name, stdout=stdout, progress=progress, scorer=scorer)
    show.result(result, score_report, as_json=as_json, quiet=quiet, stderr=to_stdout)
    if report:
        from anomvae.cli.report import write_page
        from anomvae.pipeline.card import card_of
        from anomvae.pipeline.overview import of_result

        write_page(report, of_result(result, detector, card_of(detector, name)), quiet=quiet or as_json)
    if quiet or as_json or to_stdout:
        _tell_refused(result)
    return exit_code(result, settings.fail_on)


def _tell_refused(result: ScoreResult) -> None:
    for one in result.refused:
        place = f"{one.file}:{one.line}" if one.line else one.file
        show.note(f"anomvae: {place}: {one.message} [{one.code}]", quiet=False)


def _check(inputs: tuple[str, ...], output: str | None) -> None:
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
