"""Drift: false alarms over clean files, and how soon a change is told.

Tables of numbers, skewed numbers with gaps and categories, rows independent or each like the one before it
(autoregression); scores are drawn beside them, so that 150,000 files take minutes.

    python -m benchmarks.drift
"""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from anomvae.model.calibration import effective_rows, file_p_value, fit_calibration, verdict
from anomvae.model.cross_fitting import block_ids, dependence
from anomvae.model.drift import WINDOWS, WindowResult, compare_windows, count, fit_reference
from anomvae.model.encoder import encode, fit_encoding
from anomvae.model.schema import Column, Schema, Values
from anomvae.records.results import Evidence
from benchmarks.page import write_section

ROWS, ALPHA = 1000, 0.01
CLEAN, RUNS = 500, 100
LEVELS = np.array([f"level {v}" for v in range(7)], dtype=object)
AFTER = 12  # files looked at after a change
SETTINGS = ((5, 0.0, 20_000), (20, 0.0, 20_000), (10, 0.0, 5_000), (10, 0.6, 20_000), (10, 0.9, 20_000))

HEAD = (
    "| columns | autocorrelation | training rows | clean files `anomalous` | clean runs without alarm "
    "| half a deviation told within 3 files | its column named | doubled flags told, median file | within 3 |\n"
    + "|---" * 9
    + "|\n"
)


def series(rng: np.random.Generator, rows: int, columns: int, phi: float) -> NDArray[np.float64]:
    """Standard normal columns, each row like the one before it."""
    noise = rng.standard_normal((rows, columns))
    if not phi:
        return noise
    start = phi * rng.standard_normal((1, columns))
    return lfilter([np.sqrt(1 - phi**2)], [1, -phi], noise, axis=0, zi=start)[0]


def table(rng: np.random.Generator, rows: int, columns: int, phi: float, shift: float = 0.0) -> dict[str, Values]:
    """Numbers, skewed numbers and categories in turn; some with gaps; the first one moved by `shift` deviations."""
    z = series(rng, rows, columns, phi)
    z[:, 0] += shift
    out: dict[str, Values] = {}
    for j in range(columns):
        values = np.exp(z[:, j]) if j % 3 == 1 else z[:, j].copy()
        if j % 4 == 1:
            values[rng.random(rows) < 0.03] = np.nan
        levels = np.digitize(z[:, j], [-1.5, -0.5, 0, 0.7, 1.3, 2.2])
        out[f"c{j}"] = LEVELS[levels] if j % 3 == 2 else values
    return out


class World:
    """A trained model's reference and calibration, and the files that come after it; `alone`: the newest by itself."""

    alone: WindowResult

    def __init__(self, seed: int, columns: int, phi: float, rows: int) -> None:
        self.rng, self.columns, self.phi = np.random.default_rng(seed), columns, phi
        train, scores = table(self.rng, rows, columns, phi), series(self.rng, rows, 1, phi)[:, 0]
        kinds = {name: "categorical" if v.dtype == object else "numeric" for name, v in train.items()}
        schema = Schema(columns=tuple(Column(name=n, kind=k, modelled=True) for n, k in kinds.items()))
        self.encoding = fit_encoding(schema, train)
        encoded = encode(self.encoding, train)
        blocks = block_ids(rows, dependence(encoded.x).length)
        worth = effective_rows(scores >= np.quantile(scores, 1 - ALPHA), blocks)
        self.calibration = fit_calibration(scores, worth, ALPHA)
        self.reference = fit_reference(self.encoding, train, encoded, scores, blocks)
        self.newest: list[Evidence] = []

    def file(self, shift: float = 0.0, rate: float = 1.0) -> tuple[WindowResult, int]:
        """What the next file is told as, and how many of its rows are flagged."""
        columns, scores = (
            table(self.rng, ROWS, self.columns, self.phi, shift),
            series(self.rng, ROWS, 1, self.phi)[:, 0],
        )
        scores = np.where(self.rng.random(ROWS) < ALPHA * (rate - 1), scores + 10, scores)
        flagged = int((self.calibration.p_values(scores)[0] <= ALPHA).sum())
        counts = count(self.reference, self.encoding, columns, encode(self.encoding, columns), scores)
        here = Evidence(ROWS, flagged, tuple(tuple(of.tolist()) for of in counts))
        found, self.alone = compare_windows(self.reference, self.calibration, ALPHA, [*self.newest, here])
        if not self.alone.outlier:
            self.newest = [*self.newest, here][1 - WINDOWS[-1] :]
        return found, flagged

    def anomalous(self, flagged: int) -> bool:
        """The verdict of one file's flags."""
        known = self.calibration
        return verdict(file_p_value(ROWS, flagged, ALPHA, known.effective, known.design)) == "anomalous"


def clean(columns: int, phi: float, rows: int) -> tuple[float, int]:
    """Share of clean files that are anomalous, and runs without an alarm for drift."""
    odd, quiet = 0, 0
    for seed in range(RUNS):
        world = World(seed, columns, phi, rows)
        files = [world.file() for _ in range(CLEAN)]
        odd += sum(world.anomalous(flagged) for _, flagged in files)
        quiet += not any(found.drifted for found, _ in files)
    return odd / (RUNS * CLEAN), quiet


def changed(columns: int, phi: float, rows: int, **change: float) -> Iterator[tuple[int, bool]]:
    """For every run the file that told a change, counted from 1, and whether it named the first column first."""
    for seed in range(RUNS):
        world = World(10_000 + seed, columns, phi, rows)
        for _ in range(WINDOWS[-1]):
            world.file()
        found = (world.file(**change)[0] for _ in range(AFTER))
        told = next(((i, one) for i, one in enumerate(found, 1) if one.drifted), None)
        yield (told[0], int(np.argmin([c.p for c in told[1].changes])) == 0) if told else (AFTER + 1, False)


def line(columns: int, phi: float, rows: int) -> str:
    odd, quiet = clean(columns, phi, rows)
    shift = list(changed(columns, phi, rows, shift=0.5))
    doubled = [at for at, _ in changed(columns, phi, rows, rate=2.0)]
    median = float(np.median(doubled))
    return (
        f"| {columns} | {phi:g} | {rows:,} | {100 * odd:.2f} % | {quiet} of {RUNS} "
        f"| {sum(at <= 3 for at, _ in shift)} of {RUNS} | {sum(named for _, named in shift)} "
        f"| {f'{median:g}' if median <= AFTER else f'over {AFTER}'} | {sum(at <= 3 for at in doubled)} of {RUNS} |\n"
    )


def main() -> None:
    started, text = time.monotonic(), HEAD
    with ProcessPoolExecutor(2) as pool:
        for row in pool.map(line, *zip(*SETTINGS, strict=True)):
            text += row
            print(row, end="", flush=True)
    told = f"Files of {ROWS:,} rows; {CLEAN} clean files a run; a change comes after {WINDOWS[-1]} clean files."
    write_section("drift", f"{text}\n{told}\n{time.monotonic() - started:.0f} s.\n")


if __name__ == "__main__":
    main()
