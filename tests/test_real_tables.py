"""Tables as exporters, banks, loggers and spreadsheets write them: fitted, scored and generated with the commands."""

import csv
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from anomvae.cli import main

Rows = list[list[str]]
FIT = ("--no-selftest", "--steps", "400", "-q")

pytestmark = pytest.mark.slow


def payments(n: int, seed: int, written: Callable[[float], str]) -> Rows:
    """Kind, channel and amount: what is paid by card is small and negative, a salary large and positive."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        if rng.random() < 0.2:
            rows.append(["salary", "auto", written(round(float(rng.lognormal(7.8, 0.1)), 2))])
        else:
            rows.append(
                ["card", "pos" if rng.random() < 0.8 else "web", written(-round(float(rng.lognormal(3, 0.5)), 2))]
            )
    return rows


def table(path: Path, names: Sequence[str], rows: Rows) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([names, *rows])
    return str(path)


def fit(tmp_path: Path, capsys: pytest.CaptureFixture[str], names: Sequence[str], rows: Rows, *more: str) -> dict:
    train = table(tmp_path / "train.csv", names, rows)
    assert main(["fit", train, "-o", str(tmp_path / "m"), *FIT, "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def score(tmp_path: Path, capsys: pytest.CaptureFixture[str], names: Sequence[str], rows: Rows) -> list[dict[str, str]]:
    new = table(tmp_path / "new.csv", names, rows)
    out = tmp_path / "out.csv"
    assert main(["score", new, "-m", str(tmp_path / "m"), "-o", str(out), "-q", "--fail-on", "never"]) == 0
    capsys.readouterr()
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def in_parentheses(value: float) -> str:
    return f"(${-value:,.2f})" if value < 0 else f"${value:,.2f}"


def swiss(value: float) -> str:
    return f"CHF {value:,.2f}".replace(",", "'")


def german(value: float) -> str:
    return f"{value:,.2f} €".translate(str.maketrans(",.", ".,"))


def trailing(value: float) -> str:
    return f"{abs(value):,.2f}{'-' if value < 0 else ''}"


def french(value: float) -> str:
    return f"{value:,.2f}".replace(",", "\u202f").replace(".", ",").replace("-", "\u2212") + " EUR"


PAYMENT = ["type", "channel", "amount"]


@pytest.mark.parametrize("written", [in_parentheses, swiss, german, trailing, french], ids=lambda f: f.__name__)
def test_money_is_scored_and_written_as_it_came(
    written: Callable[[float], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fit(tmp_path, capsys, PAYMENT, payments(1200, 1, written))
    kinds = {column["name"]: column["kind"] for column in report["columns"]}
    assert kinds["amount"] == "numeric"
    fresh = payments(100, 2, written)
    fresh[40] = ["card", "pos", written(-48000.0)]
    scored = score(tmp_path, capsys, PAYMENT, fresh)
    assert [row["amount"] for row in scored] == [row[2] for row in fresh]
    assert scored[40]["_av_flag"] == "true"
    assert scored[40]["_av_top"] == "amount"
    assert sum(row["_av_flag"] == "true" for row in scored) <= 5
    assert main(["generate", "-m", str(tmp_path / "m"), "-n", "60", "-o", str(tmp_path / "made.csv"), "-q"]) == 0
    with (tmp_path / "made.csv").open(newline="", encoding="utf-8") as file:
        made = list(csv.DictReader(file))
    assert all(
        row["amount"] in (written(value), written(abs(value))) for row in made for value in [back(row["amount"])]
    )


def back(text: str) -> float:
    """The number that stands in any of these spellings, by its digits alone: two decimals in each."""
    value = int("".join(char for char in text if char.isdigit())) / 100
    return -value if set("(-\u2212") & set(text) else value


READINGS = ["station", "depth", "lead"]


def readings(n: int, seed: int, mark: str, share: float) -> Rows:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        station, depth = int(rng.integers(3)), float(rng.uniform(1, 9))
        lead = f"{float(rng.lognormal(0.3 * station + 0.1 * depth, 0.2)):.3f}"
        rows.append([f"P{station}", f"{depth:.1f}", mark if rng.random() < share else lead])
    return rows


@pytest.mark.parametrize("mark", ["#N/A", "(null)", "-999", "broken"])
def test_the_usual_gap_is_normal_and_another_mark_is_told(
    mark: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, capsys, READINGS, readings(1000, 3, mark, 0.1))
    fresh = readings(200, 4, mark, 0.1)
    fresh[50][2] = "n/a"
    scored = score(tmp_path, capsys, READINGS, fresh)
    assert scored[50]["_av_flag"] == "true"
    assert scored[50]["_av_top"] == "lead"
    assert sum(row["_av_flag"] == "true" for row in scored if row["lead"] == mark) == 0
    assert main(["generate", "-m", str(tmp_path / "m"), "-n", "300", "-o", str(tmp_path / "made.csv"), "-q"]) == 0
    with (tmp_path / "made.csv").open(newline="", encoding="utf-8") as file:
        made = [row["lead"] for row in csv.DictReader(file)]
    assert 0.03 < made.count(mark) / len(made) < 0.2
    assert "" not in made


@pytest.mark.parametrize("share", [0.01, 0.08, 0.4])
def test_limits_of_detection_are_modelled(share: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, capsys, READINGS, readings(1200, 5, "<0.05", share))
    fresh = readings(300, 6, "<0.05", share)
    fresh[10] = ["P0", "5.0", "900.000"]
    scored = score(tmp_path, capsys, READINGS, fresh)
    assert len(scored) == len(fresh)
    assert scored[10]["_av_flag"] == "true"
    assert sum(row["_av_flag"] == "true" for row in scored) <= 10


LOAD = ["at", "kw", "valve"]
START = np.datetime64("2026-02-02T00:00:00")


def load(days: int, first: int, seed: int, written: Callable[[datetime, int], str], zone: int = 60) -> Rows:
    """Power every half hour by the local clock, high by day and low by night; the valve opens at six."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(days * 48):
        at = (START + np.timedelta64(first, "D") + np.timedelta64(30 * i, "m")).astype(datetime)
        day = 6 <= at.hour < 20
        rows.append([written(at, zone), f"{rng.normal(9 if day else 3, 0.4):.2f}", "open" if day else "shut"])
    return rows


def iso_with_offset(at: datetime, zone: int) -> str:
    return f"{at.isoformat()}+{zone // 60:02d}:00"


def american(at: datetime, zone: int) -> str:
    return f"{at.month}/{at.day}/{at.year} {at.hour % 12 or 12}:{at:%M} {'AM' if at.hour < 12 else 'PM'}"


def compact(at: datetime, zone: int) -> str:
    return f"{at:%Y%m%d%H%M%S}"


def apache(at: datetime, zone: int) -> str:
    return f"{at:%d/%b/%Y:%H:%M:%S} +0100"


@pytest.mark.parametrize("written", [iso_with_offset, american, compact, apache], ids=lambda f: f.__name__)
def test_the_hour_of_the_cell_counts_in_every_spelling(
    written: Callable[[datetime, int], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = fit(tmp_path, capsys, LOAD, load(35, 0, 7, written))
    assert next(one["kind"] for one in report["columns"] if one["name"] == "at") == "datetime"
    fresh = load(3, 56, 8, written, zone=120)  # after the clocks have changed
    fresh[100][1:] = ["9.10", "open"]  # at two in the night
    scored = score(tmp_path, capsys, LOAD, fresh)
    assert [row["at"] for row in scored] == [row[0] for row in fresh]
    assert scored[100]["_av_flag"] == "true"
    assert sum(row["_av_flag"] == "true" for row in scored) <= 5


def test_a_file_in_another_spelling_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(tmp_path, capsys, READINGS, readings(300, 9, "", 0.0))
    other = [
        [station, depth.replace(".", ","), lead.replace(".", ",")] for station, depth, lead in readings(50, 10, "", 0)
    ]
    new = table(tmp_path / "new.csv", READINGS, other)
    assert main(["score", new, "-m", str(tmp_path / "m"), "-q"]) == 3
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "new.csv:2: 50 of 50 rows are unreadable" in said
    assert "a decimal comma?" in said
    assert "fit again" in said
