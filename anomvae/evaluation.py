"""The records of an evaluation: what a model found of known anomalies."""

from anomvae.results import Record


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its 95 % confidence interval."""

    value: float
    low: float
    high: float


class KindResult(Record, frozen=True, kw_only=True):
    """The anomalies of one label: how many were flagged, and how well they stand apart from the normal rows.

    `auroc` is None where there is no normal row.
    """

    kind: str
    rows: int
    flagged: int
    recall: Estimate
    auroc: Estimate | None


class EvaluateResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.evaluate/1"):
    """A model against labelled rows: rows = normal + anomalous + unlabelled + rejected.

    `normal` lists the labels that were taken as normal ("": an empty cell). A figure is None where the rows that it
    needs are not there. `recall`, `false_alarm_rate` and `precision` are at `alpha`; `alpha_within` says whether the
    stated rate lies in the interval of the one found; precision and AUPR depend on the share of anomalies among
    these rows. `estimated`: alpha is below what the calibration rows support by counting.
    """

    model: str
    model_id: str
    files: tuple[str, ...]
    label: str
    normal: tuple[str, ...]
    alpha: float
    estimated: bool
    rows: int
    rejected: int
    unlabelled: int
    normal_rows: int
    anomalous_rows: int
    false_alarms: int
    found: int
    auroc: Estimate | None
    aupr: Estimate | None
    recall: Estimate | None
    false_alarm_rate: Estimate | None
    alpha_within: bool | None
    precision: Estimate | None
    kinds: tuple[KindResult, ...]
    warnings: tuple[str, ...]
    seconds: float


RECORDS = (EvaluateResult,)
