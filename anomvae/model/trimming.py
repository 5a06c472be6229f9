"""Training that withstands anomalies: which rows to leave out, and which of them turn out to be normal.

Two rounds, as in least trimmed squares with a reweighting step (Rousseeuw & van Driessen 1999): the most
anomalous share of the rows, judged out of fold, is left out, and a detector trained on the rest judges it again.
What looks usual there goes back to the calibration, whose upper tail would else be cut off with the anomalies;
what does not is neither trained on nor calibrated on, and is for a person to review.
"""

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.calibration import Calibration, fit_calibration
from anomvae.model.out_of_fold import OutOfFold

USUAL = 5e-3  # the p-value above which a row that was left out counts as normal


class Suspects(msgspec.Struct, frozen=True):
    """Rows left out of training: positions `rows` (k,), whether each stays `out` (k,), and their `scores` (k,)."""

    rows: Ints
    out: Bools
    scores: Floats

    def review(self) -> list[int]:
        """The rows that stay out, the worst first."""
        order = np.argsort(-self.scores, kind="stable")
        return [int(self.rows[i]) for i in order if self.out[i]]


def standing_out(out_of_fold: OutOfFold) -> Floats:
    """How far each training row (n,) stands out from the others, out of fold: log of its deviance, and its distance.

    Both in units of the range from the median to the upper quartile, which anomalies do not move; a p-value among rows
    of which many are anomalies would call the worst of them usual.
    """
    deviances = out_of_fold.deviances
    views = np.stack([np.log(deviances.columns[0].sum(axis=1) + 1.0), deviances.distance[0]])
    median, upper = np.quantile(views, (0.5, 0.75), axis=1, keepdims=True)
    return np.asarray(((views - median) / np.maximum(upper - median, 1e-12)).sum(axis=0))


def most_anomalous(scores: Floats, share: float) -> Bools:
    """The share of the rows (n,) with the highest scores, rounded up."""
    chosen = np.zeros(len(scores), dtype=bool)
    chosen[np.argsort(-scores, kind="stable")[: int(np.ceil(share * len(scores)))]] = True
    return chosen


def usual(kept: Floats, suspects: Floats) -> Bools:
    """Which suspects (k,) score as high as the tail of the kept rows (n,) lets expect of normal rows.

    Asked once, with the scores before columns are hidden: a second round would bring back the anomalies too.
    """
    return fit_calibration(kept, float(len(kept)), USUAL).p_values(suspects)[0] > USUAL


def extended(calibration: Calibration, scores: Floats) -> Calibration:
    """The calibration with more scores (k,) of normal rows."""
    every = np.concatenate([calibration.scores, scores])
    effective = calibration.effective * len(every) / len(calibration.scores)
    return fit_calibration(every, effective, calibration.alpha)
