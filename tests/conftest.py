"""Shared: one small fitted model of the orders story, and where the sample data is."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pathlib import Path

import numpy as np
import pytest

from anomvae.cli import main
from anomvae.model.schema import from_arrays
from anomvae.pipeline.learn import Learned, learn
from anomvae.settings import FitSettings

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "sample_data"


@pytest.fixture(scope="session")
def orders_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The orders model, fitted through the command line with few steps."""
    model = tmp_path_factory.mktemp("orders") / "orders.anomvae"
    code = main(["fit", str(SAMPLE / "orders"), "--id", "order_id", "--drop", "customer", "--quiet", "-o", str(model)])
    assert code == 0
    return model


@pytest.fixture(scope="session")
def small() -> Learned:
    """A detector of 300 rows of five dependent numbers, one with gaps."""
    return learn_numbers(numbers(300, seed=1), steps=200)


def numbers(n: int, seed: int) -> dict[str, np.ndarray]:
    """Columns a..e: b and c follow a, d is independent, e has gaps."""
    rng = np.random.default_rng(seed)
    a, d = rng.normal(10, 2, n), rng.normal(0, 1, n)
    e = np.where(rng.random(n) < 0.1, np.nan, rng.normal(5, 1, n))
    return {"a": a, "b": 2 * a + rng.normal(0, 0.1, n), "c": a - d, "d": d, "e": e}


def learn_numbers(columns: dict[str, np.ndarray], **settings: object) -> Learned:
    return learn(from_arrays(columns), columns, FitSettings(**settings))
