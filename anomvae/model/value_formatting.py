"""Typed values to text: generated rows as the training text was written, and single values in explanations."""

import math
from typing import Any

import msgspec
import numpy as np

from anomvae.model.arrays import Floats
from anomvae.model.encoder import Feature
from anomvae.model.number_format import Affix, NumberFormat
from anomvae.model.schema import EMPTY, USUAL, Column, Marks, Values, limit_of


def format_values(column: Column, values: Values, marks: Marks | None = None) -> list[str]:
    """Typed values as the training text would have them.

    Args:
        column: the column.
        values: (n,).
        marks: (n,) how each cell is to be written; None: as nearly all cells of training.

    Returns:
        The cells (n,), "" for missing values without a mark.
    """
    if values.dtype == object:
        return [str(value) for value in values]
    floats = np.asarray(values, dtype=np.float64)
    if column.kind == "boolean":
        return [column.true if v == 1 else column.false if v == 0 else "" for v in floats.tolist()]
    texts = _dates(column, floats) if column.kind == "datetime" else _numbers(column, floats)
    return texts if marks is None else [_marked(column, *cell) for cell in zip(texts, floats, marks, strict=True)]


def _dates(column: Column, seconds: Floats) -> list[str]:
    """Seconds since 1970 (n,) as the column writes its dates."""
    unique, index = np.unique(seconds, return_inverse=True)
    texts = ["" if math.isnan(value) else column.dates[0].write(value) for value in unique.tolist()]
    return [texts[i] for i in index.tolist()]


def _numbers(column: Column, values: Floats) -> list[str]:
    """Numbers (n,) as the column writes them."""
    gaps = np.isnan(values)
    texts = column.number.write_column(np.where(gaps, 0.0, values).tolist())
    if gaps.any():
        texts = ["" if gap else text for text, gap in zip(texts, gaps.tolist(), strict=True)]
    return texts


def _marked(column: Column, text: str, value: float, mark: str) -> str:
    """A cell as its mark says: the text of a gap, a limit of detection, or a number with another unit.

    Args:
        column: the column.
        text: the cell as nearly all of training were written, "" for a gap.
        value: its value.
        mark: how it is to be written.
    """
    if math.isnan(value):
        return mark if column.is_gap(mark) else ""
    if mark in (USUAL, EMPTY) or column.is_gap(mark):
        return text
    sign, unit = mark_parts(mark)
    return sign + (_with_unit(column.number, unit).write(value) if unit else text)


def mark_parts(mark: str) -> tuple[str, str]:
    """The sign of a limit of detection, and the unit, that a mark is made of."""
    sign, _ = limit_of(mark + " ") or ("", mark)  # a limit has something behind its sign
    return sign, mark.removeprefix(sign).strip()


def _with_unit(number: NumberFormat, unit: str) -> NumberFormat:
    """The same format with another unit in the place of its own; `no X` is the format without it."""
    prefix, suffix = number.affix
    if unit.startswith("no "):
        return msgspec.structs.replace(number, affix=Affix())
    if suffix.strip():
        return msgspec.structs.replace(number, affix=Affix(prefix, suffix.replace(suffix.strip(), unit)))
    return msgspec.structs.replace(number, affix=Affix(prefix.replace(prefix.strip(), unit), suffix))


def python_values(column: Column, values: Values) -> list[Any]:
    """Typed values (n,) as Python's own str, int, float or bool; None where missing, seconds since 1970 for dates."""
    if values.dtype == object:
        return [text or None for text in values.tolist()]
    whole = column.kind == "integer" or (column.kind == "counter" and column.digits == 0)
    kind: Any = bool if column.kind == "boolean" else int if whole else float
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return [None if math.isnan(value) else kind(value) for value in numbers]


def unit_text(column: Column, feature: Feature, unit: int) -> str:
    """The value that a unit of a category stands for, as people would write it.

    Args:
        column: the column.
        feature: the category that encodes it, or a part of it.
        unit: index of the unit among those of the feature.
    """
    level = (*feature.levels, *feature.rare[:1])[unit]
    if feature.part == "mark":
        return mark_text(level)
    if feature.part == "era":
        return "a usual date" if level == "usual" else "an odd date"
    if feature.part == "step":
        known = f"a step of at most {step_size(column, feature.high)}"
        return known if feature.bounds_only else step_text(column, float(level))
    if feature.part != "value":
        return f"{feature.part} {level}"
    if column.kind == "boolean":
        return column.true if float(level) else column.false
    return level if column.kind == "categorical" else number_text(column, float(level))


def mark_text(mark: str) -> str:
    """What the mark of a cell means, for people."""
    return {USUAL: "written as usual", EMPTY: "an empty cell"}.get(mark, f"written with {mark}")


def number_text(column: Column, value: float) -> str:
    """A number as its column writes it, with six significant digits where the column has no fixed decimals."""
    number = column.number
    return number.write(float(f"{value:.6g}") if number.digits is None else value)


def step_text(column: Column, step: float) -> str:
    """The step of a counter, as a reason names it."""
    return f"step {step_size(column, step)}"


def step_phrase(column: Column, step: float) -> str:
    """How a counter came to its value from the row before, empty where that is not known."""
    if math.isnan(step):
        return ""
    return f"falls by {step_size(column, -step)} from the row before" if step < 0 else step_text(column, step)


def step_size(column: Column, step: float) -> str:
    """A step as its counter is written; of a date in seconds."""
    return f"{step:.6g} s" if column.kind == "datetime" else number_text(column, step)


def marked_text(column: Column, value: float, mark: str) -> str:
    """A number as its column writes it, with a mark such as `<` or another unit."""
    return _marked(column, number_text(column, value), value, mark)
