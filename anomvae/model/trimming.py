"""Training that withstands anomalies: which rows to leave out, and which of them turn out to be normal.

Two rounds, as in least trimmed squares with a reweighting step (Rousseeuw & van Driessen 1999): the most
anomalous share of the rows, judged out of fold, is left out, and a detector trained on the rest judges it again.
What looks usual there goes back to the calibration, whose upper tail would else be cut off with the anomalies;
what does not is neither trained on nor calibrated on, and is for a person to review.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.calibration import Calibration, column_surprise, fit_calibration
from anomvae.model.detector import Detector, add_up, combine
from anomvae.model.out_of_fold import OutOfFold
from anomvae.model.scoring import Floats

Bools = NDArray[np.bool_]

USUAL = 2e-3  # the p-value above which a row that was left out counts as normal
PASSES = 2


class Suspects(msgspec.Struct, frozen=True):
    """Rows left out of training: positions `rows` (k,), whether each stays `out` (k,), and their `scores` (k,)."""

    rows: NDArray[np.intp]
    out: Bools
    scores: Floats

    def review(self) -> list[int]:
        """The rows that stay out, the worst first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(self.rows[i]) for i in order if self.out[i]]


def most_anomalous(detector: Detector, judged: OutOfFold, share: float) -> Bools:
    """The share of the training rows (n,) with the highest scores out of fold, rounded up.

    By the part of the score that every row has: B + U + S.

    Args:
        detector: trained on these rows.
        judged: each row under the member that did not see it.
        share: of the rows.
    """
    surprise = column_surprise(detector.terms.columns, judged.columns)
    total = combine(detector.terms, judged.columns.sum(axis=1)[None], judged.kl[None])
    score = add_up(detector.terms, total, surprise)
    chosen = np.zeros(len(score), dtype=bool)
    chosen[np.argsort(-score, kind="stable")[: int(np.ceil(share * len(score)))]] = True
    return chosen


def recalibrated(calibration: Calibration, scores: Floats) -> tuple[Calibration, Bools]:
    """The calibration with the normal ones among scores (k,) of rows that were left out, and which ones stay out.

    Asked twice: the first tail was cut short with the rows that were left out, the second is of a size to judge
    by. Asked until nothing more came back, it took the anomalies back as well (docs/decisions.md, 62).
    """
    found, back = calibration, np.zeros(len(scores), dtype=bool)
    for _ in range(PASSES):
        back |= found.p_values(scores)[0] > USUAL
        every = np.concatenate([calibration.scores, scores[back]])
        effective = calibration.effective * len(every) / len(calibration.scores)
        found = fit_calibration(every, effective, calibration.alpha)
    return found, ~back
