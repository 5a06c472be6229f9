"""anomvae score."""

import sys
from pathlib import Path
from typing import Any

import click

from anomvae.cli import options, show
from anomvae.errors import UsageError, worst
from anomvae.results import FileResult, ScoreResult


@click.command("score")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("-o", "--output", help="Scored rows: a .csv, .jsonl or .parquet file, a folder for several inputs, or -.")
@click.option("--emit", type=click.Choice(["all", "flagged"]), help="Which rows to write. [default: all]")
@click.option("--top", type=int, help="Worst rows to show a file. [default: 10]")
@click.option("--alpha", type=float, help="False-alarm rate of this run. [default: the model's]")
@click.option(
    "--fail-on",
    type=click.Choice(["never", "any", "critical", "file"]),
    help="What makes the exit code 1: a flagged row, a critical row or an anomalous file, or the file alone. "
    "[default: critical]",
)
@click.option(
    "--on-schema", type=click.Choice(["strict", "warn"]), help="Extra columns: refuse or warn. [default: warn]"
)
@click.option(
    "--bad-rows", type=click.Choice(["reject", "quarantine"]), help="Unreadable rows: leave out, or refuse the file."
)
@click.option("--spreadsheet-safe", is_flag=True, default=None, help="Guard text cells that a spreadsheet would run.")
@options.modelled
@options.configured
@options.everywhere
def command(
    inputs: tuple[str, ...],
    output: str | None,
    model: str | None,
    config: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    **flags: Any,
) -> int:
    """Score files (CSV, .csv.gz, Parquet) or standard input (-), once."""
    from anomvae.pipeline.score import score
    from anomvae.report.terminal import score_report

    chosen = options.load_config(config)
    settings = options.given(chosen.score, flags)
    _check(inputs, output)
    detector = options.open_model(model, chosen, quiet)
    to_stdout = output == "-"
    with show.progress(quiet=quiet or as_json) as advance:
        result = score(
            inputs,
            detector,
            settings,
            output or chosen.out,
            model=str(model or chosen.model or "model.anomvae"),
            stdout=sys.stdout.buffer if to_stdout else None,
            progress=lambda file, rows: advance(file, rows, 0),
        )
    show.result(result, score_report, as_json=as_json, quiet=quiet, stderr=to_stdout)
    if quiet or as_json or to_stdout:
        for one in result.refused:
            show.note(
                f"anomvae: {one.file}{f':{one.line}' if one.line else ''}: {one.message} [{one.code}]", quiet=False
            )
    return exit_code(result, settings.fail_on)


def _check(inputs: tuple[str, ...], output: str | None) -> None:
    target = Path(output) if output and output != "-" else None
    for path in (Path(name) for name in inputs if name != "-"):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name its files.")
        if target and target.exists() and path.exists() and path.samefile(target):
            raise UsageError(f"{target}: the output would replace the input.")
    if inputs.count("-") > 1:
        raise UsageError("standard input (-) can be read once.")


def exit_code(result: ScoreResult, fail_on: str) -> int:
    """0, 1 for findings at or above `fail_on`, 3 where a file was refused."""
    codes = [3] if result.refused else []
    codes += [1] if any(found(one, fail_on) for one in result.files) else []
    return worst(codes)


def found(file: FileResult, fail_on: str) -> bool:
    """Whether a file has what `--fail-on` names."""
    anomalous = file.verdict == "anomalous"
    return {
        "never": False,
        "any": file.flagged > 0 or anomalous,
        "critical": file.critical > 0 or anomalous,
        "file": anomalous,
    }[fail_on]
