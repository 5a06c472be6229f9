"""Typed values to text: generated rows as the training text was written, and single values in explanations.

How a column was written (the format of its dates, its words for true and false, trailing zeros) is its `Style`, fitted
to its first training cells.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from anomvae.model import value_parsing
from anomvae.model.arrays import Floats
from anomvae.model.encoder import Feature
from anomvae.model.schema import Column, Schema, Values
from anomvae.model.value_parsing import NumberFormat

LOOKED_AT = 2000  # cells of a column that its style is fitted to
_ISO_STYLE = re.compile(r"\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d(:\d\d)?(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?").fullmatch


class Style(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the values of one column are written.

    `date`: format of dates, as for strftime; `zone`: the time zone behind it, such as "+02:00". `true`, `false`: the
    words of booleans. `padded`: numbers have all decimals of the column, zeros too.
    """

    date: str = ""
    zone: str = ""
    true: str = "true"
    false: str = "false"
    padded: bool = True


def fit_styles(schema: Schema, texts: Mapping[str, Sequence[str]]) -> dict[str, Style]:
    """The style of every modelled column."""
    return {column.name: fit_style(column, texts[column.name]) for column in schema.modelled}


def fit_style(column: Column, texts: Sequence[str]) -> Style:
    """The style of a column, from its training cells (n,)."""
    seen = [text.strip(" ") for text in texts[:LOOKED_AT] if text.strip(" ") not in value_parsing.MISSING]
    if column.kind == "datetime":
        return _date_style(column, seen)
    if column.kind == "boolean":
        words = Counter(seen)
        true, false = (
            [word for word, _ in words.most_common() if word.lower() in known]
            for known in (value_parsing.TRUE, value_parsing.FALSE)
        )
        return Style(true=true[0] if true else "true", false=false[0] if false else "false")
    if column.kind in ("numeric", "counter"):
        # Two decimals in every cell, or only as many as a value needs.
        equally_long = len({value_parsing.decimals(text.replace(",", ".")) for text in seen}) == 1
        return Style(padded=equally_long or any(map(_has_trailing_zero, seen)))
    return Style()


def _has_trailing_zero(text: str) -> bool:
    """Whether the last decimal is a 0, as in 2.50; a lone one, as in 2.0, shows nothing."""
    return bool(re.search(r"[.,]\d*0$", text)) and not re.search(r"[.,]0$", text)


def _date_style(column: Column, seen: Sequence[str]) -> Style:
    """The style of dates; among the ways to write ISO 8601 the one that is commonest in these cells."""
    if column.date_format != value_parsing.ISO:
        return Style(date=column.date_format)
    shapes = Counter(match.groups() for text in seen if (match := _ISO_STYLE(text)))
    between, second, fraction, zone = shapes.most_common(1)[0][0] if shapes else ("T", ":00", None, None)
    time = "" if not between else between + "%H:%M" + (":%S" if second else "") + (".%f" if fraction else "")
    return Style(date="%Y-%m-%d" + time, zone=zone or "")


def format_values(column: Column, style: Style, values: Values, numbers: NumberFormat) -> list[str]:
    """Typed values as the training text would have them.

    Args:
        column: the column.
        style: how its values are written.
        values: (n,).
        numbers: how numbers are written in this table.

    Returns:
        The cells (n,), "" for missing values.
    """
    if values.dtype == object:
        return [str(value) for value in values]
    floats = np.asarray(values, dtype=np.float64)
    if column.kind == "boolean":
        return [style.true if v == 1 else style.false if v == 0 else "" for v in floats.tolist()]
    if column.kind == "datetime":
        return _dates(floats, style)
    return _numbers(column, style, floats, numbers)


def _dates(values: Floats, style: Style) -> list[str]:
    """Seconds since 1970 (n,) as dates in the time zone of the style."""
    unique, index = np.unique(values, return_inverse=True)
    shift = timedelta()
    if style.zone not in ("", "Z"):
        hours, minutes = int(style.zone[1:3]), int(style.zone[4:6])
        shift = (-1 if style.zone[0] == "-" else 1) * timedelta(hours=hours, minutes=minutes)
    texts = [
        "" if np.isnan(v) else (datetime.fromtimestamp(v, UTC) + shift).strftime(style.date) + style.zone
        for v in unique.tolist()
    ]
    return [texts[i] for i in index.tolist()]


def _numbers(column: Column, style: Style, values: Floats, numbers: NumberFormat) -> list[str]:
    """Numbers (n,) with the decimals of their column."""
    gaps = np.isnan(values)
    present = np.where(gaps, 0.0, values).tolist()
    if column.digits is None:
        texts = [repr(value) for value in present]
    else:  # one long format is faster than one for each number
        texts = (f"%.{column.digits}f\n" * len(present) % tuple(present)).split("\n")[:-1]
    if column.digits and not style.padded:
        texts = [text.rstrip("0").rstrip(".") for text in texts]
    if numbers.thousands:
        texts = [_grouped(text, numbers.thousands) for text in texts]
    if numbers.decimal != ".":
        texts = [_with_decimal(text, numbers) for text in texts]
    if gaps.any():
        texts = ["" if gap else text for text, gap in zip(texts, gaps.tolist(), strict=True)]
    return texts


def _grouped(text: str, thousands: str) -> str:
    whole, point, rest = text.partition(".")
    if "e" in text or len(whole.lstrip("-")) < 5:
        return text
    return f"{int(whole):,}".replace(",", "\0").replace("\0", thousands if thousands != "." else "\1") + point + rest


def _with_decimal(text: str, numbers: NumberFormat) -> str:
    return text.replace(".", numbers.decimal).replace("\1", numbers.thousands)


def python_values(column: Column, values: Values) -> list[Any]:
    """Typed values (n,) as Python's own str, int, float or bool; None where missing, seconds since 1970 for dates."""
    if values.dtype == object:
        return [text or None for text in values.tolist()]
    kinds = {"integer": int, "boolean": bool, "numeric": float, "datetime": float, "counter": float}
    kind: Any = int if column.kind == "counter" and column.digits == 0 else kinds[column.kind]
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
    if feature.part == "era":
        return "a usual date" if level == "usual" else "an odd date"
    if feature.part == "step":
        return step_text(column, float(level))
    if feature.part != "value":
        return f"{feature.part} {level}"
    if column.kind == "boolean":
        return "true" if float(level) else "false"
    return level if column.kind == "categorical" else number_text(float(level), column.digits)


def step_text(column: Column, step: float) -> str:
    """The step of a counter, as a reason names it."""
    return f"step {step_size(column, step)}"


def step_phrase(column: Column, step: float) -> str:
    """How a counter came to its value from the row before, empty where that is not known."""
    if math.isnan(step):
        return ""
    return f"falls by {step_size(column, -step)} from the row before" if step < 0 else step_text(column, step)


def step_size(column: Column, step: float) -> str:
    """A step with the decimals of its counter; of a date in seconds."""
    return f"{step:.6g} s" if column.kind == "datetime" else number_text(step, column.digits)


def number_text(value: float, digits: int | None) -> str:
    """A number with the decimals of its column, or with six significant digits where these are unknown (None)."""
    return f"{value:.6g}" if digits is None else f"{value:.{digits}f}"
