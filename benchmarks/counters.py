"""Counters: how many alike later rows are flagged, and whether a fault in a counter is.

Every table is a log of some weeks with a counter; later days follow it, one file a day, and have one fault each.

    python -m benchmarks.counters
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import anomvae
from anomvae.config import FitSettings, ScoreSettings
from anomvae.model.detector import Detector
from benchmarks.page import write_section

DAY, TRAINING, LATER = 144, 21, 7  # rows of a day, days
FAULTY = 80  # the row of the last day that has the fault
HEAD = (
    "| table | counter read as | later rows | flagged, without the fault | the fault | flagged | column named first |\n"
)
HEAD += "|---" * 7 + "|\n"

Days = list[list[str]]


class Case(NamedTuple):
    """A table: its header, its days, and the fault of the last day in words."""

    name: str
    header: str
    make: Callable[[np.random.Generator], Days]
    fault: str


def stamps(day: int) -> list[str]:
    """A date every ten minutes."""
    return [f"2026-{7 + day // 28:02d}-{1 + day % 28:02d} {i // 6:02d}:{i % 6}0:00" for i in range(DAY)]


def energy(rng: np.random.Generator, fault: str) -> Days:
    """A heat pump: a lifetime meter that idles at night, its power, a temperature."""
    days, total = [], 40_000.0
    for day in range(TRAINING + LATER):
        lines = []
        for i, stamp in enumerate(stamps(day)):
            power = rng.normal(2.2, 0.3) if rng.random() < (0.25 if 6 <= i < 30 else 0.8) else 0.0
            last = day == TRAINING + LATER - 1
            if last and fault == "stands still by day" and i == FAULTY:
                power = 2.2
            else:
                total += power / 6
            total %= 40_900 if fault == "wraps around" else 1e9
            shown = 0.0 if last and fault == "reads 0" and i == FAULTY else total
            temperature = rng.normal(34 if power else 28, 1)
            lines.append(f"{stamp},{shown:.2f},{power:.2f},{temperature:.1f}")
        days.append(lines)
    return days


def sequence(rng: np.random.Generator) -> Days:
    """Running numbers of bookings, of which one is left out."""
    days, number = [], 1000
    for day in range(TRAINING + LATER):
        lines = []
        for i in range(DAY):
            number += 2 if day == TRAINING + LATER - 1 and i == FAULTY else 1
            lines.append(f"{number},{rng.normal(50, 9):.2f},{rng.choice(['card', 'cash'])}")
        days.append(lines)
    return days


def epochs(rng: np.random.Generator) -> Days:
    """Seconds since 1970 of visits, between which nothing comes for five hours once."""
    days, now = [], 1_760_000_000
    for day in range(TRAINING + LATER):
        lines = []
        for i in range(DAY):
            now += int(rng.gamma(3, 200)) + (18_000 if day == TRAINING + LATER - 1 and i == FAULTY else 0)
            lines.append(f"{now},{rng.normal(50, 9):.2f},{rng.choice(['a', 'b', 'c'])}")
        days.append(lines)
    return days


def disorder(rng: np.random.Generator) -> Days:
    """A log, of which one line stands an hour too late."""
    days = []
    for day in range(TRAINING + LATER):
        lines = [f"{stamp},{rng.normal(50, 9):.2f},{rng.choice(['a', 'b', 'c'])}" for stamp in stamps(day)]
        if day == TRAINING + LATER - 1:
            lines.insert(FAULTY, lines.pop(FAULTY - 6))
        days.append(lines)
    return days


CASES = (
    Case("meter", "time,meter,power,flow", lambda rng: energy(rng, "reads 0"), "a reading of 0"),
    Case("meter", "time,meter,power,flow", lambda rng: energy(rng, "stands still by day"), "no step at full power"),
    Case("meter to 40,900", "time,meter,power,flow", lambda rng: energy(rng, "wraps around"), "wraps around to 0"),
    Case("bookings", "number,amount,paid", sequence, "a number left out"),
    Case("visits", "at,amount,page", epochs, "five hours without a visit"),
    Case("log", "time,amount,page", disorder, "a line an hour too late"),
)


def measure(case: Case, folder: Path) -> str:
    """One row of the table."""
    days = case.make(np.random.default_rng(5))
    write(folder / "train.csv", case.header, [line for day in days[:TRAINING] for line in day])
    anomvae.fit([str(folder / "train.csv")], folder / "m.anomvae", FitSettings(generator=False, selftest=False))
    detector = anomvae.load(str(folder / "m.anomvae"))
    later = [write(folder / f"{day}.csv", case.header, lines) for day, lines in enumerate(days[TRAINING:])]
    files = anomvae.score([str(path) for path in later], detector, ScoreSettings(top=DAY)).files
    line = fault_line(case, days)
    found = {(at, row.line): row.reasons[0].column for at, file in enumerate(files) for row in file.worst}
    others = sum(file.flagged for file in files) - (line in found)
    rows = sum(file.rows for file in files)
    named = found.get(line, "")
    kinds = counters_in(detector)
    return f"| {case.name} | {kinds} | {rows:,} | {others} | {case.fault} | {'yes' if named else 'no'} | {named} |\n"


def fault_line(case: Case, days: Days) -> tuple[int, int]:
    """The later file and the line that the fault stands on; of a meter that wraps around, the first lower reading."""
    if case.fault != "wraps around to 0":
        return LATER - 1, FAULTY + 2
    before = np.inf
    for at, day in enumerate(days[TRAINING:]):
        for i, line in enumerate(day):
            if (value := float(line.split(",")[1])) < before < np.inf:
                return at, i + 2
            before = value
    raise AssertionError("it never wraps around")


def counters_in(detector: Detector) -> str:
    """The columns that have steps, each with its kind."""
    return ", ".join(f"{column.name} ({column.kind})" for column in detector.schema.columns if column.counter)


def write(path: Path, header: str, lines: list[str]) -> Path:
    """A CSV file of these lines."""
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def main() -> None:
    """Measure every case, and write the section."""
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as name:
            rows.append(measure(case, Path(name)))
            print(rows[-1], end="", flush=True)
    write_section("counters", HEAD + "".join(rows))


if __name__ == "__main__":
    main()
