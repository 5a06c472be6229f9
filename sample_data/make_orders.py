"""Write the orders story: eight normal days in orders/, and incoming/ with labelled faults.

2026-11-10 is clean, 2026-11-11 and 2026-11-12 carry the faults listed in incoming.truth.csv, and the last
day also two rows that cannot be read. Seeded: the same bytes each time.
"""

import csv
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
HEADER = [
    "order_id", "ordered_at", "customer", "country", "currency", "channel", "product", "quantity", "unit_price",
    "discount", "amount", "weight_kg", "delivery_days", "express", "warehouse",
]  # fmt: skip
COUNTRIES = {  # share, currency, usual delivery days
    "DE": (0.30, "EUR", 2), "FR": (0.18, "EUR", 3), "NL": (0.12, "EUR", 2), "GB": (0.15, "GBP", 4),
    "CH": (0.10, "CHF", 4), "SE": (0.08, "SEK", 5), "US": (0.07, "USD", 8),
}  # fmt: skip
PRODUCTS = {  # unit price, weight in kg
    "kettle": (39.0, 1.2), "toaster": (49.0, 1.9), "blender": (79.0, 2.7), "mixer": (119.0, 4.1),
    "lamp": (29.0, 0.9), "chair": (89.0, 6.5), "desk": (249.0, 24.0), "shelf": (69.0, 11.0),
    "rug": (99.0, 5.2), "clock": (24.0, 0.5), "mirror": (59.0, 4.4), "vase": (19.0, 0.8),
}  # fmt: skip
DAYS = [f"2026-11-{day:02d}" for day in (2, 3, 4, 5, 6, 7, 8, 9)]
INCOMING = ["2026-11-10", "2026-11-11", "2026-11-12"]
Row = dict[str, str]


def order(rng: np.random.Generator, when: datetime, number: int) -> Row:
    """One normal order."""
    country = str(rng.choice(list(COUNTRIES), p=[share for share, *_ in COUNTRIES.values()]))
    _, currency, days = COUNTRIES[country]
    product = str(rng.choice(list(PRODUCTS)))
    price, weight = PRODUCTS[product]
    quantity = int(rng.choice([1, 2, 3, 4, 6, 10], p=[0.52, 0.24, 0.1, 0.07, 0.05, 0.02]))
    unit_price = round(price * float(rng.choice([1.0, 1.05, 0.95], p=[0.8, 0.1, 0.1])), 2)
    discount = 0.15 if quantity >= 6 else 0.05 if quantity >= 3 else float(rng.choice([0.0, 0.1], p=[0.85, 0.15]))
    office = 8 <= when.hour < 18
    channel = str(rng.choice(["web", "app", "phone"], p=[0.55, 0.3, 0.15] if office else [0.6, 0.399, 0.001]))
    express = bool(rng.random() < 0.2)
    delivery = max(1, days + int(rng.integers(-1, 2)) - (1 if express else 0))
    unknown = rng.random() < (0.2 if channel == "phone" else 0.02)
    return {
        "order_id": f"A-{number:06d}",
        "ordered_at": when.isoformat(),
        "customer": f"C{int(rng.zipf(1.3)) % 4000:04d}",
        "country": country,
        "currency": currency,
        "channel": channel,
        "product": product,
        "quantity": str(quantity),
        "unit_price": f"{unit_price:.2f}",
        "discount": f"{discount:.2f}",
        "amount": f"{quantity * unit_price * (1 - discount):.2f}",
        "weight_kg": f"{quantity * weight * rng.normal(1, 0.015):.2f}",
        "delivery_days": "" if unknown else str(delivery),
        "express": "true" if express else "false",
        "warehouse": "north",
    }


def day(rng: np.random.Generator, date: str, rows: int, first: int) -> list[Row]:
    """A day of orders, most of them in the hours around noon and in the evening."""
    hours = np.array([1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 13, 12, 12, 11, 11, 11, 12, 14, 15, 14, 10, 6, 3], float)
    picked = np.sort(rng.choice(24, size=rows, p=hours / hours.sum()) * 3600 + rng.integers(0, 3600, rows))
    start = datetime.fromisoformat(date)
    return [order(rng, start + timedelta(seconds=int(s)), first + i) for i, s in enumerate(picked)]


def scaled(column: str, factor: float) -> Callable[[Row], None]:
    """A fault: a number in the wrong unit."""

    def fault(row: Row) -> None:
        row[column] = f"{float(row[column]) * factor:.2f}"

    return fault


def replaced(column: str, value: str) -> Callable[[Row], None]:
    """A fault: a fixed wrong value."""

    def fault(row: Row) -> None:
        row[column] = value

    return fault


def wrong_currency(row: Row) -> None:
    """A fault: a currency that does not go with the country."""
    row["currency"] = "SEK" if row["country"] != "SE" else "EUR"


def swapped(row: Row) -> None:
    """A fault: two columns exchanged."""
    row["unit_price"], row["weight_kg"] = row["weight_kg"], row["unit_price"]


FAULTS: dict[str, list[tuple[int, str, str, Callable[[Row], None]]]] = {
    "2026-11-11": [
        (18, "amount", "amount in cents", scaled("amount", 100)),
        (47, "currency", "currency does not fit the country", wrong_currency),
        (81, "weight_kg", "weight in grams", scaled("weight_kg", 1000)),
        (112, "country", "country never seen", replaced("country", "XX")),
        (150, "unit_price", "empty, in a column without gaps", replaced("unit_price", "")),
        (177, "warehouse", "constant column changed", replaced("warehouse", "south")),
        (203, "quantity", "negative quantity", replaced("quantity", "-2")),
        (240, "delivery_days", "60 days", replaced("delivery_days", "60")),
        (266, "discount", "discount of 95 %", replaced("discount", "0.95")),
        (291, "amount", "half the amount", scaled("amount", 0.5)),
    ],
    "2026-11-12": [
        (15, "amount", "amount in cents", scaled("amount", 100)),
        (39, "amount", "amount in cents", scaled("amount", 100)),
        (62, "currency", "currency does not fit the country", wrong_currency),
        (88, "weight_kg", "weight in grams", scaled("weight_kg", 1000)),
        (101, "unit_price", "price and weight swapped", swapped),
        (127, "country", "country never seen", replaced("country", "XX")),
        (149, "unit_price", "empty, in a column without gaps", replaced("unit_price", "")),
        (170, "ordered_at", "the epoch as a date", replaced("ordered_at", "1970-01-01T00:00:00")),
        (195, "warehouse", "constant column changed", replaced("warehouse", "south")),
        (221, "quantity", "negative quantity", replaced("quantity", "-2")),
        (248, "delivery_days", "60 days", replaced("delivery_days", "60")),
        (270, "discount", "discount of 95 %", replaced("discount", "0.95")),
        (296, "amount", "half the amount", scaled("amount", 0.5)),
        (318, "unit_price", "unit price times ten", scaled("unit_price", 10)),
    ],
}


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write one CSV file."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([header, *rows])


def main() -> None:
    """Write the normal days, the incoming days and the truth."""
    rng = np.random.default_rng(2026)
    number = 1
    for date in DAYS:
        rows = day(rng, date, int(rng.integers(420, 560)), number)
        number += len(rows)
        write(HERE / "orders" / f"{date}.csv", HEADER, [list(row.values()) for row in rows])
    truth: list[list[str]] = []
    for date in INCOMING:
        rows = day(rng, date, int(rng.integers(330, 400)), number)
        number += len(rows)
        for at, column, fault, spoil in FAULTS.get(date, []):
            spoil(rows[at])
            truth.append([f"{date}.csv", str(at + 2), column, fault])
        cells = [list(row.values()) for row in rows]
        if date == INCOMING[-1]:
            cells[205] = cells[205][:9]
            cells[302][HEADER.index("amount")] = "n/a EUR"
        write(HERE / "incoming" / f"{date}.csv", HEADER, cells)
    write(HERE / "incoming.truth.csv", ["file", "line", "column", "fault"], truth)


if __name__ == "__main__":
    main()
