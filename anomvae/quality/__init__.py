"""How good synthetic rows are: compares them with the real rows that they were learnt from.

Other packages import from here only; the names are loaded on first use. `quality` is defined here, and `anomvae`
imports it at once, so that `anomvae.quality` is the function and never this package.
"""

import importlib.util
from importlib import import_module
from typing import TYPE_CHECKING, Any

from anomvae.errors import UsageError

if TYPE_CHECKING:
    from anomvae.model.detector import Detector
    from anomvae.quality.records import QualityResult
    from anomvae.quality.report import quality_page, quality_report

__all__ = ["QualityResult", "quality", "quality_page", "quality_report"]

_HOMES = {
    "QualityResult": "anomvae.quality.records",
    "quality_page": "anomvae.quality.report",
    "quality_report": "anomvae.quality.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anomvae.quality' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def quality(
    real: Any,
    synthetic: Any,
    holdout: Any = None,
    label: str | None = None,
    seed: int = 0,
    *,
    detector: "Detector | None" = None,
) -> "QualityResult":
    """Compare synthetic with real rows.

    Args:
        real: the rows that the generator was trained on: a pandas DataFrame, or a path (or paths) of tables.
        synthetic: the rows to evaluate, given in the same way.
        holdout: real rows that the generator never saw. Without them learning and copying look the same.
        label: a column to predict, by a model trained on synthetic rows and by one trained on real rows.
        seed: of the subsamples and the classifiers.
        detector: the model that made the synthetic rows, so that paths are read by its dialect and schema.

    Returns:
        The measures of likeness, of use and of memorisation; the same tables and seed give the same record.

    Raises:
        UsageError: scikit-learn is not installed, the tables share no column, or the label is not in them.
        DataError: a file is refused, or a table has no rows.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise UsageError("judging synthetic rows needs scikit-learn; install it with: pip install 'anomvae[sklearn]'.")
    from anomvae.quality.compare import compare

    tables = [real, synthetic] + ([] if holdout is None else [holdout])
    return compare(tables, label, seed, detector)
