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


def reasons(detector: Detector, rows: Encoded, texts: Sequence[Sequence[str]]) -> list[tuple[Reason, ...]]:
    """The columns to blame for each row, the first the most.

    Args:
        detector: the fitted model.
        rows: n encoded rows.
        texts: the rows' cells as the user wrote them, n rows of the modelled columns.
    """
    gains = repair_gains(detector, rows)
    shares = gains / np.maximum(gains.sum(axis=1, keepdims=True), 1e-12)
    order = np.argsort(-gains, axis=1, kind="stable")[:, :REASONS]
    chosen = [
        [int(j) for k, j in enumerate(row) if k == 0 or shares[i, j] >= LEAST_SHARE] for i, row in enumerate(order)
    ]
    out: list[list[Reason]] = [[] for _ in chosen]
    for rank in range(REASONS):
        index = np.array([i for i, row in enumerate(chosen) if rank < len(row)], dtype=np.intp)
        if len(index):
            columns = np.array([chosen[i][rank] for i in index], dtype=np.intp)
            expected = _expected(detector, rows.take(index), columns)
            for i, j, guess in zip(index, columns, expected, strict=True):
                out[i].append(_reason(detector.columns[j], float(shares[i, j]), texts[i][j], guess))
    return [tuple(row) for row in out]


def repair_gains(detector: Detector, rows: Encoded) -> Floats:
    """How many nats of a row's surprise go when a column is hidden (n, columns).

    The column whose hiding leaves the least surprise in the others is the culprit: a wrong amount makes the
    price beside it look wrong too, but only without the amount does the rest of the row fit together.
    """
    columns = len(detector.columns)
    out = np.zeros((len(rows), columns))
    step = max(ASKED_CELLS // columns, 1)
    for start in range(0, len(rows), step):
        some = rows.take(slice(start, start + step))
        whole = _surprise(detector, some).sum(axis=1)
        hidden = _stacked([_hide(detector.scorer, some, j) for j in range(columns)])
        left = _surprise(detector, hidden).reshape(columns, len(some), columns)
        left[np.arange(columns), :, np.arange(columns)] = 0.0
        out[start : start + step] = np.maximum(whole - left.sum(axis=2), 0.0).T
    return out


def _surprise(detector: Detector, rows: Encoded) -> Floats:
    return column_surprise(detector.terms.columns, detector.scorer.deviances(rows).columns.mean(axis=0))


def _stacked(parts: list[Encoded]) -> Encoded:
    return Encoded(*(np.concatenate([getattr(part, name) for part in parts]) for name in Encoded.__struct_fields__))


def _reason(column: str, share: float, value: str, guess: tuple[str, str, str]) -> Reason:
    expected, low, high = guess
    shown = value if value != "" else "empty"
    text = f"{column} {shown}" + (f", expected {expected}" if expected else "")
    text += f" ({low} to {high})" if low else ""
    return Reason(column=column, share=round(share, 4), value=value, expected=expected, low=low, high=high, text=text)


def _expected(detector: Detector, rows: Encoded, columns: NDArray[np.intp]) -> list[tuple[str, str, str]]:
    """Expected value and interval of one hidden column a row, as text."""
    guesses: list[tuple[str, str, str]] = [("", "", "")] * len(rows)
    for column in np.unique(columns):
        index = np.flatnonzero(columns == column)
        outputs = _outputs(detector.scorer, _hide(detector.scorer, rows.take(index), column)).mean(axis=0)
        for i, row in zip(index, outputs, strict=True):
            guesses[i] = _guess(detector, int(column), row)
    return guesses


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
