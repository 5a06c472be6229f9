"""Reasons in the user's units: which columns made a row surprising, and what was expected there.

The expected value of a column is the members' mean when that column is hidden; its 90 % interval comes from
the same question asked of training rows out of fold.
"""

from collections.abc import Sequence

import numpy as np

from anomvae.model.anomaly_score import Scores
from anomvae.model.arrays import Floats, Ints
from anomvae.model.cells import write_number
from anomvae.model.detector import Detector
from anomvae.model.encoding import Encoded, Feature
from anomvae.model.likelihood import hide_each_column
from anomvae.model.schema import MASK, Column
from anomvae.results import Reason

REASONS = 3
LEAST_SHARE = 0.05


def reasons(
    detector: Detector,
    rows: Encoded,
    scores: Scores,
    chosen: Ints,
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
    gains, expectations = surprise_explained(detector, rows, scores, chosen)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-gains, axis=1, kind="stable")[:, :most]
    out = []
    for i, ranked in enumerate(order.tolist()):
        blamed = [j for rank, j in enumerate(ranked) if rank == 0 or shares[i, j] >= LEAST_SHARE]
        cells = [(j, cell_and_expectation(detector, j, texts[i][j], expectations[i])) for j in blamed]
        out.append(tuple(_reason(detector.columns[j], float(shares[i, j]), cell) for j, cell in cells))
    return out


def surprise_explained(detector: Detector, rows: Encoded, scores: Scores, chosen: Ints) -> tuple[Floats, Floats]:
    """How many nats of a chosen row's surprise go when a column is hidden (k, columns).

    The column whose hiding leaves the least surprise in the others is the culprit: a wrong amount makes the
    price beside it look wrong too, but only without the amount does the rest of the row fit together.

    Returns:
        The gains, and what is expected of each hidden feature (k, features), as in `HiddenColumns.expected`.
    """
    tails = detector.anomaly_score.columns
    hidden = hide_each_column(detector.ensemble, rows.take(chosen), tails.surprise)
    surprise = tails.surprise(scores.contributions[chosen])
    return np.maximum(surprise.sum(axis=1, keepdims=True) - hidden.others, 0.0), hidden.expected


def _reason(column: str, share: float, cell: tuple[str, str, str, str]) -> Reason:
    value, expected, low, high = cell
    text = f"{column} {value or 'empty'}" + (f", expected {expected}" if expected else "")
    text += f" ({low} to {high})" if low else ""
    return Reason(column=column, share=round(share, 4), value=value, expected=expected, low=low, high=high, text=text)


def cell_and_expectation(detector: Detector, column: int, value: str, expectation: Floats) -> tuple[str, str, str, str]:
    """A cell for people, and what was expected there: value, expected value, low, high.

    Args:
        detector: the fitted model.
        column: index into `detector.columns`; the cell is masked where no output may show it.
        value: the cell as the user wrote it.
        expectation: (features,): a row of `HiddenColumns.expected`.
    """
    if detector.columns[column] in detector.schema.redacted:
        return MASK, MASK, "", ""
    return value, *expected(detector, column, expectation)


def expected(detector: Detector, column: int, expectation: Floats) -> tuple[str, str, str]:
    """Expected value, low and high of a hidden column, as text; categories have no interval.

    Args:
        detector: the fitted model.
        column: index into `detector.columns`.
        expectation: (features,): a row of `HiddenColumns.expected`.
    """
    name = detector.columns[column]
    item = next(item for item in detector.schema.columns if item.name == name)
    parts = detector.encoding.features_of[column]
    j, feature, _ = parts[0]
    if feature.numeric:
        values = (expectation[j] + np.array([0.0, *detector.intervals[j]])) * feature.scale + feature.center
        told, low, high = (number_text(value, item.digits) for value in np.clip(values, feature.low, feature.high))
        return told, low, high
    return ", ".join(unit_text(item, f, int(expectation[j])) for j, f, _ in parts), "", ""


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
