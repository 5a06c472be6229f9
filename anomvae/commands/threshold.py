"""threshold: another alpha for a fitted model. The numbers of every row stay; what is flagged changes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import ScoreSettings, changed
from anomvae.errors import DataError
from anomvae.model.calibration import Calibration, calibrated
from anomvae.model.cross_fitting import block_ids, dependence
from anomvae.model.detector import About, Detector
from anomvae.model.drift import fit_reference
from anomvae.model.schema import Values
from anomvae.records.results import Alternative, ThresholdChange, ThresholdResult
from anomvae.records.sentences import table_warning
from anomvae.scoring.file import shown
from anomvae.store import model_file
from anomvae.store.model_file import read_unchanged, rewrite_description
from anomvae.table.training_rows import training_files
from anomvae.table.typed_reader import TypedBatch, TypedReader, dialect_of
from anomvae.training.model_card import about_of, promise

ALPHAS = (0.1, 0.05, 0.01, 0.005, 0.001, 0.0001)


def show_threshold(model: str) -> ThresholdResult:
    """The threshold of a model file, alternatives, and its history.

    Raises:
        ModelError: the file is no model.
    """
    detector = model_file.load(model, generator=False)
    return threshold_result(model, detector, about_of(model, detector), changed=False)


def set_threshold(model: str, alpha: float | None = None, score: float | None = None) -> ThresholdResult:
    """Move the threshold of a model file: its description is rewritten at once or not at all, its tensors stay.

    Where the model has this alpha already, nothing is written.

    Args:
        model: the model file.
        alpha: the accepted false-alarm rate, in (0, 0.5].
        score: or the score to flag from.

    Raises:
        UsageError: alpha is out of bounds, or the score would flag every row or none.
        ModelError: the file is no model.
        EnvironmentFault: it cannot be written.
    """
    if alpha is not None:
        changed(ScoreSettings(), {"alpha": alpha}, lambda keys, value: f"--alpha {value:g}")
    detector = model_file.load(model, generator=False)
    about = about_of(model, detector)
    wanted = detector.calibration.alpha_at(score) if score is not None else alpha
    if wanted is None or wanted == detector.calibration.alpha:
        return threshold_result(model, detector, about, changed=False)
    detector = rewrite_description(moved(detector, about, wanted), Path(model))
    return threshold_result(model, detector, about_of(model, detector), changed=True)


def moved(detector: Detector, about: About, alpha: float) -> Detector:
    """The detector at another alpha, with the lineage that says so."""
    new = _alternative(detector.calibration, alpha)
    report = msgspec.structs.replace(about.threshold, **msgspec.structs.asdict(new))
    change = ThresholdChange(alpha=alpha, threshold=new.threshold, by="threshold set")
    about = msgspec.structs.replace(about, threshold=report, history=(*about.history, change))
    return detector.with_threshold(alpha, about)


def threshold_result(
    model: str, detector: Detector, about: About, *, changed: bool, warnings: tuple[str, ...] = ()
) -> ThresholdResult:
    """The threshold of a model as a record."""
    return ThresholdResult(
        model=model,
        model_id=detector.model_id,
        changed=changed,
        calibration=about.threshold,
        alternatives=tuple(_alternative(detector.calibration, alpha) for alpha in ALPHAS),
        history=about.history,
        warnings=warnings,
    )


def _alternative(calibration: Calibration, alpha: float) -> Alternative:
    low, high = calibration.rate_interval(alpha)
    return Alternative(
        alpha=alpha,
        threshold=calibration.threshold(alpha),
        rate_low=low,
        rate_high=high,
        estimated=alpha < calibration.supported,
    )


LEAST_ROWS = 100

Progress = Callable[[str, int], None]


class Approved(msgspec.Struct):
    """Approved rows in their order: typed columns by name (n,), the file of each (n,), and what is worth telling."""

    columns: Mapping[str, Values]
    files: NDArray[np.intp]
    warnings: tuple[str, ...]


def recalibrate(files: Sequence[str], model: str, progress: Progress = lambda file, rows: None) -> ThresholdResult:
    """Set the threshold of a model file from approved rows: the file is replaced at once or not at all.

    Args:
        files: CSV or Parquet files, or folders of them; `-` is standard input.
        model: the model file.
        progress: called with the file and its rows so far.

    Raises:
        DataError: a file is refused, or there are fewer than 100 rows.
        ModelError: the file is no model, or was replaced in the meantime.
        EnvironmentFault: it cannot be written; it is what it was.
    """
    detector = model_file.load(model)
    about = about_of(model, detector)
    paths = training_files(files)
    approved = _read(paths, detector, progress)
    if (rows := len(approved.files)) < LEAST_ROWS:
        told = f"{rows} rows to calibrate with; at least {LEAST_ROWS} are needed"
        raise DataError("too_few_rows", told).within(shown(paths[0]))
    encoded = detector.encode(approved.columns)
    scores = detector.score_encoded(encoded).score
    found = dependence(encoded.x)
    blocks = block_ids(rows, found.length, approved.files)
    known = calibrated(scores, blocks, detector.calibration.alpha)
    change = ThresholdChange(alpha=known.alpha, threshold=known.threshold(known.alpha), by="recalibrate")
    about = msgspec.structs.replace(
        about,
        threshold=promise(known, found, int(blocks.max()) + 1),
        history=(*about.history, change),
        reference=fit_reference(detector.encoding, approved.columns, encoded, scores, blocks),
    )
    read_unchanged(detector, Path(model))
    detector = model_file.save(detector.with_calibration(known, about), Path(model).resolve())
    warnings = (*approved.warnings, *_trained_on(paths, about.origin.files))
    return threshold_result(model, detector, about, changed=True, warnings=warnings)


def _trained_on(paths: Sequence[str], known: Sequence[str]) -> list[str]:
    """What makes a threshold too low: rows that the model was trained on are no surprise to it."""
    same = [path for path in paths if Path(path).name in known]
    told = "has the name of a training file; rows that were trained on score lower than new ones, so more is flagged"
    return [f"{shown(same[0])}: {told}"] if same else []


def _read(paths: Sequence[str], detector: Detector, progress: Progress) -> Approved:
    parts: list[Mapping[str, Values]] = []
    files: list[int] = []
    warnings: list[str] = []
    for i, path in enumerate(paths):
        try:
            for batch in _batches(path, detector, warnings, progress):
                parts.append(batch.columns)
                files += [i] * len(batch.rows)
        except DataError as error:
            raise error.within(shown(path)) from error
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    return Approved(columns, np.array(files, dtype=np.intp), tuple(warnings))


def _batches(path: str, detector: Detector, warnings: list[str], progress: Progress) -> Iterator[TypedBatch]:
    """The rows of one file that can be read; the others are told of in `warnings`."""
    reader = TypedReader(path, detector.schema, dialect_of(detector))
    table = reader.table
    for batch in reader.batches():
        yield batch
        progress(path, table.rows)
    table.check_rejects()
    if table.rejected:
        warnings.append(f"{shown(path)}: {table.rejected:,} unreadable rows are left out")
    warnings += [f"{shown(path)}: {table_warning(warning)}" for warning in table.warnings]
