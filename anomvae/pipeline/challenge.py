"""fit --from --compare: a new model with the choices of an old one, and both on held-out rows before any swap."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.challenge import Challenge, Side
from anomvae.errors import DataError
from anomvae.model.anomaly_score import Scores
from anomvae.model.detector import Detector
from anomvae.model.metrics import wilson
from anomvae.model.schema import Column, Schema, Values, parse
from anomvae.pipeline.gather import Gathered
from anomvae.pipeline.select import unspoken
from anomvae.pipeline.threshold import about_of
from anomvae.settings import ColumnSettings, FitSettings, SchemaSettings

HELD_OUT = 0.1
FILES = 10  # from so many files on, whole files are held out
LEAST_ROWS = 20

LEFT_OUT = {"dropped (--drop)": "drop", "the label": "drop", "identifier (--id)": "id"}
BY_HAND = ("by configuration", "ignored by the configuration")


class Champion(msgspec.Struct):
    """The model in use, and the name of its file."""

    name: str
    detector: Detector


def inherited(champion: Champion) -> tuple[FitSettings, SchemaSettings]:
    """The choices that a model file knows: dialect, selection, alpha, recipe, seed, and what was said of columns."""
    about, schema = about_of(champion.name, champion.detector), champion.detector.schema
    made = about.training
    sizes = {"hidden": made.hidden, "latent": made.latent, "steps": made.steps_planned}
    settings = FitSettings(
        **msgspec.structs.asdict(about.dialect),
        where=unspoken(about.lineage.selection),
        alpha=champion.detector.calibration.alpha,
        beta=made.beta,
        seed=about.lineage.seed,
        generator=champion.detector.generator is not None,
        selftest=bool(about.self_test),
    )
    settings = msgspec.structs.replace(settings, **{name: sizes[name] for name in made.by_hand})
    left_out: dict[str, list[str]] = {"drop": [], "id": []}
    for column in schema.columns:
        if column.reason in LEFT_OUT:
            left_out[LEFT_OUT[column.reason]].append(column.name)
    by_hand = {column.name: _stated(column) for column in schema.columns if column.reason in BY_HAND}
    kept = {"drop": tuple(left_out["drop"]), "id": tuple(left_out["id"]), "redact": tuple(sorted(schema.redacted))}
    return settings, SchemaSettings(**kept, columns=by_hand)


def _stated(column: Column) -> ColumnSettings:
    return ColumnSettings(kind=column.kind, format=column.date_format or None)


def hold_out(table: Gathered) -> list[list[str]]:
    """Take the last tenth of the rows away from the table: whole files where there are many, else one block."""
    rows, files = len(table.rows), np.unique(table.file)
    if len(files) >= FILES:
        cut = int(np.searchsorted(table.file, files[-max(round(HELD_OUT * len(files)), 1)]))
    else:
        cut = rows - int(HELD_OUT * rows)
    if rows - cut < LEAST_ROWS:
        told = f"{rows - cut} rows would be held out to compare on; at least {LEAST_ROWS} are needed"
        raise DataError("too_few_rows", told)
    held = table.rows.take(range(cut, rows))
    table.rows.keep([i < cut for i in range(rows)])
    table.file, table.line = table.file[:cut], table.line[:cut]
    return held


def compare(champion: Champion, challenger: Champion, names: Sequence[str], held: list[list[str]]) -> Challenge:
    """Both models on the rows that can be read with either schema.

    Raises:
        DataError: a column of the champion is not there, or no row can be read.
    """
    sides = [champion.detector, challenger.detector]
    readable = np.logical_and.reduce([_readable(side.schema, names, held) for side in sides])
    rows = [row for row, good in zip(held, readable, strict=True) if good]
    if not rows:
        raise DataError("too_few_rows", "no held-out row can be read with the schemas of both models")
    scores = [side.score(_columns(side.schema, names, rows)) for side in sides]
    old, new = (side.decide(found).flagged for found, side in zip(scores, sides, strict=True))
    return Challenge(
        rows=len(rows),
        unreadable=len(held) - len(rows),
        both=int((old & new).sum()),
        champion_only=int((old & ~new).sum()),
        challenger_only=int((new & ~old).sum()),
        champion=_side(champion, scores[0], old),
        challenger=_side(challenger, scores[1], new),
    )


def _side(model: Champion, scores: Scores, flagged: NDArray[np.bool_]) -> Side:
    rate, known = float(flagged.mean()), model.detector.calibration
    low, high = wilson(rate, len(flagged) / known.design)
    powers = about_of(model.name, model.detector).self_test
    return Side(
        model=model.name,
        model_id=model.detector.model_id,
        alpha=known.alpha,
        flagged=int(flagged.sum()),
        rate=rate,
        low=low,
        high=high,
        mean_score=float(scores.score.mean()),
        power={power.kind: power.found for power in powers if not power.column},
    )


def _cells(column: Column, names: Sequence[str], rows: list[list[str]]) -> list[str]:
    if column.name not in names:
        raise DataError("missing_columns", "the new rows lack this column of the model in use", column=column.name)
    at = names.index(column.name)
    return [row[at] for row in rows]


def _readable(schema: Schema, names: Sequence[str], rows: list[list[str]]) -> NDArray[np.bool_]:
    good = np.ones(len(rows), dtype=bool)
    for column in schema.modelled:
        good[list(parse(column, _cells(column, names, rows), schema.numbers)[1])] = False
    return good


def _columns(schema: Schema, names: Sequence[str], rows: list[list[str]]) -> dict[str, Values]:
    return {column.name: parse(column, _cells(column, names, rows), schema.numbers)[0] for column in schema.modelled}
