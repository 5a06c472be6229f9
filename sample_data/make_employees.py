"""Write employees.csv (240 rows, women rare among the developers) and employees_new.csv with four faults.

The faults stand in employees_new.truth.csv. Seeded: the same bytes each time.
"""

import csv
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CITIES = ["anaheim", "boulder", "concord", "dayton", "eugene", "fresno"]
JOBS = {  # share of all, share of women, base income, spread
    "developer": (0.35, 0.08, 76_000.0, 6_000.0),
    "sales": (0.25, 0.50, 52_000.0, 7_000.0),
    "support": (0.25, 0.60, 44_000.0, 4_000.0),
    "manager": (0.15, 0.40, 95_000.0, 8_000.0),
}
HEADER = ["sex", "age", "city", "income", "job"]


def person(rng: np.random.Generator) -> list[str]:
    """One employee: income rises with age, managers are older."""
    job = str(rng.choice(list(JOBS), p=[share for share, *_ in JOBS.values()]))
    _, women, base, spread = JOBS[job]
    age = int(np.clip(rng.normal(46 if job == "manager" else 36, 8), 20, 66))
    income = base * (1 + 0.008 * (age - 36)) + rng.normal(0, spread)
    sex = "F" if rng.random() < women else "M"
    return [sex, str(age), str(rng.choice(CITIES, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])), f"{income:.2f}", job]


def broken(rows: list[list[str]]) -> list[tuple[int, str, str]]:
    """Four faults, in place; returns (physical line, column, fault)."""
    rows[4][1] = "212"
    rows[9][3] = f"{100 * float(rows[9][3]):.2f}"
    rows[14][4] = "astronaut"
    rows[19][2] = ""
    return [
        (6, "age", "impossible age"),
        (11, "income", "income in cents"),
        (16, "job", "job never seen"),
        (21, "city", "city missing"),
    ]


def write(name: str, header: list[str], rows: list[list[str]]) -> None:
    """Write one CSV file beside this script."""
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])


def main() -> None:
    """Write the three files."""
    rng = np.random.default_rng(1)
    write("employees.csv", HEADER, [person(rng) for _ in range(240)])
    new = [person(rng) for _ in range(24)]
    faults = broken(new)
    write("employees_new.csv", HEADER, new)
    write("employees_new.truth.csv", ["line", "column", "fault"], [[str(n), c, f] for n, c, f in faults])


if __name__ == "__main__":
    main()
