"""Training files to one table of text columns: matched by name, selected, thinned to a bound."""

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.data import header
from anomvae.data.reader import Table
from anomvae.data.texts import TextRows
from anomvae.errors import DataError, UsageError
from anomvae.model.cells import NumberFormat
from anomvae.model.conditions import Condition
from anomvae.pipeline.select import selector
from anomvae.settings import FitSettings

BLOCK = 64  # rows thinned together, so that neighbours stay neighbours
SUFFIXES = (".csv", ".csv.gz", ".parquet")


class Gathered(msgspec.Struct):
    """Selected training rows: text `rows`, the `file` index and `line` of each, and what was counted on the way."""

    names: list[str]
    rows: TextRows
    file: NDArray[np.int64]
    line: NDArray[np.int64]
    rows_read: int
    rows_selected: int
    rejected: int
    sha256: list[str]
    warnings: list[str]


class _Thinned:
    """At most `most` rows, and their places (block, file, line): every second block goes when they become more."""

    def __init__(self, width: int, most: int) -> None:
        self.rows, self.most, self.stride, self.count = TextRows(width), most, 1, 0
        self.places = array("q")

    def add(self, file: int, line: int, row: Sequence[str]) -> None:
        block = self.count // BLOCK
        self.count += 1
        if block % self.stride == 0:
            self.rows.add(row)
            self.places.extend((block, file, line))
        if len(self.rows) > self.most:
            self.stride *= 2
            stay = self.placed()[:, 0] % self.stride == 0
            self.rows.keep(stay.tolist())
            self.places = array("q", self.placed()[stay].tobytes())

    def placed(self) -> NDArray[np.int64]:
        """Block, file and line of every row (rows, 3)."""
        return np.array(self.places, dtype=np.int64).reshape(-1, 3)


def training_files(names: Sequence[str]) -> list[str]:
    """The files to train on: a folder stands for its tables, by name.

    Raises:
        UsageError: nothing is named, or a folder has no table.
    """
    if not names:
        raise UsageError("no training file is named; give one, or set 'train' in the configuration.")
    return [file for name in names for file in _expand(name)]


def _expand(name: str) -> list[str]:
    folder = Path(name)
    if not folder.is_dir():
        return [name]
    found = sorted(str(path) for path in folder.iterdir() if path.name.endswith(SUFFIXES))
    if not found:
        raise UsageError(f"{name}: this folder holds no .csv, .csv.gz or .parquet file.")
    return found


def gather(
    files: Sequence[str],
    settings: FitSettings,
    wanted: Sequence[Condition],
    progress: Callable[[str, int], None] = lambda file, rows: None,
) -> Gathered:
    """Read the training files.

    Args:
        files: paths; every file must have the first one's columns, in any order.
        settings: dialect and bounds.
        wanted: conditions that rows must meet.
        progress: called with the file and the rows read so far.

    Raises:
        DataError: a file is refused.
    """
    numbers = NumberFormat(settings.decimal, settings.thousands)
    thinned = _Thinned(0, settings.max_rows)
    out = Gathered([], thinned.rows, np.empty(0, np.int64), np.empty(0, np.int64), 0, 0, 0, [], [])
    for index, file in enumerate(files):
        try:
            table = Table(file, settings.dialect())
            header.check_training(table.names, settings.delimiter, table.header_line)
            if not out.names:
                out.names, thinned = table.names, _Thinned(len(table.names), settings.max_rows)
            meets = selector(wanted, table.names, numbers)
            positions = _positions(out.names, table, settings)
            for batch in table.batches():
                for row, line in zip(batch.rows, batch.lines, strict=True):
                    if meets(row):
                        thinned.add(index, line, [row[at] for at in positions])
                progress(file, out.rows_read + table.rows)
            table.check_rejects()
        except DataError as error:
            raise error.within(file) from error
        out.rows_read += table.rows
        out.rejected += table.rejected
        out.sha256.append(table.sha256)
        out.warnings += [f"{file}: {warning}" for warning in table.warnings]
        out.warnings += [f"{file}:{bad.line}: {bad.message} ({bad.code})" for bad in table.rejects[:5]]
    out.rows, (_, out.file, out.line) = thinned.rows, thinned.placed().T
    out.rows_selected = thinned.count
    if len(out.rows) < thinned.count:
        out.warnings.append(f"{len(out.rows):,} of {thinned.count:,} rows were kept, evenly spread (--max-rows)")
    return out


def _positions(names: list[str], table: Table, settings: FitSettings) -> list[int]:
    positions, warnings = header.locate(table.names, names, names, settings.delimiter, table.header_line)
    table.warnings.extend(warnings)
    return positions
