"""The nouns of synthetic rows and of their comparison with real ones: frozen records, nothing computed here.

What is drawn is in them, as shares and bounds, never as rows: a report needs no table, and shows none.
"""

from typing import Literal

from anomvae.results import Record


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
    """How alike two columns hang together: by correlation (then told), else by their contingency table."""

    first: str
    second: str
    similarity: float
    real: float | None = None
    synthetic: float | None = None


class TwoSample(Record, frozen=True, kw_only=True):
    """Classifier two-sample test: cross-validated AUC of telling `rows` synthetic rows from as many real ones."""

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
    categories. `missing_gap`: the largest difference of missing shares. `cannot_tell`: what lacked, and why.
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


class Picture(Record, frozen=True, kw_only=True):
    """A row as a square image: `cells` as written, row by row, and their `shades` from 0 to 1."""

    side: int
    cells: tuple[str, ...]
    shades: tuple[float, ...]


class Added(Record, frozen=True, kw_only=True):
    """Rows made of one class, or rows spoilt by one kind of fault."""

    name: str
    rows: int


class GenerateResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.generate/1"):
    """Synthetic rows: how many, under which conditions, and what the gate refused on the way.

    `unlike` rows were refused because the detector finds them unlike training, `copies` because they repeat a
    training row; every refused row was replaced. `kept` rows fix so many cells (`like`) that no replacement
    passed; they are written all the same. `classes` are the rows made for each class (`balance`). `quality`
    compares them with real rows (`--against`).
    """

    model: str
    model_id: str
    rows: int
    conditions: str
    seed: int
    temperature: float
    gate: bool
    drawn: int
    unlike: int
    copies: int
    kept: int
    classes: tuple[Added, ...]
    anomalies: tuple[Added, ...]
    typical: Picture | None
    pictures: tuple[Picture, ...]
    output: str
    quality: QualityResult | None = None
    seconds: float


RECORDS = (GenerateResult, QualityResult)
