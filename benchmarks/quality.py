"""make bench-quality: how well anomalies are told apart, and how often a normal row is flagged.

The one-class protocol of arXiv 2305.18593 on every `.npz` (X, y) of the folder that ANOMVAE_BENCH_SETS names: train on
a random half of the normal rows, test on the other half and all anomalies, sets above 20,000 rows cut first, always
alike. Figures of other detectors on the same splits are read from `peers.csv` beside that folder, where there is one.
False alarms at 0.1 % are counted on seeded tables of our own. Writes its tables to docs/benchmarks.md.
"""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from anomvae.config import FitSettings
from anomvae.model.schema import Column, Schema, Values, from_arrays
from anomvae.training.fit_detector import fit_detector
from benchmarks.adapter import Anomvae
from benchmarks.page import write_section

SETS = "ANOMVAE_BENCH_SETS"
SEEDS = (0, 1, 2)
MAX_ROWS = 20_000
LARGE = 1_000  # normal test rows from which a rate of 1 % can be told
RIVAL, BASELINE = "KNN-mean", "VAE"
TABLES, TRAIN, FRESH = 20, 10_000, 100_000
Matrix = NDArray[np.float64]


def split(path: Path, seed: int) -> tuple[Matrix, Matrix, NDArray[np.intp]]:
    """Training rows, test rows, and which of these are anomalies."""
    held = np.load(path)
    x, y = held["X"].astype(np.float64), held["y"].astype(int).ravel()
    if len(y) > MAX_ROWS:
        rng, parts = np.random.default_rng(12345), [np.flatnonzero(y == label) for label in (0, 1)]
        sizes = [max(1, round(MAX_ROWS * len(part) / len(y))) for part in parts]
        kept = np.sort(
            np.concatenate([rng.choice(part, size, replace=False) for part, size in zip(parts, sizes, strict=True)])
        )
        x, y = x[kept], y[kept]
    normal = np.random.default_rng(seed).permutation(np.flatnonzero(y == 0))
    test = np.concatenate([normal[len(normal) // 2 :], np.flatnonzero(y == 1)])
    return x[normal[: len(normal) // 2]], x[test], y[test]


def judged(path: Path, seed: int) -> dict[str, float | str]:
    """One set, one seed: AUROC, AUPR, false alarms and recall at alpha 1 %, CPU-seconds."""
    train, test, truth = split(path, seed)
    started = time.process_time()
    detector = Anomvae(seed).fit(train)
    fitted = time.process_time()
    score = detector.score(test)
    flagged = score > detector.threshold(0.01)
    return {
        "dataset": path.stem,
        "seed": seed,
        "rows": len(train),
        "columns": train.shape[1],
        "normal": int((truth == 0).sum()),
        "auroc": 100 * roc_auc_score(truth, score),
        "aupr": 100 * average_precision_score(truth, score),
        "alarms": 100 * flagged[truth == 0].mean(),
        "fit": fitted - started,
        "score": 1e6 * (time.process_time() - fitted) / len(test),
    }


def seeded(seed: int) -> tuple[Schema, Iterator[dict[str, Values]]]:
    """A schema, a training table and a fresh one: Gaussian mixtures, heavy tails, and mixed types in turn."""
    kind, law = seed % 3, np.random.default_rng(seed)
    centres, weights = law.normal(0, 3, (5, 8)), law.dirichlet(np.ones(5))
    loads = law.normal(size=(3, 8))
    names = [f"x{j}" for j in range(8)]
    mixed = [Column(name=name, kind="categorical", modelled=True) for name in ("place", "tone")] if kind == 2 else []
    schema = Schema(columns=(*from_arrays({name: np.zeros(1) for name in names}).columns, *mixed))

    def draw(n: int, rng: np.random.Generator) -> dict[str, Values]:
        if kind == 0:
            x = centres[rng.choice(5, n, p=weights)] + rng.normal(size=(n, 8))
        else:
            x = rng.standard_t(3, (n, 3)) @ loads + 0.3 * rng.normal(size=(n, 8))
        table: dict[str, Values] = dict(zip(names, x.T, strict=True))
        if kind == 2:
            table["place"] = np.array([*"abcdefgh"], dtype=object)[np.minimum(rng.geometric(0.4, n) - 1, 7)]
            table["tone"] = np.array(["low", "high"], dtype=object)[(x[:, 0] + rng.normal(size=n) > 0).astype(int)]
        return table

    rng = np.random.default_rng([seed, 1])
    return schema, (draw(n, rng) for n in (TRAIN, FRESH))


def alarms(seed: int) -> float:
    """False alarms in percent for alpha 0.1 % on fresh rows of a seeded table."""
    schema, tables = seeded(seed)
    detector = fit_detector(schema, next(tables), FitSettings(seed=seed, alpha=0.001, selftest=False)).detector
    return float(100 * np.mean(detector.p_values(next(tables)) <= 0.001))


def main() -> int:
    """Run all, write the page."""
    folder = os.environ.get(SETS)
    if not folder or not Path(folder).is_dir():
        print(
            f"set {SETS} to a folder of .npz files with X and y, for example ADBench's classical sets", file=sys.stderr
        )
        return 2
    paths = sorted(Path(folder).glob("*.npz"), key=lambda path: -path.stat().st_size)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [(path, seed) for path in paths for seed in SEEDS]
        ours = pd.DataFrame(pool.map(judged, *zip(*jobs, strict=True)))
        rates = list(pool.map(alarms, range(TABLES)))
    peers = Path(folder).parent / "peers.csv"
    text = _page(ours, pd.read_csv(peers) if peers.exists() else None, rates)
    write_section("quality", text)
    print(text)
    return 0


def _page(ours: pd.DataFrame, peers: pd.DataFrame | None, rates: list[float]) -> str:
    means = ours.groupby("dataset")[["rows", "columns", "auroc", "aupr", "alarms", "fit", "score"]].mean()
    ranked = [("**anomvae**", means.auroc.mean(), means.aupr.mean(), len(means))]
    told = ""
    if peers is not None:
        finished = peers[peers.status.str.startswith("ok") & peers.dataset.isin(means.index)]
        theirs = 100 * finished.groupby(["detector", "dataset"])[["auroc", "aupr"]].mean()
        for name, of in theirs.groupby("detector"):
            ranked.append((f"{name} (PyOD)", of.auroc.mean(), of.aupr.mean(), len(of)))
        means = means.join(theirs.loc[RIVAL].add_suffix("_rival"))
        told = _against(means, means.aupr.mean() - theirs.loc[BASELINE].aupr.mean())
    lines = ["\n| detector | AUROC | AUPR | sets finished |", "|---|---|---|---|"]
    for name, auroc, aupr, count in sorted(ranked, key=lambda row: -row[1]):
        lines.append(f"| {name} | {auroc:.1f} | {aupr:.1f} | {count} |")
    return "\n".join([*lines, "", told, _alarms(ours, np.array(rates)), *_sets(means, rival=peers is not None), ""])


def _against(means: pd.DataFrame, baseline: float) -> str:
    auroc, aupr = means.auroc - means.auroc_rival, means.aupr - means.aupr_rival
    left_out = (auroc.sum() - auroc) / (len(auroc) - 1)
    return (
        f"Against {RIVAL}, set by set: mean {auroc.mean():+.1f} AUROC and {aupr.mean():+.1f} AUPR, median "
        f"{auroc.median():+.1f} and {aupr.median():+.1f}, worst AUROC {auroc.min():+.1f}; with one set left out in "
        f"turn the mean AUROC differs by {left_out.min():+.1f} to {left_out.max():+.1f}. Mean AUPR to that of PyOD's "
        f"{BASELINE}: {baseline:+.1f}.\n"
    )


def _alarms(ours: pd.DataFrame, low: NDArray[np.float64]) -> str:
    large = ours[ours.normal >= LARGE]
    far = (large.alarms - 1).abs()
    return (
        f"False alarms for alpha 1 % on the {large.dataset.nunique()} sets with at least {LARGE:,} normal test rows: "
        f"mean distance {far.mean():.2f} points, worst {far.max():.2f}. For alpha 0.1 % on {TABLES} seeded tables "
        f"({TRAIN:,} training and {FRESH:,} fresh rows; Gaussian mixtures, heavy tails, mixed types): mean "
        f"{low.mean():.3f} %, from {low.min():.3f} to {low.max():.3f} %. The slowest fit took {ours.fit.max():.0f} "
        "CPU-seconds.\n"
    )


def _sets(means: pd.DataFrame, *, rival: bool) -> Iterator[str]:
    others = [RIVAL, "its AUPR"] if rival else []
    head = ["set", "rows x columns", "AUROC", "AUPR", *others, "alarms", "fit CPU-s", "us a row"]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for name, row in means.iterrows():
        theirs = [row.auroc_rival, row.aupr_rival] if rival else []
        cells = [f"{value:.1f}" for value in (row.auroc, row.aupr, *theirs)]
        cells += [f"{row.alarms:.2f}", f"{row.fit:.1f}", f"{row.score:.0f}"]
        yield f"| {name} | {row.rows:.0f} x {row.columns:.0f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
