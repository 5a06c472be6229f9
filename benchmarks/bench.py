"""make bench: what scoring costs around and with the model, as ratios within one run, since machines are shared.

CPU seconds of whole processes, medians of five (the longest files once). The peers are a streaming parse of the same
file by pyarrow with explicit types on one thread, the imports that no report can do without, and PyOD's VAE. Asserted
is what holds today, with a third of slack; the goals stand beside it. Writes its table to docs/benchmarks.md.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv

from anomvae.config import FitSettings
from anomvae.model.schema import from_arrays
from anomvae.training.fit_detector import fit_detector
from benchmarks import pyod_vae
from benchmarks.page import write_section

COLUMNS = 30
SHORT, MIDDLE, LONG, LONGEST = 10_000, 100_000, 1_000_000, 10_000_000
WIDTHS = (5, 20, 100, 500)
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
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, wall)
sys.exit(code)
"""
Columns = dict[str, Any]


class Cost(msgspec.Struct, frozen=True):
    """CPU seconds, peak MiB and seconds on the clock of a process."""

    seconds: float
    mebibytes: float
    wall: float


def cost(*command: str | Path, repeats: int = 5) -> Cost:
    """The median over runs of a command, alone in a process each."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", ALONE, *command], capture_output=True, text=True, check=True)
        runs.append(tuple(map(float, done.stdout.split())))
    return Cost(*(statistics.median(each) for each in zip(*runs, strict=True)))


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

    def add(self, what: str, mine: float, against: str, peer: float, *, goal: float, today: float) -> None:
        """Note a ratio of seconds; it is broken where it is above both its goal and `today` with its slack."""
        ratio = mine / peer
        self._note(f"| {what}, {mine:.2f} s | {against}, {peer:.2f} s | {ratio:.2f} | {goal:g} |")
        if ratio > max(goal, SLACK * today):
            self.broken.append(f"{what}: {ratio:.2f} x {against}, was {today}")

    def gain(self, what: str, against: str, times: float, *, goal: float, today: float) -> None:
        """Note how many times better something is; it is broken below both its goal and `today` less its slack."""
        self._note(f"| {what} | {against} | {times:.1f} times | {goal:g} times |")
        if times < min(goal, today / SLACK):
            self.broken.append(f"{what}: {times:.1f} times {against}, was {today}")

    def _note(self, line: str) -> None:
        self.lines.append(line)
        print(line, file=sys.stderr)


def start_up(ratios: Ratios, short: Path, model: Path) -> None:
    tables, both = python("import rich.table").seconds, python("import numpy, rich.table").seconds
    told, mine = cost(sys.executable, "-m", "anomvae", "--help").seconds, scored(short, model).seconds
    ratios.add("`--help`", told, "`import rich.table`", tables, goal=3, today=1.4)
    ratios.add("`score` of 200 rows", mine, "`import numpy, rich.table`", both, goal=2.5, today=3.0)


def long_files(ratios: Ratios, folder: Path, model: Path) -> str:
    """The cost of a row, flagged rows out, and what it grows to; returns a sentence on memory and growth."""
    found = {}
    for rows in (SHORT, MIDDLE, LONG, LONGEST):
        table = folder / f"{rows}.csv"
        kinds = write(table, rows, numbers)
        repeats = 5 if rows < LONG else 1
        found[rows] = scored(table, model, "--emit", "flagged", "-o", folder / "out.csv", repeats=repeats)
        if rows == LONG:
            parse = python(PARSE, table, kinds)
            what, against = "`score` of 1,000,000 x 30", "typed parse"
            ratios.add(what, found[rows].seconds, against, parse.seconds, goal=2.5, today=25)
            ratios.add(
                f"{what} on the clock", found[rows].wall, f"{against} on one thread", parse.wall, goal=1.6, today=18
            )
        if rows > MIDDLE:
            table.unlink()
    each = list(found.values())
    slopes = [1e6 * (b.seconds - a.seconds) / (m - n) for (n, a), (m, b) in pairwise(found.items())]
    if max(slopes[1:]) > SLACK * slopes[0]:
        ratios.broken.append(f"a row of a long file costs {max(slopes) / slopes[0]:.2f} x one of a short file")
    if each[-1].mebibytes > 250:
        ratios.broken.append(f"{each[-1].mebibytes:.0f} MiB at ten million rows, more than 250")
    costs, peaks = (" / ".join(f"{v:.0f}" for v in values) for values in (slopes, [one.mebibytes for one in each]))
    return (
        f"A row costs {costs} us of CPU from 10^4 to 10^5, from there to 10^6, and from there to 10^7 rows; peak "
        f"memory is {peaks} MiB at 10^4 / 10^5 / 10^6 / 10^7 rows (goal: 250 at any length)."
    )


def outputs(ratios: Ratios, folder: Path, model: Path) -> None:
    table = folder / f"{MIDDLE}.csv"
    flagged = scored(table, model, "--emit", "flagged", "-o", folder / "out.csv").seconds
    for suffix in ("csv", "parquet"):
        every = scored(table, model, "-o", folder / f"out.{suffix}").seconds
        ratios.add(f"`--emit all` to .{suffix}, 100,000 x 30", every, "`--emit flagged`", flagged, goal=1.6, today=1.2)


def mixed_types(ratios: Ratios, folder: Path) -> None:
    table, model = folder / "mixed.csv", fitted(folder, "mixed", mixed)
    kinds = write(table, MIDDLE, mixed)
    mine = scored(table, model, "--emit", "flagged", "-o", folder / "out.csv", repeats=3).seconds
    parse = python(PARSE, table, kinds).seconds
    ratios.add("`score` of 100,000 rows of mixed types", mine, "typed parse", parse, goal=3, today=20)


def against_pyod(ratios: Ratios) -> str:
    """One member, and the fit of five, beside PyOD's VAE; returns a sentence on what both reach."""
    scoring, fit, ours, theirs = pyod_vae.measured()
    ratios.gain("rows a CPU-second of one member, in memory", "PyOD's VAE", scoring, goal=10, today=2.8)
    ratios.gain("fit of five members, 10 epochs of 10,000 x 30", "five fits of PyOD's VAE", fit, goal=5, today=4.2)
    if ours > theirs:
        ratios.broken.append(f"held-out error {ours:.3f}, PyOD's {theirs:.3f}")
    return f"Held-out error after that fit, in standard deviations: {ours:.3f}, PyOD's VAE {theirs:.3f}."


def widths() -> str:
    """What a row costs in memory against the columns of its table, as a table in Markdown."""
    lines = ["| columns | weights a member | a row, us | a weight, ns |", "|---|---|---|---|"]
    for width in WIDTHS:
        rng = np.random.default_rng(width)
        mix = rng.normal(size=(max(width // 5, 1), width))
        x = rng.normal(size=(5000, len(mix))) @ mix + 0.3 * rng.normal(size=(5000, width))
        columns = {f"x{j}": x[:, j] for j in range(width)}
        few = {name: values[:1000] for name, values in columns.items()}
        detector = fit_detector(from_arrays(few), few, FitSettings(selftest=False)).detector
        runs = []
        for _ in range(5):
            began = time.process_time()
            detector.score(columns)
            runs.append(1e6 * (time.process_time() - began) / len(x))
        members = detector.ensemble.vae.arrays.values()
        weights = (
            sum(array.size for array in members) + detector.ensemble.density.weight.size
        ) // detector.ensemble.vae.members
        row = statistics.median(runs)
        lines.append(f"| {width} | {weights:,} | {row:.1f} | {1e3 * row / weights:.2f} |")
        print(lines[-1], file=sys.stderr)
    return "\n".join(lines)


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
    error = against_pyod(ratios)
    head = f"## Speed and memory\n\nCPU seconds of whole processes in one run, {os.cpu_count()} cores, default model."
    write_section("speed", "\n\n".join([head, "\n".join(ratios.lines), growth, error, widths()]) + "\n")
    if ratios.broken:
        raise SystemExit("slower than it was:\n" + "\n".join(ratios.broken))


if __name__ == "__main__":
    main()
