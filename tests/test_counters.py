"""Counters: which columns are counters, their steps in whatever parts a file is read, and what is said of them."""

import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anomvae
from anomvae.config import Dialect, FitSettings, ScoreSettings
from anomvae.model.counters import Steps, differences, is_counter, training_steps, with_counters, with_steps
from anomvae.model.detector import Detector
from anomvae.model.schema import Column, Schema, infer, part_key
from anomvae.model.value_parsing import NumberFormat
from anomvae.scoring.batch import Chunk, ScoredChunk, score_chunk
from anomvae.scoring.file import FileScorer
from anomvae.table.typed_reader import TypedReader

NUMBERS = NumberFormat()
METER = Column(name="meter", kind="counter", modelled=True, digits=1, counter=True)
NAN = np.nan


def texts(values: np.ndarray, digits: int = 0) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def found(values: np.ndarray, digits: int = 0) -> Column:
    return as_counter(infer("x", texts(values, digits), NUMBERS), texts(values, digits))


def as_counter(column: Column, cells: list[str]) -> Column:
    return with_counters([column], {column.name: cells}.__getitem__, NUMBERS)[0]


# --- which columns are counters


def test_meters_sequences_and_stamps_are_counters() -> None:
    rng = np.random.default_rng(1)
    meter = 40_000 + np.cumsum(np.where(rng.random(600) < 0.7, rng.gamma(4, 0.1, 600), 0.0))
    stamps = 1_760_000_000 + np.cumsum(rng.integers(1, 200, 600))
    for values, digits in ((meter, 2), (stamps, 0), (np.arange(1, 601), 0), (np.arange(1000, 1060), 0)):
        column = found(np.asarray(values), digits)
        assert (column.kind, column.counter, column.modelled, column.digits) == ("counter", True, True, digits)
        assert "step" in str(column.reason)


def test_a_reset_or_a_stray_cell_does_not_hide_a_counter() -> None:
    values = np.arange(600.0)
    values[400:] -= 400  # one reset
    values[100] = 0  # one reading of 0
    assert is_counter(values)
    values[[150, 200, 250, 300]] = 0  # 6 falls in 599 steps: more than 0.5 %
    assert not is_counter(values)


def test_sorted_measures_and_columns_that_mostly_stand_still_are_no_counters() -> None:
    rng = np.random.default_rng(2)
    assert not is_counter(np.sort(rng.normal(50, 10, 500)))
    assert not is_counter(np.sort(rng.lognormal(3, 1, 500)))
    assert not is_counter(np.sort(rng.exponential(1, 500)))
    groups = [np.sort(rng.exponential(50, 300)) for _ in range(3)]  # sorted within groups: two falls
    assert not is_counter(np.concatenate(groups))
    assert not is_counter(np.repeat(np.arange(100.0), 5))  # moves in a fifth of the steps
    assert not is_counter(np.arange(600.0)[::-1])
    assert not is_counter(rng.normal(0, 1, 600))
    assert not is_counter(np.arange(49.0))
    assert is_counter(np.arange(50.0))
    assert not is_counter(np.full(100, NAN))


def test_a_meter_of_a_winter_is_one_where_dates_show_the_order_of_time() -> None:
    season = 1 + 9 * np.cos(np.linspace(0, np.pi, 400)) ** 2  # ten times as much at both ends
    meter = texts(np.cumsum(season * np.random.default_rng(3).gamma(4, 1, 400)))
    dates = [f"2026-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(300)] + [
        f"2027-{1 + i // 28:02d}-{1 + i % 28:02d}" for i in range(100)
    ]
    cells = {"meter": meter, "date": dates}
    columns = [infer(name, column, NUMBERS) for name, column in cells.items()]
    assert not with_counters(columns[:1], cells.__getitem__, NUMBERS)[0].counter
    assert [column.kind for column in with_counters(columns, cells.__getitem__, NUMBERS)] == ["counter", "datetime"]


def test_every_file_of_the_training_table_may_begin_lower() -> None:
    values = np.tile(np.arange(20.0), 10)  # ten files
    starts = np.arange(200) % 20 == 0
    assert not is_counter(values)
    assert is_counter(values, starts)


def test_what_the_user_has_stated_stays() -> None:
    cells = texts(np.arange(100.0))
    stated = Column(
        name="x", kind="integer", modelled=True, reason=anomvae.records.sentences.ColumnReason(code="configured")
    )
    assert as_counter(stated, cells) is stated


def test_dates_that_never_fall_keep_their_kind() -> None:
    cells = [f"2026-03-{1 + i // 24:02d} {i % 24:02d}:00:00" for i in range(200)]
    column = as_counter(infer("t", cells, NUMBERS), cells)
    assert (column.kind, column.counter) == ("datetime", True)
    shuffled = [cells[i] for i in np.random.default_rng(0).permutation(200)]
    assert not as_counter(infer("t", shuffled, NUMBERS), shuffled).counter


# --- steps


def test_steps_by_hand() -> None:
    values = np.array([5, NAN, 7, 7, 3, NAN, 10.0])
    np.testing.assert_array_equal(differences(values), [NAN, NAN, 2, 0, -4, NAN, 7])
    starts = np.array([True, False, False, True, False, False, False])
    np.testing.assert_array_equal(differences(values, starts=starts), [NAN, NAN, 2, NAN, -4, NAN, 7])
    schema = Schema(columns=(METER,))
    steps = with_steps(schema, {"meter": values}, list("abababa"))[part_key("meter", "step")]
    np.testing.assert_array_equal(steps, [NAN, NAN, 2, NAN, -4, NAN, 7])


def test_steps_are_rounded_to_the_decimals_of_the_column() -> None:
    steps = with_steps(Schema(columns=(METER,)), {"meter": np.array([40000.1, 40000.4])})[part_key("meter", "step")]
    assert steps[1] == 0.3


def test_training_knows_no_falls_and_no_way_back() -> None:
    values = np.array([1, 2, 3, 0, 4, 5, 2, 3, 4.0])
    steps = training_steps(Schema(columns=(METER,)), {"meter": values})[part_key("meter", "step")]
    np.testing.assert_array_equal(steps, [NAN, 1, 1, NAN, NAN, 1, NAN, NAN, 1])


readings = st.lists(
    st.tuples(st.one_of(st.just(NAN), st.integers(-50, 50).map(float)), st.sampled_from("abc")), min_size=1, max_size=40
)


@given(rows=readings, cuts=st.lists(st.integers(0, 40)), grouped=st.booleans())
def test_steps_do_not_depend_on_how_the_rows_are_cut(rows, cuts, grouped) -> None:
    values = np.array([value for value, _ in rows])
    groups = [group for _, group in rows] if grouped else None
    whole = Steps([METER]).take({"meter": values}, groups)
    last: dict[str, float] = {}
    expected = []
    for value, group in rows:  # by hand, one row after the other
        key = group if grouped else ""
        expected.append(value - last.get(key, NAN))
        if not np.isnan(value):
            last[key] = value
    parts, reader = [], Steps([METER])
    for low, high in zip(
        bounds := sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))}), bounds[1:], strict=False
    ):
        part = slice(low, high)
        parts.append(reader.take({"meter": values[part]}, groups and groups[part])[part_key("meter", "step")])
        reader = Steps([METER], json.loads(json.dumps(reader.state())))  # as a ledger keeps it
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    np.testing.assert_array_equal(whole[part_key("meter", "step")], expected)
    assert reader.state() == {"meter": last}
