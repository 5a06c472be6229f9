"""Groups: rows that share a value of a column and belong together, stated by the user or found in the table.

A day at three stations, the visits of a patient, the parts of a batch: such rows are alike, and tomorrow's rows are of
new days, patients and batches. Where rows of one group lie in several folds, their members have seen a part of what
they score, and promise fewer false alarms than new files have (docs/decisions.md, "Groups").

`GroupColumn` is what a column says of it, `stated_groups` takes the user at his word, and `find_groups` looks for a
column whose rows are alike far beyond chance although blocks of neighbouring rows keep them apart. It reads no more
than the encoded rows, and trains nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from anomvae.config_errors import near
from anomvae.errors import UsageError
from anomvae.model.arrays import Bools, Floats, Ints
from anomvae.model.encoder import Encoded, Encoding
from anomvae.model.infer_column import FOUND, Separators, infer
from anomvae.model.schema import Column, Values, as_floats, as_texts, parse
from anomvae.model.value_parsing import MISSING
from anomvae.records.results import GroupPart

Nature = Literal["date", "number", "name"]

NO_GROUPS = "none"  # in place of a column: do not look for groups either
DAY = 86_400.0  # seconds
LEAST_GROUPS = 10  # that are looked at
MANY_NAMES = 40  # numbers and names up to so many are a vocabulary that later rows share
MOST_ROWS = 10  # of a group of numbers or names, in mean: with more, later rows come from the same groups,
END = 0.2  # as they do where this first part of the rows
KNOWN = 0.95  # has so many of the names already
REGULAR = 2.0  # standard errors by which group sizes vary less than those of names met by chance: they were planned
ARRIVING = 0.1  # share of the names that are new in the last part of the rows, and twice what chance has there
DENSE = 2  # whole numbers that name something leave out fewer than every second one; a price leaves out more
MOST_HELD = 0.9  # share of the rows that a group may have, so that a member has others to learn from
APART = 0.2  # share of the rows of which blocks must have parted the group, for it to matter
DETERMINED = 0.95  # share of the groups in which a column has one value, from which on it only names the group
FARTHEST_ROWS = 0.1  # share of the rows that is asked, those far from the middle: their scores make the threshold
BEYOND_CHANCE = 3.0  # how often the nearest row is of the same group, against chance,
LEAST_SHARE = 0.05  # and in how many groups more than by chance
MOST_P = 1e-6  # and the chance of as much without any likeness
LEAST_QUERIES, QUERIES = 100, 1000  # rows of which the nearest one is sought
PRODUCTS = 2e10  # of numbers, for all candidates; with more rows fewer of them are asked
CHUNK = 1 << 24  # distances that are held at once
CLIP = 10.0  # standard units; an absurd number hides no likeness in other columns


class GroupColumn(msgspec.Struct, frozen=True):
    """Which rows share a value of a column.

    `part`: of a date, whether the day is shared or the moment. `codes` (n,): the number of each row's value, -1 for a
    gap; dates and numbers are counted in their order, names as they come. `measured`: the numbers are no names, since
    they have fractions or leave most numbers out.
    """

    name: str
    nature: Nature
    part: GroupPart
    codes: Ints
    measured: bool = False

    def take(self, rows: Bools) -> "GroupColumn":
        """The same column of some rows."""
        return msgspec.structs.replace(self, codes=_renumbered(self.codes[rows]))


class Groups(msgspec.Struct, frozen=True):
    """The group of every row.

    `columns`: whose values make them. `codes` (n,): from 0 on, dates and numbers in their order; a gap is a group of
    its own. `share`, `chance`: where they were found, in how many groups the nearest row that the block folds allow is
    of the same group, and what chance makes of it; `p`: that chance makes it as many.
    """

    columns: tuple[str, ...]
    part: GroupPart
    codes: Ints
    found: bool = False
    share: float | None = None
    chance: float | None = None
    p: float | None = None


def group_columns(column: Column, values: Values) -> tuple[GroupColumn, ...]:
    """What a typed column (n,) says of groups: of a date with times the day and the moment, in this order."""
    if values.dtype == object:
        return (GroupColumn(column.name, "name", "value", _names(as_texts(values), frozenset({""}))),)
    numbers = as_floats(values)
    if column.kind != "datetime":
        return (GroupColumn(column.name, "number", "value", _ranks(numbers), _measured(numbers)),)
    moments = GroupColumn(column.name, "date", "value", _ranks(numbers))
    if not np.any(numbers[~np.isnan(numbers)] % DAY):
        return (moments,)
    return GroupColumn(column.name, "date", "day", _ranks(np.floor(numbers / DAY))), moments


def _measured(numbers: Floats) -> bool:
    """Whether numbers (n,) are values of a quantity rather than names that were given out one after the other."""
    known = np.unique(numbers[~np.isnan(numbers)])
    return bool(np.any(known % 1) or (len(known) and known[-1] - known[0] >= DENSE * len(known)))


def left_out_columns(name: str, texts: Sequence[str], separators: Separators = FOUND) -> tuple[GroupColumn, ...]:
    """The same of a column that the model does not see, from its cells (n,); dates and numbers are recognised."""
    column = infer(name, texts, separators).column
    if column.modelled and column.kind != "categorical":
        return group_columns(column, parse(column, texts).values)
    return (GroupColumn(name, "name", "value", _names(texts, MISSING)),)


def stated_groups(names: Sequence[str], columns: Sequence[GroupColumn]) -> Groups:
    """The groups that the user asks for.

    Of a date with times the day counts, where there are ten days or more. With several columns, rows belong together
    that share a value of any of them, directly or by way of other rows, since each of the columns makes rows alike.
    Columns that cross each other, such as days and stations, leave one group of all rows, which is refused.

    Args:
        names: columns, one at least.
        columns: what the columns of the table say.

    Raises:
        UsageError: a column is not there, or no folds can be made of its groups.
    """
    by_name: dict[str, list[GroupColumn]] = {}
    for column in columns:
        by_name.setdefault(column.name, []).append(column)
    for name in names:
        if name not in by_name:
            raise UsageError(f"--group '{name}': there is no such column{near(name, by_name)}")
    chosen = [_part_to_share(by_name[name]) for name in dict.fromkeys(names)]
    codes = _whole(chosen[0].codes) if len(chosen) == 1 else _connected(chosen)
    groups = Groups(tuple(one.name for one in chosen), chosen[0].part if len(chosen) == 1 else "value", codes)
    _check(groups, chosen)
    return groups


def _part_to_share(parts: Sequence[GroupColumn]) -> GroupColumn:
    """Of a date the day, unless there are few days and rows that share a moment."""
    shared = [one for one in parts if one.codes.max() + 1 < (one.codes >= 0).sum()]
    return next((one for one in shared if one.codes.max() + 1 >= LEAST_GROUPS), (shared or parts)[0])


def _check(groups: Groups, columns: Sequence[GroupColumn]) -> None:
    """Refuse groups that folds cannot keep apart.

    Raises:
        UsageError: there is one, or as many as rows, or one that leaves a tenth of the rows.
    """
    told = " ".join(f"--group '{name}'" for name in groups.columns)
    sizes = np.bincount(groups.codes)
    if len(sizes) == len(groups.codes):
        raise UsageError(f"{told}: no two rows share a value, so there is nothing to keep together; leave it out.")
    if sizes.max() <= MOST_HELD * len(groups.codes):
        return
    if len(columns) > 1:
        most = max(columns, key=lambda column: int(column.codes.max()))
        raise UsageError(
            f"{told}: together they connect {sizes.max():,} of {len(groups.codes):,} rows, which leaves no folds; "
            f"name the one of which new values keep coming ('{most.name}' has the most)."
        )
    if len(sizes) == 1:
        raise UsageError(f"{told}: all rows have the same value, of which no folds can be made; leave it out.")
    message = f"one value has {sizes.max():,} of {len(groups.codes):,} rows, which leaves too few to learn from"
    raise UsageError(f"{told}: {message}; leave it out.")


def find_groups(
    columns: Iterable[GroupColumn], encoding: Encoding, rows: Encoded, folds: Ints, pools: Bools, *, seed: int
) -> Groups | None:
    """Look for a column whose values make rows alike that blocks of neighbouring rows keep apart.

    Candidates are dates, and numbers and names of which later rows must bring new ones; a number counts only if the
    next number is not as much alike. For each of them, and rows far from the middle, the nearest row is sought among
    those that the row's own member trains on. Columns that only name the group (they have one value in it) do not
    count, and of dates no other date. As groups are independent where nothing makes them alike, the chance of so many
    groups with such a neighbour is at most exp(-groups * KL(share, chance)) (Hoeffding 1963).

    Args:
        columns: what the columns of the table say.
        encoding: the fitted encoding.
        rows: the encoded training rows, n of them.
        folds: (n,): the fold of each row, in blocks of neighbouring rows.
        pools: (members, n): the rows that each member trains on.
        seed: chooses the rows that are asked.

    Returns:
        The groups of the column that stands out most, if any does far beyond chance.
    """
    candidates = [column for column in columns if _may_be_groups(column)]
    dates = frozenset(column.name for column in columns if column.nature == "date")
    most = int(min(QUERIES, PRODUCTS / max(len(candidates) * rows.x.size, 1)))
    best = None
    for column in candidates:
        units = _varying_units(column, encoding, rows.x, dates if column.nature == "date" else frozenset({column.name}))
        asked = _askable(column.codes, folds, pools)
        if not len(units) or asked.mean() < APART:
            continue
        rng = np.random.default_rng(seed)
        x = np.clip(rows.x[:, units], -CLIP, CLIP).astype(np.float32)
        chosen = rng.permutation(_far_from_the_middle(x, np.flatnonzero(asked)))[:most]
        nearest = _nearest(x, chosen, folds, pools, rng)
        groups = _tested(column, chosen, nearest, folds, pools)
        if groups is None or (best and _excess(best) >= _excess(groups)):
            continue
        if column.nature == "number":
            others = _nearest(x, chosen, folds, pools, rng, apart=column.codes)
            if _goes_on(column.codes[chosen], column.codes[others]):
                continue
        best = groups
    return best


def _may_be_groups(column: GroupColumn) -> bool:
    """Whether the values of a column are shared by rows, and may all be new in the next file."""
    codes = column.codes[column.codes >= 0]
    if not len(codes):
        return False
    count = int(codes.max()) + 1
    if count < LEAST_GROUPS or len(codes) < 2 * count or column.measured:
        return False
    return column.nature == "date" or (count > MANY_NAMES and len(codes) <= MOST_ROWS * count and _will_be_new(codes))


def _will_be_new(codes: Ints) -> bool:
    """Whether later rows will have other names than these (n,) in the order of the table.

    Products and towns are met by chance: by then most are known, and some are far more frequent than others. Patients
    and batches have about as many rows each as somebody has planned, or they come and go.
    """
    sizes = np.bincount(codes)
    part = int(END * len(codes))
    if len(np.unique(codes[:part])) > KNOWN * len(sizes):
        return False
    new = len(sizes) - len(np.unique(codes[:-part]))
    by_chance = float((END**sizes).sum())  # names all of whose rows would be in the last part, were rows in any order
    mean = float(sizes.mean())
    rate = mean
    for _ in range(50):  # of a Poisson distribution without zeros that has this mean
        rate = mean * (1 - np.exp(-rate))
    planned = sizes.var() <= mean * (1 + rate - mean) * (1 - REGULAR * np.sqrt(2 / len(sizes)))
    return bool(planned or new >= max(ARRIVING * len(sizes), 2 * by_chance))


def _varying_units(column: GroupColumn, encoding: Encoding, x: Floats, hidden: frozenset[str]) -> Ints:
    """Units of the encoded columns that vary within groups.

    Args:
        column: whose values are the groups.
        encoding: of x.
        x: encoded rows (n, width).
        hidden: columns that are left out.
    """
    known = np.flatnonzero(column.codes >= 0)
    order = known[np.argsort(column.codes[known], kind="stable")]
    starts = np.flatnonzero(np.diff(column.codes[order], prepend=-1))
    several = np.diff(starts, append=len(order)) > 1
    units = []
    for name, (own, _) in zip(encoding.columns, encoding.units_of, strict=True):
        values = x[np.ix_(order, own)]
        same = (np.maximum.reduceat(values, starts) == np.minimum.reduceat(values, starts)).all(axis=1)
        if name not in hidden and same[several].mean() < DETERMINED:
            units.append(own)
    return np.concatenate(units) if units else np.empty(0, np.intp)


def _askable(codes: Ints, folds: Ints, pools: Bools) -> Bools:
    """Whether another row of a row's group (n,) is among those that its member trains on."""
    return np.asarray((codes >= 0) & (_mates(codes, folds, pools) > 0))


def _mates(codes: Ints, folds: Ints, pools: Bools) -> Ints:
    """How many rows with the code of each row (n,) its member trains on."""
    count = int(codes.max()) + 1
    of_member = np.stack([np.bincount(codes[pool & (codes >= 0)], minlength=count) for pool in pools])
    return np.asarray(of_member[folds, codes])


def _far_from_the_middle(x: NDArray[np.float32], rows: Ints) -> Ints:
    """The tenth of some rows (k,) of x (n, units) that is farthest from the median, at least a hundred of them."""
    distance = ((x[rows] - np.median(x, axis=0)) ** 2).sum(axis=1)
    return np.asarray(rows[np.argsort(-distance, kind="stable")[: max(int(FARTHEST_ROWS * len(rows)), LEAST_QUERIES)]])


def _nearest(
    x: NDArray[np.float32],
    chosen: Ints,
    folds: Ints,
    pools: Bools,
    rng: np.random.Generator,
    *,
    apart: Ints | None = None,
) -> Ints:
    """The row (k,) nearest to each chosen row (k,) of those that its member trains on; equally near ones by chance.

    Args:
        x: all rows (n, units).
        chosen: positions of rows (k,).
        folds: (n,).
        pools: (members, n).
        rng: breaks ties.
        apart: (n,): groups, of which the nearest row must be of another one.
    """
    squares = (x**2).sum(axis=1)
    out = np.empty(len(chosen), dtype=np.intp)
    for member, pool in enumerate(pools):
        known = rng.permutation(np.flatnonzero(pool))
        targets, own = x[known].T, np.flatnonzero(folds[chosen] == member)
        for some in np.array_split(own, max(len(own) * len(known) // CHUNK, 1)):
            distance = squares[known] - 2 * (x[chosen[some]] @ targets)
            if apart is not None:
                distance[apart[chosen[some]][:, None] == apart[known]] = np.inf
            out[some] = known[distance.argmin(axis=1)]
    return out


def _tested(column: GroupColumn, chosen: Ints, nearest: Ints, folds: Ints, pools: Bools) -> Groups | None:
    """The groups of a column, if rows are nearest to rows of their own group far more often than by chance.

    Args:
        column: whose values are the groups.
        chosen: rows (k,).
        nearest: the row (k,) that is nearest to each of them.
        folds: (n,).
        pools: (members, n).
    """
    codes = column.codes
    of = np.unique(codes[chosen], return_inverse=True)[1]
    size = np.bincount(of)
    alike = codes[nearest] == codes[chosen]
    share = float((np.bincount(of, weights=alike) / size).mean())
    by_chance = _mates(codes, folds, pools)[chosen] / pools.sum(axis=1)[folds[chosen]]
    chance = float((np.bincount(of, weights=by_chance) / size).mean())
    p = float(np.exp(-len(size) * _divergence(share, chance)))
    if share < max(BEYOND_CHANCE * chance, chance + LEAST_SHARE) or p > MOST_P:
        return None
    return Groups((column.name,), column.part, _whole(codes), found=True, share=share, chance=chance, p=p)


def _goes_on(own: Ints, others: Ints) -> bool:
    """Whether rows (k,) are alike beyond their own number: ages and years are, numbers of machines are not.

    Then the nearest one of those with another number has the next number far more often than by chance.
    """
    known = others >= 0
    by_chance = 2 / max(int(own.max()), 1)
    return bool((np.abs(own - others)[known] == 1).mean() > BEYOND_CHANCE * by_chance) if known.any() else False


def _excess(groups: Groups) -> float:
    return (groups.share or 0.0) - (groups.chance or 0.0)


def _divergence(share: float, chance: float) -> float:
    """Kullback-Leibler divergence of two shares in nats, 0 where the first is not the larger one."""
    if share <= chance:
        return 0.0
    rest = 0.0 if share == 1 else (1 - share) * np.log((1 - share) / (1 - chance))
    return float(share * np.log(share / chance) + rest)


def _connected(columns: Sequence[GroupColumn]) -> Ints:
    """Groups (n,) of rows that are connected by values of any of the columns, in the order of their first rows."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(columns[0].codes)
    rows, values, count = [], [], n
    for column in columns:
        known = np.flatnonzero(column.codes >= 0)
        rows.append(known)
        values.append(count + column.codes[known])
        count += int(column.codes.max()) + 1
    row, value = np.concatenate(rows), np.concatenate(values)
    graph = coo_array((np.ones(len(row), dtype=np.int8), (row, value)), shape=(count, count))
    return _names(connected_components(graph, directed=False)[1][:n].tolist())


def _names(values: Iterable[object], missing: frozenset[str] = frozenset()) -> Ints:
    """The number (n,) of every value in the order in which they come, -1 for a missing one; text without spaces."""
    known: dict[object, int] = {}
    codes = []
    for value in values:
        key = value.strip(" ") if isinstance(value, str) else value
        codes.append(-1 if key in missing else known.setdefault(key, len(known)))
    return np.array(codes, dtype=np.intp)


def _ranks(values: Floats) -> Ints:
    """The rank (n,) of every number among the different ones, -1 for NaN."""
    codes = np.full(len(values), -1, dtype=np.intp)
    present = ~np.isnan(values)
    codes[present] = np.unique(values[present], return_inverse=True)[1]
    return codes


def _renumbered(codes: Ints) -> Ints:
    """The same codes (n,) without the numbers that no row has any more."""
    return _ranks(np.where(codes < 0, np.nan, codes))


def _whole(codes: Ints) -> Ints:
    """Codes (n,) in which every gap is a group of its own, after all others."""
    gaps = codes < 0
    return np.where(gaps, codes.max() + np.cumsum(gaps), codes)
