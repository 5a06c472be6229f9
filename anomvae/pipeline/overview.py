"""report: a folder's ledger and manifests, a run's result or a model, as one record that can be drawn."""

import heapq
import math
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from anomvae.deliveries import Manifest
from anomvae.errors import DataError
from anomvae.model.detector import Detector
from anomvae.model.drift import Bins
from anomvae.model.telling import Teller
from anomvae.overview import ColumnLook, Look, Mark, Overview, Shape, Step, WorstRow
from anomvae.results import ErrorResult, FileResult, InspectResult, Reason, RowResult, ScoreResult, Verdict
from anomvae.storage.ledger import Ledger
from anomvae.storage.store import MANIFEST, shown

STEPS = 240  # bars of the time line; more files share them
LOOKS = 60
WORST = 12
COLUMNS = 40
WARNINGS = 20
GRAVITY: tuple[Verdict, ...] = ("ok", "elevated", "drifted", "anomalous", "failed")


class Summary:
    """Adds up deliveries in their order; what it holds does not grow with them, but for a short line each.

    Args:
        detector: the model that judged, where it could be read.
    """

    def __init__(self, detector: Detector | None) -> None:
        self.detector = detector
        self.totals: Counter[str] = Counter()
        self.verdicts: Counter[str] = Counter()
        self.expected, self.alpha = 0.0, 0.0
        self.severities: Counter[int] = Counter()
        self.blame: Counter[str] = Counter()
        self.models: dict[str, None] = {}
        self.warnings: dict[str, None] = {}
        self._steps: list[Step] = []
        self._looks: list[Look] = []
        self._drift: dict[str, ColumnLook] = {}
        self._worst: list[tuple[float, int, RowResult]] = []
        self._seen = 0

    def add(self, result: FileResult, at: str) -> None:
        """One judged file."""
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
                before = self._drift.get(drift.column)
                files = before.files + 1 if before else 1
                self._drift[drift.column] = ColumnLook(
                    column=drift.column, rows=0, files=files, file=result.file, drift=drift
                )
        self._step(result.file, at, result.verdict, result.scored, result.flagged)
        if result.verdict != "ok" or result.critical or result.rejected:
            self._look(result, at)

    def refuse(self, file: str, at: str, told: str) -> None:
        """One file that was refused or put in quarantine."""
        self._step(file, at, "failed", 0, 0)
        self._looks.append(
            Look(file=file, at=at, verdict="failed", rows=0, flagged=0, critical=0, rejected=0, told=told)
        )

    def _look(self, result: FileResult, at: str) -> None:
        told = list(result.drift.told) if result.drift else []
        told += [row.reasons[0].text for row in result.worst[:1] if row.reasons]
        told += [f"line {bad.line}: {bad.message}" for bad in result.rejects[:1]]
        self._looks.append(
            Look(
                file=result.file,
                at=at,
                verdict=result.verdict,
                rows=result.rows,
                flagged=result.flagged,
                critical=result.critical,
                rejected=result.rejected,
                told="; ".join(told),
            )
        )

    def _step(self, file: str, at: str, verdict: Verdict, scored: int, flagged: int) -> None:
        self.verdicts[verdict] += 1
        self._steps.append(Step(first=file, last=file, at=at, files=1, verdict=verdict, scored=scored, flagged=flagged))

    def overview(self, kind: str, source: str, card: InspectResult | None, made_at: str) -> Overview:
        """All of it, as one record."""
        worst = [row for *_, row in sorted(self._worst, reverse=True)]
        columns = self._columns()
        named = {reason.column for row in worst for reason in row.reasons}
        shapes = {shape.column: shape for shape in self._shapes(named if self._steps else None)}
        return msgspec.convert(
            {
                "kind": kind,
                "source": source,
                "made_at": made_at,
                "first_at": self._steps[0].at if self._steps else "",
                "last_at": self._steps[-1].at if self._steps else "",
                "alpha": self.alpha or (card.calibration.alpha if card else 0.01),
                "verdicts": {verdict: self.verdicts[verdict] for verdict in GRAVITY if self.verdicts[verdict]},
                **{name: self.totals[name] for name in ("rows", "scored", "rejected", "flagged", "critical")},
                "expected": self.expected,
                "severities": [self.severities[i] for i in range(max(self.severities, default=-1) + 1)],
                "steps": _shared(self._steps),
                "looks": self._looks[: -LOOKS - 1 : -1],
                "looks_more": max(len(self._looks) - LOOKS, 0),
                "worst": [WorstRow(row=row, marks=self._marks(row, shapes)) for row in worst],
                "columns": columns,
                "shapes": list(shapes.values()),
                "models": list(self.models),
                "card": card,
                "warnings": list(self.warnings),
            },
            Overview,
        )

    def _columns(self) -> list[ColumnLook]:
        names = [*(name for name, _ in self.blame.most_common()), *self._drift]
        looks = [self._drift.get(name) or ColumnLook(column=name, rows=0) for name in dict.fromkeys(names)]
        return [msgspec.structs.replace(look, rows=self.blame[look.column]) for look in looks[:COLUMNS]]

    def _marks(self, row: RowResult, shapes: dict[str, Shape]) -> tuple[Mark, ...]:
        return tuple(_mark(self.detector, reason, shapes.get(reason.column)) for reason in row.reasons)

    def _shapes(self, named: set[str] | None) -> list[Shape]:
        """Training rows of the columns named, or of all: not of dates, whose parts are modelled, nor if redacted."""
        about = self.detector.about if self.detector else None
        if self.detector is None or about is None or about.reference is None:
            return []
        teller = Teller(self.detector, about.reference)
        shapes = []
        for j, bins in enumerate(about.reference.bins):
            hidden = bins.column in self.detector.schema.redacted
            if bins.part == "value" and not hidden and (named is None or bins.column in named):
                report = next(column for column in about.columns if column.name == bins.column)
                shapes.append(_shape(bins, teller.names(j), report.low, report.high))
        return shapes


def _shape(bins: Bins, names: tuple[str, ...], low: float | None, high: float | None) -> Shape:
    if not bins.numeric:
        counts = bins.counts[:-2]
        return Shape(column=bins.column, names=names[: len(counts)], counts=counts)
    ends = [end for end in (low, *bins.edges, high) if end is not None] or [0.0]
    return Shape(column=bins.column, edges=(min(ends), *bins.edges, max(ends)), counts=bins.counts[:-1])


def _mark(detector: Detector | None, reason: Reason, shape: Shape | None) -> Mark:
    """Where a reason stands among the training rows of its column."""
    if detector is None or shape is None:
        return Mark()
    seen = _number(detector, reason.value)
    if not shape.edges:
        same = (name for name in shape.names if seen is not None and _plain(name) == seen)  # 1 and 1.0
        return Mark(seen_name=next(same, reason.value), expected_name=reason.expected)
    bounds = {name: _plain(getattr(reason, name)) for name in ("expected", "low", "high")}
    return Mark(seen=seen, **bounds, seen_name=reason.value, expected_name=reason.expected)


def _number(detector: Detector, text: str) -> float | None:
    """A cell as a number of this model; None where it is none, or is empty."""
    try:
        value = detector.schema.numbers.parse(text)
    except DataError:
        return None
    return None if math.isnan(value) else value


def _plain(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shared(steps: list[Step]) -> list[Step]:
    """At most `STEPS` of them; neighbours share one."""
    size = -(-len(steps) // STEPS) or 1
    return [_together(steps[at : at + size]) for at in range(0, len(steps), size)]


def _together(steps: list[Step]) -> Step:
    return Step(
        first=steps[0].first,
        last=steps[-1].last,
        at=steps[-1].at,
        files=len(steps),
        verdict=max((step.verdict for step in steps), key=GRAVITY.index),
        scored=sum(step.scored for step in steps),
        flagged=sum(step.flagged for step in steps),
    )


def now() -> str:
    """The time of day in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def of_result(result: ScoreResult, detector: Detector | None, card: InspectResult | None) -> Overview:
    """What a run over files, or over a folder, comes to."""
    summary = Summary(detector)
    for one in result.files:
        summary.add(one, "")
    for error in result.refused:
        summary.refuse(error.file or "", "", _refused(error))
    source = result.out or ", ".join(one.file for one in result.files[:3]) or "no file"
    more = f" and {len(result.files) - 3} more" if len(result.files) > 3 and not result.out else ""
    return summary.overview("files", source + more, card, now())


def _refused(error: ErrorResult) -> str:
    return f"{f'line {error.line}: ' if error.line else ''}{error.message} [{error.code}]"


def of_folder(out: Path, detector: Detector | None, card: InspectResult | None) -> Overview:
    """What an output folder has come to, from its ledger and the manifests beside its results.

    Raises:
        UsageError: it holds no ledger.
    """
    ledger = Ledger(out / "ledger.sqlite", read_only=True)
    try:
        summary = Summary(detector)
        for delivery in ledger.judged():
            if delivery["state"] == "quarantined":
                file = shown(bytes(delivery["path"]))
                summary.refuse(file, delivery["committed_utc"], f"{delivery['message']} [{delivery['reason_code']}]")
            elif manifest := _manifest(out, delivery["delivery_id"]):
                summary.add(manifest.result, delivery["committed_utc"])
        return summary.overview("folder", str(out), card, now())
    finally:
        ledger.close()


def _manifest(out: Path, delivery_id: str) -> Manifest | None:
    """What stands beside a result; None where somebody has removed it."""
    try:
        return msgspec.json.decode((out / "results" / (delivery_id + MANIFEST)).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None


def of_model(detector: Detector, card: InspectResult) -> Overview:
    """A model alone."""
    return Summary(detector).overview("model", card.model, card, now())


def read_result(path: Path) -> ScoreResult:
    """What `score --json` has printed into a file.

    Raises:
        DataError: the file holds something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=ScoreResult)
    except OSError as error:
        raise DataError("unreadable", f"cannot be read ({error.strerror})").within(str(path)) from error
    except msgspec.DecodeError as error:
        told = f"is not what 'anomvae score --json' prints ({error})"
        raise DataError("not_a_result", told).within(str(path)) from error
