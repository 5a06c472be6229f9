"""What a column is follows from what nearly all of its cells are; a few strange cells never change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.errors import DataError
from anomvae.model.infer_column import infer, settled_together
from anomvae.model.number_format import Affix
from anomvae.model.schema import EMPTY, USUAL, Column, parse

RNG = np.random.default_rng(11)
AMOUNTS = [f"{value:.2f}" for value in RNG.normal(50, 20, 400).round(2)]
WHOLE = [str(value) for value in RNG.integers(100, 999, 400)]
DAYS = [str(np.datetime64("2026-03-01") + int(day)) for day in RNG.integers(0, 200, 400)]


def column_of(texts: list[str]) -> Column:
    return infer("x", texts).column


def with_every(n: int, cells: list[str], other: str) -> list[str]:
    return [other if i % n == 0 else cell for i, cell in enumerate(cells)]


@pytest.mark.parametrize("cells", [AMOUNTS, WHOLE, DAYS], ids=["amounts", "whole", "days"])
@pytest.mark.parametrize("stray", ["TOTAL", "error 5", "see note", "x"])
def test_one_strange_cell_changes_nothing_but_its_row(cells: list[str], stray: str) -> None:
    spoilt = [*cells[:200], stray, *cells[200:]]
    found = infer("x", spoilt)
    assert found.strange == (stray,)
    assert found.column == column_of(cells)
    assert list(parse(found.column, spoilt).errors) == [200]


@pytest.mark.parametrize("cells", [AMOUNTS, WHOLE, DAYS], ids=["amounts", "whole", "days"])
@pytest.mark.parametrize(
    "mark", ["#N/A", "<NA>", "-", "(null)", ".", "#DIV/0!", "\\N", "pending", "no reading", "Test"]
)
@pytest.mark.parametrize("every", [3, 8, 40])
def test_marks_of_gaps_are_gaps_and_are_kept(cells: list[str], mark: str, every: int) -> None:
    column = column_of(with_every(every, cells, mark))
    assert column.kind == column_of(cells).kind
    assert column.marks == (USUAL, mark)
    parsed = parse(column, [cells[1], mark])
    assert np.isnan(parsed.values).tolist() == [False, True]
    assert parsed.marks is not None
    assert parsed.marks.tolist() == [USUAL, mark]


def test_another_mark_than_usual_is_read_and_named() -> None:
    column = column_of(with_every(10, AMOUNTS, "#N/A"))
    parsed = parse(column, ["#N/A", "-", "", "12.50"])
    assert parsed.marks is not None
    assert parsed.marks.tolist() == ["#N/A", "-", EMPTY, USUAL]
    assert np.isnan(parsed.values[:3]).all()
    assert parsed.values[3] == 12.5


@pytest.mark.parametrize(
    ("cells", "sentinel"),
    [
        (AMOUNTS, "-999"),
        (AMOUNTS, "-999.00"),
        (WHOLE, "99999"),
        (WHOLE, "-9999"),
        ([str(1 + i % 5) for i in range(200)] + [str(value) for value in range(6, 12)], "999"),
        (DAYS, "1900-01-01"),
        (DAYS, "9999-12-31"),
    ],
)
@pytest.mark.parametrize("times", [1, 20])
def test_a_value_far_off_that_stands_for_none_is_a_gap(cells: list[str], sentinel: str, times: int) -> None:
    column = column_of([*cells, *[sentinel] * times])
    assert column.gaps == (sentinel,)
    assert np.isnan(parse(column, [sentinel]).values).all()


@pytest.mark.parametrize("cells", [[*WHOLE, "999"], [*AMOUNTS, "-1"], [*AMOUNTS, "99.99"], [*DAYS, "2026-01-01"]])
def test_a_value_among_the_others_is_a_value(cells: list[str]) -> None:
    column = column_of(cells)
    assert not column.gaps
    assert not np.isnan(parse(column, cells).values).any()


@pytest.mark.parametrize("zero", ["0000-00-00", "0000-00-00 00:00:00", "00/00/0000"])
def test_a_date_of_zeros_is_a_gap_with_its_own_mark(zero: str) -> None:
    column = column_of(with_every(4, DAYS, zero))
    assert column.kind == "datetime"
    assert column.marks == (USUAL, zero)


@pytest.mark.parametrize("share", [3, 12, 250])
def test_limits_of_detection_are_numbers_with_a_mark(share: int) -> None:
    column = column_of(with_every(share, AMOUNTS, "<0.05"))
    assert (column.kind, column.marks) == ("numeric", (USUAL, "<"))
    parsed = parse(column, ["<0.05", "> 100", "3.20"])
    assert parsed.values.tolist() == [0.05, 100.0, 3.2]
    assert parsed.marks is not None
    assert parsed.marks.tolist() == ["<", ">", USUAL]


def test_a_currency_that_training_never_had_is_read_and_named() -> None:
    column = column_of([f"{text} EUR" for text in AMOUNTS])
    assert (column.number.affix, column.marks) == (Affix("", " EUR"), (USUAL,))
    parsed = parse(column, ["12.50 EUR", "12.50 USD", "12.50"])
    assert parsed.values.tolist() == [12.5, 12.5, 12.5]
    assert parsed.marks is not None
    assert parsed.marks.tolist() == [USUAL, "USD", "no EUR"]


def test_a_unit_in_a_column_without_any_is_an_error() -> None:
    parsed = parse(column_of(AMOUNTS), ["12.50", "12.50 kg"])
    assert list(parsed.errors) == [1]
    assert "12.50 kg" in parsed.errors[1].message


@pytest.mark.parametrize(
    "cells",
    [
        ["S", "M", "L", "XL", "38", "40", "42"] * 30,
        [f"{code:04d}" for code in RNG.integers(1, 9999, 60)] * 5,
        [f"{code:06x}" for code in RNG.integers(0, 1 << 24, 30)] * 10,
        ["5E0", "5E1", "3E7"] * 80,
        [f"{n}A" if n % 9 == 0 else str(n) for n in RNG.integers(100, 200, 300)],
    ],
    ids=["sizes", "padded", "hex", "class codes", "lettered numbers"],
)
def test_codes_stay_text(cells: list[str]) -> None:
    assert column_of(cells).kind == "categorical"


def test_more_than_a_tenth_of_strange_cells_is_another_column() -> None:
    few = [f"note {i}" if i % 12 == 0 else text for i, text in enumerate(AMOUNTS)]
    many = [f"note {i}" if i % 8 == 0 else text for i, text in enumerate(AMOUNTS)]
    assert column_of(few).kind == "numeric"
    assert not column_of(many).modelled


@given(st.lists(st.decimals(-(10**6), 10**6, places=2), min_size=30, max_size=60), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_gaps_and_strays_never_move_a_value(numbers: list[object], seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = [str(number) for number in numbers]
    spoilt = ["" if rng.random() < 0.2 else cell for cell in cells]
    column = infer("x", spoilt).column
    if column.kind in ("numeric", "integer"):
        values = parse(column, spoilt).values
        read = [
            (float(cell), value) for cell, value in zip(spoilt, values, strict=True) if cell and not np.isnan(value)
        ]
        assert all(wanted == value for wanted, value in read)


def test_an_error_names_the_cell_unless_it_is_redacted() -> None:
    column = column_of(AMOUNTS)
    assert "'secret'" in parse(column, ["secret"]).errors[0].message
    hidden = parse(column.masked(), ["secret"]).errors[0]
    assert isinstance(hidden, DataError)
    assert "secret" not in hidden.message


def test_an_order_that_is_open_is_that_of_another_column() -> None:
    rng = np.random.default_rng(5)
    first = [f"{rng.integers(1, 13):02d}/{rng.integers(1, 13):02d}/2026" for _ in range(80)]
    cells = {
        "open": first,
        "month first": [f"05/{rng.integers(1, 28):02d}/2026" for _ in range(80)],
        "other mark": [f"{rng.integers(1, 28):02d}.05.2026" for _ in range(80)],
    }
    columns = [infer(name, texts).column for name, texts in cells.items()]
    assert len(columns[0].dates) == 2
    settled = settled_together(columns, cells.__getitem__)
    assert [str(one) for one in settled[0].dates] == ["MM/DD/YYYY"]
    assert settled[1:] == columns[1:]
    assert len(settled_together(columns[::2], cells.__getitem__)[0].dates) == 2


def test_groups_of_three_are_whole_numbers_beside_decimal_commas() -> None:
    cells = {"people": ["1.234", "12.500", "7.891", "3.005"] * 20, "share": ["12,5", "7,25", "0,5"] * 27}
    columns = [infer(name, texts).column for name, texts in cells.items()]
    people = settled_together(columns, cells.__getitem__)[0]
    assert people.kind == "integer"
    assert parse(people, ["12.500", "800"]).values.tolist() == [12500.0, 800.0]
    assert settled_together(columns[:1], cells.__getitem__)[0].kind == "numeric"
