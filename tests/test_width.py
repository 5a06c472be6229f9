"""Tables of many columns: hidden columns as changes of a row, a self-test of some columns, and progress in a pipe."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anomvae.cli.output import ProgressLines
from anomvae.config import FitSettings
from anomvae.model.encoder import encode
from anomvae.model.likelihood import WIDE, hidden_deviances, hide_each_column, predict_each_column
from anomvae.model.schema import Column, Schema, Values
from anomvae.model.self_test import COLUMNS
from anomvae.synthesis.train import generator_steps
from anomvae.training.fit_detector import FittedDetector, fit_detector, planned_steps

ROWS, WIDTH = 120, 66


def table() -> tuple[Schema, dict[str, Values]]:
    """Numbers, categories and dates in turn, with gaps in each kind."""
    rng = np.random.default_rng(0)
    columns: dict[str, Values] = {}
    kinds: list[Column] = []
    for j in range(WIDTH):
        name, kind = f"c{j}", ("numeric", "numeric", "categorical", "datetime")[j % 4]
        gap = rng.random(ROWS) < (0.1 if j % 3 == 0 else 0.0)
        if kind == "categorical":
            columns[name] = np.where(gap, "", np.array([*"abcd"], dtype=object)[rng.integers(0, 4, ROWS)])
        else:
            value = rng.normal(size=ROWS) if kind == "numeric" else 1.7e9 + rng.integers(0, 10**7, ROWS)
            columns[name] = np.where(gap, np.nan, value)
        kinds.append(Column(name=name, kind=kind, modelled=True))
    return Schema(columns=tuple(kinds)), columns


@pytest.fixture(scope="module", params=[(32,), (16, 8), ()], ids=str)
def fitted(request: pytest.FixtureRequest) -> FittedDetector:
    schema, columns = table()
    return fit_detector(schema, columns, FitSettings(steps=20, hidden=request.param, selftest=False))


def test_a_changed_row_says_what_the_whole_row_with_a_hidden_column_says(fitted: FittedDetector) -> None:
    detector = fitted.detector
    rows = encode(detector.encoding, table()[1])
    whole = hide_each_column(detector.ensemble, rows, detector.anomaly_score.columns.surprise)
    changed = predict_each_column(detector.ensemble, rows)
    assert np.allclose(changed.own, whole.own, rtol=1e-9, atol=1e-9)
    assert np.allclose(changed.expected, whole.expected, rtol=1e-9, atol=1e-9)


def test_a_row_of_a_wide_table_has_the_same_bits_in_any_company(fitted: FittedDetector) -> None:
    detector = fitted.detector
    rows = encode(detector.encoding, table()[1])
    chosen = np.random.default_rng(1).random(WIDTH) < 0.6
    together = hidden_deviances(detector.ensemble.first, rows, chosen)
    assert (together[:, ~chosen] == 0).all()
    order = np.random.default_rng(2).permutation(ROWS)[:77]
    assert np.array_equal(hidden_deviances(detector.ensemble.first, rows.take(order), chosen), together[order])
    for i in (0, 5, ROWS - 1):
        alone = hidden_deviances(detector.ensemble.first, rows.take(slice(i, i + 1)), chosen)
        assert np.array_equal(alone[0], together[i])


def test_no_column_is_hidden_where_none_is_chosen(fitted: FittedDetector) -> None:
    rows = encode(fitted.detector.encoding, table()[1])
    assert not hidden_deviances(fitted.detector.ensemble, rows, np.zeros(WIDTH, dtype=bool)).any()


def test_the_self_test_of_a_wide_table_tries_some_columns_of_every_kind() -> None:
    schema, columns = table()
    told: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))

    powers = fit_detector(schema, columns, FitSettings(steps=20), progress=progress).self_test
    for kind in {power.kind for power in powers}:
        assert 1 <= sum(power.kind == kind and power.column != "" for power in powers) <= COLUMNS
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["training", "calibration", "self-test"]
    for stage in stages:
        done = [(at, total) for name, at, total in told if name == stage]
        assert done == sorted(done)
        assert done[-1][0] == done[-1][1]


@pytest.mark.parametrize(
    ("rows", "columns", "steps"),
    [(300, 1, 400), (300, WIDE, 400), (900, 59, 1200), (900, 240, 600), (900, 960, 300), (60, 5000, 200)],
)
def test_only_wide_tables_take_fewer_steps(rows: int, columns: int, steps: int) -> None:
    assert planned_steps(rows, columns) == steps


def test_the_generator_of_a_wide_table_takes_fewer_steps_but_never_too_few() -> None:
    assert generator_steps(900, WIDE) == 1200
    assert generator_steps(900, 240) == 600
    assert generator_steps(900, 5000) == 300


def test_progress_comes_after_five_seconds_and_then_every_ten() -> None:
    now, lines = [100.0], list[str]()
    progress = ProgressLines(lines.append, lambda: now[0])
    for second in range(31):
        now[0] = 100.0 + second
        progress.advance("training", second, 200)
    assert lines == ["anomvae: training 2 %", "anomvae: training 7 %", "anomvae: training 12 %"]
    now[0] = 200.0
    progress.advance("reading", 12_000, 0)
    assert lines[-1] == "anomvae: reading, 12,000 so far"


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_fit_in_a_pipe_says_how_far_it_is_unless_it_is_to_be_quiet(quiet: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [
        ",".join(f"x{j}" for j in range(5)),
        *(",".join(f"{v:.3f}" for v in row) for row in rng.normal(size=(400, 5))),
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "anomvae", "fit", "t.csv", "--steps", "4000", "--no-generator"]
    done = subprocess.run(
        [*command, *(["-q"] if quiet else [])],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    assert ("anomvae: training" in done.stderr) is not quiet


def environment() -> dict[str, str]:
    """That of this process, with the package that is tested."""
    import os

    import anomvae

    return {**os.environ, "PYTHONPATH": str(Path(anomvae.__file__).parents[1])}
