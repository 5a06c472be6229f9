"""What a file adds up to while it is scored: counts, the worst rows, what is worth a warning."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model import drift
from anomvae.model.anomaly_score import Scores
from anomvae.model.calibration import Decision, critical_severity
from anomvae.model.detector import Detector
from anomvae.model.encoder import Encoded
from anomvae.model.schema import MASK, Values
from anomvae.records.results import Reason, RowResult
from anomvae.records.sentences import TableWarning
from anomvae.table.header import folded

Columns = Mapping[str, Values]

SHOWN = 60  # characters of a value never seen
UNSEEN = 1000  # values never seen that are told apart


Tenths = tuple[tuple[int, int, int], ...]  # (severity tenth, rows, flagged rows), without empty ones


class Severities:
    """Rows, and flagged rows, by tenth of severity: whole numbers, whose sums are exact in any order."""

    def __init__(self) -> None:
        self.rows, self.flagged = np.zeros(1001, dtype=np.intp), np.zeros(1001, dtype=np.intp)

    def add(self, severity: NDArray[np.float64], flags: NDArray[np.bool_]) -> None:
        """Count rows (rows,)."""
        tenths = np.rint(severity * 10).astype(np.intp)
        self.rows += np.bincount(tenths, minlength=1001)
        self.flagged += np.bincount(tenths[flags], minlength=1001)

    def merge(self, told: Tenths) -> None:
        """Count the rows of a file."""
        for tenth, rows, flagged in told:
            self.rows[tenth] += rows
            self.flagged[tenth] += flagged

    def told(self) -> Tenths:
        """All of it, as plain data."""
        return tuple((int(at), int(self.rows[at]), int(self.flagged[at])) for at in np.flatnonzero(self.rows))

    @property
    def limit(self) -> float:
        """The tenth from which flagged rows are critical."""
        return critical_severity(self.rows)

    @property
    def critical(self) -> int:
        """How many rows are critical."""
        return int(self.flagged[int(min(self.limit, 1001)) :].sum())

    def bins(self) -> tuple[int, ...]:
        """Rows by severity, in bins of two, without the empty ones at the end."""
        counts = np.add.reduceat(self.rows, np.arange(0, 1000, 20))
        return tuple(counts[: np.flatnonzero(counts)[-1] + 1].tolist()) if counts.any() else ()


class Counts(msgspec.Struct, frozen=True):
    """What one batch adds to its file, as plain data.

    `unseen`: (column, value, rows) of values never seen; `missing`, `surprising` (gaps where training had none) and
    `imprecise`: rows by column; `bins`: rows in the reference's bins, for every feature and the score, if there is one.
    """

    scored: int
    flagged: int
    tenths: Tenths
    unseen: list[tuple[str, str, int]]
    missing: dict[str, int]
    surprising: dict[str, int]
    imprecise: dict[str, int]
    bins: list[list[int]]


def counts_of(detector: Detector, columns: Columns, rows: Encoded, scores: Scores, decision: Decision) -> Counts:
    """Count a batch.

    Args:
        detector: the fitted model.
        columns: typed values by name, each (n,).
        rows: the same, encoded.
        scores: theirs.
        decision: and what these mean.
    """
    severities, flags = Severities(), decision.flagged
    severities.add(decision.severity, flags)
    features = [(j, f.column) for j, f in enumerate(detector.encoding.features) if f.part in ("value", "era")]
    gaps, news = rows.gap.sum(axis=0), (rows.gap & rows.novel).sum(axis=0)
    reference = detector.reference
    bins = drift.count(reference, detector.encoding, columns, rows, scores.score) if reference else []
    return Counts(
        scored=len(flags),
        flagged=int(flags.sum()),
        tenths=severities.told(),
        unseen=[(column, value, n) for (column, value), n in _unseen(detector, columns, rows, features).items()],
        missing={column: int(gaps[j]) for j, column in features},
        surprising={column: int(news[j]) for j, column in features},
        imprecise={column: imprecise(columns[column]) for _, column in features},
        bins=[counted.tolist() for counted in bins],
    )


def _unseen(
    detector: Detector, columns: Columns, rows: Encoded, features: Sequence[tuple[int, str]]
) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    novel = rows.novel & ~rows.gap
    some = np.asarray(novel.any(axis=0))
    for j, column in features:
        if some[j] and columns[column].dtype == object and len(found) < UNSEEN:
            hidden = column in detector.schema.redacted
            for i in np.flatnonzero(novel[:, j]):
                found[column, MASK if hidden else str(columns[column][i])] += 1
    return found


class Tally:
    """What a file adds up to, row batch by row batch; integers and the worst rows, nothing that grows."""

    def __init__(self, file: str, top: int) -> None:
        self.file, self.top = file, top
        self.scored = self.flagged = 0
        self.severities = Severities()
        self.blame: Counter[str] = Counter()
        self.unseen: Counter[tuple[str, str]] = Counter()
        self.missing: Counter[str] = Counter()
        self.surprising: Counter[str] = Counter()
        self.imprecise: Counter[str] = Counter()
        self.counts: list[NDArray[np.intp]] = []
        self._worst: list[tuple[float, int, RowResult]] = []

    def add(self, batch: Counts) -> None:
        """Count a batch."""
        self.scored += batch.scored
        self.flagged += batch.flagged
        self.severities.merge(batch.tenths)
        self.missing.update(batch.missing)
        self.surprising.update(batch.surprising)
        self.imprecise.update(batch.imprecise)
        for column, value, rows in batch.unseen:
            if (column, value) in self.unseen or len(self.unseen) < UNSEEN:
                self.unseen[column, value] += rows
        bins = [np.array(counted, dtype=np.intp) for counted in batch.bins]
        self.counts = [a + b for a, b in zip(self.counts, bins, strict=True)] if self.counts else bins

    def remember(self, row: RowResult) -> None:
        """Keep a flagged row if it is among the worst."""
        if row.reasons:
            self.blame[row.reasons[0].column] += 1
        item = (row.score, -row.line, row)
        if len(self._worst) < self.top:
            heapq.heappush(self._worst, item)
        elif self.top and item[:2] > self._worst[0][:2]:
            heapq.heapreplace(self._worst, item)

    def worst(self, critical: float) -> tuple[RowResult, ...]:
        """The worst flagged rows, the worst first, each told whether it is critical."""
        ordered = sorted(self._worst, key=lambda item: (-item[0], -item[1]))
        rows = [row for _, _, row in ordered]
        return tuple(msgspec.structs.replace(row, critical=round(row.severity * 10) >= critical) for row in rows)

    def newest(self) -> dict[str, str]:
        """The commonest value never seen, by column."""
        found: dict[str, str] = {}
        for (column, value), _ in self.unseen.most_common():
            found.setdefault(column, value[:SHOWN])
        return found

    def warnings(self, detector: Detector) -> list[TableWarning]:
        """Values never seen, with a hint where only the spelling is new, and columns without a value."""
        levels = {f.column: [*f.levels, *f.rare] for f in detector.encoding.features if not f.numeric}
        warnings = []
        for (column, value), count in self.unseen.most_common(5):
            near = next((level for level in levels[column] if folded(level) == folded(value)), "")
            warnings.append(TableWarning(code="unseen_category", column=column, value=value, near=near, count=count))
        for column, count in self.missing.items():
            if self.scored and count == self.scored:
                warnings.append(TableWarning(code="column_all_missing", column=column))
            elif gaps := self.surprising[column]:
                warnings.append(TableWarning(code="missing_value", column=column, count=gaps))
            if large := self.imprecise[column]:
                warnings.append(TableWarning(code="precision_loss", column=column, count=large))
        return warnings


def imprecise(values: Values) -> int:
    """How many numbers a float does not hold exactly for certain."""
    return 0 if values.dtype == object else int((np.abs(values.astype(np.float64)) > 2.0**53).sum())


def row_result(
    place: tuple[str, int], scores: Scores, decision: Decision, i: int, why: tuple[Reason, ...]
) -> RowResult:
    """Row i of a batch as a record.

    Args:
        place: its file and line.
        scores: of the batch.
        decision: what they mean.
        i: the row.
        why: its reasons.
    """
    return RowResult(
        file=place[0],
        line=place[1],
        score=float(scores.score[i]),
        recon=float(scores.recon[i]),
        kl=float(scores.kl[i]),
        p=float(decision.p[i]),
        estimated=bool(decision.estimated[i]),
        severity=float(decision.severity[i]),
        critical=False,
        reasons=why,
    )
