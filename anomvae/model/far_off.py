"""Training numbers that are so far off all others that no scale, sum or figure survives them: 1e308 among prices.

Such a cell is a fault of the file, as one that cannot be read is, and not a value to learn from.
"""

from collections.abc import Mapping

import numpy as np

from anomvae.model.arrays import Floats, Ints
from anomvae.model.schema import Schema, Values, as_floats

TIMES = 1e6  # so many times as far from the median as all cells but the lone ones are
LONE, LONE_SHARE = 2, 0.005  # so few cells may be far off, or this share of a long column; more are its distribution
LARGEST = 1e150  # the square of a larger number overflows


def far_off(schema: Schema, columns: Mapping[str, Values]) -> dict[int, str]:
    """The rows with a number that is far off, each with the first such column.

    Args:
        schema: what the columns are.
        columns: typed training values by name, each of shape (n,).
    """
    found: dict[int, str] = {}
    for column in schema.modelled:
        if column.kind in ("numeric", "integer"):
            for row in _far_cells(as_floats(columns[column.name])).tolist():
                found.setdefault(row, column.name)
    return dict(sorted(found.items()))


def _far_cells(values: Floats) -> Ints:
    """Indices of the numbers (n,) that are far off the others."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return known
    present = np.clip(values[known], -LARGEST, LARGEST)
    center = float(np.median(present))
    distance = np.abs(present - center)
    lone = max(LONE, int(LONE_SHARE * len(known)))
    usual = float(np.sort(distance)[-lone - 1]) if len(known) > lone else float(distance.max())
    limit = TIMES * (usual or max(abs(center), 1.0))
    return known[(distance > limit) | (np.abs(values[known]) > LARGEST)]
