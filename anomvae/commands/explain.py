"""explain: the rows that start at given lines of files, each with its score, its columns and the change that mends it.

Every file is read once, and only as far as the last line that is asked for.
"""

import time
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from anomvae.errors import AnomvaeError, DataError, UsageError
from anomvae.model.arrays import Floats
from anomvae.model.detector import Detector
from anomvae.model.explain import explain_row
from anomvae.records.results import ExplainedRow, ExplainResult, RejectedRow
from anomvae.records.sentences import table_warning
from anomvae.scoring.file import shown
from anomvae.table.reader import TableReader, columns_of
from anomvae.table.typed_reader import TypedReader, dialect_of, parse_columns, rejected_row

Place = tuple[str, int]  # a file and a line


class SteppedRecord(msgspec.Struct, frozen=True):
    """A record of a file: its fields, and the steps (1,) of its counters, which the rows before it decide."""

    fields: list[str]
    steps: dict[str, Floats]


def explain(places: Sequence[str], detector: Detector, *, model: str = "") -> ExplainResult:
    """Explain rows.

    Args:
        places: FILE:LINE each; the line is the physical one of the record's start, the header's is 1.
        detector: the fitted model.
        model: the model's name, for the result.

    Raises:
        UsageError: a place is not FILE:LINE, or no row starts there.
        DataError: a file cannot be read, or the row is not one of the model's table.
    """
    started = time.monotonic()
    asked = [parse_place(text) for text in places]
    rows: dict[Place, ExplainedRow] = {}
    warnings: list[str] = []
    for file in dict.fromkeys(file for file, _ in asked):
        try:
            reader = TypedReader(file, detector.schema, dialect_of(detector))
            lines = sorted({line for name, line in asked if name == file})
            for line, record in _records(reader, file, lines).items():
                rows[file, line] = _explained(file, line, record, reader.positions, detector)
        except DataError as error:
            raise error.within(shown(file)) from error
        warnings += [f"{shown(file)}: {table_warning(warning)}" for warning in reader.header_warnings]
    calibration = detector.calibration
    return ExplainResult(
        model=model,
        model_id=detector.model_id,
        alpha=calibration.alpha,
        threshold=calibration.threshold(calibration.alpha),
        rows=tuple(rows[one] for one in asked),
        warnings=tuple(warnings),
        seconds=round(time.monotonic() - started, 3),
    )


def parse_place(text: str) -> Place:
    """FILE:LINE, split at the last colon.

    Raises:
        UsageError: it has another form.
    """
    file, _, line = text.rpartition(":")
    if not file or not (line.isascii() and line.isdigit()) or len(line) > 15:
        raise UsageError(f"'{text}' is not FILE:LINE, for example orders.csv:17 (the _av_line of a result).")
    return file, int(line)


def _explained(
    file: str, line: int, record: SteppedRecord, positions: Sequence[int], detector: Detector
) -> ExplainedRow:
    """The explanation of a row.

    Args:
        file: the name of its file.
        line: on which it starts.
        record: its cells, and the steps of its counters.
        positions: of the model's columns among the cells.
        detector: the fitted model.

    Raises:
        DataError: the row cannot be read.
    """
    schema, texts = detector.schema, [record.fields[at] for at in positions]
    cells = {column.name: [text] for column, text in zip(schema.modelled, texts, strict=True)}
    typed = parse_columns(schema.modelled, cells.__getitem__)
    for error in typed.row_errors().values():
        raise _rejection(rejected_row(line, error))
    found = explain_row(detector, detector.encode({**typed.columns, **record.steps}), texts)
    return ExplainedRow(
        file=shown(file),
        line=line,
        score=float(found.scores.score[0]),
        recon=float(found.scores.recon[0]),
        kl=float(found.scores.kl[0]),
        p=float(found.decision.p[0]),
        estimated=bool(found.decision.estimated[0]),
        severity=float(found.decision.severity[0]),
        flagged=bool(found.decision.flagged[0]),
        terms=found.terms,
        latent=found.latent,
        columns=found.columns,
        changes=found.changes,
    )


def _rejection(row: RejectedRow) -> DataError:
    return DataError(row.code, f"this row is rejected: {row.message}", line=row.line, column=row.column)


def _records(reader: TypedReader, file: str, lines: list[int]) -> dict[int, SteppedRecord]:
    """The records that start at some lines of a file, by line.

    Args:
        reader: the file; read only as far as the last of the lines.
        file: its name, for messages.
        lines: sorted.

    Raises:
        UsageError: no record starts at one of them.
        DataError: the record there is no row of this table.
    """
    table = reader.table
    found: dict[int, SteppedRecord] = {}
    before: dict[int, tuple[int, list[str]]] = {}  # the record before each line that starts none
    last, pending = 0, lines
    for batch in table.batches():
        steps = reader.steps.of_texts(columns_of(batch.rows, reader.steps.positions))
        for line in pending:
            at = bisect_right(batch.lines, line) - 1
            if at >= 0:
                before[line] = batch.lines[at], batch.rows[at]
                if batch.lines[at] == line:
                    here = {name: values[at : at + 1] for name, values in steps.items()}
                    found[line] = SteppedRecord(batch.rows[at], here)
        last = batch.lines[-1]
        pending = [line for line in lines if line > last]
        if not pending:
            break
    end = max(table.lines, last)
    for line in lines:
        if line not in found:
            raise _absence(table, file, line, before.get(line), end)
    return found


def _absence(table: TableReader, file: str, line: int, before: tuple[int, list[str]] | None, end: int) -> AnomvaeError:
    """The error that says why no row starts at a line.

    Args:
        table: the file, as far as it was read.
        file: its name.
        line: the line that was asked for.
        before: line and fields of the last record that starts above it; None where there is none.
        end: the last line that was read.
    """
    name = shown(file)
    rejected = max((bad for bad in table.rejects if bad.line <= line), key=lambda bad: bad.line, default=None)
    if rejected and rejected.line == line:
        return _rejection(rejected)
    if line > end or line < 1:
        lines = f"lines {table.header_line + 1}-{end}" if end > table.header_line else "no rows"
        return UsageError(f"{name} has {lines}; {line} is not one.")
    if line <= table.header_line:
        what = "is the header" if line == table.header_line else f"stands before the header in line {table.header_line}"
        return UsageError(f"{name}:{line} {what}; rows begin at line {table.header_line + 1}.")
    if before and line <= before[0] + _breaks(before[1]) and not (rejected and rejected.line > before[0]):
        return UsageError(f"{name}:{line} lies inside a record that starts at line {before[0]}; ask for that line.")
    return UsageError(f"{name}:{line} is blank or skipped, or lies inside a rejected record; no row starts there.")


def _breaks(fields: list[str]) -> int:
    """Line ends inside a record's fields."""
    return sum(field.replace("\r\n", "\n").replace("\r", "\n").count("\n") for field in fields)
