"""make bench: speed and memory as ratios within one run, since machines are shared and noisy.

Asserted: a row costs no more in a long file than in a short one (streaming), scoring costs less than twenty times
a bare strict parse of the same file, and memory does not grow with the rows.
"""

import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 20_000
CODE = """
import resource, sys, time
from anomvae.cli import main
start = time.process_time(); main(["score", sys.argv[1], "-m", sys.argv[2], "-q", "--fail-on", "never"])
print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write(path: Path, rows: int) -> None:
    mix = np.random.default_rng(0).normal(size=(20, 20))
    x = np.random.default_rng(rows).normal(size=(rows, 20)) @ mix
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"x{j}" for j in range(20)])
        writer.writerows([[f"{value:.4f}" for value in row] for row in x.tolist()])


def scored(table: Path, model: Path) -> tuple[float, float]:
    """CPU seconds and peak MiB of scoring a file in a process of its own."""
    command = [sys.executable, "-c", CODE, str(table), str(model)]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    seconds, mebibytes = done.stdout.split()
    return float(seconds), float(mebibytes)


def parsed(table: Path) -> float:
    start = time.process_time()
    with table.open(newline="", encoding="utf-8") as file:
        rows = [[float(cell) for cell in row] for i, row in enumerate(csv.reader(file, strict=True)) if i]
    assert len(rows) == ROWS  # noqa: S101
    return time.process_time() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        train, short, long, model = (
            Path(folder) / name for name in ("train.csv", "short.csv", "long.csv", "m.anomvae")
        )
        for path, rows in ((train, 2000), (short, ROWS), (long, 5 * ROWS)):
            write(path, rows)
        fit = [sys.executable, "-m", "anomvae", "fit", str(train), "-o", str(model), "-q"]
        start = time.monotonic()
        subprocess.run(fit, check=True)
        print(f"fit 2,000 x 20: {time.monotonic() - start:.1f} s")
        floor = min(parsed(short) for _ in range(3))
        (once, small), (five, big) = scored(short, model), scored(long, model)
        per_row = (five - once) / (4 * ROWS)
        print(f"score {ROWS:,} rows: {once:.2f} s, {small:.0f} MiB; {5 * ROWS:,} rows: {five:.2f} s, {big:.0f} MiB")
        print(f"{1e6 * per_row:.1f} us a row; bare strict parse {1e6 * floor / ROWS:.1f} us a row")
        assert per_row * ROWS < 20 * floor, "scoring costs more than twenty bare parses"  # noqa: S101
        assert big < 1.2 * small, "memory grows with the rows"  # noqa: S101
        print(f"peak of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
