"""fit --from MODEL --compare: a new model with the settings of the one in use, and both compared on held-out rows.

The model in use is called the champion, the new one the challenger.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import Dialect, FitSettings, SchemaSettings
from anomvae.errors import DataError
from anomvae.model.anomaly_score import Scores
from anomvae.model.counters import group_texts, with_steps
from anomvae.model.detector import Detector
from anomvae.model.metrics import wilson
from anomvae.model.schema import Schema
from anomvae.records.results import Challenge, Side
from anomvae.table.training_rows import TrainingTable
from anomvae.table.typed_reader import TypedColumns, parse_columns
from anomvae.training.model_card import about_of

HELD_OUT = 0.1  # share of the rows
FILES = 10  # from so many files on, whole files are held out
LEAST_ROWS = 20  # held out
INHERITED = (  # settings of the recipe that the challenger takes over, beside the dialect
    "where",
    "label",
    "normal",
    "group",
    "hidden",
    "latent",
    "beta",
    "steps",
    "seed",
    "generator",
    "selftest",
)


class NamedModel(msgspec.Struct):
    """A model, and the name of its file."""

    name: str
    detector: Detector


def inherited_settings(champion: NamedModel) -> tuple[FitSettings, SchemaSettings]:
    """The settings to fit again with: those of the old fit, at the alpha that is in use now.

    Dates keep the format that was found in the old training rows.
    """
    about = about_of(champion.name, champion.detector)
    kept = {name: getattr(about.settings, name) for name in (*Dialect.__struct_fields__, *INHERITED)}
    settings = FitSettings(**kept, alpha=champion.detector.calibration.alpha)
    formats = {column.name: column.dates[0].pattern for column in champion.detector.schema.columns if column.dates}
    columns = {
        name: msgspec.structs.replace(stated, format=stated.format or formats.get(name))
        for name, stated in about.schema.columns.items()
    }
    return settings, msgspec.structs.replace(about.schema, columns=columns)


class HeldOut(msgspec.Struct, frozen=True):
    """Rows (n) that are not trained on, as cells of text, and which of them do not follow the row before them (n,)."""

    rows: list[list[str]]
    starts: NDArray[np.bool_]


def hold_out(table: TrainingTable) -> HeldOut:
    """Take the last tenth of the rows out of a training table: whole files where there are many, else one block.

    Raises:
        DataError: the rows that are taken out would be fewer than 20.
    """
    rows, files = len(table.rows), np.unique(table.file)
    if len(files) >= FILES:
        cut = int(np.searchsorted(table.file, files[-max(round(HELD_OUT * len(files)), 1)]))
    else:
        cut = rows - int(HELD_OUT * rows)
    if rows - cut < LEAST_ROWS:
        message = f"{rows - cut} rows would be held out to compare on; at least {LEAST_ROWS} are needed"
        raise DataError("too_few_rows", message)
    starts = table.starts()[cut:]
    starts[0] = True
    held = HeldOut(table.rows.take(range(cut, rows)), starts)
    table.keep([i < cut for i in range(rows)])
    return held


def compare(champion: NamedModel, challenger: NamedModel, names: Sequence[str], held: HeldOut) -> Challenge:
    """Score the rows that can be read with the schemas of both models, and count what each of them flags.

    Args:
        champion: the model in use.
        challenger: the new model.
        names: of the columns of the rows.
        held: the held-out rows.

    Raises:
        DataError: a column of the champion is not there, or no row can be read.
    """
    sides = [champion.detector, challenger.detector]
    typed = [_typed(side.schema, names, held) for side in sides]
    unreadable = {row for side in typed for row in side.row_errors()}
    kept = [i for i in range(len(held.rows)) if i not in unreadable]
    if not kept:
        raise DataError("too_few_rows", "no held-out row can be read with the schemas of both models")
    scores = [
        model.score({name: values[kept] for name, values in side.columns.items()})
        for model, side in zip(sides, typed, strict=True)
    ]
    old, new = (side.decide(found).flagged for found, side in zip(scores, sides, strict=True))
    return Challenge(
        rows=len(kept),
        unreadable=len(unreadable),
        both=int((old & new).sum()),
        champion_only=int((old & ~new).sum()),
        challenger_only=int((new & ~old).sum()),
        champion=_side(champion, scores[0], old),
        challenger=_side(challenger, scores[1], new),
    )


def _side(model: NamedModel, scores: Scores, flagged: NDArray[np.bool_]) -> Side:
    rate, calibration = float(flagged.mean()), model.detector.calibration
    low, high = wilson(rate, len(flagged) / calibration.design)
    powers = about_of(model.name, model.detector).self_test
    return Side(
        model=model.name,
        model_id=model.detector.model_id,
        alpha=calibration.alpha,
        flagged=int(flagged.sum()),
        rate=rate,
        low=low,
        high=high,
        mean_score=float(scores.score.mean()),
        power={power.kind: power.found for power in powers if not power.column},
    )


def _typed(schema: Schema, names: Sequence[str], held: HeldOut) -> TypedColumns:
    """The held-out rows as the schema of one of the models types them.

    Args:
        schema: of the model.
        names: of the columns of the rows.
        held: the rows.

    Raises:
        DataError: they lack one of its columns.
    """

    def cells(name: str) -> list[str]:
        if name not in names:
            raise DataError("missing_columns", "the new rows lack this column of the model in use", column=name)
        at = names.index(name)
        return [row[at] for row in held.rows]

    typed = parse_columns(schema.modelled, cells)
    groups = group_texts(map(cells, schema.counter_group))
    return TypedColumns(with_steps(schema, typed.columns, groups, held.starts), typed.errors)
