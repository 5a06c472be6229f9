"""A file against training, and together with the files before it: the counts of its rows, judged and told."""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.calibration import verdict
from anomvae.model.detector import Detector
from anomvae.model.drift import Change, Reference, WindowResult, compare, compare_windows
from anomvae.model.drift_text import DriftText
from anomvae.records.results import ColumnDrift, Drift, Evidence, FileResult, evidence

Counts = Sequence[NDArray[np.intp]]

NOTICED = 0.01  # chance of as much in any column of a clean file, up to which a column's change is put into words
SENTENCES = 5


def compared(result: FileResult, detector: Detector, counts: Counts, new: Mapping[str, str]) -> FileResult:
    """A file's result with how its rows differ from training; what that means, `in_sequence` says.

    Args:
        result: of the file.
        detector: the model.
        counts: of its rows in the bins of the reference; empty where there is no row.
        new: the commonest value never seen, by column.
    """
    reference = reference_of(detector)
    if reference is None or not counts:
        return result
    changes, texts = compare(reference, counts[:-1]), DriftText(detector, reference)
    columns = [_record(texts, j, change, counts[j], new) for j, change in enumerate(changes)]
    score = ColumnDrift(column="", z=0.0, p=1.0, counts=tuple(counts[-1].tolist()))
    drift = Drift(p=1.0, files=1, alone=False, told=(), columns=tuple(columns), score=score)
    return msgspec.structs.replace(result, drift=drift)


def in_sequence(result: FileResult, detector: Detector, before: Sequence[Evidence]) -> FileResult:
    """A file's result, judged together with the newest files before it, in their order."""
    reference, drift = reference_of(detector), result.drift
    if reference is None or drift is None:
        return result
    newest = [*before, evidence(result.scored, result.flagged, drift)]
    found, alone = compare_windows(reference, detector.calibration, result.alpha, newest)
    told = _sentences(DriftText(detector, reference), drift, found, result.alpha) if found.drifted else ()
    judged = msgspec.structs.replace(drift, p=found.p, files=found.files, alone=alone.outlier, told=told)
    word = "drifted" if found.drifted else verdict(result.p_file)
    return msgspec.structs.replace(result, drift=judged, verdict=word)


def left(result: FileResult) -> tuple[Evidence, ...]:
    """What a file leaves for the next ones: nothing, where it is told by itself."""
    drift = result.drift
    return () if drift is None or drift.alone else (evidence(result.scored, result.flagged, drift),)


def reference_of(detector: Detector) -> Reference | None:
    """What files are compared with; models from before there was drift have nothing."""
    return detector.about.reference if detector.about else None


def _record(texts: DriftText, j: int, change: Change, here: NDArray[np.intp], new: Mapping[str, str]) -> ColumnDrift:
    """A feature of a file; where it differs also in words, and with what drawing it needs."""
    bins = texts.reference.bins[j]
    value = new.get(bins.column, "") if bins.part == "value" else ""
    record = ColumnDrift(
        column=bins.column,
        part="" if bins.part == "value" else bins.part,
        z=round(change.z, 3),
        p=change.p,
        new=value,
        counts=tuple(here.tolist()),
    )
    if change.p * len(texts.reference.bins) > NOTICED:
        return record
    told = texts.describe(j, change, here, value)
    return msgspec.structs.replace(record, told=told, bins=texts.bin_names(j), usual=bins.counts)


def _sentences(texts: DriftText, drift: Drift, found: WindowResult, alpha: float) -> tuple[str, ...]:
    """What the window that says most says, the surest first."""
    told = []
    if found.files > 1 and found.flags_p <= found.flags_limit:
        share = 100 * found.flagged / found.rows
        told.append((found.flags_p, f"{share:.2g} % of the rows flagged, usual {100 * alpha:g} %"))
    for j, (change, record) in enumerate(zip(found.changes, drift.columns, strict=True)):
        if change.p <= found.column_limit:
            name = record.column + (f" ({record.part})" if record.part else "")
            told.append((change.p, f"{name} {texts.describe(j, change, found.counts[j], record.new)}"))
    return tuple(f"{text} (p {_chance(p)})" for p, text in sorted(told)[:SENTENCES])


def _chance(p: float) -> str:
    return f"{p:.0e}" if p >= 1e-15 else "below 1e-15"
