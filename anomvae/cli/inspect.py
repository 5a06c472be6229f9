"""anomvae inspect."""

from pathlib import Path

import click

from anomvae.cli import options, show
from anomvae.errors import ModelError


@click.command("inspect")
@click.argument("model", default="model.anomvae")
@options.everywhere
def command(model: str, as_json: bool, quiet: bool, debug: bool) -> int:
    """Show what is in MODEL: columns, network, threshold, lineage. Needs no torch."""
    from anomvae.report.terminal import inspect_report
    from anomvae.results import InspectResult
    from anomvae.storage import model_file

    detector = model_file.load(model)
    about = detector.about
    if about is None:
        raise ModelError(f"{model}: carries no lineage.")
    result = InspectResult(
        model=model,
        model_id=detector.model_id,
        bytes=Path(model).stat().st_size,
        format=model_file.FORMAT,
        created_by=about.created_by,
        lineage=about.lineage,
        columns=about.columns,
        training=about.training,
        calibration=about.threshold,
        self_test=about.self_test,
        threshold_history=about.history,
    )
    show.result(result, inspect_report, as_json=as_json, quiet=quiet)
    return 0
