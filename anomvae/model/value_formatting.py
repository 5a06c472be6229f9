"""How the training text wrote its values, so that synthetic rows are written alike."""

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
from anomvae.model.schema import Column, Schema, Values
from anomvae.model.value_parsing import NumberFormat

LOOKED_AT = 2000  # cells of a column that tell how it is written
_ISO_STYLE = re.compile(r"\d{4}-\d\d-\d\d(?:([T ])\d\d:\d\d(:\d\d)?(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?)?").fullmatch


class Style(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column writes: `date` (strftime) and `zone` of dates, the words of booleans, trailing zeros."""

    date: str = ""
    zone: str = ""
    true: str = "true"
    false: str = "false"
    padded: bool = True


def fit_style(column: Column, texts: Sequence[str]) -> Style:
    """The style of a column, from its training cells."""
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
    if column.kind == "numeric":
        # Two decimals in every cell, or only as many as a value needs.
        return Style(
            padded=len({value_parsing.decimals(text.replace(",", ".")) for text in seen}) == 1
            or any(_trailing(t) for t in seen)
        )
    return Style()


def _trailing(text: str) -> bool:
    return bool(re.search(r"[.,]\d*0$", text)) and not re.search(r"[.,]0$", text)


def _date_style(column: Column, seen: Sequence[str]) -> Style:
    if column.date_format != value_parsing.ISO:
        return Style(date=column.date_format)
    shapes = Counter(match.groups() for text in seen if (match := _ISO_STYLE(text)))
    between, second, fraction, zone = shapes.most_common(1)[0][0] if shapes else ("T", ":00", None, None)
    time = "" if not between else between + "%H:%M" + ("%S" and ":%S" if second else "") + (".%f" if fraction else "")
    return Style(date="%Y-%m-%d" + time, zone=zone or "")


def write(column: Column, style: Style, values: Values, numbers: NumberFormat) -> list[str]:
    """Typed values (n,) as the training text would have them; gaps are empty."""
    if values.dtype == object:
        return [str(value) for value in values]
    floats = np.asarray(values, dtype=np.float64)
    if column.kind == "boolean":
        return [style.true if v == 1 else style.false if v == 0 else "" for v in floats.tolist()]
    if column.kind == "datetime":
        return _dates(floats, style)
    return _numbers(column, style, floats, numbers)


def _dates(values: Floats, style: Style) -> list[str]:
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
    gaps = np.isnan(values)
    plain = np.where(gaps, 0.0, values).tolist()
    if column.digits is None:
        texts = [repr(value) for value in plain]
    else:
        texts = (f"%.{column.digits}f\n" * len(plain) % tuple(plain)).split("\n")[:-1]
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


def fit_styles(schema: Schema, texts: Mapping[str, Sequence[str]]) -> dict[str, Style]:
    """The style of every modelled column."""
    return {column.name: fit_style(column, texts[column.name]) for column in schema.modelled}


def plain(column: Column, values: Values) -> list[Any]:
    """Values as Python's own: None for a gap."""
    if values.dtype == object:
        return [text or None for text in values.tolist()]
    kinds = {"integer": int, "boolean": bool, "numeric": float, "datetime": float}
    kind: Any = kinds[column.kind]
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return [None if math.isnan(value) else kind(value) for value in numbers]
