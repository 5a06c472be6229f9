"""How well known faults are found: injected into training rows, each judged by the member that did not see it.

A new row is judged by the mean of all members, which knows a little better than one; so the power told is, if anything,
low. It is an answer about faults of these kinds, not a promise about others.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Ints
from anomvae.model.detector import Detector
from anomvae.model.fault_injection import Faults
from anomvae.model.metrics import wilson
from anomvae.model.schema import Values
from anomvae.records.results import Power

KINDS = ("wild", "unit", "swap", "dependency", "category", "gap")
ROWS = 60  # of a kind in a column, at most
CELLS = 60_000  # faulty rows times columns, at most


class Case(msgspec.Struct, frozen=True):
    """One kind of fault in one column: which rows, and the columns (k,) with the fault in."""

    kind: str
    column: str
    rows: Ints
    spoilt: dict[str, Values]


def self_test(
    detector: Detector, columns: Mapping[str, Values], folds: Ints, rng: np.random.Generator
) -> tuple[Power, ...]:
    """Detection power by kind of fault (first), and by kind and column, with 95 % intervals.

    Args:
        detector: the calibrated detector.
        columns: the typed training columns, each of shape (n,).
        folds: (n,): the member that did not see each row.
        rng: chooses rows and faults.
    """
    cases = list(_cases(detector, columns, rng))
    found = [_found(detector, case, folds) for case in cases]
    by_column = [_power(case.kind, case.column, hits) for case, hits in zip(cases, found, strict=True)]
    by_kind = [
        _power(kind, "", np.concatenate([h for case, h in zip(cases, found, strict=True) if case.kind == kind]))
        for kind in dict.fromkeys(case.kind for case in cases)
    ]
    return (*by_kind, *by_column)


def _cases(detector: Detector, columns: Mapping[str, Values], rng: np.random.Generator) -> Iterator[Case]:
    predictable = zip(detector.columns, detector.anomaly_score.predictable.tolist(), strict=True)
    follow = [name for name, yes in predictable if yes]
    kinds = [(kind, name) for kind in KINDS for name in _where(detector, columns, kind, follow)]
    n = len(next(iter(columns.values())))
    each = int(np.clip(CELLS // (max(len(kinds), 1) * len(columns)), 5, ROWS))
    for kind, name in kinds:
        rows = np.sort(rng.choice(n, size=min(each, n), replace=False))
        clean = {column: values[rows] for column, values in columns.items()}
        spoilt, _, where = Faults(detector.schema, follow, name).spoil(clean, 1.0, [kind], rng)
        done = where != ""
        if done.any():
            yield Case(kind, name, rows[done], {column: values[done] for column, values in spoilt.items()})


def _where(detector: Detector, columns: Mapping[str, Values], kind: str, follow: Sequence[str]) -> list[str]:
    """The columns in which a kind of fault means something."""
    moving = [c for c in detector.schema.modelled if not c.constant]
    if kind == "gap":
        gaps = {feature.column for feature in detector.encoding.features if feature.gaps}
        return [c.name for c in detector.schema.modelled if c.name not in gaps]
    if kind == "category":
        return [c.name for c in detector.schema.modelled if c.kind == "categorical"]
    if kind == "dependency":
        return [name for name in follow if (columns[name][1:] != columns[name][:1]).any()]
    numbers = [c.name for c in moving if c.kind in ("numeric", "integer")]
    return [] if kind == "swap" and len(numbers) < 2 else numbers


def _found(detector: Detector, case: Case, folds: Ints) -> Bools:
    encoded = detector.encode(case.spoilt)
    hits = np.zeros(len(case.rows), dtype=bool)
    for m in range(detector.ensemble.members):
        mine = np.flatnonzero(folds[case.rows] == m)
        alone = msgspec.structs.replace(detector, ensemble=detector.ensemble.member(m))
        hits[mine] = alone.decide(alone.score_encoded(encoded.take(mine))).flagged
    return hits


def _power(kind: str, column: str, hits: Bools) -> Power:
    share = float(hits.mean())
    low, high = wilson(share, len(hits))
    return Power(kind=kind, column=column, rows=len(hits), found=share, low=round(low, 4), high=round(high, 4))
