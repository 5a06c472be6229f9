"""Shared: one small fitted model of the orders story, and where the sample data is."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from anomvae.cli import demo
from anomvae.config import FitSettings
from anomvae.model.schema import from_arrays
from anomvae.training.fit_detector import FittedDetector, fit_detector
from tests import bad_inputs
from tests.fits import SESSION
from tests.transcripts import WIDTH

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that need the orders model last, but one: while it fits, no other process waits for it."""
    needing = list(dict.fromkeys(item.path for item in items if "orders_model" in getattr(item, "fixturenames", ())))
    items.sort(key=lambda item: 1 if item.path not in needing else 2 * (item.path != needing[0]))


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` has filled: by the first process of this run that asks, for all of them."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{folder}.lock"):
        if not (folder / "made").exists():
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tests/fits.py keeps the fits of this run, for all of its processes."""
    return once(tmp_path_factory, "fits", lambda folder: None)


@pytest.fixture(scope="session")
def orders_model(tmp_path_factory: pytest.TempPathFactory, fits: Path) -> Path:
    """The orders model, fitted by the command with which the README and the demo begin; its report is beside it."""
    return once(tmp_path_factory, "orders", lambda folder: fit_orders(folder, fits)) / "orders.anomvae"


def fit_orders(folder: Path, fits: Path) -> None:
    """Fill a folder with the sample data, the orders model, and what `fit` printed."""
    (folder / "sample_data").symlink_to(SAMPLE)
    argv = [sys.executable, "-m", "tests.fits", *shlex.split(demo.STORIES["orders"][0])]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": WIDTH, SESSION: str(fits)}
    with (folder / "fit.txt").open("w") as report:
        subprocess.run(argv, cwd=folder, env=env, check=True, stdout=report)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the good table (tests/bad_inputs.py), which no test may change."""
    return once(tmp_path_factory, "small", bad_inputs.model) / "m.anomvae"


@pytest.fixture(scope="session")
def small() -> FittedDetector:
    """A detector of 300 rows of five dependent numbers, one with gaps."""
    return learn_numbers(numbers(300, seed=1), steps=200)


def numbers(n: int, seed: int) -> dict[str, np.ndarray]:
    """Columns a..e: b and c follow a, d is independent, e has gaps."""
    rng = np.random.default_rng(seed)
    a, d = rng.normal(10, 2, n), rng.normal(0, 1, n)
    e = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 1, n))
    return {"a": a, "b": 2 * a + rng.normal(0, 0.1, n), "c": a - d, "d": d, "e": e}


def learn_numbers(columns: dict[str, np.ndarray], **settings: object) -> FittedDetector:
    return fit_detector(from_arrays(columns), columns, FitSettings(**settings))
