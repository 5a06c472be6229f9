"""The verdict of a file: its flags, the rows that cannot be read, and how its rows differ from training.

Rows are compared with training alone and together with those of the files before it.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from anomvae.model.calibration import file_p_value, rejected_p_value, rejected_verdict, verdict
from anomvae.model.detector import Detector
from anomvae.model.drift import Change, WindowResult, compare_windows
from anomvae.model.drift_text import DriftText
from anomvae.records.results import GRAVITY, ColumnDrift, Drift, Evidence, FileResult, Verdict, evidence
from anomvae.records.sentences import VerdictReason
from anomvae.scoring.summary import FileSummary

NOTICED = 0.01  # chance of as much in any column of a clean file, up to which a column's change is put into words
SENTENCES = 5

Cause = tuple[Verdict, VerdictReason]


def assess_file(summary: FileSummary, detector: Detector, previous: Sequence[Evidence]) -> FileResult:
    """Decide what the rows of a file add up to.

    The number of its flags makes a file `ok`, `elevated` or `anomalous`. It is `drifted` where its rows, or those of
    the newest files together, are no longer distributed as training rows were. Rows that cannot be read make it
    `elevated` or `anomalous`, too: drift does not explain these.

    Args:
        summary: of the file.
        detector: the model that scored it.
        previous: the evidence of the files before it (`evidence_of`), of the same model and false-alarm rate, the
            newest last.
    """
    known, reference = detector.calibration, detector.reference
    p_file = file_p_value(summary.scored, summary.flagged, summary.alpha, known.effective, known.design)
    causes, drift = [_by_flags(summary, p_file), _by_rejected(summary, detector)], None
    if reference is not None and summary.bins:
        newest = [*previous, Evidence(summary.scored, summary.flagged, summary.bins)]
        window, alone = compare_windows(reference, known, summary.alpha, newest)
        text = DriftText(detector, reference)
        columns = tuple(_column(text, j, change, summary) for j, change in enumerate(alone.changes))
        drift = Drift(
            p=window.p,
            files=window.files,
            alone=alone.outlier,
            told=_sentences(text, columns, window, summary.alpha) if window.drifted else (),
            columns=columns,
            score=ColumnDrift(column="", z=0.0, p=1.0, counts=summary.bins[-1]),
        )
        if window.drifted:
            causes[0] = ("drifted", VerdictReason(code="drift", p=window.p))
    found = sorted((cause for cause in causes if cause), key=lambda cause: -GRAVITY.index(cause[0]))
    word = found[0][0] if found else "ok"
    fields = msgspec.structs.asdict(summary)
    del fields["bins"], fields["unseen"]
    return FileResult(**fields, verdict=word, why=tuple(why for _, why in found), p_file=p_file, drift=drift)


def _by_flags(summary: FileSummary, p_file: float) -> Cause | None:
    """The verdict that the number of flags means, and why."""
    if (word := verdict(p_file)) == "ok":
        return None
    why = VerdictReason(code="flags", count=summary.flagged, total=summary.scored, usual=summary.alpha, p=p_file)
    return word, why


def _by_rejected(summary: FileSummary, detector: Detector) -> Cause | None:
    """The verdict that the number of unreadable rows means, and why."""
    usual = detector.about.origin.rejected_share if detector.about else 0.0
    word = rejected_verdict(summary.rows, summary.rejected, usual)
    if word == "ok":
        return None
    first = summary.rejects[0]
    return word, VerdictReason(
        code="many_rejected" if word == "anomalous" else "more_rejected",
        count=summary.rejected,
        total=summary.rows,
        usual=usual,
        p=rejected_p_value(summary.rows, summary.rejected, usual),
        line=first.line,
        error=first.code,
        message=first.message,
    )


def evidence_of(result: FileResult) -> tuple[Evidence, ...]:
    """What a file leaves for the next ones: nothing where it is odd by itself, or has nothing to compare."""
    found = evidence(result)
    return () if found is None else (found,)


def _column(text: DriftText, j: int, change: Change, summary: FileSummary) -> ColumnDrift:
    """The record of feature j of a file; where it differs from training also in words, and with what a chart needs."""
    bins, counts = text.reference.bins[j], summary.bins[j]
    unseen = summary.unseen.get(bins.column, "") if bins.part == "value" else ""
    noticed = change.p * len(text.reference.bins) <= NOTICED
    return ColumnDrift(
        column=bins.column,
        part="" if bins.part == "value" else bins.part,
        z=round(change.z, 3),
        p=change.p,
        told=text.describe(j, change, np.array(counts), unseen) if noticed else "",
        new=unseen,
        counts=counts,
        bins=text.bin_names(j) if noticed else (),
        usual=bins.counts if noticed else (),
    )


def _sentences(text: DriftText, columns: Sequence[ColumnDrift], window: WindowResult, alpha: float) -> tuple[str, ...]:
    """What has changed in the files of a window, in words, the surest first."""
    found = []
    if window.files > 1 and window.flags_p <= window.flags_limit:
        share = 100 * window.flagged / window.rows
        found.append((window.flags_p, f"{share:.2g} % of the rows flagged, usual {100 * alpha:g} %"))
    for j, (change, column) in enumerate(zip(window.changes, columns, strict=True)):
        if change.p <= window.column_limit:
            name = column.column + (f" ({column.part})" if column.part else "")
            found.append((change.p, f"{name} {text.describe(j, change, window.counts[j], column.new)}"))
    return tuple(
        f"{sentence} (p {f'{p:.0e}' if p >= 1e-15 else 'below 1e-15'})" for p, sentence in sorted(found)[:SENTENCES]
    )
