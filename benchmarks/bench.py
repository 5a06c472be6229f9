"""make bench: what scoring costs around and with the model, as ratios within one run, since machines are shared.

CPU seconds of whole processes, medians of five (the longest file once). The peers are a streaming parse of the same
file by pyarrow with explicit types on one thread, and the imports that no report can do without. Asserted is what holds
today, with a third of slack; the goals stand beside it. Writes its table to docs/benchmarks.md.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.page import write_section

COLUMNS = 30
SHORT, MIDDLE, LONG = 10_000, 100_000, 1_000_000
SLACK = 4 / 3
PARSE = """
import sys, pyarrow as pa, pyarrow.csv as csv
kinds = dict(pair.split("=") for pair in sys.argv[2].split(","))
types = {"f": pa.float64(), "i": pa.int64(), "c": pa.dictionary(pa.int32(), pa.string()),
         "d": pa.timestamp("s"), "s": pa.string()}
options = csv.ConvertOptions(column_types={name: types[kind] for name, kind in kinds.items()})
for batch in csv.open_csv(sys.argv[1], csv.ReadOptions(use_threads=False), convert_options=options): pass
"""
# The peak of a process counts what it shared with its parent when it began: so its parent is a small one.
ALONE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""
Columns = dict[str, Any]


class Cost(msgspec.Struct, frozen=True):
    """CPU seconds and peak MiB of a process."""

    seconds: float
    mebibytes: float


def cost(*command: str | Path, repeats: int = 5) -> Cost:
    """The median over runs of a command, alone in a process each."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", ALONE, *command], capture_output=True, text=True, check=True)
        runs.append(tuple(map(float, done.stdout.split())))
    seconds, mebibytes = (statistics.median(each) for each in zip(*runs, strict=True))
    return Cost(seconds, mebibytes)


def python(code: str, *argv: str | Path, repeats: int = 5) -> Cost:
    return cost(sys.executable, "-c", code, *argv, repeats=repeats)


def scored(table: Path, model: Path, *options: str | Path, repeats: int = 5) -> Cost:
    command = (sys.executable, "-m", "anomvae", "score", table, "-m", model, "--fail-on", "never")
    return cost(*command, *options, repeats=repeats)


def numbers(rows: int, rng: np.random.Generator) -> Columns:
    """Thirty dependent numbers with four decimals."""
    mix = np.random.default_rng(0).normal(size=(COLUMNS, COLUMNS))
    x = (rng.normal(size=(rows, COLUMNS)) @ mix).round(4)
    return {f"x{j}": x[:, j] for j in range(COLUMNS)}


def mixed(rows: int, rng: np.random.Generator) -> Columns:
    """20 floats, 5 integers, 3 categories, a moment and an identifier."""
    floats = dict(list(numbers(rows, rng).items())[:20])
    integers = {f"i{j}": rng.poisson(50 * (j + 1), rows) for j in range(5)}
    words = {f"c{j}": np.array([f"level {k}" for k in range(8 * (j + 1))])[rng.integers(0, 8, rows)] for j in range(3)}
    moments = np.datetime64("2025-01-01", "s") + rng.integers(0, 300 * 86400, rows)
    return (
        floats | integers | words | {"when": np.datetime_as_string(moments), "key": [f"key-{n}" for n in range(rows)]}
    )


def kinds_of(names: list[str]) -> str:
    """The types of a table's columns, for the parse."""
    known = {"x": "f", "i": "i", "c": "c", "w": "d", "k": "s"}
    return ",".join(f"{name}={known[name[0]]}" for name in names)


def write(path: Path, rows: int, make: Callable[[int, np.random.Generator], Columns]) -> str:
    """Write a table part by part; returns the types of its columns."""
    rng, names = np.random.default_rng(rows), []
    with path.open("wb") as file:
        for at in range(0, rows, MIDDLE):
            columns = make(min(MIDDLE, rows - at), rng)
            names = list(columns)
            options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
            file.write(b"" if at else ",".join(names).encode() + b"\n")
            pyarrow.csv.write_csv(pa.table(columns), file, options)
    return kinds_of(names)


def fitted(folder: Path, name: str, make: Callable[[int, np.random.Generator], Columns]) -> Path:
    train, model = folder / f"{name}-train.csv", folder / f"{name}.anomvae"
    write(train, 2000, make)
    subprocess.run([sys.executable, "-m", "anomvae", "fit", train, "-o", model, "-q", "--no-generator"], check=True)
    return model


class Ratios:
    """Ratios, each with what must hold of it today and what is the goal."""

    def __init__(self) -> None:
        self.lines = ["| what | against | ratio | goal |", "|---|---|---|---|"]
        self.broken: list[str] = []

    def add(self, what: str, mine: Cost, against: str, peer: Cost, *, goal: float, today: float) -> None:
        """Note a ratio of CPU seconds; it is broken where it is above both its goal and `today` with its slack."""
        ratio = mine.seconds / peer.seconds
        told = f"{mine.seconds:.2f} s", f"{peer.seconds:.2f} s"
        self.lines.append(f"| {what}, {told[0]} | {against}, {told[1]} | {ratio:.2f} | {goal:g} |")
        print(self.lines[-1], file=sys.stderr)
        if ratio > max(goal, SLACK * today):
            self.broken.append(f"{what}: {ratio:.2f} x {against}, was {today}")


def start_up(ratios: Ratios, short: Path, model: Path) -> None:
    tables, both = python("import rich.table"), python("import numpy, rich.table")
    ratios.add(
        "`--help`", cost(sys.executable, "-m", "anomvae", "--help"), "`import rich.table`", tables, goal=3, today=1.4
    )
    ratios.add("`score` of 200 rows", scored(short, model), "`import numpy, rich.table`", both, goal=2.5, today=4.0)


def long_files(ratios: Ratios, folder: Path, model: Path) -> str:
    """The cost of a row, flagged rows out, and what it grows to; returns a sentence on memory and growth."""
    found = {}
    for rows in (SHORT, MIDDLE, LONG):
        table = folder / f"{rows}.csv"
        kinds = write(table, rows, numbers)
        repeats = 1 if rows == LONG else 5
        found[rows] = scored(table, model, "--emit", "flagged", "-o", folder / "out.csv", repeats=repeats)
        if rows == LONG:
            parse = python(PARSE, table, kinds)
            ratios.add("`score` of 1,000,000 x 30", found[rows], "typed parse", parse, goal=2.5, today=33)
    slopes = [(found[b].seconds - found[a].seconds) / (b - a) for a, b in ((SHORT, MIDDLE), (MIDDLE, LONG))]
    peaks = [found[rows].mebibytes for rows in found]
    if slopes[1] > SLACK * slopes[0]:
        ratios.broken.append(f"a row of a long file costs {slopes[1] / slopes[0]:.2f} x one of a short file")
    if peaks[-1] > 250:
        ratios.broken.append(f"{peaks[-1]:.0f} MiB at a million rows, more than 250")
    return (
        f"A row costs {1e6 * slopes[0]:.1f} us from 10,000 to 100,000 rows and {1e6 * slopes[1]:.1f} us from there to "
        f"a million. Peak memory is {peaks[0]:.0f}, {peaks[1]:.0f} and {peaks[2]:.0f} MiB (goal: 250 at any length)."
    )


def outputs(ratios: Ratios, folder: Path, model: Path) -> None:
    table = folder / f"{MIDDLE}.csv"
    flagged = scored(table, model, "--emit", "flagged", "-o", folder / "out.csv")
    for suffix in ("csv", "parquet"):
        every = scored(table, model, "-o", folder / f"out.{suffix}")
        ratios.add(f"`--emit all` to .{suffix}, 100,000 x 30", every, "`--emit flagged`", flagged, goal=1.6, today=1.2)


def mixed_types(ratios: Ratios, folder: Path) -> None:
    table, model = folder / "mixed.csv", fitted(folder, "mixed", mixed)
    kinds = write(table, MIDDLE, mixed)
    mine, parse = (
        scored(table, model, "--emit", "flagged", "-o", folder / "out.csv", repeats=3),
        python(PARSE, table, kinds),
    )
    ratios.add("`score` of 100,000 rows of mixed types", mine, "typed parse", parse, goal=3, today=25)


def main() -> None:
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ratios = Ratios()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = fitted(folder, "numbers", numbers)
        write(folder / "short.csv", 200, numbers)
        start_up(ratios, folder / "short.csv", model)
        growth = long_files(ratios, folder, model)
        outputs(ratios, folder, model)
        mixed_types(ratios, folder)
    head = (
        f"## Speed and memory\n\nCPU seconds of whole processes in one run, {os.cpu_count()} cores, default model.\n\n"
    )
    write_section("speed", head + "\n".join(ratios.lines) + f"\n\n{growth}\n")
    if ratios.broken:
        raise SystemExit("slower than it was:\n" + "\n".join(ratios.broken))


if __name__ == "__main__":
    main()
