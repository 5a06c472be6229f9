"""Columns that follow from others in every training row: found at fit, and kept in every synthetic row.

There are two kinds. A table: each level of one column decides the value of another (country -> currency). A formula: a
number is computed from one to three others (amount = quantity * price). A table counts as a dependency only where
chance would hardly ever give it; a formula must hold to the last written digit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.errors import UsageError
from anomvae.model.arrays import Floats
from anomvae.model.conditions import Constraint
from anomvae.model.schema import Column, Schema, Values, as_floats, as_texts, rounded

Form = Literal["table", "product", "sum", "difference", "ratio", "discounted", "linear"]

MAX_PARENT_LEVELS = 500
CHANCE = 1e-9  # of one accidental table in the whole search
PROBE_ROWS = 200  # they rule out nearly every formula before all rows are computed
MIN_VALUES = 5  # different ones that a computed number has
MAX_NUMBERS = 40  # a table with more numbers is not searched for formulas
MAX_TRIPLE_NUMBERS = 12  # nor one with more than these for formulas of three numbers

# Each computes a number (n,) from its parents, (n,) each. `linear` alone has coefficients: see `Dependency`.
FORMULAS: dict[Form, Callable[[Sequence[Floats]], Floats]] = {
    "product": lambda x: np.asarray(x[0] * x[1]),
    "sum": lambda x: np.asarray(x[0] + x[1]),
    "difference": lambda x: np.asarray(x[0] - x[1]),
    "ratio": lambda x: np.asarray(x[0] / x[1]),
    # An amount less a share of it, the amount being one number or the product of two: net = gross * (1 - tax).
    "discounted": lambda x: np.asarray(np.prod(x[:-1], axis=0) * (1 - x[-1])),
}


class Dependency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How `column` follows from its `parents`; `form` says whether by a table or by which formula.

    A table (one parent) has three lists of one length: the `levels` of the parent, the `values` that they decide
    (numbers as repr writes them, "" for a missing cell), and `counts`, the training rows of each level. `text` says
    whether the values are text or numbers.
    A formula is one of `FORMULAS` or the linear one, `slope` times the parent plus `offset`. The result is rounded to
    `digits` decimals, or not at all.
    """

    column: str
    parents: tuple[str, ...]
    form: Form
    levels: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    text: bool = False
    slope: float = 1.0
    offset: float = 0.0
    digits: int | None = None

    def describe(self) -> str:
        """The dependency as a reader would write it."""
        a = self.parents[0]
        texts = {
            "table": f"decided by {a}",
            "product": f"= {' * '.join(self.parents)}",
            "sum": f"= {' + '.join(self.parents)}",
            "difference": f"= {' - '.join(self.parents)}",
            "ratio": f"= {' / '.join(self.parents)}",
            "discounted": f"= {' * '.join(self.parents[:-1])} * (1 - {self.parents[-1]})",
            "linear": f"= {self.slope:.6g} * {a}" + (f" {self.offset:+.6g}" if self.offset else ""),
        }
        return f"{self.column} {texts[self.form]}"

    def compute(self, columns: Mapping[str, Values]) -> Values:
        """The column's values (n,) from its parents'."""
        if self.form == "table":
            return self._look_up(columns[self.parents[0]])
        return rounded(self.apply_formula([as_floats(columns[name]) for name in self.parents]), self.digits)

    def apply_formula(self, inputs: Sequence[Floats]) -> Floats:
        """The formula's result (n,), not rounded, from the parents' values, (n,) each."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.form == "linear":
                return self.slope * inputs[0] + self.offset
            return FORMULAS[self.form](inputs)

    def _look_up(self, parent: Values) -> Values:
        table = dict(zip(self.levels, self.values, strict=True))
        unique, index = np.unique(as_texts(parent), return_inverse=True)
        texts = np.array([table.get(str(level), "") for level in unique], dtype=object)[index]
        return texts if self.text else _floats(texts)


def find_dependencies(schema: Schema, columns: Mapping[str, Values]) -> tuple[Dependency, ...]:
    """Find every column that follows from others in all training rows.

    Args:
        schema: what the columns are.
        columns: typed values by name, (n,) each.

    Returns:
        The dependencies, ordered so that a column is computed after its parents.
    """
    found = _tables(schema, columns)
    children = {item.column for item in found}
    free = [column for column in schema.modelled if column.name not in children]
    return (*_formulas(free, columns), *found)


def fill_in(dependencies: Sequence[Dependency], columns: dict[str, Values]) -> None:
    """Fill in the columns that follow from others, in place."""
    for item in dependencies:
        columns[item.column] = item.compute(columns)


def _tables(schema: Schema, columns: Mapping[str, Values]) -> list[Dependency]:
    """Columns that the levels of another one decide."""
    n = len(next(iter(columns.values())))
    coded: dict[str, tuple[NDArray[np.object_], NDArray[np.intp]]] = {}
    for column in schema.modelled:
        if column.kind != "datetime":
            texts, codes = np.unique(as_texts(columns[column.name]), return_inverse=True)
            if 1 < len(texts) <= MAX_PARENT_LEVELS and len(texts) <= n // 3:
                coded[column.name] = texts, codes
    limit = np.log(CHANCE / max(len(coded), 1) ** 2)
    # The parent with the most levels decides the most; of two that decide each other the first column is the parent.
    order = sorted(coded, key=lambda name: -len(coded[name][0]))
    children: dict[str, Dependency] = {}
    for parent in order:
        if parent not in children:
            for name in coded:
                if name != parent and name not in children and not any(name in c.parents for c in children.values()):
                    item = _table(name, parent, coded, columns, limit)
                    children |= {name: item} if item else {}
    return list(children.values())


def _table(
    name: str, parent: str, coded: dict[str, tuple[NDArray[np.object_], NDArray[np.intp]]],
    columns: Mapping[str, Values], limit: float,
) -> Dependency | None:  # fmt: skip
    """The table parent -> name, where every level of the parent has one value and chance is ruled out."""
    (levels, a), (values, b) = coded[parent], coded[name]
    n = len(a)
    if len(np.unique(a * len(values) + b)) != len(levels):
        return None
    agree = float(((np.bincount(b) / n) ** 2).sum())
    if (n - len(levels)) * np.log(agree) > limit:
        return None
    first = np.zeros(len(levels), dtype=np.intp)
    first[a] = b
    texts = tuple(str(text) for text in levels), tuple(str(values[i]) for i in first)
    return Dependency(
        column=name,
        parents=(parent,),
        form="table",
        levels=texts[0],
        values=texts[1],
        counts=tuple(np.bincount(a).tolist()),
        text=columns[name].dtype == object,
    )


def _formulas(free: Sequence[Column], columns: Mapping[str, Values]) -> list[Dependency]:
    """Numbers computed from other numbers; a computed number is no parent of another one.

    Args:
        free: columns that no table decides.
        columns: typed values by name, (n,) each.

    Returns:
        The formulas that hold in every row; the numbers that reach furthest from zero are tried first.
    """
    numbers = [column for column in free if column.kind in ("numeric", "integer")]
    arrays = {column.name: as_floats(columns[column.name]) for column in numbers}
    numbers = [c for c in numbers if len(np.unique(arrays[c.name][~np.isnan(arrays[c.name])])) >= MIN_VALUES]
    moving = [c.name for c in free if c.kind in ("numeric", "integer") and np.nanstd(arrays[c.name]) > 0]
    if len(moving) > MAX_NUMBERS:
        return []
    found: dict[str, Dependency] = {}
    used: set[str] = set()
    for column in sorted(numbers, key=lambda c: -np.nanmax(np.abs(arrays[c.name]))):
        parents = [name for name in moving if name != column.name and name not in found]
        item = None if column.name in used else _formula_for(column, parents, arrays)
        if item:
            found[column.name] = item
            used.update(item.parents)
    return list(found.values())


def _formula_for(column: Column, names: Sequence[str], arrays: Mapping[str, Floats]) -> Dependency | None:
    """The first formula over the named numbers that gives a column in every row."""
    target = arrays[column.name]
    probe = np.unique(np.linspace(0, len(target) - 1, PROBE_ROWS).astype(np.intp))
    for form, parents in _candidates(names):
        inputs = [arrays[name] for name in parents]
        item = Dependency(column=column.name, parents=parents, form=form, digits=column.digits)
        if form == "linear":
            item = _line(item, inputs[0][probe], target[probe])
        if _fits(item, [a[probe] for a in inputs], target[probe]) and _fits(item, inputs, target):
            return item
    return None


def _candidates(names: Sequence[str]) -> Iterator[tuple[Form, tuple[str, ...]]]:
    """Every formula over the named numbers with its parents, the simplest first."""
    for name in names:
        yield "linear", (name,)
    for pair in combinations(names, 2):
        yield "product", pair
        yield "sum", pair
    for pair in permutations(names, 2):
        yield "difference", pair
        yield "ratio", pair
        yield "discounted", pair
    for a, b, c in permutations(names, 3) if len(names) <= MAX_TRIPLE_NUMBERS else ():
        if a < b:
            yield "discounted", (a, b, c)


def _line(item: Dependency, x: Floats, y: Floats) -> Dependency:
    """The dependency with the line through the rows of the smallest and the largest x; x and y are (n,)."""
    both = np.flatnonzero(~np.isnan(x) & ~np.isnan(y))
    if not len(both):
        return item
    a, b = both[np.argmin(x[both])], both[np.argmax(x[both])]
    slope = float(f"{(y[b] - y[a]) / (x[b] - x[a]):.9g}") if x[b] > x[a] else 0.0
    return msgspec.structs.replace(item, slope=slope, offset=float(f"{y[a] - slope * x[a]:.9g}") + 0.0)


def _fits(item: Dependency, inputs: Sequence[Floats], target: Floats) -> bool:
    """Whether the formula gives `target` (n,) in every row to the last digit, and is missing where that is."""
    value = item.apply_formula(inputs)
    gap = np.isnan(target)
    if gap.all() or not np.array_equal(np.isnan(value), gap) or not np.isfinite(value[~gap]).all():
        return False
    size = 1e-9 * np.abs(target[~gap])
    slack = size if item.digits is None else np.maximum(0.5 * 10.0**-item.digits * (1 + 1e-6), size)
    return bool((np.abs(value[~gap] - target[~gap]) <= slack).all())


def move_to_parents(
    constraints: dict[str, Constraint], dependencies: Sequence[Dependency], texts: frozenset[str]
) -> dict[str, Constraint]:
    """Move constraints from columns that a table decides to the table's parent, which is drawn in their place.

    Args:
        constraints: what each column may be, by name.
        dependencies: those of the model.
        texts: names of the columns of text.

    Returns:
        Constraints by name, none of them on a column that a table decides.

    Raises:
        UsageError: no level of the parent meets the condition.
    """
    out = dict(constraints)
    for item in dependencies:
        if item.form == "table" and item.column in out:
            child, parent = out.pop(item.column), item.parents[0]
            values = np.array(item.values, dtype=object) if item.text else _floats(item.values)
            levels = [level for level, good in zip(item.levels, child.allows(values), strict=True) if good]
            if parent in out:
                parents = np.array(levels, dtype=object) if parent in texts else _floats(levels)
                levels = [level for level, good in zip(levels, out[parent].allows(parents), strict=True) if good]
            if not levels:
                raise UsageError(f"these conditions were never seen together: {item.describe()}.")
            out[parent] = _one_of(levels, parent in texts)
    return out


def _floats(texts: Iterable[str]) -> Floats:
    """Numbers that repr has written; NaN for ""."""
    return np.array([float(text) if text else np.nan for text in texts])


def _one_of(levels: Sequence[str], text: bool) -> Constraint:
    """The constraint that a column has one of these levels."""
    if text:
        nothing = np.zeros((1, 0))
        return Constraint(low=nothing, high=nothing, texts=(frozenset(levels),), missing=set(levels) == {""})
    numbers = np.sort(_floats([level for level in levels if level]))[None, :]
    return Constraint(low=numbers, high=numbers, missing=not numbers.size)
