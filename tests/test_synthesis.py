"""The generating member: transforms round trip, conditions are exact, dependencies hold, draws repeat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.config import FitSettings
from anomvae.errors import UsageError
from anomvae.model.infer_column import infer
from anomvae.model.number_format import NumberFormat
from anomvae.model.schema import Column, Schema, parse
from anomvae.model.value_formatting import format_values
from anomvae.synthesis.decoder import Decoder, decoder_shapes, degrees
from anomvae.synthesis.dependencies import fill_in, find_dependencies
from anomvae.synthesis.encoder import ATOMS, KNOTS, encode, fit_marginals, fit_quantiles, from_normal, to_normal
from anomvae.synthesis.generator import BLOCK, Generator, fit_mixture, log_densities
from anomvae.synthesis.row_hashes import find_unique_rows, row_hashes
from anomvae.synthesis.train import fit_generator
from anomvae.training.fit_detector import FittedDetector
from tests.conftest import learn_numbers, numbers

CITIES = {"anaheim": "CA", "boulder": "CO", "concord": "CA", "dayton": "OH"}


def shop(n: int = 600, seed: int = 0) -> tuple[Schema, dict[str, np.ndarray]]:
    """Text cells of a small shop, typed: a table city -> state, a product, gaps, a date, a constant."""
    rng = np.random.default_rng(seed)
    city = rng.choice(list(CITIES), n, p=[0.4, 0.3, 0.2, 0.1])
    quantity, price = rng.integers(1, 9, n), np.round(rng.gamma(4, 10, n), 2)
    seconds = rng.integers(0, 40 * 86400, n)
    cells = {
        "city": city.tolist(),
        "state": [CITIES[name] for name in city],
        "quantity": [str(q) for q in quantity],
        "price": [f"{p:.2f}" for p in price],
        "amount": [f"{q * p:.2f}" for q, p in zip(quantity, price, strict=True)],
        "age": ["" if rng.random() < 0.2 else str(a) for a in rng.integers(18, 70, n)],
        "when": [str(np.datetime64("2026-01-01T00:00:00") + int(s)) for s in seconds],
        "member": ["yes" if flag else "no" for flag in rng.random(n) < 0.3],
        "unit": ["EUR"] * n,
    }
    schema = Schema(columns=tuple(infer(name, texts).column for name, texts in cells.items()))
    return schema, {c.name: parse(c, cells[c.name]).values for c in schema.columns}


@pytest.fixture(scope="module")
def made() -> tuple[Generator, dict[str, np.ndarray]]:
    schema, columns = shop()
    return fit_generator(schema, columns, FitSettings(steps=400), device="cpu"), columns


def drawn(generator: Generator, *conditions: tuple[str, str, str], seed: int = 0) -> dict[str, np.ndarray]:
    return generator.block(np.random.default_rng(seed), generator.constraints(conditions))


values = st.one_of(
    st.integers(-5, 5).map(float), st.floats(-1e9, 1e9), st.sampled_from([0.0, 1e-300, 1e12, 7.0, 7.0000001])
)


@given(st.lists(values, min_size=5, max_size=200))
@settings(max_examples=150, deadline=None)
def test_quantiles_give_back_ties_and_the_range_and_order_everything_else(sample: list[float]) -> None:
    column = np.array(sample)
    fitted = fit_quantiles(column)
    low, high = fitted.ranks(column)
    assert ((low >= 0) & (low <= high) & (high <= 1)).all()
    assert (np.diff(fitted.rank) >= 0).all()
    assert (np.diff(fitted.value) >= 0).all()
    assert (fitted.value[0], fitted.value[-1]) == (column.min(), column.max())
    levels, counts = np.unique(column, return_counts=True)
    for level, count in zip(levels, counts, strict=True):
        if count >= 3:
            below, upto = fitted.ranks(np.array([level]))
            assert np.isclose(upto - below, count / len(column), atol=1e-9)
            assert fitted.values((below + upto) / 2)[0] == level


@given(st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=100, unique=True))
@settings(max_examples=80, deadline=None)
def test_normal_units_and_back_keep_the_order_and_the_range(sample: list[float]) -> None:
    column = np.sort(np.array(sample))
    fitted = fit_quantiles(column)
    back = fitted.values(from_normal(to_normal(np.mean(fitted.ranks(column), axis=0))))
    assert (np.diff(back) >= 0).all()
    assert (back >= column[0]).all()
    assert (back <= column[-1]).all()


def test_quantiles_are_bounded_and_hold_no_lone_value_but_the_range() -> None:
    column = np.random.default_rng(0).standard_cauchy(50_000)
    fitted = fit_quantiles(column)
    assert len(fitted.value) <= KNOTS + 2 * ATOMS + 2
    kept = fitted.value[np.isin(fitted.value, column)]
    assert set(kept) == {column.min(), column.max()}
    assert np.allclose(np.quantile(column, (0.1, 0.5, 0.9)), fitted.values(np.array([0.1, 0.5, 0.9])), rtol=0.05)


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_part_never_sees_itself_or_what_comes_after(parts: int, masked: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    offsets = list(range(parts))
    shapes = decoder_shapes(parts, parts, (5,), 3, masked)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    decoder, z = Decoder(arrays, (5,), offsets), rng.normal(size=(4, 3))
    x, other = rng.normal(size=(2, 4, parts))
    change = int(rng.integers(parts))
    other[:, :change] = x[:, :change]
    seen = []
    for row in (x, other):
        decoding, outputs = decoder.start(z), []
        for j in range(parts):
            outputs.append(decoding.read(j, 1))
            decoding.condition_on(j, row[:, j : j + 1])
        seen.append(np.hstack(outputs))
    assert np.array_equal(seen[0][:, : change + 1], seen[1][:, : change + 1])
    assert (degrees(masked, parts) < parts).all()


def test_numpy_and_torch_decode_alike(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    import torch

    from anomvae.synthesis.generator_network import GeneratorNetwork, GeneratorRecipe

    generator, columns = made
    rows = encode(generator.schema, generator.marginals, columns)
    decoder, marginals = generator.decoder, generator.marginals
    recipe = GeneratorRecipe(decoder.hidden, decoder.latent, decoder.masked, 1, 0, "cpu")
    network = GeneratorNetwork(marginals, rows, recipe, torch.Generator().manual_seed(0))
    z = np.random.default_rng(0).normal(size=(len(rows.x), decoder.latent))
    with torch.no_grad():
        for name, array in decoder.arrays.items():
            network.weights[name.replace(".", "_")].copy_(torch.from_numpy(array))
        out, spread = network.decode(torch.from_numpy(z).float(), network.x)
    decoding = decoder.start(z)
    for j, (part, at) in enumerate(zip(marginals.parts, marginals.offsets(), strict=True)):
        units = part.units + part.gaps
        assert np.allclose(decoding.read(j, units), out[:, at : at + units], atol=1e-4)
        assert np.allclose(decoding.sigma(), 0.01 + spread[:, j].exp().numpy(), rtol=1e-3)
        decoding.condition_on(j, rows.x[:, at : at + units])


def test_em_never_lowers_the_likelihood_of_clear_clusters() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(-4, 0.5, (300, 2)), rng.normal(4, 1.0, (600, 2))])
    one, two = (fit_mixture(points, k, np.random.default_rng(0)) for k in (1, 2))
    means = [np.logaddexp.reduce(log_densities(points, m), axis=1).mean() for m in (one, two)]
    assert means[1] > means[0] + 0.5
    assert np.allclose(np.sort(two.weights), [1 / 3, 2 / 3], atol=0.02)
    sample = two.sample(4000, rng)
    assert np.allclose(sample.mean(axis=0), points.mean(axis=0), atol=0.3)


def test_dependencies_are_found_and_kept(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    generator, _ = made
    assert {item.describe() for item in generator.dependencies} == {
        "amount = quantity * price",
        "state decided by city",
    }
    rows = drawn(generator)
    assert [CITIES[city] for city in rows["city"]] == rows["state"].tolist()
    assert np.allclose(rows["amount"], rows["quantity"] * rows["price"], atol=0.00501)


@pytest.mark.parametrize(
    ("form", "make"),
    [
        ("sum", lambda a, b: a + b),
        ("difference", lambda a, b: a - b),
        ("product", lambda a, b: a * b),
        ("ratio", lambda a, b: a / b),
        ("linear", lambda a, b: 2.54 * a + 1),
        ("discounted", lambda a, b: a * (1 - b)),
    ],
)
def test_every_formula_is_found(form: str, make: object) -> None:
    rng = np.random.default_rng(1)
    a, b = np.round(rng.uniform(1, 50, 300), 2), np.round(rng.uniform(0.1, 0.9, 300), 2)
    columns = {"a": a, "b": b, "c": np.round(make(a, b), 4)}  # type: ignore[operator]
    schema = Schema(
        columns=tuple(
            Column(name=n, kind="numeric", modelled=True, number=NumberFormat(digits=2 + 2 * (n == "c"))) for n in "abc"
        )
    )
    found = find_dependencies(schema, columns)
    assert [item.form for item in found if item.column == "c"] == [form] or {item.column for item in found} <= set(
        "abc"
    )
    assert found
    rebuilt = dict(columns)
    fill_in(found, rebuilt)
    assert all(np.allclose(rebuilt[name], columns[name], atol=0.0051) for name in "abc")


def test_chance_is_no_dependency() -> None:
    rng = np.random.default_rng(2)
    columns = {"a": rng.integers(0, 15, 40).astype(float), "b": (rng.random(40) < 0.03).astype(float)}
    schema = Schema(
        columns=tuple(Column(name=n, kind="integer", modelled=True, number=NumberFormat(digits=0)) for n in "ab")
    )
    assert find_dependencies(schema, columns) == ()


CONDITIONS = [
    ("city", "==", "dayton", lambda v: v == "dayton"),
    ("city", "!=", "dayton", lambda v: v != "dayton"),
    ("state", "==", "CA", lambda v: v == "CA"),
    ("quantity", ">", "6", lambda v: v.astype(float) > 6),
    ("price", "==", "30.5", lambda v: v.astype(float) == 30.5),
    ("price", "<=", "20", lambda v: v.astype(float) <= 20),
    ("amount", ">=", "150", lambda v: v.astype(float) >= 150),
    ("age", "==", "", lambda v: np.isnan(v.astype(float))),
    ("age", "!=", "", lambda v: ~np.isnan(v.astype(float))),
    ("age", "!=", "40", lambda v: (v.astype(float) != 40) & ~np.isnan(v.astype(float))),
    ("when", ">=", "2026-01-20T12:00:00", lambda v: v.astype(float) >= 1768910400),
    ("when", "<", "2026-01-05", lambda v: v.astype(float) < 1767571200),
    ("member", "==", "yes", lambda v: v.astype(float) == 1),
]


@pytest.mark.parametrize(("column", "sign", "value", "holds"), CONDITIONS)
def test_a_condition_holds_in_every_row(
    made: tuple[Generator, dict[str, np.ndarray]], column: str, sign: str, value: str, holds: object
) -> None:
    rows = drawn(made[0], (column, sign, value))
    assert len(rows[column]) == BLOCK
    assert holds(rows[column]).all()  # type: ignore[operator]
    assert [CITIES[city] for city in rows["city"]] == rows["state"].tolist()


def test_a_condition_moves_the_columns_that_go_with_it(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    generator, columns = made
    high = drawn(generator, ("amount", ">=", "200"))
    real = columns["quantity"][columns["amount"] >= 200].mean()
    assert abs(high["quantity"].mean() - real) < 0.6
    assert real - drawn(generator)["quantity"].mean() > 1


@given(st.integers(18, 69), st.integers(18, 69), st.sampled_from(list(CITIES)))
@settings(max_examples=20, deadline=None)
def test_any_interval_is_met_exactly(made: tuple[Generator, dict[str, np.ndarray]], a: int, b: int, city: str) -> None:
    low, high = sorted((a, b))
    rows = drawn(made[0], ("age", ">=", str(low)), ("age", "<=", str(high)), ("city", "==", city))
    assert ((rows["age"] >= low) & (rows["age"] <= high)).all()
    assert (rows["city"] == city).all()


@pytest.mark.parametrize(
    ("conditions", "told"),
    [
        ([("shoe", "==", "1")], "not in the model"),
        ([("city", "==", "paris")], "never was 'paris'"),
        ([("age", ">", "200")], "never was in that range"),
        ([("age", "==", "30.5")], "can meet"),
        ([("age", "==", "old")], "not a number"),
        ([("age", ">", "50"), ("age", "<", "40")], "can meet"),
        ([("city", "==", "dayton"), ("state", "==", "CA")], "never seen together"),
        ([("price", "==", "")], "never was empty"),
        ([("when", "==", "soon")], "date"),
    ],
)
def test_what_cannot_be_is_told(
    made: tuple[Generator, dict[str, np.ndarray]], conditions: list[tuple[str, str, str]], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        drawn(made[0], *conditions)


def test_rows_keep_kinds_vocabulary_ranges_decimals_and_gaps(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    generator, columns = made
    rows = drawn(generator)
    assert list(rows) == list(columns)
    assert set(rows["city"]) == set(CITIES)
    for name in ("quantity", "price", "age", "when"):
        assert np.nanmin(rows[name]) >= np.nanmin(columns[name])
        assert np.nanmax(rows[name]) <= np.nanmax(columns[name])
    assert (rows["age"][~np.isnan(rows["age"])] % 1 == 0).all()
    assert np.array_equal(rows["price"], np.round(rows["price"], 2))
    assert abs(np.isnan(rows["age"]).mean() - np.isnan(columns["age"]).mean()) < 0.04
    assert set(rows["unit"]) == {"EUR"}


def test_same_seed_same_rows_and_another_seed_others(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    one, two, other = drawn(made[0], seed=1), drawn(made[0], seed=1), drawn(made[0], seed=2)
    assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype != object) for name in one)
    assert not np.array_equal(one["price"], other["price"])


def test_the_detector_is_the_same_with_and_without_a_generator() -> None:
    table = numbers(150, seed=3)
    alone = learn_numbers(table, steps=60)
    beside: FittedDetector = learn_numbers(table, steps=60)
    fit_generator(beside.detector.schema, table, FitSettings(steps=60), device="cpu")
    again = learn_numbers(table, steps=60)
    for other in (beside, again):
        for name, array in alone.detector.ensemble.vae.arrays.items():
            assert np.array_equal(array, other.detector.ensemble.vae.arrays[name]), name
        assert np.array_equal(alone.detector.calibration.scores, other.detector.calibration.scores)


def test_a_detector_samples_what_it_is_given(made: tuple[Generator, dict[str, np.ndarray]]) -> None:
    learned = learn_numbers(numbers(100, seed=1), steps=30)
    with pytest.raises(UsageError, match="no generator"):
        learned.detector.sample(3)
    detector = learned.detector.with_generator(made[0])
    rows = detector.sample(BLOCK + 5, given={"city": "dayton", "quantity": 3}, seed=2)
    assert {len(values) for values in rows.values()} == {BLOCK + 5}
    assert set(rows["city"]) == {"dayton"}
    assert set(rows["quantity"]) == {3.0}


def test_hashes_know_a_row_and_only_that_row() -> None:
    _, columns = shop(200)
    known = find_unique_rows(columns, key=5).hashes
    assert np.isin(known, row_hashes(columns, 5)).all()
    changed = {**columns, "price": columns["price"] + 0.01}
    assert not np.isin(row_hashes(changed, 5), known).any()
    assert not np.isin(row_hashes(columns, 6), known).any()
    twice = {name: np.concatenate([v, v]) for name, v in columns.items()}
    assert len(find_unique_rows(twice, key=5).hashes) == 0


@pytest.mark.parametrize(
    "cells",
    [
        ["2026-01-02", "2026-03-04"],
        ["2026-01-02T03:04:05", "2026-01-02T03:04:06"],
        ["2026-01-02 03:04", "2026-05-02 13:04"],
        ["2026-01-02T03:04:05Z", "2026-01-02T23:04:05Z"],
        ["2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05+02:00"],
        ["31/12/2025", "01/02/2026"],
        ["1.50", "2.25", "10.00"],
        ["1.5", "2.25", "10"],
        ["yes", "no", "yes"],
        ["T", "F", "F"],
        ["7", "-3", "12"],
    ],
)
def test_values_are_written_as_training_wrote_them(cells: list[str]) -> None:
    column = infer("x", cells).column
    assert format_values(column, parse(column, [*cells, ""]).values) == [*cells, ""]


def test_decimal_commas_and_groups_are_written_back() -> None:
    cells = ["1.234.567,50", "-12.345,25", "0,75"]
    column = infer("x", cells).column
    assert format_values(column, parse(column, cells).values) == cells


def test_a_given_layout_is_the_generators_layout() -> None:
    table = {f"p{i}": np.random.default_rng(i).integers(0, 17, 60).astype(float) for i in range(16)}
    schema = Schema(
        columns=tuple(Column(name=n, kind="integer", modelled=True, number=NumberFormat(digits=0)) for n in table)
    )
    generator = fit_generator(schema, table, FitSettings(steps=20, hidden=(8,), latent=3), device="cpu")
    marginals = fit_marginals(schema, table, frozenset(), discrete=False)
    assert (marginals.width, generator.decoder.hidden, generator.decoder.latent) == (16, (8,), 3)
    assert generator.decoder.masked == 0
