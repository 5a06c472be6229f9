"""inspect: the card of a model file as a record: columns, training, threshold, lineage."""

from pathlib import Path

from anomvae.errors import ModelError
from anomvae.model.detector import Detector
from anomvae.records.results import InspectResult
from anomvae.store import model_file
from anomvae.training.model_card import column_reports, lineage


def card_of(detector: Detector, model: str | Path) -> InspectResult:
    """The card of a loaded model.

    Args:
        detector: the model.
        model: its file.

    Raises:
        ModelError: it carries no lineage.
    """
    about = detector.about
    if about is None:
        raise ModelError(f"{model}: carries no lineage.")
    return InspectResult(
        model=str(model),
        model_id=detector.model_id,
        bytes=Path(model).stat().st_size,
        format=model_file.FORMAT,
        created_by=about.created_by,
        lineage=lineage(about.origin),
        columns=column_reports(detector.schema, about.columns),
        training=about.training,
        calibration=about.threshold,
        groups=about.groups,
        self_test=about.self_test,
        threshold_history=about.history,
    )
