"""Reasons in the user's units: which columns made a row surprising, and what was expected there.

The expected value of a column is the members' mean when that column is hidden; its 90 % interval comes from
the same question asked of training rows out of fold.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomvae.model.cells import write_number
from anomvae.model.detector import Detector, column_surprise
from anomvae.model.encoding import Encoded, Feature
from anomvae.model.scoring import Floats, Scorer
from anomvae.results import Reason

REASONS = 3
LEAST_SHARE = 0.05
ASKED_ROWS = 400
SMALL_BLOCK = 32  # a file has few flagged rows, each of which asks once a column
ASKED_CELLS = 8192  # rows times columns judged at once; bounds memory


def fit_intervals(scorer: Scorer, rows: Encoded, folds: NDArray[np.intp]) -> Floats:
    """5 % and 95 % quantile (features, 2) of the residual of each hidden number, in encoded units.

    Asked of at most 400 training rows, each under the member that did not see it.
    """
    asked = np.unique(np.linspace(0, len(rows) - 1, ASKED_ROWS).round().astype(np.intp))
    out = np.zeros((len(scorer.encoding.features), 2))
    columns = {name: i for i, name in enumerate(scorer.encoding.columns)}
    members = [(scorer.member(m), asked[folds[asked] == m]) for m in range(scorer.vae.members)]
    for j, (feature, at) in enumerate(zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)):
        if feature.numeric:
            residuals = [
                rows.x[index, at] - _outputs(member, _hide(scorer, rows.take(index), columns[feature.column]))[0][:, at]
                for member, index in members
            ]
            out[j] = np.quantile(np.concatenate(residuals), (0.05, 0.95))
    return out


def reasons(
    detector: Detector, rows: Encoded, surprise: Floats, texts: Sequence[Sequence[str]]
) -> list[tuple[Reason, ...]]:
    """The columns to blame for each row, the first the most.

    Args:
        detector: the fitted model.
        rows: n encoded rows.
        surprise: (n, columns): theirs, from `Detector.score_encoded`.
        texts: the rows' cells as the user wrote them, n rows of the modelled columns.
    """
    step = max(ASKED_CELLS // len(detector.columns), 1)
    out: list[tuple[Reason, ...]] = []
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        out += _reasons(detector, rows.take(part), surprise[part], texts[part])
    return out


def _reasons(
    detector: Detector, rows: Encoded, surprise: Floats, texts: Sequence[Sequence[str]]
) -> list[tuple[Reason, ...]]:
    """Hide every column of every row at once; what is left tells the culprit, the outputs what was expected."""
    gains, outputs = repairs(detector, rows, surprise)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-gains, axis=1, kind="stable")[:, :REASONS]
    out = []
    for i, ranked in enumerate(order.tolist()):
        chosen = [j for rank, j in enumerate(ranked) if rank == 0 or shares[i, j] >= LEAST_SHARE]
        guesses = [_guess(detector, j, outputs[j, i]) for j in chosen]
        out.append(
            tuple(
                _reason(detector.columns[j], float(shares[i, j]), texts[i][j], guess)
                for j, guess in zip(chosen, guesses, strict=True)
            )
        )
    return out


def repairs(detector: Detector, rows: Encoded, surprise: Floats) -> tuple[Floats, Floats]:
    """How many nats of a row's surprise go when a column is hidden (n, columns), and the outputs then.

    The column whose hiding leaves the least surprise in the others is the culprit: a wrong amount makes the
    price beside it look wrong too, but only without the amount does the rest of the row fit together.

    Returns:
        The gains, and the members' mean outputs (columns, n, width).
    """
    scorer, columns = detector.scorer, len(detector.columns)
    hidden = _stacked([_hide(scorer, rows, j) for j in range(columns)])
    means, left = np.zeros((len(hidden), scorer.encoding.width)), np.zeros((len(hidden), columns))
    for at, outputs, _ in scorer.vae.blocks(np.hstack([hidden.x, hidden.hidden]), SMALL_BLOCK):
        means[at] = outputs.mean(axis=0)
        contributions = scorer.by_column(scorer.judge(hidden.take(at), outputs)).mean(axis=0)
        left[at] = column_surprise(detector.terms.columns, contributions)
    others = left.reshape(columns, len(rows), columns)
    others[np.arange(columns), :, np.arange(columns)] = 0.0
    gains = np.maximum(surprise.sum(axis=1) - others.sum(axis=2), 0.0).T
    return gains, means.reshape(columns, len(rows), -1)


def _stacked(parts: list[Encoded]) -> Encoded:
    return Encoded(*(np.concatenate([getattr(part, name) for part in parts]) for name in Encoded.__struct_fields__))


def _reason(column: str, share: float, value: str, guess: tuple[str, str, str]) -> Reason:
    expected, low, high = guess
    shown = value if value != "" else "empty"
    text = f"{column} {shown}" + (f", expected {expected}" if expected else "")
    text += f" ({low} to {high})" if low else ""
    return Reason(column=column, share=round(share, 4), value=value, expected=expected, low=low, high=high, text=text)


def _guess(detector: Detector, column: int, outputs: Floats) -> tuple[str, str, str]:
    encoding = detector.scorer.encoding
    name = encoding.columns[column]
    parts = [
        (j, feature, at)
        for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets(), strict=True))
        if feature.column == name
    ]
    digits = next(item.digits for item in detector.schema.columns if item.name == name)
    j, feature, at = parts[0]
    if feature.numeric:
        values = (outputs[at] + np.array([0.0, *detector.intervals[j]])) * feature.scale + feature.center
        expected, low, high = (_number(value, digits) for value in np.clip(values, feature.low, feature.high))
        return expected, low, high
    told = [_likely(detector, name, feature, outputs[at : at + feature.units], digits) for _, feature, at in parts]
    return " ".join(told), "", ""


def _likely(detector: Detector, name: str, feature: Feature, logits: Floats, digits: int | None) -> str:
    level = (*feature.levels, *feature.rare[:1])[int(np.argmax(logits))]
    kind = next(column.kind for column in detector.schema.columns if column.name == name)
    if feature.part != "value":
        return f"{feature.part} {level}"
    if kind == "boolean":
        return "true" if float(level) else "false"
    return level if kind == "categorical" else _number(float(level), digits)


def _number(value: float, digits: int | None) -> str:
    return write_number(value, digits) if digits is not None else f"{value:.6g}"


def _hide(scorer: Scorer, rows: Encoded, column: int) -> Encoded:
    """The rows with every feature of one original column hidden."""
    x, hidden = rows.x.copy(), rows.hidden.copy()
    name = scorer.encoding.columns[column]
    for j, (feature, at) in enumerate(zip(scorer.encoding.features, scorer.encoding.offsets(), strict=True)):
        if feature.column == name:
            x[:, at : at + feature.units + feature.gaps] = 0.0
            hidden[:, j] = 1.0
    return Encoded(x, hidden, rows.level, rows.novel, rows.gap)


def _outputs(scorer: Scorer, rows: Encoded) -> Floats:
    """Value-path outputs (members, n, width)."""
    parts = [out for _, out, _ in scorer.vae.blocks(np.hstack([rows.x, rows.hidden]))]
    return np.concatenate(parts, axis=1).astype(np.float64) if parts else np.zeros((1, 0, scorer.encoding.width))
