"""Which synthetic rows are refused: those unlike training, and copies of a training row.

Copies are known by keyed 64-bit hashes of the rows that occur once in training; no row is kept. A row that occurs
twice or more tells nothing of anyone, so its copies pass.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from anomvae.model.arrays import Bools
from anomvae.model.detector import Detector
from anomvae.model.schema import Values
from anomvae.synthesis.generator import Generator

Hashes = NDArray[np.uint64]

UNLIKE = 1e-3  # a row with a smaller p-value is refused; about one normal row in a thousand has one


def row_hashes(columns: Mapping[str, Values], key: int) -> Hashes:
    """A keyed hash of every row (n,) of typed columns."""
    names = sorted(columns)
    total = np.full(len(columns[names[0]]), key, dtype=np.uint64)
    for name in names:
        total = _mixed(total ^ _cell_hashes(columns[name], key))
    return total


def _cell_hashes(values: Values, key: int) -> Hashes:
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
    """The finaliser of SplitMix64 (Steele et al. 2014): every bit of the input moves every bit of the output."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))


def lone_hashes(columns: Mapping[str, Values], key: int) -> Hashes:
    """Sorted hashes of the rows that occur once."""
    hashes, counts = np.unique(row_hashes(columns, key), return_counts=True)
    return np.asarray(hashes[counts == 1])


class PrivacyFilter:
    """Judges synthetic rows.

    Args:
        detector: what knows normal rows; its generator holds the hashes.
    """

    def __init__(self, detector: Detector) -> None:
        generator = detector.generator
        if not isinstance(generator, Generator):
            raise ValueError("a gate needs a model with a generator")
        self._detector, self._hashes, self._key = detector, generator.hashes, generator.key

    def find_refused(self, columns: Mapping[str, Values]) -> tuple[Bools, Bools]:
        """Which rows (n,) are unlike training, and which copy a training row."""
        unlike = self._detector.p_values(columns) < UNLIKE
        found = np.searchsorted(self._hashes, hashes := row_hashes(columns, self._key))
        inside = found < len(self._hashes)
        copies = np.zeros(len(hashes), dtype=bool)
        copies[inside] = self._hashes[found[inside]] == hashes[inside]
        return unlike & ~copies, copies
