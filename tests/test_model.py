"""Numerics: encoding round trips, contributions add up, scores depend on the row alone, torch agrees."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.config import ColumnSettings, Kind
from anomvae.errors import DataError
from anomvae.model.encoder import Encoded, Encoding, encode, fit_encoding
from anomvae.model.infer_column import declared, infer
from anomvae.model.number_format import NumberFormat
from anomvae.model.schema import Column, Schema, parse
from anomvae.model.vae import BLOCK
from anomvae.training.fit_detector import FittedDetector
from anomvae.training.network import Network
from anomvae.training.trainer import DECAY, AdamW
from tests.conftest import learn_numbers, numbers

POINT = NumberFormat(digits=None)


def test_contributions_add_up_to_the_reconstruction_error(small: FittedDetector) -> None:
    scores = small.detector.score(numbers(100, seed=2))
    assert np.allclose(scores.contributions.sum(axis=1), scores.recon, rtol=1e-12)
    assert (scores.contributions >= 0).all()


@given(st.lists(st.lists(st.floats(-1e12, 1e12), min_size=5, max_size=5), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_numbers_get_finite_scores_whose_parts_add_up(small: FittedDetector, rows: list[list[float]]) -> None:
    table = dict(zip("abcde", np.array(rows).T, strict=True))
    scores = small.detector.score(table)
    assert np.isfinite(scores.score).all()
    assert np.isfinite(scores.kl).all()
    assert np.allclose(scores.contributions.sum(axis=1), scores.recon)
    p = small.detector.decide(scores).p
    assert ((p > 0) & (p <= 1)).all()


@given(st.randoms(use_true_random=False), st.integers(1, 2 * BLOCK + 3))
@settings(max_examples=15, deadline=None)
def test_a_row_scores_the_same_bits_in_any_company(small: FittedDetector, random: object, size: int) -> None:
    table = numbers(600, seed=3)
    whole = small.detector.score(table)
    order = np.array(random.sample(range(600), size))  # type: ignore[attr-defined]
    part = small.detector.score({name: values[order] for name, values in table.items()})
    for name in ("score", "recon", "kl", "contributions", "terms"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[order]), name
    assert np.array_equal(small.detector.decide(part).p, small.detector.decide(whole).p[order])


def test_scores_do_not_depend_on_chunks(small: FittedDetector) -> None:
    table = numbers(300, seed=4)
    whole = small.detector.score(table).score
    for size in (1, 7, 250):
        parts = [
            small.detector.score({name: values[at : at + size] for name, values in table.items()}).score
            for at in range(0, 300, size)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


def test_numpy_and_torch_agree(small: FittedDetector) -> None:
    vae, encoding = small.detector.ensemble.vae, small.detector.encoding
    network = Network(encoding, small.hidden, small.latent, vae.members, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for name in network.shapes:
            for part in ("weight", "bias"):
                array = torch.from_numpy(vae.arrays[f"{name}.{part}"])
                network.weights[f"{name.replace('.', '_')}_{part}"].copy_(array)
    rows = small.detector.encode(numbers(200, seed=5))
    x = np.hstack([rows.x, rows.hidden]).astype(np.float32)
    with torch.no_grad():
        mu, logvar = network.posterior(torch.from_numpy(x).expand(vae.members, -1, -1))
        out = network.decode(mu)
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(-1)
    ours_mu, ours_logvar = vae.posterior(x.T)
    assert np.allclose(ours_mu.transpose(0, 2, 1), mu, atol=2e-4)
    assert np.allclose(ours_logvar.transpose(0, 2, 1), logvar, atol=2e-4)
    assert np.allclose(vae.decode(ours_mu).transpose(0, 2, 1), out, atol=2e-4)
    assert np.allclose(np.concatenate([part for _, _, part in vae.blocks(x)], axis=1), kl, rtol=1e-3, atol=1e-3)


def test_the_optimiser_takes_the_steps_of_torchs_own() -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)) for _ in "ab")
    theirs.load_state_dict(ours.state_dict())
    mine, x = AdamW(ours), torch.randn(64, 4)
    other = torch.optim.AdamW(theirs.parameters(), weight_decay=DECAY)
    for step in range(50):
        rate = 0.01 / (1 + step)
        mine.step((ours(x) - x[:, :1]).square().mean(), rate)
        other.param_groups[0]["lr"] = rate
        other.zero_grad()
        (theirs(x) - x[:, :1]).square().mean().backward()
        other.step()
    for one, two in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=1e-5, atol=1e-7)


def decoded(encoding: Encoding, rows: Encoded) -> list[object]:
    """What the one column of these rows was: a number, a level, None where it has none."""
    (feature,) = encoding.features
    if feature.numeric:
        numbers = rows.x[:, 0] * feature.scale + feature.center
        return [None if gap else number for gap, number in zip(rows.gap[:, 0], numbers.tolist(), strict=True)]
    names = (*feature.levels, *feature.rare[:1], None)
    return [names[level] for level in rows.level[:, 0]]


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), min_size=25, max_size=60))
@settings(max_examples=60, deadline=None)
def test_numbers_and_gaps_survive_encoding(values: list[float | None]) -> None:
    column = np.array([np.nan if v is None else v for v in values])
    if np.isnan(column).all():
        column[0] = 1.0
    schema = Schema(columns=(Column(name="x", kind="numeric", modelled=True),))
    encoding = fit_encoding(schema, {"x": column})
    back = np.array(decoded(encoding, encode(encoding, {"x": column})), dtype=np.float64)
    assert np.array_equal(np.isnan(back), np.isnan(column))
    assert np.allclose(back, column, rtol=1e-9, atol=1e-6, equal_nan=True)


@given(st.lists(st.text(max_size=5), min_size=20, max_size=60))
@settings(max_examples=60, deadline=None)
def test_categories_survive_encoding(values: list[str]) -> None:
    column = np.array(values, dtype=object)
    if (column == "").all():
        column[0] = "x"
    schema = Schema(columns=(Column(name="x", kind="categorical", modelled=True),))
    encoding = fit_encoding(schema, {"x": column})
    rare = set(encoding.features[0].rare)
    back = [text or "" for text in decoded(encoding, encode(encoding, {"x": column}))]
    assert all(a == b or (a in rare and b in rare) for a, b in zip(column, back, strict=True))


@given(st.decimals(-(10**9), 10**9, places=2).map(str))
def test_a_written_number_reads_back(text: str) -> None:
    assert NumberFormat(digits=2).write(POINT.read(text)[0]) in (text, text.replace("-0.00", "0.00"))


@pytest.mark.parametrize("text", ["1_000", "１２", "٣", "0x10", "1e", "5kg", "1,5", "inf", "1e400"])
def test_a_cell_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(Exception, match=r"number|finite|large"):
        POINT.read(text)


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "2", "3", "2"] * 10, "integer"),
        (["1.5", "2", "", "NA"] * 10, "numeric"),
        (["00123", "00456"] * 10, "categorical"),
        (["true", "false", ""] * 10, "boolean"),
        (["T", "F"] * 10, "boolean"),
        (["true"] * 10, "boolean"),
        (["F"] * 20, "categorical"),
        (["2026-01-02", "2026-01-03"] * 10, "datetime"),
        (["31/12/2025", "01/02/2026"] * 10, "datetime"),
        ([f"K-{i}" for i in range(50)], "ignore"),
        ([""] * 30, "ignore"),
        (["NA", "DE"] * 15, "categorical"),
    ],
)
def test_kinds_are_inferred(texts: list[str], kind: str) -> None:
    column = infer("x", texts).column
    assert column.kind == kind
    assert column.modelled == (kind != "ignore")
    assert str(column.reason) or kind != "ignore"


def test_identifiers_keep_their_zeros_and_na_stays_a_country() -> None:
    column = infer("country", ["NA", "DE"] * 15).column
    parsed = parse(column, ["NA", "00123", ""])
    assert parsed.values.tolist() == ["NA", "00123", ""]
    assert not parsed.errors


def test_beta_zero_and_beta_above_zero_train_differently() -> None:
    table = numbers(120, seed=6)
    free, held = learn_numbers(table, steps=150, beta=0.0), learn_numbers(table, steps=150, beta=1.0)
    assert free.out_of_fold.deviances.kl.mean() > 2 * held.out_of_fold.deviances.kl.mean()


def test_a_gap_where_there_was_none_and_an_unseen_value_raise_the_score(small: FittedDetector) -> None:
    table = numbers(50, seed=7)
    before = small.detector.score(table).score
    gap = small.detector.score({**table, "a": np.full(50, np.nan)}).score
    assert (gap > before).all()
    assert (small.detector.p_values({**table, "a": np.full(50, np.nan)}) <= 0.01).all()


def test_a_value_far_away_is_blamed_on_its_column(small: FittedDetector) -> None:
    table = numbers(50, seed=8)
    assert (small.detector.p_values({**table, "d": np.full(50, 50.0)}) <= 0.01).all()


written_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"[+-]?[0-9]{1,20}\.?[0-9]{0,9}([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from([".5", "-.5e1", "00123", "1e-400"]),
)
other_cells = st.one_of(
    st.text(max_size=4).filter(lambda text: not set(text) & set("0123456789")),
    st.sampled_from(["", "NA", " 5", "5 ", "1,5", "1e", "0x10", "１２", "inf", "1e400", "1\n2", "1\n", "\n1", "1\r"]),
)


@given(st.lists(written_numbers, min_size=1))
def test_a_column_of_numbers_read_at_once_is_its_cells_one_by_one(texts: list[str]) -> None:
    assert POINT.read_column(texts) == [POINT.read(text)[0] for text in texts]


@given(st.lists(written_numbers), other_cells, st.lists(written_numbers))
def test_a_column_with_any_other_cell_is_not_read_at_once(before: list[str], other: str, after: list[str]) -> None:
    assert POINT.read_column([*before, other, *after]) is None


def test_a_declared_kind_is_taken_at_its_word() -> None:
    def column(kind: Kind, texts: list[str], **stated: Any) -> Column:
        return declared("c", ColumnSettings(kind=kind, **stated), texts).column

    ignored = column("ignore", ["1"])
    assert (ignored.kind, ignored.modelled, str(ignored.reason)) == ("ignore", False, "ignored by the configuration")
    category = column("categorical", ["1", "2"])
    assert (category.kind, category.modelled, str(category.reason)) == ("categorical", True, "by configuration")
    number = column("numeric", ["1.25", "n/a", "3"])
    assert (number.kind, number.digits, str(number.reason)) == ("numeric", 2, "by configuration")
    found = column("datetime", ["2026-11-25", "2026-11-26"])
    assert (found.kind, found.dates) == ("datetime", infer("c", ["2026-11-25", "2026-11-26"]).column.dates)
    assert column("datetime", ["x"], format="%d.%m.%Y").dates[0].pattern == "%d.%m.%Y"
    with pytest.raises(DataError) as caught:
        column("datetime", ["red", "blue"])
    assert (caught.value.code, caught.value.column) == ("bad_date", "c")
