"""threshold: another alpha for a fitted model. The numbers of every row stay; what is flagged changes."""

from pathlib import Path

import msgspec

from anomvae.errors import ModelError
from anomvae.model.calibration import Calibration
from anomvae.model.detector import About, Detector
from anomvae.model.folds import Dependence
from anomvae.results import Alternative, ThresholdChange, ThresholdResult
from anomvae.results import Calibration as CalibrationReport
from anomvae.settings import ScoreSettings, changed
from anomvae.storage import model_file
from anomvae.storage.restate import restate

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
    detector = restate(moved(detector, about, wanted), Path(model))
    return threshold_result(model, detector, about_of(model, detector), changed=True)


def moved(detector: Detector, about: About, alpha: float) -> Detector:
    """The detector at another alpha, with the lineage that says so."""
    new = _alternative(detector.calibration, alpha)
    report = msgspec.structs.replace(about.threshold, **msgspec.structs.asdict(new))
    change = ThresholdChange(alpha=alpha, threshold=new.threshold, by="threshold set")
    about = msgspec.structs.replace(about, threshold=report, history=(*about.history, change))
    return detector.with_threshold(alpha, about)


def promise(found: Calibration, rows: Dependence, blocks: int) -> CalibrationReport:
    """What a calibration promises, as a record.

    Args:
        found: the calibration.
        rows: how its rows depend on their neighbours.
        blocks: how many blocks of these there are.
    """
    low, high = found.rate_interval(found.alpha)
    return CalibrationReport(
        alpha=found.alpha,
        threshold=found.threshold(found.alpha),
        rows=len(found.scores),
        effective_rows=round(found.effective, 1),
        rate_low=low,
        rate_high=high,
        supported_alpha=found.supported,
        estimated=found.alpha < found.supported,
        dependent=rows.dependent,
        correlation=round(rows.correlation, 3),
        blocks=blocks,
        tail_shape=found.tail_shape,
        tail_scale=found.tail_scale,
    )


def about_of(model: str, detector: Detector) -> About:
    """What a model says of itself.

    Raises:
        ModelError: it says nothing.
    """
    if detector.about is None:
        raise ModelError(f"{model}: carries no lineage.")
    return detector.about


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
