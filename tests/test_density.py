"""The mixture: a likelihood like any other, for numbers, categories and gaps alike, and far is far."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from anomvae.model.encoder import Encoded, Encoding, encode, fit_encoding
from anomvae.model.mixture import Density, fit_density
from anomvae.model.schema import Column, Schema, Values

SCHEMA = Schema(
    columns=(
        Column(name="a", kind="numeric", modelled=True),
        Column(name="b", kind="numeric", modelled=True),
        Column(name="tone", kind="categorical", modelled=True),
    )
)
TONES = np.array(["low", "high", ""], dtype=object)


def rows(n: int, seed: int) -> dict[str, Values]:
    """Two clusters; `b` has gaps, and so has `tone`, which says the cluster."""
    rng = np.random.default_rng(seed)
    which = rng.integers(2, size=n)
    b = rng.normal(0, 1, n)
    b[rng.random(n) < 0.1] = np.nan
    tone = TONES[np.where(rng.random(n) < 0.1, 2, which)]
    return {"a": 10 * which + rng.normal(0, 1, n), "b": b, "tone": tone}


@pytest.fixture(scope="module")
def fitted() -> tuple[Encoding, Density]:
    table = rows(1000, 0)
    encoding = fit_encoding(SCHEMA, table)
    pools = np.arange(1000) % 2 != np.arange(2)[:, None]
    return encoding, fit_density(encoding, encode(encoding, table), pools, np.random.default_rng(0))


def distance(fitted: tuple[Encoding, Density], table: dict[str, Values]) -> np.ndarray:
    encoding, density = fitted
    return density.distance(encoding, encode(encoding, table)).mean(axis=0)


def test_a_row_between_the_clusters_is_farther_than_any_training_row(fitted: tuple[Encoding, Density]) -> None:
    usual = distance(fitted, rows(500, 1))
    for tone in ("low", "high"):
        between = {"a": np.array([5.0]), "b": np.zeros(1), "tone": np.array([tone], dtype=object)}
        assert distance(fitted, between)[0] > usual.max()


def test_a_category_that_belongs_to_the_other_cluster_is_far(fitted: tuple[Encoding, Density]) -> None:
    table = {"a": np.zeros(2), "b": np.zeros(2), "tone": np.array(["low", "high"], dtype=object)}
    right, wrong = distance(fitted, table)
    assert wrong > right + 1


def test_one_component_is_the_likelihood_of_independent_columns() -> None:
    """Against scipy: with few rows there is one component, whose density is a product that can be written down."""
    table = rows(5, 3) | {"b": np.array([0.1, 0.2, np.nan, -0.4, 1.0]), "tone": TONES[[0, 1, 0, 2, 0]]}
    encoding = fit_encoding(SCHEMA, table, discrete=False)
    encoded = encode(encoding, table)
    density = fit_density(encoding, encoded, np.ones((1, 5), dtype=bool), np.random.default_rng(0))
    assert density.weight.shape[1] == 1
    expected = np.zeros(5)
    for at in encoding.offsets[:2]:
        present = ~encoded.gap[:, encoding.offsets.index(at)]
        x = encoded.x[present, at]
        expected[present] -= norm(x.mean(), np.sqrt(x.var() + 0.02)).logpdf(x) + 0.5 * np.log(2 * np.pi)
    gap = (1 + 0.5) / (5 + 1 + 0.5)
    gap = (1 + 2 * gap) / (5 + 2)
    expected -= np.where(encoded.gap[:, 1], np.log(gap), np.log1p(-gap))
    counts = np.array([3.0, 1.0, 1.0])
    chance = (counts + 2 * (counts + 0.5) / (5 + 1 + 1.5)) / (5 + 2)
    expected -= np.log(chance[[0, 1, 0, 2, 0]])
    assert np.allclose(density.distance(encoding, encoded)[0], expected, rtol=1e-4)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=1, max_size=300), st.data())
@settings(max_examples=25, deadline=None)
def test_a_distance_is_finite_and_the_same_bits_in_any_company(
    fitted: tuple[Encoding, Density], pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    encoding, density = fitted
    a, b = np.array(pairs).T
    whole = encode(encoding, {"a": a, "b": b, "tone": TONES[np.arange(len(a)) % 3]})
    every = density.distance(encoding, whole)
    assert np.isfinite(every).all()
    some = data.draw(st.lists(st.integers(0, len(a) - 1), min_size=1, max_size=10))
    part: Encoded = whole.take(np.array(some))
    assert np.array_equal(density.distance(encoding, part), every[:, some])
