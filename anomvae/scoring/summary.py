"""What the rows of a file add up to while it is scored: counts, the worst rows, and what is worth a warning."""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model import drift
from anomvae.model.anomaly_score import Scores
from anomvae.model.calibration import Decision, critical_severity
from anomvae.model.counters import FALLS_TOLD
from anomvae.model.detector import Detector
from anomvae.model.encoder import Encoded
from anomvae.model.schema import MASK, Schema, Values, as_floats, gaps
from anomvae.records.results import ColumnBlame, RejectedRow, RowResult
from anomvae.records.sentences import TableWarning, WarningCode
from anomvae.table.header import folded
from anomvae.table.typed_reader import TypedBatch

SHOWN = 60  # characters of a value never seen in training
UNSEEN = 1000  # different values never seen that are counted, each by itself
BLAMED = 8  # columns that a summary names

Tenths = tuple[tuple[int, int, int], ...]  # (severity in tenths, rows, flagged rows), without empty ones


class Severities:
    """Rows, and flagged rows, by tenth of severity: whole numbers, whose sums are exact in any order."""

    def __init__(self) -> None:
        self.rows, self.flagged = np.zeros(1001, dtype=np.intp), np.zeros(1001, dtype=np.intp)

    def add(self, severity: NDArray[np.float64], flags: NDArray[np.bool_]) -> None:
        """Count rows (n,)."""
        tenths = np.rint(severity * 10).astype(np.intp)
        self.rows += np.bincount(tenths, minlength=1001)
        self.flagged += np.bincount(tenths[flags], minlength=1001)

    def merge(self, tenths: Tenths) -> None:
        """Add the rows of a batch or a file."""
        for tenth, rows, flagged in tenths:
            self.rows[tenth] += rows
            self.flagged[tenth] += flagged

    def tenths(self) -> Tenths:
        """All of it as data, for `merge`."""
        return tuple((int(at), int(self.rows[at]), int(self.flagged[at])) for at in np.flatnonzero(self.rows))

    @property
    def limit(self) -> float:
        """The severity in tenths from which flagged rows are critical; infinite where none is."""
        return critical_severity(self.rows)

    @property
    def critical(self) -> int:
        """How many rows are critical."""
        return int(self.flagged[int(min(self.limit, 1001)) :].sum())

    def bins(self) -> tuple[int, ...]:
        """Rows by severity, in bins of two, without the empty ones at the end."""
        counts = np.add.reduceat(self.rows, np.arange(0, 1000, 20))
        return tuple(counts[: np.flatnonzero(counts)[-1] + 1].tolist()) if counts.any() else ()


class BatchCounts(msgspec.Struct, frozen=True):
    """What one batch adds to its file, as data.

    `unseen`: (column, value, rows) of values that training never showed. `missing`, `surprising` (gaps where training
    had none) and `imprecise` (numbers that a float does not hold exactly): rows by column. `changed`: (warning, column,
    first such value, rows) of columns that are no longer what they were in training. `falls`: of every counter, the
    steps downwards and all steps. `bins`: rows in each bin of the drift reference, for every feature and the score;
    empty where the model has no reference.
    """

    scored: int
    flagged: int
    tenths: Tenths
    unseen: list[tuple[str, str, int]]
    missing: dict[str, int]
    surprising: dict[str, int]
    imprecise: dict[str, int]
    falls: dict[str, tuple[int, int]]
    changed: list[tuple[WarningCode, str, str, int]]
    bins: list[list[int]]


def count_batch(
    detector: Detector, batch: TypedBatch, rows: Encoded, scores: Scores, decision: Decision
) -> BatchCounts:
    """Count a batch.

    Args:
        detector: the fitted model.
        batch: its typed rows.
        rows: the same, encoded.
        scores: of these rows.
        decision: what the scores mean.
    """
    encoding, reference, flags, columns = detector.encoding, detector.reference, decision.flagged, batch.columns
    severities = Severities()
    severities.add(decision.severity, flags)
    features = [(j, f.column) for j, f in enumerate(encoding.features) if f.part in ("value", "era")]
    new_gaps = (rows.gap & rows.novel).sum(axis=0)
    unseen = _count_unseen(detector, columns, rows, features)
    bins = drift.count(reference, encoding, columns, rows, scores.score) if reference else []
    return BatchCounts(
        scored=len(flags),
        flagged=int(flags.sum()),
        tenths=severities.tenths(),
        unseen=[(column, value, count) for (column, value), count in unseen.items()],
        missing={column: int(gaps(columns[column]).sum()) for column in encoding.columns},
        surprising={column: int(new_gaps[j]) for j, column in features},
        imprecise={column: _count_imprecise(columns[column]) for _, column in features},
        falls={
            encoding.features[j].column: (int((rows.steps[:, at] < 0).sum()), int((~np.isnan(rows.steps[:, at])).sum()))
            for j, at in encoding.steps.items()
        },
        changed=_changed_columns(detector.schema, batch),
        bins=[counted.tolist() for counted in bins],
    )


def _changed_columns(schema: Schema, batch: TypedBatch) -> list[tuple[WarningCode, str, str, int]]:
    """Columns that have values for the first time, and whole numbers that have decimals, as `BatchCounts.changed`."""
    found: list[tuple[WarningCode, str, str, int]] = []
    for column in schema.unfilled:
        if cells := batch.filled.get(column.name):
            first = MASK if column.redacted else cells.first[:SHOWN]
            found.append(("empty_in_training", column.name, first, cells.count))
    for column in schema.modelled:
        if column.kind == "integer":
            values = as_floats(batch.columns[column.name])
            broken = values[np.trunc(values) != values]
            broken = broken[~np.isnan(broken)]
            if len(broken):
                first = MASK if column.redacted else f"{broken[0]:.15g}"
                found.append(("new_decimals", column.name, first, len(broken)))
    return found


def _count_unseen(
    detector: Detector, columns: Mapping[str, Values], rows: Encoded, features: Sequence[tuple[int, str]]
) -> Counter[tuple[str, str]]:
    """Rows by column and value, of values that training never showed; redacted ones are masked."""
    found: Counter[tuple[str, str]] = Counter()
    novel = rows.novel & ~rows.gap
    some = np.asarray(novel.any(axis=0))
    for j, column in features:
        if some[j] and columns[column].dtype == object and len(found) < UNSEEN:
            hidden = column in detector.schema.redacted
            for i in np.flatnonzero(novel[:, j]):
                found[column, MASK if hidden else str(columns[column][i])] += 1
    return found


def _count_imprecise(values: Values) -> int:
    """How many numbers (n,) are so large that a float may not hold them exactly."""
    return 0 if values.dtype == object else int((np.abs(values.astype(np.float64)) > 2.0**53).sum())


class FileSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of a file add up to, before it is decided what that means (`scoring.verdict.assess_file`).

    The fields are those of `records.results.FileResult`, and two more: `bins` are the rows in each bin of the drift
    reference, for every feature and the score (empty without a reference or without rows), and `unseen` is the
    commonest value of each column that training never showed.
    """

    delivery_id: str = ""
    continues: bool = False
    file: str
    sha256: str
    model_id: str
    alpha: float
    rows: int
    scored: int
    rejected: int
    flagged: int
    critical: int
    expected_flags: float
    severities: tuple[int, ...]
    seconds: float
    outputs: tuple[str, ...]
    worst: tuple[RowResult, ...]
    blame: tuple[ColumnBlame, ...]
    rejects: tuple[RejectedRow, ...]
    warnings: tuple[str, ...]
    bins: tuple[tuple[int, ...], ...]
    unseen: dict[str, str]


class SummaryBuilder:
    """Adds up the batches of a file. Its size is bounded: whole numbers and the worst rows.

    Args:
        top: how many of the worst rows to keep.
    """

    def __init__(self, top: int) -> None:
        self.scored = self.flagged = 0
        self.severities = Severities()
        self.bins: list[NDArray[np.intp]] = []
        self._top = top
        self._blame: Counter[str] = Counter()
        self._unseen: Counter[tuple[str, str]] = Counter()
        self._missing: Counter[str] = Counter()
        self._surprising: Counter[str] = Counter()
        self._imprecise: Counter[str] = Counter()
        self._falls: Counter[str] = Counter()
        self._steps: Counter[str] = Counter()
        self._changed: dict[tuple[WarningCode, str], TableWarning] = {}
        self._worst: list[tuple[float, int, RowResult]] = []

    def add(self, batch: BatchCounts, flagged: Sequence[RowResult]) -> None:
        """Add a batch: its counts and its flagged rows."""
        self.scored += batch.scored
        self.flagged += batch.flagged
        self.severities.merge(batch.tenths)
        self._missing.update(batch.missing)
        self._surprising.update(batch.surprising)
        self._imprecise.update(batch.imprecise)
        for column, (falls, steps) in batch.falls.items():
            self._falls[column] += falls
            self._steps[column] += steps
        for column, value, rows in batch.unseen:
            if (column, value) in self._unseen or len(self._unseen) < UNSEEN:
                self._unseen[column, value] += rows
        for code, column, value, count in batch.changed:
            first = self._changed.setdefault((code, column), TableWarning(code=code, column=column, value=value))
            self._changed[code, column] = msgspec.structs.replace(first, count=first.count + count)
        bins = [np.array(counted, dtype=np.intp) for counted in batch.bins]
        self.bins = [a + b for a, b in zip(self.bins, bins, strict=True)] if self.bins else bins
        for row in flagged:
            if row.reasons:
                self._blame[row.reasons[0].column] += 1
            item = (row.score, -row.line, row)
            if len(self._worst) < self._top:
                heapq.heappush(self._worst, item)
            elif self._top and item[:2] > self._worst[0][:2]:
                heapq.heapreplace(self._worst, item)

    def worst(self) -> tuple[RowResult, ...]:
        """The worst flagged rows, the worst first, each with whether it is critical."""
        limit = self.severities.limit
        ordered = sorted(self._worst, key=lambda item: (-item[0], -item[1]))
        rows = [row for _, _, row in ordered]
        return tuple(msgspec.structs.replace(row, critical=round(row.severity * 10) >= limit) for row in rows)

    def blame(self) -> tuple[ColumnBlame, ...]:
        """The columns that are the first reason of the most flagged rows."""
        return tuple(ColumnBlame(column=name, rows=rows) for name, rows in self._blame.most_common(BLAMED))

    def unseen(self) -> dict[str, str]:
        """The commonest value that training never showed, by column."""
        found: dict[str, str] = {}
        for (column, value), _ in self._unseen.most_common():
            found.setdefault(column, value[:SHOWN])
        return found

    def warnings(self, detector: Detector) -> list[TableWarning]:
        """What the file has and training had not: values, with a hint where only the spelling is new, and gaps."""
        unseen = self._unseen.most_common(5)
        columns = {column for (column, _), _ in unseen}
        levels = {
            f.column: {folded(level): level for level in reversed((*f.levels, *f.rare))}
            for f in detector.encoding.features
            if f.column in columns and not f.numeric
        }
        warnings = list(self._changed.values())
        for (column, value), count in unseen:
            near = levels[column].get(folded(value), "")
            warnings.append(TableWarning(code="unseen_category", column=column, value=value, near=near, count=count))
        for column, count in self._missing.items():
            if self.scored and count == self.scored:
                warnings.append(TableWarning(code="column_all_missing", column=column))
            elif new_gaps := self._surprising[column]:
                warnings.append(TableWarning(code="missing_value", column=column, count=new_gaps))
            if large := self._imprecise[column]:
                warnings.append(TableWarning(code="precision_loss", column=column, count=large))
            if self._falls[column] > FALLS_TOLD * self._steps[column]:
                warnings.append(TableWarning(code="counter_falls", column=column, count=self._falls[column]))
        return warnings
