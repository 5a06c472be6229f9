"""The training table: the rows of all training files that meet the conditions of the fit, as text.

The cells are held as Arrow columns, which take a few bytes a cell where Python's own strings take sixty. Where there
are more rows than `FitSettings.max_rows`, a random sample of blocks of neighbouring rows is kept.
"""

import hashlib
from array import array
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config import Dialect, FitSettings
from anomvae.config_errors import near
from anomvae.errors import DataError, UsageError
from anomvae.model.conditions import OPERATORS, Condition
from anomvae.model.infer_column import Separators, number_of, separators_of
from anomvae.model.number_format import NumberFormat
from anomvae.records.results import RejectedRow
from anomvae.records.sentences import TableWarning
from anomvae.table import header
from anomvae.table.reader import TableReader

SUFFIXES = (".csv", ".csv.gz", ".parquet")  # of the files that a folder of training files stands for
BLOCK = 64  # rows sampled together, so that neighbours stay neighbours
SLACK = 0.25  # rows held beyond the bound, as a share of it, before they are cut to it
CHUNK = 1 << 13  # rows that are held as Python lists before they are made Arrow columns


class TextRows:
    """Rows of text, all of one width, held as Arrow columns.

    Args:
        width: cells of a row.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self._new: list[Sequence[str]] = []
        self._chunks: list[Any] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Sequence[str]) -> None:
        """Add a row at the end."""
        self._new.append(row)
        self._count += 1
        if len(self._new) == CHUNK:
            self._flush()

    def keep(self, chosen: Sequence[bool]) -> None:
        """Drop all but the chosen rows; `chosen` has one entry a row."""
        import pyarrow as pa

        self._flush()
        whole = pa.Table.from_batches(self._chunks).filter(pa.array(chosen))
        self._chunks, self._count = whole.to_batches(), len(whole)
        del whole
        pa.default_memory_pool().release_unused()

    def column(self, at: int) -> list[str]:
        """The cells of one column."""
        self._flush()
        return [text for chunk in self._chunks for text in chunk.column(at).to_pylist()]

    def head(self, at: int, count: int) -> list[str]:
        """The first cells of one column, at most so many."""
        self._flush()
        texts = (text for chunk in self._chunks for text in chunk.column(at)[:count].to_pylist())
        return list(islice(texts, count))

    def take(self, rows: Sequence[int]) -> list[list[str]]:
        """Some rows, each with all its cells."""
        import pyarrow as pa

        self._flush()
        taken = pa.Table.from_batches(self._chunks).take(pa.array(rows, pa.int64()))
        columns = [column.to_pylist() for column in taken.columns]
        return [list(cells) for cells in zip(*columns, strict=True)] if columns else [[] for _ in rows]

    def _flush(self) -> None:
        """Make Arrow columns of the rows that were added last."""
        import pyarrow as pa

        if self._new:
            cells = [pa.array([row[at] for row in self._new], pa.large_string()) for at in range(self.width)]
            self._chunks.append(pa.record_batch(cells, names=[str(at) for at in range(self.width)]))
            self._new = []


class TrainingTable(msgspec.Struct):
    """The selected training rows, n of them.

    Attributes:
        names: of the columns.
        rows: the cells as text, in the order of `names`.
        file: (n,) the index of the file that each row comes from.
        line: (n,) the line of that file on which it starts.
        number: (n,) its number among the rows of that file that could be split into cells.
        rows_read: records of all files.
        rejected: those of them that could not be read.
        sha256: of each file.
        warnings: what was noticed and tolerated.
        dialect: of the files, with what was found in the first of them.
    """

    names: list[str]
    rows: TextRows
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    number: NDArray[np.int64]
    rows_read: int
    rejected: int
    sha256: list[str]
    warnings: list[TableWarning]
    dialect: Dialect

    def keep(self, chosen: Sequence[bool]) -> None:
        """Drop all but the chosen rows; `chosen` has one entry a row."""
        self.rows.keep(chosen)
        self.file, self.line, self.number = self.file[chosen], self.line[chosen], self.number[chosen]

    def column(self, name: str) -> list[str]:
        """The cells (n,) of a column."""
        return self.rows.column(self.names.index(name))

    def starts(self) -> NDArray[np.bool_]:
        """Which rows (n,) do not follow the row before them: it is of another file, or rows between were left out."""
        follows = (np.diff(self.file) == 0) & (np.diff(self.number) == 1)
        return np.concatenate([np.ones(min(len(self.file), 1), dtype=bool), ~follows])


def training_files(names: Sequence[str]) -> list[str]:
    """The files to train on: a folder stands for its tables, by name.

    Raises:
        UsageError: nothing is named, or a folder has no table.
    """
    if not names:
        raise UsageError("no training file is named; give one, or set 'train' in the configuration.")
    files: list[str] = []
    for name in names:
        tables = [name]
        if Path(name).is_dir():
            tables = sorted(str(path) for path in Path(name).iterdir() if path.name.endswith(SUFFIXES))
            if not tables:
                raise UsageError(f"{name}: this folder holds no .csv, .csv.gz or .parquet file.")
        files += tables
    return files


def row_conditions(settings: FitSettings) -> tuple[Condition, ...]:
    """The conditions that training rows must meet: those of --where, and that of --label and --normal.

    Raises:
        UsageError: a condition has no operator, or a label has no normal value.
    """
    if (settings.label is None) != (settings.normal is None):
        raise UsageError("--label COL and --normal VALUE go together.")
    label = () if settings.label is None else (Condition(settings.label, "==", str(settings.normal)),)
    return (*map(parse_condition, settings.where), *label)


def parse_condition(text: str) -> Condition:
    """Split a condition of --where at its first operator, both sides trimmed.

    Raises:
        UsageError: it has no operator, or no column in front of it.
    """
    for at in range(len(text)):
        for sign in OPERATORS:
            if text.startswith(sign, at):
                column, value = text[:at].strip(), text[at + len(sign) :].strip()
                if column:
                    value = value.strip("'\"") if value[:1] in ("'", '"') else value
                    return Condition(column, sign, value)
    raise UsageError(f"--where '{text}' is not 'COLUMN OP VALUE' (OP is one of {' '.join(OPERATORS)}).")


def read_training_table(
    files: Sequence[str],
    settings: FitSettings,
    conditions: Sequence[Condition],
    progress: Callable[[str, int], None] = lambda file, rows: None,
) -> TrainingTable:
    """Read the training files, and keep at most `settings.max_rows` of the rows that meet the conditions.

    Args:
        files: paths; every file must have the first one's columns, in any order.
        settings: dialect and bounds.
        conditions: that rows must meet.
        progress: called with the file and the rows read so far.

    Raises:
        DataError: a file is refused.
        UsageError: a condition names a column that is not there.
    """
    separators = separators_of(settings)
    sample = _BlockSample(0, settings.max_rows)
    none = np.empty(0, np.int64)
    out = TrainingTable([], sample.rows, none, none, none, 0, 0, [], [], settings.dialect())
    for index, file in enumerate(files):
        try:
            table = TableReader(file, out.dialect, needed=out.names)
            header.check_training(table.names, table.dialect.delimiter, table.header_line)
            out.dialect = table.dialect
            if not out.names:
                out.names, sample = table.names, _BlockSample(len(table.names), settings.max_rows)
            sample.begin(file)
            _check_conditions(conditions, table.names)
            meets = None
            positions, warnings = header.locate(
                table.names, out.names, out.names, table.dialect.delimiter, table.header_line
            )
            table.warnings.extend(warnings)
            count = 0
            for batch in table.batches():
                meets = meets or _row_filter(conditions, table.names, batch.rows, separators)
                for number, (row, line) in enumerate(zip(batch.rows, batch.lines, strict=True), count):
                    if meets(row):
                        sample.add((index, line, number), [row[at] for at in positions])
                count += len(batch.rows)
                progress(file, out.rows_read + table.rows)
            table.check_rejects()
        except DataError as error:
            raise error.within(file) from error
        out.rows_read += table.rows
        out.rejected += table.rejected
        out.sha256.append(table.sha256)
        out.warnings += [msgspec.structs.replace(warning, file=file) for warning in table.warnings]
        out.warnings += [rejection(file, bad) for bad in _worth_telling(table.rejects)]
    sample.cut()
    found = out.dialect.settled
    out.dialect = msgspec.structs.replace(out.dialect, delimiter=found.delimiter, units_lines=found.units_lines)
    out.rows, (_, out.file, out.line, out.number) = sample.rows, sample.origins().T
    if len(out.rows) < sample.count:
        out.warnings.append(TableWarning(code="sampled_rows", count=len(out.rows), total=sample.count))
    return out


def rejection(file: str, row: RejectedRow) -> TableWarning:
    """The warning of a training row that could not be read."""
    return TableWarning(
        code="rejected_row", file=file, line=row.line, column=row.column or "", error=row.code, message=row.message
    )


def _worth_telling(rejects: Sequence[RejectedRow]) -> list[RejectedRow]:
    """The first rejected rows, and all totals rows."""
    return [bad for i, bad in enumerate(rejects) if i < 5 or bad.code == "totals_row"]


def _row_filter(
    conditions: Sequence[Condition], names: Sequence[str], rows: Sequence[Sequence[str]], separators: Separators
) -> Callable[[Sequence[str]], bool]:
    """A test of whether a row of text cells meets all conditions.

    Args:
        conditions: (column, operator, value) each.
        names: of the columns of the rows.
        rows: the first rows, which show how numbers are written in the columns that the conditions name.
        separators: of numbers, where the user has stated them.
    """
    tests = []
    for name, sign, value in conditions:
        at = names.index(name)
        tests.append((at, OPERATORS[sign], value, number_of([row[at] for row in rows], separators)))

    def meets(row: Sequence[str]) -> bool:
        return all(_compare(row[at], test, value, number) for at, test, value, number in tests)

    return meets


def _check_conditions(conditions: Sequence[Condition], names: Sequence[str]) -> None:
    """Refuse conditions on a column that is not there.

    Raises:
        UsageError: a condition names a column that is not there.
    """
    for column, _, _ in conditions:
        if column not in names:
            raise UsageError(f"column '{column}' of --where or --label is not in the file{near(column, names)}")


def _compare(cell: str, test: Callable[[Any, Any], bool], value: str, number: NumberFormat | None) -> bool:
    """Compare a cell with a value: as numbers where the column has a format of numbers and both are, else as text."""
    if number is not None:
        try:
            return test(number.read(cell.strip())[0], number.read(value)[0])
        except DataError:
            pass
    return test(cell.strip(), value)


class _BlockSample:
    """A random sample of at most `most` rows: those of the blocks with the smallest hashes.

    A block is hashed by its file's name, its number there and its first row. So which rows are kept depends neither on
    the order of the files nor on the machine; and what is dropped on the way could not have been kept in the end.

    Args:
        width: cells of a row.
        most: rows to keep.

    Attributes:
        rows: the rows that are held.
        count: rows added, with those that were dropped.
    """

    def __init__(self, width: int, most: int) -> None:
        self.rows, self.most, self.count = TextRows(width), most, 0
        self._bound = 1 << 63  # a block whose hash is not smaller can no longer be kept
        self._origins = array("q")  # four numbers a row, flat: its block's hash, its file's index, its line, its number
        self._file, self._in_file, self._hash = "", 0, 0

    def begin(self, file: str) -> None:
        """The rows of another file follow."""
        self._file, self._in_file = Path(file).name, 0

    def add(self, origin: tuple[int, int, int], row: Sequence[str]) -> None:
        """Add the next row of the file: its origin (index of the file, line, number of the row) and its cells."""
        if self._in_file % BLOCK == 0:
            self._hash = _block_hash(self._file, self._in_file, row)
        self._in_file += 1
        self.count += 1
        if self._hash < self._bound:
            self.rows.add(row)
            self._origins.extend((self._hash, *origin))
            if len(self.rows) > self.most * (1 + SLACK):
                self.cut()

    def cut(self) -> None:
        """Keep `most` rows; of the last block that is kept, its first rows."""
        if len(self.rows) <= self.most:
            return
        origins = self.origins()
        order = np.argsort(origins[:, 0], kind="stable")
        kept = np.zeros(len(origins), dtype=bool)
        kept[order[: self.most]] = True
        self._bound = int(origins[order[self.most], 0])
        self.rows.keep(kept.tolist())
        self._origins = array("q", origins[kept].tobytes())

    def origins(self) -> NDArray[np.int64]:
        """Hash of the block, index of the file, line and number of every row (rows, 4)."""
        return np.array(self._origins, dtype=np.int64).reshape(-1, 4)


def _block_hash(file: str, number: int, row: Sequence[str]) -> int:
    """The hash of a block, a number of 63 bits; the order of columns does not count.

    Args:
        file: name of the file, without folders.
        number: of the block's first row in the file.
        row: the cells of that row.
    """
    key = "\0".join((file, str(number), *sorted(row))).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1
