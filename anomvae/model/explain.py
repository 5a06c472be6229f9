"""Explains scores in the user's units: which columns make a row surprising, and what would be expected there.

A column is to blame as far as the surprise of the other columns goes away when it is hidden from the network. What is
expected of it is then the mean of what the members predict; the 90 % interval comes from the residuals of training rows
out of fold.

`reasons` names the columns to blame for flagged rows. `explain_row` takes one row apart: every view of its score, every
column, and the smallest change after which it would no longer be flagged.
"""

from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np

from anomvae.model.anomaly_score import TERMS, Scores, log_kl
from anomvae.model.arrays import Floats, Ints
from anomvae.model.calibration import Decision
from anomvae.model.detector import Detector
from anomvae.model.encoder import Encoded, PlacedFeature
from anomvae.model.likelihood import expected_value, hide, hide_each_column
from anomvae.model.schema import MASK, USUAL, Column, rounded
from anomvae.model.value_formatting import marked_text, number_text, step_phrase, step_size, step_text, unit_text
from anomvae.records.results import Change, ColumnPart, LatentPart, Reason, Replacement, ScoreTerms
from anomvae.records.sentences import shortened

REASONS = 3  # columns named for a row, at most
LEAST_SHARE = 0.05  # of the surprise: what a column after the first has to account for, to be named
USUAL_KL = 2.0  # standard deviations of log KL: about 95 % of training rows
LONGEST = 60  # characters of a cell in the sentence of a reason
PARTNERS = 2  # the best single changes that are tried together with every other one


def reasons(
    detector: Detector,
    rows: Encoded,
    scores: Scores,
    chosen: Ints,
    texts: Sequence[Sequence[str]],
    *,
    most: int = REASONS,
) -> list[tuple[Reason, ...]]:
    """The columns to blame for each chosen row, the most surprising first.

    Args:
        detector: the fitted model.
        rows: n encoded rows.
        scores: the scores of these n rows.
        chosen: (k,): positions of the rows to explain.
        texts: cells of the k chosen rows as the user wrote them, of the modelled columns.
        most: how many columns to name for a row at most.
    """
    gains, expectations = surprise_explained(detector, rows, scores, chosen)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-gains, axis=1, kind="stable")[:, :most]
    steps = rows.steps[chosen]
    return [
        tuple(
            _reason(detector, j, float(shares[i, j]), Seen(texts[i][j], expectations[i], steps[i]))
            for rank, j in enumerate(ranked)
            if rank == 0 or shares[i, j] >= LEAST_SHARE
        )
        for i, ranked in enumerate(order.tolist())
    ]


def surprise_explained(detector: Detector, rows: Encoded, scores: Scores, chosen: Ints) -> tuple[Floats, Floats]:
    """How much of a row's surprise goes away when one column is hidden.

    The column whose hiding leaves the least surprise in the others is the culprit: a wrong amount makes the price
    beside it look wrong too, but only without the amount does the rest of the row fit together (docs/decisions.md,
    "Reasons by repair").

    Args:
        detector: the fitted model.
        rows: n encoded rows.
        scores: the scores of these n rows.
        chosen: (k,): positions of the rows to explain.

    Returns:
        The nats that go away with each column (k, columns), and what is expected of each hidden feature (k, features),
        as in `HiddenColumns.expected`.
    """
    tails = detector.anomaly_score.columns
    hidden = hide_each_column(detector.ensemble, rows.take(chosen), tails.surprise)
    surprise = tails.surprise(scores.contributions[chosen])
    return np.maximum(surprise.sum(axis=1, keepdims=True) - hidden.others, 0.0), hidden.expected


class Seen(msgspec.Struct, frozen=True):
    """What one row has in a column: the `cell` as the user wrote it, what the rest of the row makes of it, its steps.

    `expectation` (features,) is a row of `HiddenColumns.expected`, `steps` (counters,) one of `Encoded.steps`.
    """

    cell: str
    expectation: Floats
    steps: Floats


class Shown(msgspec.Struct, frozen=True):
    """A cell as it may be shown, and what is expected there, as text: a mask where no output may show the column.

    `low` and `high` are the ends of the 90 % interval, empty for categories. `step` says how a counter came to its
    value, and the rest is then of the step; empty where the step is not to blame.
    """

    value: str
    expected: str
    low: str = ""
    high: str = ""
    step: str = ""


def _reason(detector: Detector, j: int, share: float, seen: Seen) -> Reason:
    """Column j of a row as a reason."""
    column, cell = detector.columns[j], cell_and_expectation(detector, j, seen)
    text = f"{column} {shortened(cell.value, LONGEST) or 'empty'}" + (f" ({cell.step})" if cell.step else "")
    text += f", expected {shortened(cell.expected, LONGEST)}" if cell.expected else ""
    text += f" ({cell.low} to {cell.high})" if cell.low else ""
    return Reason(column=column, share=round(share, 4), text=text, **msgspec.structs.asdict(cell))


def cell_and_expectation(detector: Detector, column: int, seen: Seen) -> Shown:
    """What may be shown of a cell; `column` is an index into `detector.columns`."""
    if detector.columns[column] in detector.schema.redacted:
        return Shown(MASK, MASK)
    if found := _surprising_step(detector, column, seen):
        return found
    return Shown(seen.cell, *expected(detector, column, seen.expectation))


def _surprising_step(detector: Detector, column: int, seen: Seen) -> Shown | None:
    """How a row came to its value in a counter, and what was expected of the step.

    None where the column has no step, or the row has none; and where a date has a usual step, so that its other parts
    are to blame.
    """
    item = _column(detector, column)
    placed = next((one for one in detector.encoding.features_of[column] if one.feature.part == "step"), None)
    if placed is None:
        return None
    step = float(seen.steps[detector.encoding.steps[placed.position]])
    usual = item.kind == "datetime" and _is_usual(detector, placed, seen.expectation, step)
    if usual or not (phrase := step_phrase(item, step)):
        return None
    if placed.feature.numeric:
        return Shown(seen.cell, *_expected_number(detector, item, placed, seen.expectation), phrase)
    likeliest = unit_text(item, placed.feature, int(seen.expectation[placed.position]))
    return Shown(seen.cell, likeliest, step=phrase)


def _is_usual(detector: Detector, placed: PlacedFeature, expectation: Floats, step: float) -> bool:
    """Whether a step is the expected one, or within its 90 % interval."""
    j, feature, _ = placed
    if not feature.numeric:
        return float((*feature.levels, *feature.rare[:1])[int(expectation[j])]) == step
    _, low, high = _numbers(detector, placed, expectation)
    return bool(low <= step <= high)


def expected(detector: Detector, column: int, expectation: Floats) -> tuple[str, str, str]:
    """What is expected of a hidden column, as text.

    Args:
        detector: the fitted model.
        column: index into `detector.columns`.
        expectation: (features,): a row of `HiddenColumns.expected`.

    Returns:
        The expected value, and the ends of its 90 % interval, which are empty for categories.
    """
    item, features = _column(detector, column), detector.encoding.features_of[column]
    marks = [placed for placed in features if placed.feature.part == "mark"]
    mark = next((f.levels[int(expectation[j])] for j, f, _ in marks if int(expectation[j]) < len(f.levels)), USUAL)
    if item.is_gap(mark):
        return mark, "", ""
    features = tuple(placed for placed in features if placed.feature.part != "mark")
    if features[0].feature.numeric:
        return _expected_number(detector, item, features[0], expectation, mark)
    parts = [placed for placed in features if placed.feature.part != "step"] or features
    return ", ".join(unit_text(item, f, int(expectation[j])) for j, f, _ in parts), "", ""


def _column(detector: Detector, j: int) -> Column:
    """Column j of the model."""
    return next(item for item in detector.schema.columns if item.name == detector.columns[j])


def _expected_number(
    detector: Detector, item: Column, placed: PlacedFeature, expectation: Floats, mark: str = USUAL
) -> tuple[str, str, str]:
    """What is expected of one feature that is a number, as `expected` has it.

    Args:
        detector: the fitted model.
        item: the feature's column.
        placed: the feature.
        expectation: (features,): a row of `HiddenColumns.expected`.
        mark: how the number is expected to be written.
    """
    value, low, high = _numbers(detector, placed, expectation)
    if placed.feature.part == "step":
        return step_text(item, value), step_size(item, low), step_size(item, high)
    return marked_text(item, value, mark), number_text(item, low), number_text(item, high)


def _numbers(detector: Detector, placed: PlacedFeature, expectation: Floats) -> tuple[float, float, float]:
    """The expected number of a feature, and the ends of its 90 % interval, within the training range."""
    j, feature, _ = placed
    value, low, high = feature.unscaled(expectation[j] + np.array([0.0, *detector.intervals[j]])).tolist()
    return value, low, high


class RowExplanation(msgspec.Struct, frozen=True):
    """Why one row has its score.

    `scores`, `decision`: of this row alone. `terms`: the nats of every view. `latent`: its KL beside that of training
    rows. `columns`: the culprits first. `changes`: after which the row might not be flagged; empty where it is not
    flagged anyway.
    """

    scores: Scores
    decision: Decision
    terms: ScoreTerms
    latent: LatentPart
    columns: tuple[ColumnPart, ...]
    changes: tuple[Change, ...]


def explain_row(detector: Detector, row: Encoded, texts: Sequence[str]) -> RowExplanation:
    """Explain one row in depth.

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
        columns=_columns(detector, [Seen(text, expectation, row.steps[0]) for text in texts], scores, shares),
        changes=tuple(_changes(detector, row, texts, expectation)) if decision.flagged[0] else (),
    )


def _latent(detector: Detector, kl: float) -> LatentPart:
    """The KL of a row beside that of training rows."""
    median, spread = detector.anomaly_score.log_kl.tolist()
    z = (float(log_kl(np.array(kl))) - median) / spread
    return LatentPart(
        kl=kl,
        low=float(np.exp(median - USUAL_KL * spread)),
        high=float(np.exp(median + USUAL_KL * spread)),
        state="usual" if abs(z) <= USUAL_KL else "high" if z > 0 else "low",
    )


def _columns(detector: Detector, seen: Sequence[Seen], scores: Scores, shares: Floats) -> tuple[ColumnPart, ...]:
    """Every column of a row, the culprits first.

    Args:
        detector: the fitted model.
        seen: what the row has in every column.
        scores: of this row alone.
        shares: (columns,): of the surprise, as far as it goes away with a column.
    """
    deviance = scores.contributions[0]
    surprise = detector.anomaly_score.columns.surprise(scores.contributions)[0]
    parts = []
    for j in np.lexsort((-surprise, -shares)).tolist():
        cell = cell_and_expectation(detector, j, seen[j])
        parts.append(
            ColumnPart(
                column=detector.columns[j],
                deviance=float(deviance[j]),
                surprise=float(surprise[j]),
                share=round(float(shares[j]), 4),
                **msgspec.structs.asdict(cell),
            )
        )
    return tuple(parts)


def _changes(detector: Detector, row: Encoded, texts: Sequence[str], expectation: Floats) -> list[Change]:
    """The change of one column after which a row scores lowest and, where it is flagged even then, that of two columns.

    For a pair both columns are hidden together and predicted anew. Pairs with one of the best single columns are tried.
    """
    single: list[tuple[int, ...]] = [(j,) for j in range(len(detector.columns))]
    expectations = np.repeat(expectation[None], len(single), axis=0)
    scores, p = _rescored(detector, row, single, expectations)
    order = np.argsort(scores, kind="stable").tolist()
    found = [_change(detector, texts, single[order[0]], expectation, (scores[order[0]], p[order[0]]))]
    if found[0].suffices or len(single) < 2:
        return found
    pairs: list[tuple[int, ...]] = [pair for pair in combinations(order, 2) if pair[0] in order[:PARTNERS]]
    expectations = _expectations(detector, row, pairs)
    scores, p = _rescored(detector, row, pairs, expectations)
    best = int(np.argmin(scores))
    return [*found, _change(detector, texts, pairs[best], expectations[best], (scores[best], p[best]))]


def _change(
    detector: Detector,
    texts: Sequence[str],
    columns: tuple[int, ...],
    expectation: Floats,
    outcome: tuple[float, float],
) -> Change:
    """A change as a record; `outcome` is the score and p of the changed row."""
    cells = []
    for j in columns:
        hidden = detector.columns[j] in detector.schema.redacted
        value, wanted = (MASK, MASK) if hidden else (texts[j], expected(detector, j, expectation)[0])
        cells.append(Replacement(column=detector.columns[j], value=value, expected=wanted))
    score, p = map(float, outcome)
    return Change(cells=tuple(cells), score=score, p=p, suffices=p > detector.calibration.alpha)


def _expectations(detector: Detector, row: Encoded, hidden: Sequence[tuple[int, ...]]) -> Floats:
    """What is expected of a row with each of n sets of columns hidden (n, features), as in `HiddenColumns.expected`."""
    encoding, inputs = detector.encoding, []
    for columns in hidden:
        changed = row
        for j in columns:
            changed = hide(encoding, changed, j)
        inputs.append(changed.inputs)
    blocks = detector.ensemble.vae.blocks(np.concatenate(inputs))
    outputs = np.concatenate([by_member.mean(axis=0) for _, by_member, _ in blocks])
    out = np.zeros((len(hidden), len(encoding.features)))
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        out[:, j] = expected_value(feature, outputs[:, at : at + feature.units])
    return out


def _rescored(
    detector: Detector, row: Encoded, sets: Sequence[tuple[int, ...]], expectations: Floats
) -> tuple[Floats, Floats]:
    """Score and p (n,) of the row with each of n sets of columns replaced by what is expected (n, features)."""
    changed = row.take(np.zeros(len(sets), dtype=np.intp))
    for i, columns in enumerate(sets):
        for column in columns:
            _substitute(detector, changed, i, column, expectations[i])
    scores = detector.score_encoded(changed)
    return scores.score, detector.decide(scores).p


def _substitute(detector: Detector, rows: Encoded, i: int, column: int, expectation: Floats) -> None:
    """Give row i the expected value of a column: a number rounded as it would be written, or the likeliest level."""
    digits = _column(detector, column).digits
    for j, feature, at in detector.encoding.features_of[column]:
        rows.x[i, at : at + feature.units + feature.gaps] = 0.0
        rows.hidden[i, j], rows.level[i, j] = 0.0, -1
        rows.novel[i, j] = rows.gap[i, j] = rows.far[i, j] = False
        if feature.numeric:
            value = _numbers(detector, PlacedFeature(j, feature, at), expectation)[0]
            written = float(f"{value:.6g}") if digits is None else float(rounded(np.array([value]), digits)[0])
            rows.x[i, at] = feature.scaled(np.array([written]))[0]
        else:
            rows.level[i, j] = int(expectation[j])
            rows.x[i, at + rows.level[i, j]] = 1.0
