"""evaluate: the scores of a model beside known labels, in the figures of detection.

Which values of the label column mean a normal row is given by --normal, or understood where the values leave no doubt;
it is never guessed from how often a value occurs. Every other value names a kind of anomaly, and an empty cell is no
label.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model import metrics
from anomvae.model.detector import Detector
from anomvae.model.value_parsing import is_number, quoted
from anomvae.records.results import Estimate, EvaluateResult, KindResult
from anomvae.records.sentences import table_warning
from anomvae.scoring.file import shown
from anomvae.table.reader import TableReader
from anomvae.table.training_rows import training_files
from anomvae.table.typed_reader import TypedReader, dialect_of

MOST = 1000  # different values of a column that labels anything
PAIRS = {"0": {"0", "1"}, "false": {"false", "true"}}  # a normal value, and all that may stand beside it
WORDS = ("normal", "ok")  # beside these, any other value names a kind of anomaly
ANOMALOUS = {"1", "true", "anomaly"}  # understood where no row is normal
ENOUGH = 20  # rows of a class; with fewer, a warning says that its figures are vague

Progress = Callable[[str, int], None]


class Labels:
    """The different values of a label column.

    Attributes:
        column: the column's name.
        codes: a number for each value, in the order in which the values first occurred.
    """

    def __init__(self, column: str) -> None:
        self.column = column
        self.codes: dict[str, int] = {}

    def code(self, cells: Sequence[str]) -> list[int]:
        """The number of each cell's value.

        Raises:
            UsageError: there are so many different values that the column labels nothing.
        """
        coded = [self.codes.setdefault(cell.strip(), len(self.codes)) for cell in cells]
        if len(self.codes) > MOST:
            raise UsageError(f"column '{self.column}' has more than {MOST:,} different values; it is no label column.")
        return coded

    def normal(self, given: Sequence[str]) -> tuple[str, ...]:
        """The values that stand for normal rows; `given` are those of --normal, or empty to understand them.

        Raises:
            UsageError: no row has a value that is given, or the values cannot be understood.
        """
        if given:
            return self._matching(given)
        words = {value: _canonical(value).casefold() for value in self.codes}
        understood = _normal_word(set(words.values()))
        if understood is None:
            raise UsageError(
                f"column '{self.column}' has the values {self.listed()}; which are normal? Say --normal VALUE."
            )
        return tuple(value for value, word in words.items() if word == understood)

    def _matching(self, given: Sequence[str]) -> tuple[str, ...]:
        """The values of the column that equal one of these.

        Raises:
            UsageError: there is none.
        """
        named = {_canonical(value) for value in given}
        found = tuple(value for value in self.codes if _canonical(value) in named)
        if found:
            return found
        similar = [value for value in self.codes if value.casefold() in {name.casefold() for name in named}]
        hint = f"did you mean {quoted(similar[0])}?" if similar else f"found: {self.listed()}."
        raise UsageError(f"no row of column '{self.column}' has a value of --normal; {hint}")

    def listed(self) -> str:
        """The first values, for a message."""
        first = [quoted(value) if value else "(empty)" for value in list(self.codes)[:8]]
        return ", ".join(first) + (f" and {len(self.codes) - 8} more" if len(self.codes) > 8 else "")


class LabelledScores(msgspec.Struct):
    """The scores of labelled rows (n).

    Attributes:
        labels: the values of the label column.
        score: (n,) higher for more anomalous rows.
        flagged: (n,) whether a row is flagged.
        code: (n,) of the label, as in `labels.codes`.
        rows: records read, with those rejected.
        rejected: records that could not be read.
        warnings: what was noticed and tolerated.
    """

    labels: Labels
    score: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    code: NDArray[np.intp]
    rows: int = 0
    rejected: int = 0
    warnings: list[str] = []


def evaluate(
    files: Sequence[str],
    detector: Detector,
    label: str,
    normal: Sequence[str] = (),
    alpha: float | None = None,
    *,
    model: str = "",
    progress: Progress = lambda file, rows: None,
) -> EvaluateResult:
    """Compare a model's scores with known labels.

    Args:
        files: CSV or Parquet files, or folders of them; `-` is standard input.
        detector: the fitted model.
        label: the column that says what a row is; never a column that the model was trained on.
        normal: its values of normal rows; understood from the values where none is given.
        alpha: the false-alarm rate to flag at; None for the model's.
        model: the model's name, for the result.
        progress: called with the file and its rows so far.

    Raises:
        UsageError: the label cannot be one, or its values cannot be understood.
        DataError: a file is refused; figures of a part of the rows would mislead.
    """
    started = time.monotonic()
    if label in detector.columns:
        raise UsageError(
            f"the model was shown the label: '{label}' is one of its columns; fit it again with --drop {label}."
        )
    paths = training_files(files)
    alpha = detector.calibration.alpha if alpha is None else alpha
    scored = _score_files(paths, detector, label, alpha, progress)
    values = scored.labels.normal(normal)
    return EvaluateResult(
        model=model,
        model_id=detector.model_id,
        files=tuple(map(shown, paths)),
        label=label,
        normal=values,
        alpha=alpha,
        estimated=alpha < detector.calibration.supported,
        rows=scored.rows,
        rejected=scored.rejected,
        seconds=round(time.monotonic() - started, 3),
        **_figures(scored, values, alpha),
    )


def _score_files(
    paths: Sequence[str], detector: Detector, label: str, alpha: float, progress: Progress
) -> LabelledScores:
    out = LabelledScores(Labels(label), np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.intp))
    batches: list[tuple[Any, ...]] = []
    for path in paths:
        try:
            reader = TypedReader(path, detector.schema, dialect_of(detector), extra="ignore")
            table = reader.table
            at = _label_position(table, detector, label)
            for batch in reader.batches():
                scores = detector.score(batch.columns)
                codes = np.array(out.labels.code([cells[at] for cells in batch.rows]), dtype=np.intp)
                batches.append((scores.score, detector.decide(scores, alpha).flagged, codes))
                progress(path, table.rows)
            table.check_rejects()
        except DataError as error:
            raise error.within(shown(path)) from error
        out.rows += table.rows
        out.rejected += table.rejected
        out.warnings += [f"{path}: {table_warning(warning)}" for warning in table.warnings]
    if batches:
        out.score, out.flagged, out.code = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return out


def _label_position(table: TableReader, detector: Detector, label: str) -> int:
    """Where the label stands among the columns of a file.

    Args:
        table: the file.
        detector: the model; the label is never one of its columns.
        label: the column's name.

    Raises:
        UsageError: there is no such column beside the model's.
        DataError: there are two.
    """
    modelled = [column.name for column in detector.schema.modelled]
    others = [name for name in table.names if name not in modelled]
    if label not in others:
        hint = near(label, others) if others else "; only the model's are there."
        raise UsageError(f"{table.name}: there is no column '{label}' (--label){hint}")
    if others.count(label) > 1:
        message = f"column '{label}' stands twice in the header"
        raise DataError("duplicate_columns", message, line=table.header_line, column=label)
    return table.names.index(label)


def _figures(scored: LabelledScores, values: Sequence[str], alpha: float) -> dict[str, Any]:
    """The fields of the result that follow from the scores.

    Args:
        scored: the labelled rows.
        values: of the label column that stand for normal rows.
        alpha: the false-alarm rate that the rows were flagged at.
    """
    codes = scored.labels.codes
    is_normal = np.isin(scored.code, [codes[value] for value in values])
    unlabelled = (scored.code == codes.get("", -1)) & ~is_normal
    anomalous = ~is_normal & ~unlabelled
    good, bad = np.sort(scored.score[is_normal]), scored.score[anomalous]  # sorted once, for every kind
    alarms, found = int(scored.flagged[is_normal].sum()), int(scored.flagged[anomalous].sum())
    rate = _share(alarms, len(good))
    return {
        "unlabelled": int(unlabelled.sum()),
        "normal_rows": len(good),
        "anomalous_rows": len(bad),
        "false_alarms": alarms,
        "found": found,
        "auroc": _auroc(good, bad),
        "aupr": _aupr(good, bad),
        "recall": _share(found, len(bad)),
        "false_alarm_rate": rate,
        "alpha_within": None if rate is None else rate.low <= alpha <= rate.high,
        "precision": _share(found, found + alarms) if len(good) and len(bad) else None,
        "kinds": _kinds(scored, anomalous, good),
        "warnings": (*scored.warnings, *_notes(scored, len(good), len(bad))),
    }


def _kinds(scored: LabelledScores, anomalous: NDArray[np.bool_], good: NDArray[np.float64]) -> tuple[KindResult, ...]:
    """The figures of every kind of anomaly, the most frequent first.

    Args:
        scored: the labelled rows (n).
        anomalous: (n,) which are anomalous.
        good: scores of the normal rows, sorted.
    """
    kinds = []
    for kind, code in scored.labels.codes.items():
        rows = anomalous & (scored.code == code)
        count, found = int(rows.sum()), int(scored.flagged[rows].sum())
        if recall := _share(found, count):
            area = _auroc(good, scored.score[rows])
            kinds.append(KindResult(kind=kind, rows=count, flagged=found, recall=recall, auroc=area))
    return tuple(sorted(kinds, key=lambda one: (-one.rows, one.kind)))


def _notes(scored: LabelledScores, normal: int, anomalous: int) -> list[str]:
    notes = []
    for count, what in ((normal, "normal"), (anomalous, "anomalous")):
        if not count:
            labels = scored.labels.listed() or "none"
            notes.append(f"no {what} row is here (labels: {labels}); the figures that need one are left out")
        elif count < ENOUGH:
            notes.append(f"only {count} {what} row{'s' * (count != 1)}: look at the intervals")
    return notes


def _share(part: int, whole: int) -> Estimate | None:
    if not whole:
        return None
    low, high = metrics.wilson(part / whole, whole)
    return Estimate(value=part / whole, low=low, high=high)


def _auroc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> Estimate | None:
    if not (len(good) and len(bad)):
        return None
    low, high = metrics.auroc_interval(good, bad)
    return Estimate(value=metrics.auroc(good, bad), low=low, high=high)


def _aupr(good: NDArray[np.float64], bad: NDArray[np.float64]) -> Estimate | None:
    if not (len(good) and len(bad)):
        return None
    value = metrics.average_precision(good, bad)
    low, high = metrics.wilson(value, len(bad))
    return Estimate(value=value, low=low, high=high)


def _normal_word(words: set[str]) -> str | None:
    """Which word means a normal row beside these words, whether it is among them or not; None where that is unclear."""
    filled = words - {""}
    normal = filled & {*PAIRS, *WORDS}
    if len(normal) == 1:
        word = normal.pop()
        return word if filled <= PAIRS.get(word, filled) else None
    if normal:
        return None
    if "" in words:
        return "" if filled <= ANOMALOUS or not any(map(is_number, filled)) else None
    return "normal" if filled <= ANOMALOUS else None


def _canonical(value: str) -> str:
    """A value in one spelling, so that 0, 0.0 and `0 ` are the same."""
    text = value.strip()
    return str(float(text)).removesuffix(".0") if is_number(text) else text
