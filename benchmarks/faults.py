"""make bench-faults: how many known faults are found, and blamed on the right column, beside simple peers.

Three mixed tables, three seeds, alpha 1 %. Peers, in the same run, on one-hot codes: IsolationForest and the mean
distance to five neighbours (thresholds from a fifth of the training rows that they did not see); for reasons:
|robust z|, the raw residual of the network, and a nearest-neighbour imputer. Writes its tables to docs/benchmarks.md.
"""

import csv
import io
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import anomvae
from anomvae.config import FitSettings
from anomvae.model.detector import Detector
from anomvae.model.encoder import Encoded
from anomvae.model.explain import surprise_explained
from anomvae.model.schema import Values
from anomvae.table.typed_reader import parse_columns
from benchmarks.faults_data import EASY, HARD, TABLES, Faulty, Witness, faults, split
from benchmarks.page import write_section

SEEDS = (0, 1, 2)
Figures = dict[tuple[str, str], list[float]]  # by maker and what is measured


def typed(detector: Detector, rows: pd.DataFrame) -> dict[str, Values]:
    """The columns of a table as the detector reads them from a file."""
    texts = list(csv.reader(io.StringIO(rows.to_csv(index=False))))[1:]
    at = {column.name: j for j, column in enumerate(detector.schema.columns)}
    found = parse_columns(detector.schema.modelled, lambda name: [row[at[name]] for row in texts])
    assert not found.row_errors()  # noqa: S101 (the benchmark's own rows)
    return found.columns


class Codes:
    """Tables as numbers for the peers: one-hot categories, standardised numbers, gaps at the median and a bit."""

    def __init__(self, train: pd.DataFrame, witness: Witness) -> None:
        self.witness = witness
        numbers = [name for name in witness.columns if name not in witness.codes]
        self.center = {name: float(train[name].median()) for name in numbers}
        self.scale = {name: float(train[name].std()) or 1.0 for name in numbers}

    def __call__(self, rows: pd.DataFrame, names: list[str] | None = None) -> NDArray[np.float64]:
        parts = []
        for name in self.witness.columns if names is None else names:
            values = rows[name]
            if name in self.witness.codes:
                parts += [(values == level).to_numpy(dtype=np.float64) for level in self.witness.codes[name]]
            else:
                z = (pd.to_numeric(values) - self.center[name]) / self.scale[name]
                parts.append(z.fillna(0.0).to_numpy(dtype=np.float64))
            parts.append(values.isna().to_numpy(dtype=np.float64))
        return np.column_stack(parts)


def peers(codes: Codes, train: pd.DataFrame, seed: int) -> dict[str, tuple[Any, float]]:
    """Each peer's score of coded rows, and its threshold for 1 %."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import NearestNeighbors

    x = codes(train)
    kept, held = x[len(x) // 5 :], x[: len(x) // 5]
    forest = IsolationForest(n_estimators=200, random_state=seed).fit(kept)
    near = NearestNeighbors(n_neighbors=5).fit(kept)
    scores = {
        "IsolationForest": lambda rows: -forest.score_samples(rows),
        "kNN": lambda rows: near.kneighbors(rows)[0].mean(axis=1),
    }
    return {name: (score, float(np.quantile(score(held), 0.99))) for name, score in scores.items()}


def run(name: str, seed: int, work: Path) -> Figures:
    """One table, one seed."""
    train, held = split(name, seed)
    witness = Witness(train)
    train.to_csv(work / "train.csv", index=False)
    anomvae.fit(
        [str(work / "train.csv")], work / "model.anomvae", FitSettings(seed=seed, generator=False, selftest=False)
    )
    detector = anomvae.load(work / "model.anomvae")
    figures: Figures = defaultdict(list)
    others = peers(codes := Codes(train, witness), train, seed)
    for maker, (score, threshold) in others.items():
        figures[maker, "false alarms"].append(float(np.mean(score(codes(held)) > threshold)))
    _clean(figures, detector, held, witness)
    for faulty in faults(train, held, witness, seed):
        columns = typed(detector, faulty.rows)
        encoded = detector.encode(columns)
        scores = detector.score_encoded(encoded)
        flagged = np.flatnonzero(detector.decide(scores).p <= 0.01)
        figures["anomvae", faulty.kind].append(len(flagged) / len(faulty.rows))
        for maker, (score, threshold) in others.items():
            figures[maker, faulty.kind].append(float(np.mean(score(codes(faulty.rows)) > threshold)))
        gains, _ = surprise_explained(detector, encoded, scores, flagged)
        _reasons(figures, "repair", detector.columns, gains, faulty=faulty, flagged=flagged)
        _reasons(
            figures, "raw residual", detector.columns, scores.contributions[flagged], faulty=faulty, flagged=flagged
        )
        part = faulty.rows.iloc[flagged]
        _reasons(
            figures, "|robust z|", witness.columns, _robust_z(train, part, witness), faulty=faulty, flagged=flagged
        )
        _reasons(
            figures,
            "kNN imputer",
            witness.columns,
            _imputer(codes, train, part, witness),
            faulty=faulty,
            flagged=flagged,
        )
    return figures


def _clean(figures: Figures, detector: Detector, held: pd.DataFrame, witness: Witness) -> None:
    """False alarms, coverage of the intervals, error of the expected value against the column's mean."""
    encoded: Encoded = detector.encode(typed(detector, held))
    scores = detector.score_encoded(encoded)
    figures["anomvae", "false alarms"].append(float(np.mean(detector.decide(scores).p <= 0.01)))
    _, guess = surprise_explained(detector, encoded, scores, np.arange(len(held)))
    encoding = detector.encoding
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        if not feature.numeric:
            continue
        residual = encoded.x[:, at] - guess[:, j]
        low, high = detector.intervals[j]
        figures["anomvae", "coverage"].append(float(np.mean((residual >= low) & (residual <= high))))
        if witness.r2.get(feature.column, 0.0) >= 0.5:
            plain = np.abs(encoded.x[:, at] - encoded.x[:, at].mean())
            figures["anomvae", "error ratio"].append(float(np.median(np.abs(residual)) / np.median(plain)))


def _reasons(
    figures: Figures, maker: str, columns: Any, blame: NDArray[np.float64], *, faulty: Faulty, flagged: NDArray[np.intp]
) -> None:
    group = "easy" if faulty.kind in EASY else "hard"
    order = np.argsort(-blame, axis=1, kind="stable")[:, :3]
    names = [[columns[j] for j in row] for row in order]
    truth = [faulty.blame[i] for i in flagged]
    if truth:
        figures[maker, f"top-1 {group}"].append(np.mean([n[0] in t for n, t in zip(names, truth, strict=True)]))
        figures[maker, "top-3"].append(np.mean([bool(set(n) & set(t)) for n, t in zip(names, truth, strict=True)]))


def _robust_z(train: pd.DataFrame, rows: pd.DataFrame, witness: Witness) -> NDArray[np.float64]:
    """Distance from the median in robust standard deviations; a category counts by the logarithm of its rarity."""
    out = np.zeros((len(rows), len(witness.columns)))
    for j, name in enumerate(witness.columns):
        if name in witness.codes:
            share = train[name].value_counts(normalize=True)
            out[:, j] = -np.log(rows[name].map(share).astype(float).fillna(1e-6))
        else:
            values = pd.to_numeric(rows[name])
            spread = 1.4826 * float((train[name] - train[name].median()).abs().median()) or float(train[name].std())
            out[:, j] = ((values - train[name].median()).abs() / spread).fillna(1e6)
    return out


def _imputer(codes: Codes, train: pd.DataFrame, rows: pd.DataFrame, witness: Witness) -> NDArray[np.float64]:
    """How far a value is from the mean of the five training rows that are nearest in all other columns."""
    from sklearn.neighbors import NearestNeighbors

    out = np.zeros((len(rows), len(witness.columns)))
    sample = train.iloc[:3000]
    for j, name in enumerate(witness.columns):
        others = [other for other in witness.columns if other != name]
        x, y = codes(sample, others), codes(rows, others)
        at = NearestNeighbors(n_neighbors=5).fit(x).kneighbors(y)[1]
        own, seen = codes(rows, [name]), codes(sample, [name])
        out[:, j] = np.abs(own - seen[at].mean(axis=1)).sum(axis=1)
    return out


def main() -> int:
    """Run all, write the page, tell the goals."""
    everything: dict[str, Figures] = {}
    for name in TABLES:
        everything[name] = defaultdict(list)
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as work:
                for key, values in run(name, seed, Path(work)).items():
                    everything[name][key] += values
            print(name, seed, flush=True)
    text = _page(everything)
    write_section("faults", text)
    print(text)
    return 0


def _page(everything: dict[str, Figures]) -> str:
    makers = ("anomvae", "IsolationForest", "kNN")
    lines = ["\n| table, detector | " + " | ".join((*EASY, *HARD)) + " | false alarms |", "|---" * 9 + "|"]
    for name, figures in everything.items():
        for maker in makers:
            cells = [_percent(figures.get((maker, kind))) for kind in (*EASY, *HARD, "false alarms")]
            lines.append(f"| {name}, {maker} | " + " | ".join(cells) + " |")
    ours = list(everything.values())
    for told, kinds in (("easy", EASY), ("hard", HARD)):
        mean = np.mean([np.mean(f["anomvae", kind]) for f in ours for kind in kinds if ("anomvae", kind) in f])
        lines.append(f"\nMean recall of {told} kinds: {100 * mean:.1f} %.")
    lines += ["", "| culprit by | top-1 easy | top-1 hard | top-3 |", "|---|---|---|---|"]
    for maker in ("repair", "raw residual", "|robust z|", "kNN imputer"):
        cells = [
            _percent([v for f in ours for v in f.get((maker, what), [])])
            for what in ("top-1 easy", "top-1 hard", "top-3")
        ]
        lines.append(f"| {maker.replace('|', chr(92) + '|')} | " + " | ".join(cells) + " |")
    coverage = [v for f in ours for v in f["anomvae", "coverage"]]
    ratio = [v for f in ours for v in f["anomvae", "error ratio"]]
    lines.append(
        f"\nThe 90 % interval of the expected value covers {100 * min(coverage):.1f} to {100 * max(coverage):.1f} % of "
        f"clean rows ({100 * np.mean(coverage):.1f} % in the mean); its median error is {np.mean(ratio):.2f} of that "
        f"of the column's mean where the column can be predicted (at most {max(ratio):.2f}).\n"
    )
    return "\n".join(lines)


def _percent(values: list[float] | None) -> str:
    return f"{100 * float(np.mean(values)):.1f}" if values else "-"


if __name__ == "__main__":
    sys.exit(main())
