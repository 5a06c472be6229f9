"""Estimates how well known faults are found: they are injected into training rows, which out-of-fold members score.

A new row is scored by the mean of all members, which knows a little better than the one member that did not see a
training row; so the power reported is, if anything, low. It holds for faults of these kinds, and promises nothing about
others.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from anomvae.model.arrays import Bools, Ints
from anomvae.model.detector import Detector
from anomvae.model.fault_injection import FaultInjector
from anomvae.model.likelihood import WIDE
from anomvae.model.metrics import wilson
from anomvae.model.schema import NUMERIC, Values
from anomvae.records.results import Power

KINDS = ("wild", "unit", "swap", "dependency", "category", "gap")
ROWS = 60  # of a kind in a column, at most
CELLS = 60_000  # faulty rows times columns, at most,
LEAST = 5  # and no fewer rows of a kind in a column than so many
COLUMNS = 24  # of a wide table that a kind of fault is tried in
TOGETHER = 1024  # faulty rows that are scored together


class Case(msgspec.Struct, frozen=True):
    """Training rows with one kind of fault in one column.

    `rows` (k,): their positions. `faulty`: all columns of these rows (k,), with the faults in.
    """

    kind: str
    column: str
    rows: Ints
    faulty: dict[str, Values]


def self_test(
    detector: Detector,
    columns: Mapping[str, Values],
    folds: Ints,
    rng: np.random.Generator,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Power, ...]:
    """Measure the detection power: the share of injected faults that are flagged.

    Args:
        detector: the calibrated detector.
        columns: the typed training columns by name, each of shape (n,).
        folds: (n,): the member that did not see each row.
        rng: chooses rows and faults.
        progress: called with cases done and the number of all.

    Returns:
        The power by kind of fault, then by kind and column, with 95 % intervals.
    """
    flagged: list[tuple[Case, Bools]] = []
    waiting: list[Case] = []
    planned = _planned(detector, columns)
    for done, case in enumerate(_cases(detector, columns, planned, rng), start=1):
        waiting += [case] if case else []
        if done == len(planned) or sum(len(one.rows) for one in waiting) >= TOGETHER:
            flagged += _flagged(detector, waiting, folds)
            waiting = []
            progress(done, len(planned))
    by_kind: dict[str, list[Bools]] = {}
    for case, flags in flagged:
        by_kind.setdefault(case.kind, []).append(flags)
    return (
        *(_power(kind, "", np.concatenate(flags)) for kind, flags in by_kind.items()),
        *(_power(case.kind, case.column, flags) for case, flags in flagged),
    )


def _planned(detector: Detector, columns: Mapping[str, Values]) -> list[tuple[str, str]]:
    """Every kind of fault with every column where it means something; of a wide table with some of these columns."""
    predictable = _predictable(detector)
    found = [(kind, _columns_for(kind, detector, columns, predictable)) for kind in KINDS]
    if len(columns) >= WIDE:
        found = [(kind, _evenly_spaced(names)) for kind, names in found]
    return [(kind, name) for kind, names in found for name in names]


def _evenly_spaced(names: Sequence[str]) -> list[str]:
    """At most `COLUMNS` of the names, spread over all of them."""
    at = np.unique(np.linspace(0, len(names) - 1, min(COLUMNS, len(names))).round().astype(np.intp))
    return [names[i] for i in at.tolist()]


def _predictable(detector: Detector) -> list[str]:
    """Names of the columns that the rest of a row predicts."""
    return [
        name for name, yes in zip(detector.columns, detector.anomaly_score.predictable.tolist(), strict=True) if yes
    ]


def _cases(
    detector: Detector, columns: Mapping[str, Values], planned: Sequence[tuple[str, str]], rng: np.random.Generator
) -> Iterator[Case | None]:
    """A case for each planned kind and column; None where no row could have such a fault."""
    predictable = _predictable(detector)
    n = len(next(iter(columns.values())))
    each = int(np.clip(CELLS // (max(len(planned), 1) * len(columns)), LEAST, ROWS))
    for kind, name in planned:
        rows = np.sort(rng.choice(n, size=min(each, n), replace=False))
        clean = {column: values[rows] for column, values in columns.items()}
        faulty, _, where = FaultInjector(detector.schema, predictable, name).inject(clean, 1.0, [kind], rng)
        done = where != ""
        if done.any():
            yield Case(kind, name, rows[done], {column: values[done] for column, values in faulty.items()})
        else:
            yield None


def _columns_for(kind: str, detector: Detector, columns: Mapping[str, Values], predictable: Sequence[str]) -> list[str]:
    """Names of the columns in which a kind of fault means something.

    Args:
        kind: one of `KINDS`.
        detector: the calibrated detector.
        columns: the typed training columns by name.
        predictable: names of the columns that the rest of a row predicts.
    """
    modelled = detector.schema.modelled
    if kind == "gap":
        with_gaps = {feature.column for feature in detector.encoding.features if feature.gaps}
        return [column.name for column in modelled if column.kind != "counter" and column.name not in with_gaps]
    if kind == "category":
        return [column.name for column in modelled if column.kind == "categorical"]
    if kind == "dependency":
        return [name for name in predictable if (columns[name][1:] != columns[name][:1]).any()]
    numbers = [column.name for column in modelled if not column.constant and column.kind in NUMERIC]
    return [] if kind == "swap" and len(numbers) < 2 else numbers


def _flagged(detector: Detector, cases: Sequence[Case], folds: Ints) -> list[tuple[Case, Bools]]:
    """Each case with which of its rows (k,) are flagged by the member that did not see them."""
    if not cases:
        return []
    rows = np.concatenate([case.rows for case in cases])
    faulty = {name: np.concatenate([case.faulty[name] for case in cases]) for name in cases[0].faulty}
    encoded = detector.encode(faulty)
    flags = np.zeros(len(rows), dtype=bool)
    for m in range(detector.ensemble.members):
        unseen = np.flatnonzero(folds[rows] == m)
        one = msgspec.structs.replace(detector, ensemble=detector.ensemble.member(m))
        flags[unseen] = one.decide(one.score_encoded(encoded.take(unseen))).flagged
    ends = np.cumsum([len(case.rows) for case in cases])[:-1]
    return list(zip(cases, np.split(flags, ends), strict=True))


def _power(kind: str, column: str, flags: Bools) -> Power:
    """The share of flagged rows, with its interval, as a record."""
    share = float(flags.mean())
    low, high = wilson(share, len(flags))
    return Power(kind=kind, column=column, rows=len(flags), found=share, low=round(low, 4), high=round(high, 4))
