"""Folds for out-of-fold scores: blocks of neighbouring rows, because tomorrow's file is a new block.

Rows that follow each other are alike in most real tables; folds of single random rows then promise a
false-alarm rate that new files break three times over (docs/decisions.md, 5).
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Floats

Index = NDArray[np.intp]

FOLDS = 5
BLOCKS = 100
FILES = 15  # from this many files on, a block is a file


class Dependence(msgspec.Struct, frozen=True):
    """How rows depend on their neighbours.

    `correlation`: the largest lag-one rank autocorrelation of any encoded column; `length`: rows over
    which it lasts; `dependent`: whether it is more than chance among so many columns.
    """

    correlation: float
    length: int
    dependent: bool


def dependence(x: Floats) -> Dependence:
    """Test whether rows depend on their neighbours.

    Args:
        x: encoded rows (n, units) in file order.
    """
    n, units = x.shape
    moving = np.flatnonzero(x.std(axis=0) > 0)
    if n < 20 or not len(moving):
        return Dependence(0.0, 1, False)
    lagged = np.array([_lagged(_ranks(x[:, j])) for j in moving])
    correlation = float(lagged[np.argmax(np.abs(lagged))])
    critical = np.sqrt(2 * np.log(2 * max(units, 1) / 0.01)) / np.sqrt(n)
    dependent = bool(abs(correlation) > max(critical, 0.05))
    telling = moving[np.abs(lagged) > critical]
    length = _length(np.column_stack([_ranks(x[:, j]) for j in telling])) if dependent else 1
    return Dependence(correlation, length, dependent)


def _lagged(z: Floats) -> float:
    """Autocorrelation at lag one of standardised values (n,)."""
    return float((z[1:] * z[:-1]).mean())


def _ranks(column: Floats) -> Floats:
    """Standardised ranks (n,); equal values share theirs, since a stable sort would rank them by their place."""
    _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - 0.5 * (counts + 1))[index]
    return np.asarray((ranks - ranks.mean()) / (ranks.std() or 1.0))


def _length(z: Floats) -> int:
    """Rows after which no column's autocorrelation is above 0.1, at most a twentieth of the table."""
    n = len(z)
    most = max(n // 20, 1)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(z, size, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum, axis=0)[:most] / n
    alike = np.flatnonzero((correlation > 0.1).any(axis=1))
    return int(alike[-1]) + 1 if len(alike) else 1


def block_ids(n: int, length: int, files: Index | None = None) -> Index:
    """Block of every row (n,): files where there are many, else runs of some hundred equal parts.

    Args:
        n: rows.
        length: rows over which neighbours are alike; blocks are five times as long where the table allows.
        files: index of the file of each row.
    """
    if files is not None and len(np.unique(files)) >= FILES:
        return np.unique(files, return_inverse=True)[1].astype(np.intp)
    size = int(np.clip(5 * length, np.ceil(n / BLOCKS), max(n // (2 * FOLDS), 1)))
    return np.arange(n, dtype=np.intp) // size


def deal(blocks: Index, rng: np.random.Generator) -> Index:
    """Fold of every row: each run of five blocks is dealt to the five folds in random order."""
    count = int(blocks.max()) + 1
    order = np.concatenate([rng.permutation(FOLDS) for _ in range(count // FOLDS + 1)])
    return np.asarray(order[:count][blocks], dtype=np.intp)


def training_pools(folds: Index, length: int) -> NDArray[np.bool_]:
    """Which rows each member trains on (members, n): outside its fold, and not its near neighbours.

    Rows within `length` of a held-out row are purged (Lopez de Prado 2018, chapter 7), so that a block is as
    new to its member as tomorrow's file; independent rows (length 1) lose nothing.
    """
    held_out = np.arange(int(folds.max()) + 1)[:, None] == folds
    near = held_out.copy()
    counts = np.cumsum(np.pad(held_out.astype(np.intp), ((0, 0), (length, length))), axis=1)
    if length > 1:
        window = 2 * length - 1
        padded = np.pad(counts, ((0, 0), (1, 0)))
        near = (padded[:, window + 1 : window + 1 + len(folds)] - padded[:, 1 : 1 + len(folds)]) > 0
    return np.asarray(~near)
