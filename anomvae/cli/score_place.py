"""anomvae score of places such as s3://bucket/in: copied here, scored as a folder, results copied to where they go."""

from pathlib import Path
from typing import Any

import msgspec

from anomvae.cli import options, show
from anomvae.cli.score_folder import score_folder
from anomvae.errors import UsageError
from anomvae.settings import Config, WatchSettings


def score_place(
    name: str,
    output: str | None,
    report: str | None,
    model: str | None,
    chosen: Config,
    flags: dict[str, Any],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Score what is new in a place, or in a folder whose results go to a place; returns the exit code."""
    from anomvae.pipeline.mirror import Mirror

    output = output or chosen.out
    state = flags["state"] or chosen.score.state
    source, target = (one if one and "://" in one else None for one in (name, output))
    if not state:
        raise UsageError(f"{source or target}: needs --state DIR, a folder of this machine for ledger and copies.")
    mirror = Mirror(source, target, Path(state))
    watch = options.some(chosen.watch, flags, WatchSettings)
    mirror.fetch(watch.pattern, recursive=watch.recursive)
    out = Path(state) / "out" if target or not output else Path(output)
    here = msgspec.structs.replace(chosen, score=msgspec.structs.replace(chosen.score, state=None))
    folder = str(mirror.incoming) if source else name
    rest = {**flags, "state": None}
    code = score_folder(folder, str(out), report, model, here, rest, place=source, as_json=as_json, quiet=quiet)
    if sent := mirror.send(out):
        show.note(f"anomvae: {sent:,} results were put in {target}", quiet=quiet or as_json)
    return code
