"""The nouns of the HTML report: what a folder, a run or a model comes to, ready to be drawn; nothing computed here.

No row of a table is in it but the worst ones, with their reasons.
"""

from typing import Literal

from anomvae.drift import ColumnDrift
from anomvae.results import InspectResult, Record, RowResult, Verdict


class Shape(Record, frozen=True, kw_only=True):
    """How a column's training rows are distributed, without its gaps.

    `edges` (k + 1,): of a number, the bounds of its bins; `names` (k,): of a category; `counts` (k,).
    """

    column: str
    edges: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    counts: tuple[int, ...]


class Mark(Record, frozen=True, kw_only=True):
    """Where one reason of a row stands in the shape of its column: numbers, or the names of categories."""

    seen: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    seen_name: str = ""
    expected_name: str = ""


class WorstRow(Record, frozen=True, kw_only=True):
    """A flagged row, and a mark for each of its reasons."""

    row: RowResult
    marks: tuple[Mark, ...]


class Step(Record, frozen=True, kw_only=True):
    """One file on the time line, or several neighbours: the gravest verdict, and their sums."""

    first: str
    last: str
    at: str
    files: int
    verdict: Verdict
    scored: int
    flagged: int


class Look(Record, frozen=True, kw_only=True):
    """A file that somebody should look at, and why."""

    file: str
    at: str
    verdict: Verdict
    rows: int
    flagged: int
    critical: int
    rejected: int
    told: str


class ColumnLook(Record, frozen=True, kw_only=True):
    """A column: how often it was the first reason, in how many files it differed, and how in the newest of these."""

    column: str
    rows: int
    files: int = 0
    file: str = ""
    drift: ColumnDrift | None = None


class Overview(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.report/1"):
    """What a report shows. `source`: the folder, the files or the model; `card`: the model, where it could be read.

    `severities`: rows by severity, in bins of two. `looks`: the newest files that are not ok, `looks_more` others.
    `models`: the ids of the models that judged, in order. `warnings`: of the files, each once.
    """

    kind: Literal["folder", "files", "model"]
    source: str
    made_at: str
    first_at: str = ""
    last_at: str = ""
    alpha: float
    verdicts: dict[str, int]
    rows: int = 0
    scored: int = 0
    rejected: int = 0
    flagged: int = 0
    critical: int = 0
    expected: float = 0.0
    severities: tuple[int, ...] = ()
    steps: tuple[Step, ...] = ()
    looks: tuple[Look, ...] = ()
    looks_more: int = 0
    worst: tuple[WorstRow, ...] = ()
    columns: tuple[ColumnLook, ...] = ()
    shapes: tuple[Shape, ...] = ()
    models: tuple[str, ...] = ()
    card: InspectResult | None = None
    warnings: tuple[str, ...] = ()


class ReportResult(Record, frozen=True, kw_only=True, tag_field="schema", tag="anomvae.page/1"):
    """A page that was written."""

    page: str
    bytes: int
    files: int
    rows: int


RECORDS = (ReportResult,)
