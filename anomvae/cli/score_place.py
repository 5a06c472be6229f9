"""anomvae score of places such as s3://bucket/in: copied here, scored as a folder, results copied to where they go."""

from pathlib import Path

from msgspec.structs import replace

from anomvae.cli import options
from anomvae.cli.options import ScoreRequest
from anomvae.cli.output import Printer
from anomvae.cli.score_folder import score_folder
from anomvae.errors import UsageError


def score_place(name: str, request: ScoreRequest, printer: Printer) -> int:
    """Score what is new in a place, or in a folder whose results go to a place; returns the exit code."""
    from anomvae.pipeline.mirror import Mirror

    config = request.config
    output = request.output or config.out
    state = request.flags["state"] or config.score.state
    source, target = (one if one and "://" in one else None for one in (name, output))
    if not state:
        raise UsageError(f"{source or target}: needs --state DIR, a folder of this machine for ledger and copies.")
    mirror = Mirror(source, target, Path(state))
    watch = options.overlaid(config.watch, request.flags)
    mirror.fetch(watch.pattern, recursive=watch.recursive)
    out = Path(state) / "out" if target or not output else Path(output)
    here = replace(
        request,
        output=str(out),
        config=replace(config, score=replace(config.score, state=None)),
        flags={**request.flags, "state": None},
    )
    code = score_folder(str(mirror.incoming) if source else name, here, printer, place=source)
    if sent := mirror.send(out):
        printer.aside(f"anomvae: {sent:,} results were put in {target}")
    return code
