"""The results of a comparison of synthetic with real rows, as frozen records that can be written as JSON.

They hold shares, bounds and counts, never rows, so that a report neither needs nor shows the tables. Nothing is
computed here.
"""

from typing import Literal

from anomvae.records.results import Record


class ColumnShape(Record, frozen=True, kw_only=True):
    """How alike one column is in real and synthetic rows.

    `similarity`: 1 - KS statistic for numbers and dates (seconds since 1970), 1 - total variation for categories.
    `real`, `synthetic` (k,): share of the rows with a value in each bin; `edges` (k + 1,) bound the bins of a number,
    `levels` (k,) name those of a category, the rest of which is `others`. `missing_real` is of the training rows.
    `lost`: categories of at least 0.5 % of the training rows that no synthetic row has; `invented`: how many categories
    of the synthetic rows training does not have.
    """

    column: str
    kind: Literal["number", "date", "category"]
    similarity: float
    missing_real: float
    missing_synthetic: float
    real: tuple[float, ...]
    synthetic: tuple[float, ...]
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    others: int = 0
    lost: tuple[str, ...] = ()
    invented: int = 0


class PairTrend(Record, frozen=True, kw_only=True):
    """How alike the association of two columns is: by correlations (`real`, `synthetic`) or contingency tables."""

    first: str
    second: str
    similarity: float
    real: float | None = None
    synthetic: float | None = None


class TwoSample(Record, frozen=True, kw_only=True):
    """Classifier two-sample test: cross-validated AUC of separating `rows` synthetic rows from as many real ones."""

    auc: float
    standard_error: float
    rows: int


class Transfer(Record, frozen=True, kw_only=True):
    """Train on synthetic, test on held-out real rows (TSTR), beside training on real; `ratio` of the two."""

    label: str
    metric: Literal["auc", "accuracy", "r2"]
    on_synthetic: float
    on_real: float
    ratio: float | None


class Nearer(Record, frozen=True, kw_only=True):
    """Share of synthetic rows nearer to a training row than to any of as many held-out ones; ties count half."""

    share: float
    standard_error: float
    rows: int


class QualityResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.quality/1"):
    """How good synthetic rows are. `against`: the real rows that shapes, trends and the classifier compare with.

    `overall` is the mean of `shape` and `trend`; `attainable` the same for training rows in place of synthetic ones.
    `copies` of training rows, among `rows_synthetic`; `copies_held_out` among `rows_held_out`. `rare_kept` of `rare`
    categories. `missing_gap`: the largest difference of missing shares. `cannot_tell`: what was not measured, and why.
    """

    real: str
    synthetic: str
    held_out: str | None
    rows_real: int
    rows_synthetic: int
    rows_held_out: int
    seed: int
    against: Literal["held-out", "training"]
    shape: float
    trend: float | None
    overall: float
    attainable: float | None
    c2st: TwoSample | None
    tstr: Transfer | None
    nearer: Nearer | None
    copies: int
    copies_held_out: int | None
    rare: int
    rare_kept: int
    missing_gap: float
    columns: tuple[ColumnShape, ...]
    pairs: tuple[PairTrend, ...]
    cannot_tell: tuple[str, ...]
    warnings: tuple[str, ...]


QUALITY_RECORDS = (QualityResult,)
