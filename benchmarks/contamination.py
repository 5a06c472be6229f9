"""What anomalies among the training rows cost, without and with `--contamination`.

The protocol of the one-class benchmark: train on a random half of the normal rows, here with 5 % anomalies drawn
from the set's own (at most half of them), test on the other half and the anomalies that were not drawn.

    python -m benchmarks.contamination FOLDER_OF_NPZ SET...
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from anomvae.config import FitSettings
from anomvae.model.schema import from_arrays
from anomvae.training.fit_detector import fit_detector

SHARE, CAP = 0.05, 6_000
HEAD = "| set | rows | drawn | clean | untreated | treated | clean, treated | drawn found |"


def columns(x: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{j}": x[:, j] for j in range(x.shape[1])}


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    held = np.load(path)
    x, y = held["X"].astype(np.float64), held["y"].astype(int).ravel()
    chosen = np.sort(np.random.default_rng(12345).permutation(len(y))[:CAP])
    return x[chosen], y[chosen]


def judged(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, *, share: float, seed: int
) -> tuple[float, float, float]:
    """AUROC and false alarms at 1 % on the test rows, and the share of the training anomalies that are to review."""
    table = columns(x[train])
    learned = fit_detector(from_arrays(table), table, FitSettings(seed=seed, contamination=share, selftest=False))
    scores = learned.detector.score(columns(x[test]))
    rows = learned.suspects.review() if learned.suspects else []
    found = (y[train][rows] == 1).sum() / max((y[train] == 1).sum(), 1)
    return roc_auc_score(y[test], scores.score), (learned.detector.decide(scores).p[y[test] == 0] <= 0.01).mean(), found


def one(path: Path, seed: int) -> tuple[int, int, list[tuple[float, float, float]]]:
    x, y = load(path)
    rng = np.random.default_rng(seed)
    normal, anomalies = (rng.permutation(np.flatnonzero(y == label)) for label in (0, 1))
    half = len(normal) // 2
    drawn = min(round(half * SHARE / (1 - SHARE)), len(anomalies) // 2)
    mixed = rng.permutation(np.concatenate([normal[:half], anomalies[:drawn]]))
    test = np.concatenate([normal[half:], anomalies[drawn:]])
    runs = [(normal[:half], 0.0), (mixed, 0.0), (mixed, SHARE), (normal[:half], SHARE)]
    return half, drawn, [judged(x, y, train, test, share=share, seed=seed) for train, share in runs]


def main(folder: str, *names: str, seed: int = 0) -> None:
    print(HEAD + "\n" + "|---" * 8 + "|")
    every = []
    for name in names:
        half, drawn, results = one(Path(folder) / f"{name}.npz", seed)
        every.append(results)
        cells = [f"{100 * auroc:.1f} / {100 * alarms:.2f}" for auroc, alarms, _ in results]
        print(f"| {name} | {half} | {drawn} | {' | '.join(cells)} | {results[2][2]:.0%} |", flush=True)
    mean = np.array(every).mean(axis=0)
    cells = [f"{100 * auroc:.1f} / {100 * alarms:.2f}" for auroc, alarms, _ in mean]
    print(f"| mean | | | {' | '.join(cells)} | {mean[2][2]:.0%} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
