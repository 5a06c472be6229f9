"""Rows of numbers that are square images, such as handwritten digits: one row as a picture for `generate --show`."""

import numpy as np

from anomvae.errors import UsageError
from anomvae.model.schema import Schema
from anomvae.synthesis.generator import Columns, Generator
from anomvae.synthesis.records import Picture
from anomvae.table.writer import TableStyle

MIN_SIDE = 4  # pixels


def image_side(schema: Schema) -> int:
    """Pixels on one side of the images that the rows of a table are.

    Raises:
        UsageError: the rows are no square images.
    """
    modelled = schema.modelled
    side = round(len(modelled) ** 0.5)
    numbers = all(column.kind in ("numeric", "integer") for column in modelled)
    if side < MIN_SIDE or side * side != len(modelled) or not numbers:
        raise UsageError("--show draws rows of 16, 25, ... 64 ... numbers as square images; these rows are none.")
    return int(side)


def picture_of(columns: Columns, i: int, side: int, generator: Generator, style: TableStyle) -> Picture:
    """One row as an image, the first pixel at the top left.

    Args:
        columns: typed columns (n,) by name, one for each pixel.
        i: the row.
        side: pixels on one side of the image.
        generator: its training range is the range of the shades: 0 the smallest value of any pixel, 1 the largest.
        style: how cells are written.

    Returns:
        The row's cells and shades, `side` of them for each line of the image.
    """
    row = {name: values[i : i + 1] for name, values in columns.items()}
    values = np.array([float(row[column.name][0]) for column in style.schema.modelled])
    low, high = generator.span()
    shades = np.clip(np.nan_to_num((values - low) / max(high - low, 1e-12)), 0.0, 1.0)
    cells = tuple(texts[0] for texts in style.texts(row))
    return Picture(side=side, cells=cells, shades=tuple(np.round(shades, 3).tolist()))
