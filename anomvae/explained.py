"""The records of `explain`: one row in depth."""

from typing import Literal

from anomvae.results import Record


class ScoreTerms(Record, frozen=True, kw_only=True):
    """The views whose largest is the score, in nats, each less its cost (docs/decisions.md, 66).

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
    the blame, by repair.
    """

    column: str
    value: str
    expected: str
    low: str
    high: str
    deviance: float
    surprise: float
    share: float


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


RECORDS = (ExplainResult,)
