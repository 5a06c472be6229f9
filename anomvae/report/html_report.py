"""The HTML report about an output folder, a run or a model, and the values that its template prints.

What an engineer on call asks comes first: verdicts over time, files to review, severities, worst rows, columns, drift,
the model. Every picture has a table or a sentence beside it. The worst rows, with their reasons, are the only rows of a
table on the page.
"""

import heapq
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from markupsafe import Markup

from anomvae.errors import DataError
from anomvae.folder.ledger import Ledger
from anomvae.folder.output_folder import MANIFEST, path_text
from anomvae.model.detector import Detector
from anomvae.model.drift import Bins
from anomvae.model.drift_text import DriftText
from anomvae.model.schema import NUMERIC
from anomvae.records.folder import Manifest
from anomvae.records.results import (
    GRAVITY,
    ColumnDrift,
    FileResult,
    InspectResult,
    Reason,
    RowResult,
    ScoreResult,
    Verdict,
)
from anomvae.records.sentences import rejection_sentences
from anomvae.report import html_page, svg
from anomvae.report.svg import Histogram, Marker, TimelineBar
from anomvae.report.terminal import FAULTS, basis_of

BARS = 240  # of the time line; more files share them
REVIEWED = 60  # files in the list of those to review, the newest
WORST = 12  # rows
COLUMNS = 40  # columns with a share in the flagged rows, or changed
WARNINGS = 20


class ReviewItem(msgspec.Struct, frozen=True, kw_only=True):
    """A file that somebody should review, and why."""

    file: str
    at: str
    verdict: Verdict
    rows: int = 0
    flagged: int = 0
    critical: int = 0
    rejected: int = 0
    why: str


class ColumnChange(msgspec.Struct, frozen=True, kw_only=True):
    """A column that differed from training: in how many files, and how in the newest of these."""

    files: int
    file: str
    drift: ColumnDrift


class Overview:
    """Adds up the results of files in their order, and makes the page; of each file it keeps a short line.

    Args:
        kind: what the page is about.
        source: the folder, the files or the model.
        detector: the model that scored, where it could be read.
        card: of that model, as `anomvae inspect` shows it.
    """

    def __init__(
        self,
        kind: Literal["folder", "files", "model"],
        source: str,
        detector: Detector | None = None,
        card: InspectResult | None = None,
    ) -> None:
        self.kind, self.source, self.detector, self.card = kind, source, detector, card
        self.totals: Counter[str] = Counter()
        self.verdicts: Counter[Verdict] = Counter()
        self.expected, self.alpha = 0.0, 0.0
        self.severities: Counter[int] = Counter()  # rows by severity, in bins of two
        self.blame: Counter[str] = Counter()
        self.models: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        self._bars: list[TimelineBar] = []
        self._review: list[ReviewItem] = []
        self._changes: dict[str, ColumnChange] = {}
        self._worst: list[tuple[float, int, RowResult]] = []
        self._seen = 0

    def add(self, result: FileResult, at: str) -> None:
        """Add a scored file.

        Args:
            result: of the file.
            at: when it was scored, in UTC; empty where that is not known.
        """
        for name in ("rows", "scored", "rejected", "flagged", "critical"):
            self.totals[name] += getattr(result, name)
        self.expected += result.expected_flags
        self.alpha = result.alpha
        self.models.setdefault(result.model_id)
        self.severities.update(dict(enumerate(result.severities)))
        self.blame.update({one.column: one.rows for one in result.blame})
        for warning in result.warnings:
            if len(self.warnings) < WARNINGS:
                self.warnings.setdefault(warning)
        for row in result.worst:
            self._seen += 1  # of equal scores the first one counts; rows themselves have no order
            item = (row.score, -self._seen, row)
            (heapq.heappush if len(self._worst) < WORST else heapq.heappushpop)(self._worst, item)
        for drift in result.drift.columns if result.drift else ():
            if drift.told:
                before = self._changes.get(drift.column)
                files = before.files + 1 if before else 1
                self._changes[drift.column] = ColumnChange(files=files, file=result.file, drift=drift)
        self._count(result.file, at, result.verdict, result.scored, result.flagged)
        if result.verdict != "ok" or result.critical or result.rejected:
            self._review.append(_review_item(result, at))

    def refuse(self, file: str, at: str, why: str) -> None:
        """Add a file that was refused or put in quarantine.

        Args:
            file: its name.
            at: when that was, in UTC; empty where that is not known.
            why: for people.
        """
        self._count(file, at, "failed", 0, 0)
        self._review.append(ReviewItem(file=file, at=at, verdict="failed", why=why))

    def _count(self, file: str, at: str, verdict: Verdict, scored: int, flagged: int) -> None:
        self.verdicts[verdict] += 1
        self._bars.append(
            TimelineBar(first=file, last=file, at=at, files=1, verdict=verdict, scored=scored, flagged=flagged)
        )

    def bars(self) -> list[TimelineBar]:
        """The bars of the time line, at most `BARS`; neighbouring files share one."""
        size = -(-len(self._bars) // BARS) or 1
        return [_together(self._bars[at : at + size]) for at in range(0, len(self._bars), size)]

    def to_review(self) -> list[ReviewItem]:
        """The newest files that somebody should review, the newest first."""
        return self._review[: -REVIEWED - 1 : -1]

    def worst_rows(self) -> list[RowResult]:
        """The flagged rows with the highest scores, the highest first."""
        return [row for *_, row in sorted(self._worst, reverse=True)]

    def page(self, made_at: str | None = None) -> str:
        """The page as HTML; `made_at` is the time that it bears, by default now."""
        alpha = self.alpha or (self.card.calibration.alpha if self.card else 0.01)
        verdicts = {verdict: self.verdicts[verdict] for verdict in GRAVITY if self.verdicts[verdict]}
        severities = [self.severities[i] for i in range(max(self.severities, default=-1) + 1)]
        bars, worst = self.bars(), self.worst_rows()
        named = {reason.column for row in worst for reason in row.reasons}
        histograms = {one.column: one for one in self._histograms(named if bars else None)}
        listed = list(dict.fromkeys([*(name for name, _ in self.blame.most_common()), *self._changes]))[:COLUMNS]
        most = max((self.blame[name] for name in listed), default=0) or 1
        totals = {name: self.totals[name] for name in ("scored", "rejected", "flagged", "critical")}
        return html_page.render(
            "overview.html",
            source=self.source,
            made_at=made_at or datetime.now(UTC).isoformat(timespec="seconds"),
            first_at=self._bars[0].at if bars else "",
            last_at=self._bars[-1].at if bars else "",
            headline=headline(self.kind, verdicts, self.totals["critical"]),
            alpha=alpha,
            verdicts=verdicts,
            words=svg.CSS_CLASS,
            **totals,
            expected=self.expected,
            rate=self.totals["flagged"] / self.totals["scored"] if self.totals["scored"] else None,
            bars=len(bars),
            time_line=svg.time_line(bars, alpha) if bars else None,
            review=self.to_review(),
            review_more=max(len(self._review) - REVIEWED, 0),
            severities=svg.severities(severities, alpha) if severities else None,
            worst=[(row, [self._reason(reason, histograms) for reason in row.reasons]) for row in worst],
            columns=[(n, self.blame[n], svg.share_bar(self.blame[n] / most)) for n in listed if self.blame[n]],
            changes=[(self._changes[name], _against(self._changes[name])) for name in listed if name in self._changes],
            models=list(self.models),
            card=_card(self.card, histograms, drawn=self.kind == "model") if self.card else None,
            warnings=list(self.warnings),
        )

    def _reason(self, reason: Reason, histograms: dict[str, Histogram]) -> tuple[Reason, Markup | None]:
        """A reason, with its picture where there is one."""
        histogram = histograms.get(reason.column)
        if self.detector is None or histogram is None:
            return reason, None
        return reason, svg.column(histogram, _marker(self.detector, reason, histogram))

    def _histograms(self, named: set[str] | None) -> list[Histogram]:
        """Training rows of the columns named, or of all: not of dates, whose parts are modelled, nor if redacted."""
        about = self.detector.about if self.detector else None
        if self.detector is None or about is None or about.reference is None:
            return []
        texts = DriftText(self.detector, about.reference)
        found = []
        for j, bins in enumerate(about.reference.bins):
            hidden = bins.column in self.detector.schema.redacted
            if bins.part == "value" and not hidden and (named is None or bins.column in named):
                report = next(column for column in about.columns if column.name == bins.column)
                found.append(_histogram(bins, texts.bin_names(j), report.low, report.high))
        return found


def of_result(result: ScoreResult, detector: Detector | None, card: InspectResult | None) -> Overview:
    """The report about a run over files, or over a folder.

    Args:
        result: of the run.
        detector: the model, where it could be read.
        card: of that model.
    """
    source = result.out or ", ".join(one.file for one in result.files[:3]) or "no file"
    more = f" and {len(result.files) - 3} more" if len(result.files) > 3 and not result.out else ""
    overview = Overview("files", source + more, detector, card)
    for one in result.files:
        overview.add(one, "")
    for error in result.refused:
        line = f"line {error.line}: " if error.line else ""
        overview.refuse(error.file or "", "", f"{line}{error.message} [{error.code}]")
    return overview


def of_folder(out: Path, detector: Detector | None, card: InspectResult | None) -> Overview:
    """The report about an output folder, from its ledger and the manifests beside its results.

    Args:
        out: the folder.
        detector: the model, where it could be read.
        card: of that model.

    Raises:
        UsageError: it holds no ledger.
    """
    ledger = Ledger(out / "ledger.sqlite", read_only=True)
    try:
        overview = Overview("folder", str(out), detector, card)
        for delivery in ledger.deliveries():
            if delivery["state"] == "quarantined":
                file = path_text(bytes(delivery["path"]))
                overview.refuse(file, delivery["committed_utc"], f"{delivery['message']} [{delivery['reason_code']}]")
            elif manifest := _manifest(out, delivery["delivery_id"]):
                overview.add(manifest.result, delivery["committed_utc"])
        return overview
    finally:
        ledger.close()


def of_model(detector: Detector, card: InspectResult) -> Overview:
    """The report about a model alone."""
    return Overview("model", card.model, detector, card)


def read_result(path: Path) -> ScoreResult:
    """Read a result that `score --json` has printed into a file.

    Raises:
        DataError: the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ScoreResult)
    except OSError as error:
        raise DataError("unreadable", f"cannot be read ({error.strerror})").within(str(path)) from error
    except msgspec.DecodeError as error:
        message = f"is not what 'anomvae score --json' prints ({error})"
        raise DataError("not_a_result", message).within(str(path)) from error


def headline(kind: str, verdicts: dict[Verdict, int], critical: int) -> str:
    """The page in one sentence.

    Args:
        kind: what the page is about, as of `Overview`.
        verdicts: how many files got each.
        critical: rows.
    """
    if kind == "model":
        return "What this model learnt, and what it promises."
    count = sum(verdicts.values())
    bad = {name: n for name, n in verdicts.items() if name != "ok"}
    if not count:
        return "No file has been judged yet."
    if not bad:
        rows = f"; {critical:,} critical rows" if critical else ""
        return f"All {count:,} files are within what is usual{rows}." if count > 1 else f"The file is ok{rows}."
    listed = ", ".join(f"{n:,} {name}" for name, n in bad.items())
    return f"{sum(bad.values()):,} of {count:,} files need a look: {listed}."


def _manifest(out: Path, delivery_id: str) -> Manifest | None:
    """The manifest of a result; None where somebody has removed it."""
    try:
        return msgspec.json.decode((out / "results" / (delivery_id + MANIFEST)).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def _review_item(result: FileResult, at: str) -> ReviewItem:
    why = list(result.drift.told) if result.drift else []
    why += [row.reasons[0].text for row in result.worst[:1] if row.reasons]
    why += rejection_sentences(result.why) or [f"line {bad.line}: {bad.message}" for bad in result.rejects[:1]]
    return ReviewItem(
        file=result.file,
        at=at,
        verdict=result.verdict,
        rows=result.rows,
        flagged=result.flagged,
        critical=result.critical,
        rejected=result.rejected,
        why="; ".join(why),
    )


def _together(bars: list[TimelineBar]) -> TimelineBar:
    return TimelineBar(
        first=bars[0].first,
        last=bars[-1].last,
        at=bars[-1].at,
        files=len(bars),
        verdict=max((bar.verdict for bar in bars), key=GRAVITY.index),
        scored=sum(bar.scored for bar in bars),
        flagged=sum(bar.flagged for bar in bars),
    )


def _histogram(bins: Bins, names: tuple[str, ...], low: float | None, high: float | None) -> Histogram:
    if not bins.numeric:
        counts = bins.counts[:-2]
        return Histogram(column=bins.column, names=names[: len(counts)], counts=counts)
    ends = [end for end in (low, *bins.edges, high) if end is not None] or [0.0]
    return Histogram(column=bins.column, edges=(min(ends), *bins.edges, max(ends)), counts=bins.counts[:-1])


def _marker(detector: Detector, reason: Reason, histogram: Histogram) -> Marker:
    """Where a reason stands among the training rows of its column."""
    seen = _number(detector, reason.column, reason.value)
    if not histogram.edges:
        same = (name for name in histogram.names if seen is not None and _float(name) == seen)  # 1 and 1.0
        return Marker(seen_name=next(same, reason.value), expected_name=reason.expected)
    bounds = {name: _number(detector, reason.column, getattr(reason, name)) for name in ("expected", "low", "high")}
    return Marker(seen=seen, **bounds, seen_name=reason.value, expected_name=reason.expected)


def _number(detector: Detector, name: str, text: str) -> float | None:
    """A cell of a column as a number; None where it is none, or is empty."""
    column = next(column for column in detector.schema.columns if column.name == name)
    if column.kind not in NUMERIC:
        return None
    try:
        value, _ = column.read(text)
    except DataError:
        return None
    return None if math.isnan(value) else value


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _against(change: ColumnChange) -> Markup | None:
    """A column of a file against training, in training's bins; None where the record has no bins."""
    drift = change.drift
    if not drift.bins or not sum(drift.usual) or not sum(drift.counts):
        return None
    usual, here = ([n / sum(counts) for n in counts] for counts in (drift.usual, drift.counts))
    return svg.two_histograms(usual, here)


def _card(card: InspectResult, histograms: dict[str, Histogram], *, drawn: bool) -> dict[str, Any]:
    """The model: `drawn`: with a picture of each column's training rows."""
    kinds = [power for power in card.self_test if not power.column]
    pictures = {name: svg.column(histogram) for name, histogram in histograms.items()} if drawn else {}
    return {
        "model": card,
        "basis": basis_of(card.threshold_history),
        "powers": [(FAULTS[power.kind], power, svg.share_bar(power.found)) for power in kinds],
        "columns": [(column, pictures.get(column.name)) for column in card.columns],
        "drawn": drawn,
    }
