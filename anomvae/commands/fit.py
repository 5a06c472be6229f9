"""fit: the training files are read, their columns typed, a detector trained and calibrated, and the model file saved.

Training rows that look anomalous (--contamination) are kept from the generator, and the worst of them are listed for
review.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from anomvae.commands.compare import NamedModel, compare, hold_out
from anomvae.commands.schema import schema_warnings, selected_rows, shown_cells, typed_table, with_cells
from anomvae.config import FitSettings, SchemaSettings
from anomvae.errors import DataError
from anomvae.model.conditions import Condition
from anomvae.model.detector import About, Origin
from anomvae.model.explain import reasons
from anomvae.model.groups import GroupColumn, left_out_columns
from anomvae.model.infer_column import separators_of
from anomvae.model.schema import Schema, Values
from anomvae.model.stated_columns import decisive
from anomvae.records.results import FitResult, ReviewRow
from anomvae.records.sentences import TableWarning, selection
from anomvae.store import model_file
from anomvae.synthesis import fit_generator
from anomvae.table.training_rows import (
    TextRows,
    TrainingTable,
    row_conditions,
    training_files,
)
from anomvae.training.fit_detector import FittedDetector, fit_detector
from anomvae.training.model_card import column_reports, describe, versions

LISTED = 20  # rows to review

Columns = dict[str, Values]
Progress = Callable[[str, int, int], None]


def fit(
    files: Sequence[str],
    model: str | Path = "model.anomvae",
    settings: FitSettings | None = None,
    schema: SchemaSettings | None = None,
    progress: Progress = lambda stage, done, total: None,
    *,
    champion: NamedModel | None = None,
) -> FitResult:
    """Train a detector on rows that are presumed normal, calibrate its threshold, and save the model file.

    Args:
        files: CSV or Parquet files, or folders of them.
        model: where the model file goes.
        settings: the recipe; the defaults are the same for all data.
        schema: columns to leave out or to type by hand.
        progress: called with a stage (`reading`, `training`, `calibration`, `self-test`, `generator`), what is done and
            the total (0: unknown).
        champion: the model to compare with, on the last tenth of the rows, which is not trained on.

    Raises:
        AnomvaeError: with the exit code of the command line.
    """
    settings, chosen = settings or FitSettings(), schema or SchemaSettings()
    started = time.monotonic()
    paths = training_files(files)
    conditions = row_conditions(settings)
    table = selected_rows(paths, settings, conditions, progress)
    settings = settings.read_as(table.dialect)
    held = hold_out(table) if champion else None
    typed = typed_table(table, settings, chosen, paths)
    fitted_schema, columns, kept = typed.schema, typed.columns, typed.kept
    chosen = decisive(fitted_schema, chosen)
    shown = shown_cells(typed, table)
    table.warnings[:0] = schema_warnings(typed)
    file, unmodelled = table.file[kept], _unmodelled(fitted_schema, table, kept, settings)
    if not settings.contamination:
        table.rows = TextRows(0)  # they are not read again, and take a tenth of the memory
    try:
        learned = fit_detector(fitted_schema, columns, settings, file, unmodelled=unmodelled, progress=progress)
    except DataError as error:
        raise error.within(paths[0]) from error
    detector = learned.detector
    normal, review = _review(learned, table, kept, paths, columns)
    if settings.generator:
        advance = partial(progress, "generator")
        detector = detector.with_generator(
            fit_generator(fitted_schema, normal, settings, device=learned.device, progress=advance)
        )
    if settings.threshold != "auto":
        detector = detector.with_threshold(detector.calibration.alpha_at(float(settings.threshold)))
    learned = msgspec.structs.replace(learned, detector=detector)
    about = describe(learned, settings, chosen, columns, _origin(table, settings.seed, conditions, paths, len(file)))
    detector = model_file.save(detector.with_about(about), Path(model))
    fitted = NamedModel(str(model), detector)
    comparison = compare(champion, fitted, table.names, held) if champion and held else None
    result = _result(fitted, paths, table, learned, about, contamination=settings.contamination)
    took = round(time.monotonic() - started, 2)
    reports = with_cells(result.columns, shown)
    return msgspec.structs.replace(result, columns=reports, review=review, comparison=comparison, seconds=took)


def _result(
    model: NamedModel,
    paths: list[str],
    table: TrainingTable,
    learned: FittedDetector,
    about: About,
    *,
    contamination: float,
) -> FitResult:
    suspects, generator = learned.suspects, model.detector.generator
    return FitResult(
        model=model.name,
        model_id=model.detector.model_id,
        files=tuple(paths),
        rows_read=table.rows_read,
        rows_used=about.origin.rows_used,
        rows_rejected=table.rejected,
        selection=selection(about.origin.conditions),
        columns=column_reports(model.detector.schema, about.columns),
        training=about.training,
        calibration=about.threshold,
        groups=about.groups,
        dependencies=generator.rules() if generator else (),
        self_test=learned.self_test,
        contamination=contamination,
        suspected=0 if suspects is None else len(suspects.rows),
        to_review=0 if suspects is None else int(suspects.out.sum()),
        warnings=(*table.warnings, *_notes(learned)),
        seconds=0.0,
    )


def _unmodelled(schema: Schema, table: TrainingTable, kept: Sequence[int], settings: FitSettings) -> list[GroupColumn]:
    """What the columns that are not modelled say of groups, in the rows that are kept."""
    columns = [column.name for column in schema.columns if column.name and not column.modelled]
    texts, separators = ((name, table.column(name)) for name in columns), separators_of(settings)
    return [one for name, cells in texts for one in left_out_columns(name, [cells[i] for i in kept], separators)]


def _review(
    learned: FittedDetector, table: TrainingTable, kept: Sequence[int], paths: Sequence[str], columns: Columns
) -> tuple[Columns, tuple[ReviewRow, ...]]:
    """The columns without the rows to review, and the records of the worst of these.

    Args:
        learned: what was learned from the columns.
        table: the training files as text.
        kept: the table's row that each row of the columns is.
        paths: the files.
        columns: the typed training columns.
    """
    rows = learned.suspects.review() if learned.suspects else []
    if not rows:
        return columns, ()
    normal = np.ones(len(kept), dtype=bool)
    normal[rows] = False
    worst = np.array(rows[:LISTED])
    detector = learned.detector
    encoded = detector.encode({name: values[worst] for name, values in columns.items()})
    scores = detector.score_encoded(encoded)
    decision = detector.decide(scores)
    modelled = [table.names.index(name) for name in detector.columns]
    table_rows = [kept[i] for i in worst.tolist()]
    texts = [[cells[at] for at in modelled] for cells in table.rows.take(table_rows)]
    why = reasons(detector, encoded, scores, np.arange(len(worst)), texts)
    listed = tuple(
        ReviewRow(
            file=paths[table.file[row]],
            line=int(table.line[row]),
            score=float(scores.score[i]),
            p=float(decision.p[i]),
            reason=why[i][0].text,
        )
        for i, row in enumerate(table_rows)
    )
    return {name: values[normal] for name, values in columns.items()}, listed


def _origin(table: TrainingTable, seed: int, conditions: tuple[Condition, ...], paths: list[str], used: int) -> Origin:
    """Where the training rows come from."""
    return Origin(
        files=tuple(Path(path).name for path in paths),
        data_sha256=hashlib.sha256("".join(table.sha256).encode()).hexdigest(),
        rows_read=table.rows_read,
        rows_used=used,
        rows_rejected=table.rejected,
        conditions=conditions,
        seed=seed,
        versions=versions(),
    )


def _notes(learned: FittedDetector) -> list[TableWarning]:
    """What the user should know about the fit, loudest first."""
    notes = []
    if learned.latents_used == 0:
        notes.append(TableWarning(code="posterior_collapse"))
    if learned.steps < learned.steps_planned:
        notes.append(TableWarning(code="max_time", count=learned.steps, total=learned.steps_planned))
    notes += _named_groups(learned)
    rows, alpha = learned.out_of_fold.deviances.kl.shape[1], learned.detector.calibration.alpha
    if alpha < 1 / (rows + 1):
        notes.append(TableWarning(code="alpha_estimated", total=rows, alpha=alpha))
    return notes


def _named_groups(learned: FittedDetector) -> list[TableWarning]:
    """A note on every modelled column of which new groups bring new values."""
    groups = learned.groups
    return [
        TableWarning(code="group_modelled", column=column.name)
        for column in learned.detector.schema.modelled
        if groups and column.name in groups.columns and column.kind != "datetime"
    ]
