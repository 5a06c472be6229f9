"""The nouns of drift: how the rows of a file differ from training, and what that leaves for the files after it."""

from typing import Literal

import msgspec

from anomvae.records.columns import ColumnReport
from anomvae.records.sentences import TableWarning, VerdictReason


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a file's rows differ from training in one column, or a part of a date (`part`).

    `z`: the largest deviation in standard errors, negative where there is less than usual; `p`: of this column alone;
    `told`: what changed, empty where that may be chance. `new`: the commonest value never seen. `counts`: rows of the
    file in each bin, the last one of gaps.
    Where something is told also what drawing it needs: `bins` by name, and `usual`, the counts of training.
    """

    column: str
    part: str = ""
    z: float
    p: float
    told: str = ""
    new: str = ""
    counts: tuple[int, ...]
    bins: tuple[str, ...] = ()
    usual: tuple[int, ...] = ()


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether rows are still distributed as in training. `columns`, `score`: this file.

    The score is counted and not tested (z is 0, p is 1): a calibration row was judged by one member, a new row by all.

    `p`: the chance of as much in a clean file, over columns, flag count and windows; at most 0.0001 is told as the
    verdict `drifted`. `files`: how many of the newest files together say it; `told`: what they say, the surest first.
    `alone`: this file is off by itself, and left out when the next files are taken together.
    """

    p: float
    files: int
    alone: bool
    told: tuple[str, ...]
    columns: tuple[ColumnDrift, ...]
    score: ColumnDrift


REMEMBERED = 8  # files before the newest that are judged together with it


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file leaves for the next ones: rows scored and flagged, and the counts of every column and the score."""

    rows: int
    flagged: int
    counts: tuple[tuple[int, ...], ...]


class Side(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one model makes of the rows. `low` and `high` bound its flag rate with 95 % confidence.

    `power`: the share of faults of each kind that its self-test found, when it was fitted.
    """

    model: str
    model_id: str
    alpha: float
    flagged: int
    rate: float
    low: float
    high: float
    mean_score: float
    power: dict[str, float]


class Challenge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A champion and a challenger on `rows` held-out rows; `unreadable` ones are no rows of one of the two schemas.

    `both`, `champion_only`, `challenger_only`: rows flagged by both, and by one of them alone.
    """

    rows: int
    unreadable: int
    both: int
    champion_only: int
    challenger_only: int
    champion: Side
    challenger: Side


Verdict = Literal["ok", "elevated", "anomalous", "drifted", "failed"]
GRAVITY: tuple[Verdict, ...] = ("ok", "elevated", "drifted", "anomalous", "failed")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record."""


class Calibration(Record, frozen=True, kw_only=True):
    """The threshold and what it promises.

    `rate_low` and `rate_high` bound the false-alarm rate with 95 % confidence; `rows` calibration rows
    count as `effective_rows` independent ones; `supported_alpha` is the smallest alpha that counting
    alone can support, below it the threshold rests on a tail estimate.
    """

    alpha: float
    threshold: float
    rows: int
    effective_rows: float
    rate_low: float
    rate_high: float
    supported_alpha: float
    estimated: bool
    dependent: bool
    correlation: float
    blocks: int
    tail_shape: float
    tail_scale: float


class Training(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How the network was trained and what came out; `by_hand` names the sizes that were asked for, not chosen here.

    `elbo`, `recon` and `kl` are means per training row, out of fold, in nats; `latents_used` counts
    dimensions whose posterior moves (variance of mu over rows above 0.01), of `latent`.
    """

    layout: str
    hidden: tuple[int, ...]
    latent: int
    beta: float
    steps: int
    steps_planned: int
    members: int
    device: str
    seed: int
    recon: float
    kl: float
    elbo: float
    latents_used: int
    by_hand: tuple[Literal["hidden", "latent", "steps"], ...] = ()


GroupPart = Literal["value", "day"]  # what rows of a group share: the value of a column, or the day of a date


class GroupFolds(Record, frozen=True, kw_only=True):
    """Rows that belong together were kept in one fold each: by the value of `columns`, or the day of a date (`part`).

    `groups`: how many, of which the largest has `largest` rows. `found`: by the fit itself, because the nearest row is
    of the same group in a `share` of the groups where chance makes it `chance`, with a probability of at most `p`.
    """

    columns: tuple[str, ...]
    part: GroupPart
    groups: int
    largest: int
    folds: int
    found: bool
    share: float | None = None
    chance: float | None = None
    p: float | None = None


class Power(Record, frozen=True, kw_only=True):
    """How many faults of a kind were found by the self-test, in one column or ("") over all of them.

    `found` is a share of `rows`, `low` and `high` its 95 % interval.
    """

    kind: str
    column: str
    rows: int
    found: float
    low: float
    high: float


class ThresholdChange(Record, frozen=True, kw_only=True):
    """One setting of the threshold, and what set it."""

    alpha: float
    threshold: float
    by: str


class Lineage(Record, frozen=True, kw_only=True):
    """Where a model comes from: the training data by hash, the selection, the seed, the versions."""

    files: tuple[str, ...]
    data_sha256: str
    rows_read: int
    rows_used: int
    selection: str
    seed: int
    versions: dict[str, str]


class ReviewRow(Record, frozen=True, kw_only=True):
    """A training row that is held for an anomaly: neither trained nor calibrated on. `reason` is the first one."""

    file: str
    line: int
    score: float
    p: float
    reason: str


class FitResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.fit/1"):
    """A finished fit: the schema, the training, the threshold, the file.

    With a `contamination` above 0: `suspected` rows were not trained on; of these `to_review` were not calibrated on
    either, and `review` lists the first of them, the worst first. `comparison`: with the model that it may replace.
    """

    model: str
    model_id: str
    files: tuple[str, ...]
    rows_read: int
    rows_used: int
    rows_rejected: int
    selection: str
    columns: tuple[ColumnReport, ...]
    training: Training
    calibration: Calibration
    groups: GroupFolds | None = None
    dependencies: tuple[str, ...] = ()
    self_test: tuple[Power, ...] = ()
    contamination: float = 0.0
    suspected: int = 0
    to_review: int = 0
    review: tuple[ReviewRow, ...] = ()
    comparison: Challenge | None = None
    warnings: tuple[TableWarning, ...]
    seconds: float


class Reason(Record, frozen=True, kw_only=True):
    """Why a row was flagged: one column's share of its surprise.

    `expected`, `low` and `high` are what the rest of the row makes of the column when it is hidden
    (median and 90 % interval for numbers, most likely value for categories). Of a counter they are those of the step
    from the row before, and `step` says how the row came to its value.
    """

    column: str
    share: float
    value: str
    expected: str
    low: str
    high: str
    text: str
    step: str = ""


class RowResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.row/1"):
    """One flagged row. `estimated` marks a p-value from the tail fit, beyond what counting supports.

    `delivery_id` is set in the alert log of a watched folder; with `line` it names the row for good.
    """

    delivery_id: str = ""
    file: str
    line: int
    score: float
    recon: float
    kl: float
    p: float
    estimated: bool
    severity: float
    critical: bool
    reasons: tuple[Reason, ...]


class RejectedRow(Record, frozen=True, kw_only=True):
    """A record that could not be read as a row of the schema; never scored, never lost."""

    line: int
    code: str
    message: str
    column: str | None = None


class ColumnBlame(Record, frozen=True, kw_only=True):
    """How often a column was the first reason among a file's flagged rows."""

    column: str
    rows: int


class FileResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.file/1"):
    """One delivery: rows in = scored + rejected, always.

    `p_file` is the chance of this many flags in a normal file (one-sided beta-binomial). `drift` is absent where the
    model has nothing to compare with, or the file no rows. Of a watched folder also: `delivery_id`, and `continues`
    where only the new rows of a grown file were scored. `severities`: scored rows by severity, in bins of two, without
    the empty ones at the end. `why`: what raised the verdict above ok, the gravest first.
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
    verdict: Verdict
    why: tuple[VerdictReason, ...] = ()
    p_file: float
    drift: Drift | None = None
    severities: tuple[int, ...] = ()
    seconds: float
    outputs: tuple[str, ...]
    worst: tuple[RowResult, ...]
    blame: tuple[ColumnBlame, ...]
    rejects: tuple[RejectedRow, ...]
    warnings: tuple[str, ...]


def evidence(result: FileResult) -> Evidence | None:
    """What a file leaves for the next ones; None where it has nothing to compare, or is odd by itself.

    That is where its rows are, or where many could not be read: those that could are no fair sample of it.
    """
    drift = result.drift
    if drift is None or drift.alone or any(why.code == "many_rejected" for why in result.why):
        return None
    return Evidence(result.scored, result.flagged, tuple(one.counts for one in (*drift.columns, drift.score)))


class ErrorResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.error/1"):
    """What went wrong, and where."""

    code: str
    message: str
    exit_code: int
    file: str | None = None
    line: int | None = None
    column: str | None = None


class Waits(Record, frozen=True, kw_only=True):
    """A file that is not judged yet, why, and for how many seconds it has been waiting."""

    file: str
    reason: str
    seconds: float


class ScoreResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.score/1"):
    """A finished scoring run over files: totals, the files, and the ones that were refused.

    Of a folder also: `folder`, `out`, what is `left` for the next run, `known` deliveries that came again, and
    `omitted` files: of many only the 200 most worth a look are listed, the totals count all. `critical` sums what is
    critical in each file; `critical_together`: had all rows of the run stood in one file.
    """

    folder: str = ""
    out: str = ""
    left: tuple[Waits, ...] = ()
    known: int = 0
    omitted: int = 0
    critical_together: int | None = None
    model: str
    model_id: str
    alpha: float
    rows: int
    scored: int
    rejected: int
    flagged: int
    critical: int
    files: tuple[FileResult, ...]
    refused: tuple[ErrorResult, ...]
    seconds: float


class InspectResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.inspect/1"):
    """What is in a model file."""

    model: str
    model_id: str
    bytes: int
    format: int
    created_by: str
    lineage: Lineage
    columns: tuple[ColumnReport, ...]
    training: Training
    calibration: Calibration
    groups: GroupFolds | None = None
    self_test: tuple[Power, ...] = ()
    threshold_history: tuple[ThresholdChange, ...]


class Alternative(Record, frozen=True, kw_only=True):
    """What another alpha would mean: its threshold, and the 95 % interval of the false-alarm rate.

    `estimated`: alpha is below what the calibration rows support by counting.
    """

    alpha: float
    threshold: float
    rate_low: float
    rate_high: float
    estimated: bool


class ThresholdResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.threshold/1"):
    """The threshold of a model, and what set it, the newest last. `changed`: the model file was rewritten."""

    model: str
    model_id: str
    changed: bool
    calibration: Calibration
    alternatives: tuple[Alternative, ...]
    history: tuple[ThresholdChange, ...]
    warnings: tuple[str, ...] = ()


class ReportResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.page/1"):
    """A page that was written."""

    page: str
    bytes: int
    files: int
    rows: int


RECORDS = (FitResult, ScoreResult, FileResult, RowResult, InspectResult, ThresholdResult, ErrorResult)
PAGE_RECORDS = (ReportResult,)


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


EVALUATION_RECORDS = (EvaluateResult,)


class ScoreTerms(Record, frozen=True, kw_only=True):
    """The views whose largest is the score, in nats, each less its cost.

    Why: docs/decisions.md, "The score is the largest of views, not their sum".

    `whole`: all deviances; `worst`: the most surprising column; `latent`: the KL; `place`: how far from any training
    row; `hidden`: the most surprising column when it is hidden and told by the rest (0 for a plainly normal row). The
    first four are means over the members, each of which counts with its own largest; `unseen`: what training never
    showed adds.
    """

    whole: float
    worst: float
    latent: float
    place: float
    hidden: float
    unseen: float


class LatentPart(Record, frozen=True, kw_only=True):
    """The latent's part: the row's KL beside the range of 95 % of training rows; too low counts as well."""

    kl: float
    low: float
    high: float
    state: Literal["usual", "high", "low"]


class ColumnPart(Record, frozen=True, kw_only=True):
    """One column of the row: its value as written, and what the other columns make of it when it is hidden.

    `deviance` is its part of `recon`, `surprise` the -log p of that among training rows, `share` its part of
    the blame, by repair. `step` is as in `Reason`.
    """

    column: str
    value: str
    expected: str
    low: str
    high: str
    deviance: float
    surprise: float
    share: float
    step: str = ""


class Replacement(Record, frozen=True, kw_only=True):
    """One cell, and what is expected in its place."""

    column: str
    value: str
    expected: str


class Change(Record, frozen=True, kw_only=True):
    """The row with some cells as expected: what it would score, and whether that is under the threshold."""

    cells: tuple[Replacement, ...]
    score: float
    p: float
    suffices: bool


class ExplainedRow(Record, frozen=True, kw_only=True):
    """One row in depth; `columns` with the culprits first.

    `changes` is empty for a row that is not flagged; else the best change of one column and, where that does
    not suffice, the best of two that was found.
    """

    file: str
    line: int
    score: float
    recon: float
    kl: float
    p: float
    estimated: bool
    severity: float
    flagged: bool
    terms: ScoreTerms
    latent: LatentPart
    columns: tuple[ColumnPart, ...]
    changes: tuple[Change, ...]


class ExplainResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.explain/1"):
    """Rows in depth, in the order that they were asked for."""

    model: str
    model_id: str
    alpha: float
    threshold: float
    rows: tuple[ExplainedRow, ...]
    warnings: tuple[str, ...]
    seconds: float


EXPLAIN_RECORDS = (ExplainResult,)
