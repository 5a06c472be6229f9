"""Keyed 64-bit hashes of rows: how a model recognises a copy of a training row without keeping any row.

Only the rows that occur once in training are remembered. A row that occurs twice or more belongs to no one alone, so
its copies are allowed.
"""

import hashlib
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Bools
from anomvae.model.schema import Values

Hashes = NDArray[np.uint64]


def row_hashes(columns: Mapping[str, Values], key: int) -> Hashes:
    """A hash of every row (n,) of typed columns, each (n,); another key gives other hashes."""
    names = sorted(columns)
    total = np.full(len(columns[names[0]]), key, dtype=np.uint64)
    for name in names:
        total = _mixed(total ^ _cell_hashes(columns[name], key))
    return total


def _cell_hashes(values: Values, key: int) -> Hashes:
    """Text hashed with the key (BLAKE2b), numbers as their bits; missing numbers are all alike."""
    if values.dtype == object:
        texts = values.tolist()
        table = {text: _text_hash(text, key) for text in set(texts)}
        return np.array([table[text] for text in texts], dtype=np.uint64)
    numbers = np.asarray(values, dtype=np.float64) + 0.0
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)


def _text_hash(text: str, key: int) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=key.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")


def _mixed(state: Hashes) -> Hashes:
    """Change every bit of the output with every bit of the input.

    This is the finaliser of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014).
    """
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


class UniqueRows(msgspec.Struct, frozen=True):
    """The training rows that occur once: their sorted `hashes` (k,) and the `key` that these were made with."""

    key: int
    hashes: Hashes

    def contains(self, columns: Mapping[str, Values]) -> Bools:
        """Which rows (n,) of typed columns equal one of these training rows."""
        hashes = row_hashes(columns, self.key)
        found = np.searchsorted(self.hashes, hashes)
        inside = found < len(self.hashes)
        copies = np.zeros(len(hashes), dtype=bool)
        copies[inside] = self.hashes[found[inside]] == hashes[inside]
        return copies


def find_unique_rows(columns: Mapping[str, Values], key: int) -> UniqueRows:
    """Hash the training rows (n) and keep the hashes of those that occur once."""
    hashes, counts = np.unique(row_hashes(columns, key), return_counts=True)
    return UniqueRows(key, np.asarray(hashes[counts == 1]))
