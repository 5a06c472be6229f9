"""Reasons in the user's units: which columns made a row surprising, and what was expected there.

The expected value of a column is the members' mean when that column is hidden; its 90 % interval comes from
the same question asked of training rows out of fold.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomvae.model.calibration import column_surprise
from anomvae.model.cells import write_number
from anomvae.model.detector import Detector, Scores
from anomvae.model.encoding import Encoded, Feature
from anomvae.model.masking import features_of, look
from anomvae.model.schema import MASK, Column
from anomvae.model.scoring import Floats
from anomvae.results import Reason

REASONS = 3
LEAST_SHARE = 0.05


def reasons(
    detector: Detector,
    rows: Encoded,
    scores: Scores,
    chosen: NDArray[np.intp],
    texts: Sequence[Sequence[str]],
    *,
    most: int = REASONS,
) -> list[tuple[Reason, ...]]:
    """The columns to blame for each chosen row, the first the most.

    Args:
        detector: the fitted model.
        rows: n encoded rows.
        scores: theirs.
        chosen: which of them, k indices.
        texts: the chosen rows' cells as the user wrote them, k rows of the modelled columns.
        most: columns to name for a row.
    """
    gains, guesses = repairs(detector, rows, scores, chosen)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-gains, axis=1, kind="stable")[:, :most]
    out = []
    for i, ranked in enumerate(order.tolist()):
        blamed = [j for rank, j in enumerate(ranked) if rank == 0 or shares[i, j] >= LEAST_SHARE]
        cells = [(j, shown(detector, j, texts[i][j], guesses[i])) for j in blamed]
        out.append(tuple(_reason(detector.columns[j], float(shares[i, j]), cell) for j, cell in cells))
    return out


def repairs(detector: Detector, rows: Encoded, scores: Scores, chosen: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """How many nats of a chosen row's surprise go when a column is hidden (k, columns).

    The column whose hiding leaves the least surprise in the others is the culprit: a wrong amount makes the
    price beside it look wrong too, but only without the amount does the rest of the row fit together.

    Returns:
        The gains, and what is expected of each hidden feature (k, features), as in `Hidden.guess`.
    """
    hidden = look(detector.scorer, detector.terms.columns, rows.take(chosen))
    surprise = column_surprise(detector.terms.columns, scores.contributions[chosen])
    return np.maximum(surprise.sum(axis=1, keepdims=True) - hidden.left, 0.0), hidden.guess


def _reason(column: str, share: float, cell: tuple[str, str, str, str]) -> Reason:
    value, expected, low, high = cell
    text = f"{column} {value or 'empty'}" + (f", expected {expected}" if expected else "")
    text += f" ({low} to {high})" if low else ""
    return Reason(column=column, share=round(share, 4), value=value, expected=expected, low=low, high=high, text=text)


def shown(detector: Detector, column: int, value: str, guess: Floats) -> tuple[str, str, str, str]:
    """A cell for people: its value, and as in `expected`; masked where no output may show it."""
    if detector.columns[column] in detector.schema.redacted:
        return MASK, MASK, "", ""
    return value, *expected(detector, column, guess)


def expected(detector: Detector, column: int, guess: Floats) -> tuple[str, str, str]:
    """Expected value, low and high of a hidden column, as text; categories have no interval.

    Args:
        detector: the fitted model.
        column: index into `detector.columns`.
        guess: (features,): a row of `Hidden.guess`.
    """
    name = detector.columns[column]
    item = next(item for item in detector.schema.columns if item.name == name)
    parts = features_of(detector.scorer, column)
    j, feature, _ = parts[0]
    if feature.numeric:
        values = (guess[j] + np.array([0.0, *detector.intervals[j]])) * feature.scale + feature.center
        told, low, high = (number_text(value, item.digits) for value in np.clip(values, feature.low, feature.high))
        return told, low, high
    return ", ".join(unit_text(item, f, int(guess[j])) for j, f, _ in parts), "", ""


def unit_text(column: Column, feature: Feature, unit: int) -> str:
    """The value that a unit of a category stands for."""
    level = (*feature.levels, *feature.rare[:1])[unit]
    if feature.part == "era":
        return "a usual date" if level == "usual" else "an odd date"
    if feature.part != "value":
        return f"{feature.part} {level}"
    if column.kind == "boolean":
        return "true" if float(level) else "false"
    return level if column.kind == "categorical" else number_text(float(level), column.digits)


def number_text(value: float, digits: int | None) -> str:
    """A number with the decimals of its column."""
    return write_number(value, digits) if digits is not None else f"{value:.6g}"
