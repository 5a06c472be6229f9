"""Training files to one table of text columns: matched by name, selected, thinned to a bound."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from anomvae.data import header
from anomvae.data.reader import Table
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
    rows: list[list[str]]
    file: list[int]
    line: list[int]
    rows_read: int
    rows_selected: int
    rejected: int
    sha256: list[str]
    warnings: list[str]


class _Thinned:
    """At most `most` rows: every second block is given up each time the bound is reached."""

    def __init__(self, most: int) -> None:
        self.most, self.stride, self.count = most, 1, 0
        self.kept: list[tuple[int, int, int, list[str]]] = []

    def add(self, file: int, line: int, row: list[str]) -> None:
        block = self.count // BLOCK
        self.count += 1
        if block % self.stride == 0:
            self.kept.append((block, file, line, row))
        if len(self.kept) > self.most:
            self.stride *= 2
            self.kept = [item for item in self.kept if item[0] % self.stride == 0]


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
    out = Gathered([], [], [], [], 0, 0, 0, [], [])
    thinned = _Thinned(settings.max_rows)
    for index, file in enumerate(files):
        try:
            table = Table(file, settings.dialect())
            header.check_training(table.names, settings.delimiter, table.header_line)
            out.names = out.names or table.names
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
    out.rows, out.line = [row for *_, row in thinned.kept], [line for _, _, line, _ in thinned.kept]
    out.file = [file for _, file, _, _ in thinned.kept]
    out.rows_selected = thinned.count
    if len(out.rows) < thinned.count:
        out.warnings.append(f"{len(out.rows):,} of {thinned.count:,} rows were kept, evenly spread (--max-rows)")
    return out


def _positions(names: list[str], table: Table, settings: FitSettings) -> list[int]:
    positions, warnings = header.locate(table.names, names, names, settings.delimiter, table.header_line)
    table.warnings.extend(warnings)
    return positions
