"""Reasons in the user's units: which columns made a row surprising, and what was expected there.

The expected value of a column is the members' mean when that column is hidden; its 90 % interval comes from
the same question asked of training rows out of fold.
"""

from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np

from anomvae.model.anomaly_score import TERMS, Scores, log_kl
from anomvae.model.arrays import Floats, Ints
from anomvae.model.calibration import Decision
from anomvae.model.detector import Detector
from anomvae.model.encoder import Encoded, Feature
from anomvae.model.likelihood import expected_value, hide, hide_each_column
from anomvae.model.schema import MASK, Column
from anomvae.model.value_parsing import write_number
from anomvae.records.results import Change, ColumnPart, LatentPart, Reason, Replacement, ScoreTerms

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


Columns = tuple[int, ...]

USUAL = 2.0  # standard deviations of log KL: about 95 % of training rows
LEADS = 2  # single changes that are tried together with every other one


class RowExplanation(msgspec.Struct, frozen=True):
    """Why one row has its score: its scores and what they mean, and what each part of the row has to do with it."""

    scores: Scores
    decision: Decision
    terms: ScoreTerms
    latent: LatentPart
    columns: tuple[ColumnPart, ...]
    changes: tuple[Change, ...]


def explain_row(detector: Detector, row: Encoded, texts: Sequence[str]) -> RowExplanation:
    """One row in depth.

    Args:
        detector: the fitted model.
        row: one encoded row.
        texts: its cells as the user wrote them, of the modelled columns.
    """
    scores = detector.score_encoded(row)
    decision = detector.decide(scores)
    gains, expectations = surprise_explained(detector, row, scores, np.zeros(1, dtype=np.intp))
    shares, expectation = gains[0] / max(float(gains[0].sum()), 1e-12), expectations[0]
    return RowExplanation(
        scores=scores,
        decision=decision,
        terms=ScoreTerms(**dict(zip(TERMS, scores.terms[0].tolist(), strict=True))),
        latent=_latent(detector, float(scores.kl[0])),
        columns=_columns(detector, texts, expectation, scores, shares),
        changes=tuple(_changes(detector, row, texts, expectation)) if decision.flagged[0] else (),
    )


def _latent(detector: Detector, kl: float) -> LatentPart:
    """The KL of a row beside that of training rows."""
    median, spread = detector.anomaly_score.log_kl.tolist()
    z = (float(log_kl(np.array(kl))) - median) / spread
    return LatentPart(
        kl=kl,
        low=float(np.exp(median - USUAL * spread)),
        high=float(np.exp(median + USUAL * spread)),
        state="usual" if abs(z) <= USUAL else "high" if z > 0 else "low",
    )


def _columns(
    detector: Detector, texts: Sequence[str], expectation: Floats, scores: Scores, shares: Floats
) -> tuple[ColumnPart, ...]:
    """Every column, the culprits first; `expectation` (features,) is what is expected where a column is hidden."""
    deviance = scores.contributions[0]
    surprise = detector.anomaly_score.columns.surprise(scores.contributions)[0]
    parts = []
    for j in np.lexsort((-surprise, -shares)).tolist():
        value, wanted, low, high = cell_and_expectation(detector, j, texts[j], expectation)
        parts.append(
            ColumnPart(
                column=detector.columns[j],
                value=value,
                expected=wanted,
                low=low,
                high=high,
                deviance=float(deviance[j]),
                surprise=float(surprise[j]),
                share=round(float(shares[j]), 4),
            )
        )
    return tuple(parts)


def _changes(detector: Detector, row: Encoded, texts: Sequence[str], expectation: Floats) -> list[Change]:
    """The best change of one column and, where it does not suffice, the best of two.

    Of two: the best single ones, each with every other column, both hidden and expected anew.
    """
    single: list[Columns] = [(j,) for j in range(len(detector.columns))]
    expectations = np.repeat(expectation[None], len(single), axis=0)
    scores, p = _rescored(detector, row, single, expectations)
    order = np.argsort(scores, kind="stable").tolist()
    found = [_change(detector, texts, single[order[0]], expectation, (scores[order[0]], p[order[0]]))]
    if found[0].suffices or len(single) < 2:
        return found
    pairs: list[Columns] = [pair for pair in combinations(order, 2) if pair[0] in order[:LEADS]]
    expectations = _expectations(detector, row, pairs)
    scores, p = _rescored(detector, row, pairs, expectations)
    best = int(np.argmin(scores))
    return [*found, _change(detector, texts, pairs[best], expectations[best], (scores[best], p[best]))]


def _change(
    detector: Detector, texts: Sequence[str], columns: Columns, expectation: Floats, outcome: tuple[float, float]
) -> Change:
    found = [(detector.columns[j], *cell_and_expectation(detector, j, texts[j], expectation)[:2]) for j in columns]
    cells = tuple(Replacement(column=name, value=value, expected=wanted) for name, value, wanted in found)
    score, p = map(float, outcome)
    return Change(cells=cells, score=score, p=p, suffices=p > detector.calibration.alpha)


def _expectations(detector: Detector, row: Encoded, hidden: Sequence[Columns]) -> Floats:
    """What is expected of each feature (n, features), as in `HiddenColumns.expected`, with n sets of columns hidden."""
    encoding, inputs = detector.encoding, []
    for columns in hidden:
        part = row
        for j in columns:
            part = hide(encoding, part, j)
        inputs.append(part.inputs)
    blocks = detector.ensemble.vae.blocks(np.concatenate(inputs))
    outputs = np.concatenate([found.mean(axis=0) for _, found, _ in blocks])
    out = np.zeros((len(hidden), len(encoding.features)))
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        out[:, j] = expected_value(feature, outputs[:, at : at + feature.units])
    return out


def _rescored(detector: Detector, row: Encoded, sets: Sequence[Columns], expectations: Floats) -> tuple[Floats, Floats]:
    """Score and p (n,) of the row with each of n sets of columns replaced by what is expected (n, features)."""
    changed = row.take(np.zeros(len(sets), dtype=np.intp))
    for i, columns in enumerate(sets):
        for column in columns:
            _substitute(detector, changed, i, column, expectations[i])
    scores = detector.score_encoded(changed)
    return scores.score, detector.decide(scores).p


def _substitute(detector: Detector, rows: Encoded, i: int, column: int, expectation: Floats) -> None:
    """Row i gets the expected value of a column: a number as it is written, or the likeliest level."""
    for j, feature, at in detector.encoding.features_of[column]:
        rows.x[i, at : at + feature.units + feature.gaps] = 0.0
        rows.hidden[i, j], rows.level[i, j] = 0.0, -1
        rows.novel[i, j] = rows.gap[i, j] = rows.far[i, j] = False
        if feature.numeric:
            rows.x[i, at] = (float(expected(detector, column, expectation)[0]) - feature.center) / feature.scale
        else:
            rows.level[i, j] = int(expectation[j])
            rows.x[i, at + rows.level[i, j]] = 1.0
