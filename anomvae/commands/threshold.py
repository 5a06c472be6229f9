"""threshold: show the threshold of a fitted model, move it to another alpha, or calibrate it again.

The score of every row stays what it was. `set_threshold` changes which rows are flagged; `recalibrate` also replaces
the calibration rows, and with them p-values, severities and the reference for drift.
"""

from collections.abc import Callable, Mapping, Sequence
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
from anomvae.table.typed_reader import TypedReader, dialect_of
from anomvae.training.model_card import about_of, promise

ALPHAS = (0.1, 0.05, 0.01, 0.005, 0.001, 0.0001)  # whose thresholds are shown as alternatives
LEAST_ROWS = 100  # to calibrate with

Progress = Callable[[str, int], None]


class CalibrationRows(msgspec.Struct):
    """Rows (n) to calibrate with, in their order.

    Attributes:
        columns: the typed columns by name, (n,) each.
        files: (n,) the index of the file that each row comes from.
        warnings: what was noticed and tolerated.
    """

    columns: Mapping[str, Values]
    files: NDArray[np.intp]
    warnings: tuple[str, ...]


def show_threshold(model: str) -> ThresholdResult:
    """The threshold of a model file, alternatives, and its history.

    Raises:
        ModelError: the file is no model.
    """
    detector = model_file.load(model, generator=False)
    return _result(model, detector, about_of(model, detector), changed=False)


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
    new = detector.calibration.alpha_at(score) if score is not None else alpha
    if new is None or new == detector.calibration.alpha:
        return _result(model, detector, about, changed=False)
    detector = rewrite_description(_with_alpha(detector, about, new), Path(model))
    return _result(model, detector, about_of(model, detector), changed=True)


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
        message = f"{rows} rows to calibrate with; at least {LEAST_ROWS} are needed"
        raise DataError("too_few_rows", message).within(shown(paths[0]))
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
    warnings = (*approved.warnings, *_training_file_warnings(paths, about.origin.files))
    return _result(model, detector, about, changed=True, warnings=warnings)


def _with_alpha(detector: Detector, about: About, alpha: float) -> Detector:
    """The detector at another alpha, with the change in its history."""
    new = _alternative(detector.calibration, alpha)
    report = msgspec.structs.replace(about.threshold, **msgspec.structs.asdict(new))
    change = ThresholdChange(alpha=alpha, threshold=new.threshold, by="threshold set")
    about = msgspec.structs.replace(about, threshold=report, history=(*about.history, change))
    return detector.with_threshold(alpha, about)


def _result(
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


def _training_file_warnings(paths: Sequence[str], training_files: Sequence[str]) -> list[str]:
    """A warning where a file has the name of one that the model was trained on, which makes a threshold too low."""
    same = [path for path in paths if Path(path).name in training_files]
    message = "has the name of a training file; rows that were trained on score lower than new ones, so more is flagged"
    return [f"{shown(same[0])}: {message}"] if same else []


def _read(paths: Sequence[str], detector: Detector, progress: Progress) -> CalibrationRows:
    """The rows of all files that can be read; a warning counts the others."""
    batches: list[Mapping[str, Values]] = []
    files: list[int] = []
    warnings: list[str] = []
    for i, path in enumerate(paths):
        try:
            reader = TypedReader(path, detector.schema, dialect_of(detector))
            table = reader.table
            for batch in reader.batches():
                batches.append(batch.columns)
                files += [i] * len(batch.rows)
                progress(path, table.rows)
            table.check_rejects()
        except DataError as error:
            raise error.within(shown(path)) from error
        if table.rejected:
            warnings.append(f"{shown(path)}: {table.rejected:,} unreadable rows are left out")
        warnings += [f"{shown(path)}: {table_warning(warning)}" for warning in table.warnings]
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]} if batches else {}
    return CalibrationRows(columns, np.array(files, dtype=np.intp), tuple(warnings))
