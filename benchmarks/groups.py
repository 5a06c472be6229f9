"""False alarms on days and patients that training has not seen, with folds of neighbouring rows and of groups.

python -m benchmarks.groups
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from anomvae.config import FitSettings
from anomvae.model.groups import GroupColumn, left_out_columns
from anomvae.model.infer_column import infer
from anomvae.model.schema import Schema, Values
from anomvae.table.typed_reader import parse_columns
from anomvae.training.fit_detector import fit_detector

ALPHAS = (0.01, 0.05, 0.1)
SEEDS = (0, 1, 2)
Cells = dict[str, list[str]]


def stations(days: int, seed: int, *, order: str = "station", common: float = 1.0) -> Cells:
    """Weather of three stations: seasons, what the day is like everywhere, and what it is like at one station.

    Args:
        days: from 2023 on.
        seed: of the random numbers.
        order: `station`: the days of one station after those of another; `day`: the stations of a day together;
            `random`: neither.
        common: how much stronger the day is than the station.
    """
    rng = np.random.default_rng(seed)
    warm, high, windy, cloudy = (_persistent(days, keep, rng) for keep in (0.7, 0.6, 0.4, 0.3))
    season = -np.cos(2 * np.pi * np.arange(days) / 365)
    first = datetime(2023, 1, 1, tzinfo=UTC)
    rows = []
    for station in range(3):
        a, b, c, d, e = rng.normal(0, 0.35 / common, (5, days))
        temperature = 12 + 9 * season + 4 * (warm + a) + station
        humidity = np.clip(70 - 12 * (0.5 * warm - cloudy + b), 5, 100)
        dew_point = temperature - (100 - humidity) / 5 + rng.normal(0, 0.3, days)
        pressure, wind, rain = (
            1015 + 7 * (high + c),
            np.exp(1.5 + 0.4 * (windy + d)),
            np.maximum(3 * (cloudy + e) - 1, 0),
        )
        for day in range(days):
            values = (temperature, dew_point, humidity, pressure, wind, rain)
            numbers = [f"{value[day]:.1f}" for value in values]
            rows.append([f"{first + timedelta(days=day):%Y-%m-%d}", "ABC"[station], *numbers])
    if order == "day":
        rows.sort(key=lambda row: row[:2])
    if order == "random":
        rows = [rows[i] for i in rng.permutation(len(rows))]
    return _by_column(("day", "station", "temperature", "dew_point", "humidity", "pressure", "wind", "rain"), rows)


def patients(count: int, seed: int, *, effect: float = 1.0, numbered: bool = False) -> Cells:
    """Patients with one to five visits each, in order of the visits.

    Args:
        count: of the patients.
        seed: of the random numbers.
        effect: how much patients differ, against what visits do.
        numbered: whether the name of a patient is a number.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for patient in range(count):
        usual, sex, first = effect * rng.normal(0, 1, 5), str(rng.choice(["F", "M"])), int(rng.integers(0, 700))
        for visit in range(int(rng.integers(1, 6))):
            day = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=first + visit * int(rng.integers(20, 60)))
            name = str(patient + 1) if numbered else f"P{patient:04d}"
            rows.append([f"{day:%Y-%m-%d}", name, sex, *(f"{value:.3f}" for value in usual + rng.normal(0, 0.4, 5))])
    rows.sort(key=lambda row: row[0])
    return _by_column(("visit", "patient", "sex", "v1", "v2", "v3", "v4", "v5"), rows)


def machines(count: int, hours: int, seed: int) -> Cells:
    """What machines do hour by hour, all of them in every hour; each has ways of its own."""
    rng = np.random.default_rng(seed)
    ways = rng.normal(0, 1, (count, 4))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        [f"M{machine:03d}", f"{start + timedelta(hours=hour):%Y-%m-%dT%H:%M}"]
        + [f"{value:.3f}" for value in ways[machine] + rng.normal(0, 0.5, 4)]
        for hour in range(hours)
        for machine in range(count)
    ]
    return _by_column(("machine", "hour", "v1", "v2", "v3", "v4"), rows)


def _persistent(days: int, keep: float, rng: np.random.Generator) -> np.ndarray:
    """Standard normal numbers (days,), of which each keeps a share of the one before."""
    out = rng.normal(0, 1, days)
    for day in range(1, days):
        out[day] = keep * out[day - 1] + out[day] * np.sqrt(1 - keep**2)
    return out


def _by_column(names: Sequence[str], rows: list[list[str]]) -> Cells:
    return {name: [row[j] for row in rows] for j, name in enumerate(names)}


def some(cells: Cells, chosen: np.ndarray) -> Cells:
    """The chosen rows."""
    rows = np.flatnonzero(chosen)
    return {name: [texts[i] for i in rows] for name, texts in cells.items()}


def typed(cells: Cells, ids: Sequence[str] = ()) -> tuple[Schema, dict[str, Values], list[GroupColumn]]:
    """The schema of a table, its typed columns, and what the columns `ids`, which are left out, say of groups."""
    schema = Schema(columns=tuple(infer(name, texts).column for name, texts in cells.items() if name not in ids))
    columns = parse_columns(schema.modelled, cells.__getitem__).columns
    return schema, columns, [one for name in ids for one in left_out_columns(name, cells[name])]


def false_alarms(
    cells: Cells, training: np.ndarray, group: tuple[str, ...], ids: Sequence[str], seed: int
) -> tuple[list[float], bool]:
    """The share of the other rows that are flagged at each alpha, and whether groups were found."""
    schema, columns, unmodelled = typed(some(cells, training), ids)
    settings = FitSettings(seed=seed, selftest=False, group=group)
    learned = fit_detector(schema, columns, settings, unmodelled=unmodelled)
    later = parse_columns(schema.modelled, some(cells, ~training).__getitem__).columns
    p = learned.detector.p_values(later)
    return [float((p <= alpha).mean()) for alpha in ALPHAS], bool(learned.groups and learned.groups.found)


def main() -> None:
    """Print the table of docs/benchmarks.md."""
    print("| table | rows | folds | 1 % | 5 % | 10 % | found by `fit` |\n|" + "---|" * 7)
    two_years = "2025-01-01"
    tables: dict[str, tuple[str, Callable[[int], Cells], str, tuple[str, ...]]] = {
        "stations, one after the other": ("day", lambda seed: stations(1460, seed), two_years, ()),
        "stations, rows in any order": ("day", lambda seed: stations(1460, seed, order="random"), two_years, ()),
        "patients by visit": ("patient", lambda seed: patients(1600, seed), "P0600", ("patient",)),
        "machines by hour": ("machine", lambda seed: machines(120, 40, seed), "M060", ("machine",)),
    }
    for label, (column, make, end, ids) in tables.items():
        for folds, group in (("blocks", ("none",)), ("groups", (column,)), ("by itself", ())):
            runs, rows = [], 0
            for seed in SEEDS:
                cells = make(seed)
                training = np.array([value < end for value in cells[column]])
                rows = int(training.sum())
                runs.append(false_alarms(cells, training, group, ids, seed))
            rates = " | ".join(f"{100 * rate:.1f}" for rate in np.mean([run[0] for run in runs], axis=0))
            found = f"{sum(run[1] for run in runs)} of {len(runs)}" if not group else ""
            print(f"| {label} | {rows:,} | {folds} | {rates} | {found} |", flush=True)


if __name__ == "__main__":
    main()
