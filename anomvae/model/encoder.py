"""Typed columns to the numeric matrix that the network reads, with scales and levels fitted on training rows.

The matrix holds the encoded values first, then one mask bit per feature (1 = hidden, or a gap where training had
none). Among the values a number takes one unit, a category one unit per level (all zeros: a value never seen), and a
column that had gaps in training one more unit, "is missing".

Dates become categories that recur: the hour, the weekday, the month where training covers a year, and an
era that only a date far outside training leaves. Numbers with few different values become categories too
as long as the table stays narrow (docs/decisions.md, "Numbers with at most 12 values are categories").

Of a counter the step from the row before is encoded (`counters.py`), like a number; of a date that never falls it is
encoded besides. A step that is not known, as in the first row of a file, is hidden from the network and never new.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import DataError
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.schema import Column, Schema, Values, as_floats, as_marks, part_key

Part = Literal["value", "hour", "weekday", "month", "era", "mark", "step"]
SECOND = ("mark", "step")  # parts that are typed columns of their own

TOP_LEVELS = 40  # units a category takes at most; rarer levels share one
DISCRETE_LEVELS = 12  # values that a number has at most to become a category
FEW_LEVELS = 37  # values that look like a grid;
GRID_UNITS = 256  # where all such columns have more of them the table is like an image, and numbers stay numbers
CLIP = 1e6  # standard units; keeps every later number finite
TEN_YEARS = 10 * 365.25 * 86400


class Feature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One column, or one part of a date, as the network sees it.

    A number is centred on `center` and divided by `scale`; where there is a `unit`, that is done to the inverse
    hyperbolic sine of the number in this unit, which is the number itself where it is small and a logarithm where it is
    large. A category has one unit per value of `levels` (text, or
    numbers written with repr), and one more that all values of `rare` share. `gaps`: training had missing values.
    `marked`: a feature for the marks of the column tells of its gaps, so that this one does not.
    `low`, `high`: the range of a number in training, or of the dates that count as usual.
    """

    column: str
    part: Part = "value"
    numeric: bool = False
    center: float = 0.0
    scale: float = 1.0
    unit: float = 0.0
    levels: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    gaps: bool = False
    marked: bool = False
    low: float = 0.0
    high: float = 0.0

    def scaled(self, numbers: Floats) -> Floats:
        """Numbers (n,) in the units of the network."""
        seen = np.arcsinh(numbers / self.unit) if self.unit else numbers
        return np.asarray((seen - self.center) / self.scale)

    def unscaled(self, units: Floats) -> Floats:
        """The numbers (n,) that stand for units of the network, within the training range."""
        seen = units * self.scale + self.center
        if self.unit:
            ends = np.arcsinh(np.array([self.low, self.high]) / self.unit)
            seen = np.sinh(np.clip(seen, *ends)) * self.unit
        return np.asarray(np.clip(seen, self.low, self.high))

    @property
    def source(self) -> str:
        """The key of the typed column that it is made from."""
        return part_key(self.column, self.part) if self.part in SECOND else self.column

    @cached_property
    def units(self) -> int:
        """Units of its value, without the one for "is missing"."""
        return 1 if self.numeric else len(self.levels) + bool(self.rare)


class Encoding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """The fitted features, in column order."""

    features: tuple[Feature, ...]

    @cached_property
    def width(self) -> int:
        """Units of all values together, without the mask bits."""
        return sum(feature.units + feature.gaps for feature in self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The original columns, in order, each once."""
        return tuple(dict.fromkeys(feature.column for feature in self.features))

    @cached_property
    def steps(self) -> dict[int, int]:
        """The column of `Encoded.steps` that every feature made of steps has, by the index of the feature."""
        features = [j for j, feature in enumerate(self.features) if feature.part == "step"]
        return {j: at for at, j in enumerate(features)}

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first unit of every feature."""
        widths = [feature.units + feature.gaps for feature in self.features]
        return (0, *np.cumsum(widths)[:-1].tolist())

    @cached_property
    def owner(self) -> Ints:
        """Index into `columns` of every feature, shape (features,)."""
        position = {name: i for i, name in enumerate(self.columns)}
        return np.array([position[feature.column] for feature in self.features], dtype=np.intp)

    @cached_property
    def features_of(self) -> tuple[tuple["PlacedFeature", ...], ...]:
        """The features of every original column, in the order of `columns`."""
        found: dict[str, list[PlacedFeature]] = {name: [] for name in self.columns}
        for j, (feature, start) in enumerate(zip(self.features, self.offsets, strict=True)):
            found[feature.column].append(PlacedFeature(j, feature, start))
        return tuple(map(tuple, found.values()))

    @cached_property
    def units_of(self) -> tuple[tuple[Ints, Ints], ...]:
        """Of every original column, in the order of `columns`: the units of its values, and those of its mask bits."""
        found = []
        for features in self.features_of:
            values = [np.arange(start, start + feature.units + feature.gaps) for _, feature, start in features]
            masks = np.array([self.width + position for position, _, _ in features], dtype=np.intp)
            found.append((np.concatenate(values), masks))
        return tuple(found)


class PlacedFeature(NamedTuple):
    """A feature, its position among the features, and its first unit."""

    position: int
    feature: Feature
    start: int


class Encoded(msgspec.Struct, frozen=True):
    """Encoded rows.

    `inputs` (n, width + features): what the network reads, the encoded values and then the mask bits.
    `level` (n, features): the category's unit, -1 for numbers, gaps, and values never seen.
    `novel` (n, features): true for a value never seen, or a gap where training had none.
    `gap` (n, features): true for a missing value.
    `far` (n, features): true for a number more than the training range outside of that range.
    `steps` (n, counters): the step of every counter as it is, NaN where it is not known, in the order of
    `Encoding.steps`.
    """

    inputs: Floats
    level: NDArray[np.int32]
    novel: Bools
    gap: Bools
    far: Bools
    steps: Floats

    @property
    def x(self) -> Floats:
        """The encoded values (n, width), a view of `inputs`."""
        return self.inputs[:, : self.inputs.shape[1] - self.gap.shape[1]]

    @property
    def hidden(self) -> Floats:
        """The mask bits (n, features), a view of `inputs`: 1 where the value is not there to be seen."""
        return self.inputs[:, self.inputs.shape[1] - self.gap.shape[1] :]

    def take(self, rows: Ints | slice) -> "Encoded":
        """The chosen rows."""
        return Encoded(*(getattr(self, name)[rows] for name in self.__struct_fields__))

    def __len__(self) -> int:
        return len(self.inputs)


def fit_encoding(schema: Schema, columns: Mapping[str, Values], *, discrete: bool = True) -> Encoding:
    """Learn scales and levels from training columns.

    Args:
        schema: what the columns are.
        columns: typed values by name, each of shape (n,).
        discrete: whether numbers with few different values become categories.
    """
    few = _few_valued(schema, columns) if discrete else {}
    features: list[Feature] = []
    for column in schema.modelled:
        values = columns[column.name]
        if column.kind == "categorical":
            features.append(_categories(column.name, "value", np.asarray(values, dtype=object)))
        elif column.kind == "datetime":
            features += _date_features(column, np.asarray(values, dtype=np.float64))
        elif column.kind == "boolean" or column.name in few:
            features.append(_categories(column.name, "value", _written(np.asarray(values, dtype=np.float64))))
        elif column.kind != "counter":
            features.append(_number(column.name, np.asarray(values, dtype=np.float64)))
        if column.marks:
            features.append(_categories(column.name, "mark", as_marks(columns, column.name)))
        if column.counter:
            features.append(_step(column, as_floats(columns[part_key(column.name, "step")]), discrete=discrete))
    marked = {feature.column for feature in features if feature.part == "mark"}
    return Encoding(features=tuple(_without_gaps(f) if f.column in marked else f for f in features))


def _without_gaps(feature: Feature) -> Feature:
    """A feature of a column with marks, which tell of its gaps."""
    return msgspec.structs.replace(feature, gaps=False, marked=feature.part != "mark")


def encode(encoding: Encoding, columns: Mapping[str, Values]) -> Encoded:
    """Encode typed columns, each of shape (n,), with a fitted encoding."""
    n = len(next(iter(columns.values())))
    count = len(encoding.features)
    out = Encoded(
        np.zeros((n, encoding.width + count)),
        np.full((n, count), -1, dtype=np.int32),
        np.zeros((n, count), dtype=bool),
        np.zeros((n, count), dtype=bool),
        np.zeros((n, count), dtype=bool),
        np.zeros((n, len(encoding.steps))),
    )
    for j, at in encoding.steps.items():
        out.steps[:, at] = columns[encoding.features[j].source]
    for j, (feature, at) in enumerate(zip(encoding.features, encoding.offsets, strict=True)):
        _encode_feature(out, PlacedFeature(j, feature, at), columns[feature.source])
    return out


def _encode_feature(out: Encoded, placed: PlacedFeature, values: Values) -> None:
    """Write one feature of all rows into `out`."""
    j, feature, at = placed
    x, hidden = out.x, out.hidden
    if feature.numeric:
        numbers = np.asarray(values, dtype=np.float64)
        gap = np.isnan(numbers)
        scaled = np.clip(feature.scaled(numbers), -CLIP, CLIP)
        x[:, at] = np.where(gap, 0.0, scaled)
    else:
        texts = part_texts(feature, values)
        gap = texts == ""
        position = {level: i for i, level in enumerate(feature.levels)}
        position |= dict.fromkeys(feature.rare, len(feature.levels))
        level = np.array([position.get(text, -1) for text in texts], dtype=np.intp)
        out.level[:, j] = level
        seen = np.flatnonzero(level >= 0)
        x[seen, at + level[seen]] = 1.0
        out.novel[:, j] = (level < 0) & ~gap
    out.gap[:, j] = gap
    if feature.part in ("value", "step") and values.dtype != object:
        out.far[:, j] = _far(feature, np.asarray(values, dtype=np.float64))
    if feature.gaps:
        x[:, at + feature.units] = gap
    else:
        hidden[:, j] = gap
        if feature.part != "step":
            out.novel[:, j] |= gap & (not feature.marked)


def _far(feature: Feature, values: Floats) -> Bools:
    """Where a number (n,) is further outside the training range than that range is wide."""
    known = (feature.low, feature.high) if feature.numeric else tuple(map(float, (*feature.levels, *feature.rare)))
    low, high = min(known), max(known)
    return np.asarray((values < low - (high - low)) | (values > high + (high - low)))


def part_texts(feature: Feature, values: Values) -> NDArray[np.object_]:
    """The category that a feature makes of its column's values, as text, "" where missing."""
    if feature.part in ("value", "mark", "step"):
        return np.asarray(values, dtype=object) if values.dtype == object else _written(values)
    seconds = np.asarray(values, dtype=np.float64)
    if feature.part == "era":
        usual = (seconds >= feature.low) & (seconds <= feature.high)
        return np.where(np.isnan(seconds), "", np.where(usual, "usual", "far")).astype(object)
    return np.array([_date_part(value, feature.part) for value in seconds], dtype=object)


def _date_part(value: float, part: Part) -> str:
    if np.isnan(value):
        return ""
    moment = datetime.fromtimestamp(value, UTC)
    return str({"hour": moment.hour, "weekday": moment.isoweekday(), "month": moment.month}[part])


def _written(values: Values) -> NDArray[np.object_]:
    """Numbers as text that names a level; -0.0 is 0.0; "" for a gap."""
    return np.array(["" if np.isnan(value) else repr(float(value) + 0.0) for value in values], dtype=object)


def _few_valued(schema: Schema, columns: Mapping[str, Values]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for column in schema.modelled:
        if column.kind in ("numeric", "integer"):
            values = np.asarray(columns[column.name], dtype=np.float64)
            distinct = len(np.unique(values[~np.isnan(values)]))
            if distinct <= min(FEW_LEVELS, max(1, len(values) // 10)):
                counts[column.name] = distinct
    if sum(counts.values()) > GRID_UNITS:
        return {}
    return {name: distinct for name, distinct in counts.items() if distinct <= DISCRETE_LEVELS}


def _number(name: str, values: Floats) -> Feature:
    present = values[~np.isnan(values)]
    low, high = np.quantile(present, (0.005, 0.995))
    # 5.15 standard deviations lie between these quantiles of a normal distribution.
    scale = float(high - low) / 5.15 or float(present.std()) or 1.0
    return Feature(
        column=name,
        numeric=True,
        center=float(np.median(present)),
        scale=scale if np.isfinite(scale) else 1.0,
        gaps=len(present) < len(values),
        low=float(present.min()),
        high=float(present.max()),
    )


def _step(column: Column, steps: Floats, *, discrete: bool) -> Feature:
    """The step (n,) of a counter: a category where it takes few values, as that of a sequence number does.

    Raises:
        DataError: no row has a step.
    """
    present = steps[~np.isnan(steps)]
    if not len(present):
        message = "no row has a row before it with a value, so that this counter has no step; leave it out (--drop)"
        raise DataError("nothing_to_learn", message, column=column.name)
    distinct = len(np.unique(present))
    if discrete and distinct <= min(DISCRETE_LEVELS, max(1, len(present) // 10)):
        return _categories(column.name, "step", _written(present))
    moved = np.abs(present[present != 0])
    unit = float(np.median(moved)) if len(moved) else 1.0
    curved = _number(column.name, np.arcsinh(present / unit))
    return msgspec.structs.replace(curved, part="step", unit=unit, low=float(present.min()), high=float(present.max()))


def _categories(name: str, part: Part, texts: NDArray[np.object_], low: float = 0.0, high: float = 0.0) -> Feature:
    counts = Counter(str(text) for text in texts if text != "")
    ranked = tuple(sorted(counts, key=lambda text: (-counts[text], text)))
    top = len(ranked) if len(ranked) <= TOP_LEVELS else TOP_LEVELS - 1
    gaps = bool((texts == "").any())
    return Feature(column=name, part=part, levels=ranked[:top], rare=ranked[top:], gaps=gaps, low=low, high=high)


def _date_features(column: Column, seconds: Floats) -> list[Feature]:
    present = seconds[~np.isnan(seconds)]
    span = float(present.max() - present.min())
    low, high = float(present.min()) - span - 86400, float(present.max()) + span + TEN_YEARS
    era = Feature(column=column.name, part="era", low=low, high=high)
    features = [_categories(column.name, "era", part_texts(era, seconds), low, high)]
    parts: list[Part] = ["weekday"] if span > 14 * 86400 else []
    if np.any(present % 86400 != 0):
        parts.append("hour")
    if span > 365 * 86400:
        parts.append("month")
    for part in parts:
        features.append(_categories(column.name, part, part_texts(Feature(column=column.name, part=part), seconds)))
    return features
