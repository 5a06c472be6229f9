"""The privacy filter: refuses synthetic rows that are unlike training, and copies of a training row."""

from collections.abc import Mapping

from anomvae.model.arrays import Bools
from anomvae.model.detector import Detector
from anomvae.model.schema import Values
from anomvae.synthesis.generator import Generator
from anomvae.synthesis.running_counters import with_drawn_steps

MIN_P_VALUE = 1e-3  # a row with a smaller one is refused, as about one real row in a thousand would be


class PrivacyFilter:
    """Finds the synthetic rows that must not be handed out.

    Args:
        detector: it gives the rows' p-values; its generator recognises copies of training rows.
    """

    def __init__(self, detector: Detector) -> None:
        generator = detector.generator
        if not isinstance(generator, Generator):
            raise ValueError("a privacy filter needs a model with a generator")
        self._detector, self._unique_rows = detector, generator.unique_rows

    def find_refused(self, columns: Mapping[str, Values]) -> tuple[Bools, Bools]:
        """Which rows (n,) are unlike training, and which copy a training row; a copy counts as a copy alone.

        The columns are those that a generator draws: of a counter the steps.
        """
        unlike = self._detector.p_values(with_drawn_steps(self._detector.schema, columns)) < MIN_P_VALUE
        copies = self._unique_rows.contains(columns)
        return unlike & ~copies, copies
