"""Counters: which columns are counters, their steps in whatever parts a file is read, and what is said of them."""

import csv
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anomvae
from anomvae.commands.explain import explain
from anomvae.config import Dialect, FitSettings, GenerateSettings, ScoreSettings
from anomvae.model.counters import Steps, differences, is_counter, training_steps, with_counters, with_steps
from anomvae.model.detector import Detector
from anomvae.model.infer_column import infer
from anomvae.model.number_format import NumberFormat
from anomvae.model.schema import Column, Schema, part_key
from anomvae.scoring.batch import Chunk, ScoredChunk, score_chunk
from anomvae.scoring.file import FileScorer
from anomvae.synthesis.running_counters import RunningCounters
from anomvae.table.typed_reader import TypedReader

METER = Column(name="meter", kind="counter", modelled=True, number=NumberFormat(digits=1), counter=True)
NAN = np.nan


def texts(values: np.ndarray, digits: int = 0) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


def found(values: np.ndarray, digits: int = 0) -> Column:
    return as_counter(infer("x", texts(values, digits)).column, texts(values, digits))


def as_counter(column: Column, cells: list[str]) -> Column:
    return with_counters([column], {column.name: cells}.__getitem__)[0]


# --- which columns are counters


def test_meters_sequences_and_stamps_are_counters() -> None:
    rng = np.random.default_rng(1)
    meter = 40_000 + np.cumsum(np.where(rng.random(600) < 0.7, rng.gamma(4, 0.1, 600), 0.0))
    for values, digits in ((meter, 2), (np.arange(1, 601), 0), (np.arange(1000, 1060), 0)):
        column = found(np.asarray(values), digits)
        assert (column.kind, column.counter, column.modelled, column.digits) == ("counter", True, True, digits)
        assert "step" in str(column.reason)
    stamps = found(1_760_000_000 + np.cumsum(rng.integers(1, 200, 600)))
    assert stamps.counter and stamps.kind == "datetime"  # seconds since 1970


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
    columns = [infer(name, column).column for name, column in cells.items()]
    assert not with_counters(columns[:1], cells.__getitem__)[0].counter
    assert [column.kind for column in with_counters(columns, cells.__getitem__)] == ["counter", "datetime"]


def test_every_file_of_the_training_table_may_begin_lower() -> None:
    values = np.tile(np.arange(20.0), 10)  # ten files
    starts = np.arange(200) % 20 == 0
    assert not is_counter(values)
    assert is_counter(values, starts)


def test_counters_of_groups_are_found_within_their_groups() -> None:
    rng = np.random.default_rng(4)
    groups = rng.choice(["a", "b", "c"], 300)
    values, last = np.zeros(300), {"a": 0.0, "b": 5e4, "c": 9e5}
    for i, group in enumerate(groups):
        values[i] = last[group] = last[group] + rng.integers(0, 9)
    assert not is_counter(values)
    assert is_counter(values, groups=groups.tolist())


def test_rows_in_no_order_have_no_steps_after_three_falls() -> None:
    values = np.array([5, 1, 6, 2, 7, 3, 8, *range(9, 40)], dtype=np.float64)
    steps = with_steps(Schema(columns=(METER,)), {"meter": values})[part_key("meter", "step")]
    np.testing.assert_array_equal(steps[:7], [NAN, -4, 5, -4, 5, -4, NAN])
    assert np.isnan(steps[6:22]).all()  # three falls lie among the twenty steps before
    np.testing.assert_array_equal(steps[22:], np.ones(16))


def test_what_the_user_has_stated_stays() -> None:
    cells = texts(np.arange(100.0))
    stated = Column(
        name="x", kind="integer", modelled=True, reason=anomvae.records.sentences.ColumnReason(code="configured")
    )
    assert as_counter(stated, cells) is stated


def test_dates_that_never_fall_keep_their_kind() -> None:
    cells = [f"2026-03-{1 + i // 24:02d} {i % 24:02d}:00:00" for i in range(200)]
    column = as_counter(infer("t", cells).column, cells)
    assert (column.kind, column.counter) == ("datetime", True)
    shuffled = [cells[i] for i in np.random.default_rng(0).permutation(200)]
    assert not as_counter(infer("t", shuffled).column, shuffled).counter


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
    recent: dict[str, list[bool]] = {}
    expected = []
    for value, group in rows:  # by hand, one row after the other
        key = group if grouped else ""
        step = value - last.get(key, NAN)
        expected.append(step if sum(recent.get(key, [])[-20:]) < 3 else NAN)
        if not np.isnan(value):
            last[key] = value
            recent.setdefault(key, []).append(step < 0)
    parts, reader = [], Steps([METER])
    for low, high in zip(
        bounds := sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))}), bounds[1:], strict=False
    ):
        part = slice(low, high)
        parts.append(reader.take({"meter": values[part]}, groups and groups[part])[part_key("meter", "step")])
        reader = Steps([METER], json.loads(json.dumps(reader.state())))  # as a ledger keeps it
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    np.testing.assert_array_equal(whole[part_key("meter", "step")], expected)
    assert {key: value for key, (value, _) in reader.state()["meter"].items()} == last


# --- files: whole, in batches, in chunks, from any row on, side by side


HEADER = "time,meter,power,note"
GROUPED = "room"


def log(rows: int, seed: int, start: float = 40_000, meanwhile: dict[int, str] | None = None) -> list[str]:
    """Lines of a meter that idles at night, one reading in ten minutes; `meanwhile` other readings by row."""
    rng = np.random.default_rng(seed)
    lines, total = [], start
    for i in range(rows):
        hour = i // 6 % 24
        power = max(rng.normal(2.2, 0.3), 0.1) if rng.random() < (0.25 if 1 <= hour < 5 else 0.8) else 0.0
        total += power / 6
        shown = (meanwhile or {}).get(i, f"{total:.2f}")
        stamp = f"2026-{7 + i // 144 // 28:02d}-{1 + i // 144 % 28:02d} {hour:02d}:{i % 6}0:00"
        lines.append(f"{stamp},{shown},{power:.2f},ok")
    return lines


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counters")
    source = write(folder / "train.csv", log(1200, 1))
    anomvae.fit([str(source)], folder / "m.anomvae", FitSettings(steps=300, selftest=False))
    return folder / "m.anomvae"


@pytest.fixture(scope="module")
def detector(model: Path) -> Detector:
    return anomvae.load(str(model))


def scored(path: Path, detector: Detector, suffix: str = ".csv", **more: object) -> bytes:
    out = io.BytesIO()
    FileScorer(str(path), detector, ScoreSettings(threads=1), lambda name, rows: None, **more).score(out, "o", suffix)
    return out.getvalue()


def records(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def new_lines() -> list[str]:
    """A file with gaps, a cell that cannot be read, a row that is rejected for another cell, and a reading of 0."""
    lines = log(300, 7, 41_000, {20: "", 50: "0.00", 51: "", 90: "41x"})
    lines[120] = lines[120].replace("2026-", "two-")
    return lines


def test_a_meter_is_read_and_its_reading_of_0_is_flagged(detector: Detector, tmp_path: Path) -> None:
    kinds = {column.name: (column.kind, column.counter) for column in detector.schema.columns}
    assert kinds["meter"] == ("counter", True)
    assert kinds["time"] == ("datetime", True)
    assert [f.part for f in detector.encoding.features if f.column == "meter"] == ["step"]
    path = write(tmp_path / "new.csv", new_lines())
    result = anomvae.score([str(path)], detector, ScoreSettings(top=50))
    worst = {row.line: row for row in result.files[0].worst}
    fall = worst[52].reasons[0]
    assert fall.column == "meter"
    assert fall.step.startswith("falls by 410") and fall.step.endswith("from the row before")
    assert fall.text.startswith(f"meter 0.00 ({fall.step}), expected step ")
    assert fall.low != "" and float(fall.low) <= float(fall.high)
    assert result.files[0].flagged <= 9
    assert not any(warning.startswith("counter_falls") for warning in result.files[0].warnings)


def test_batches_chunks_and_stretches_give_the_same_bytes(
    detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomvae.scoring import file
    from anomvae.table import csv_decode, reader

    path = write(tmp_path / "new.csv", new_lines())
    whole = scored(path, detector)
    for size in (1, 7, 64):
        monkeypatch.setattr(reader, "BATCH_ROWS", size)
        assert scored(path, detector) == whole
    monkeypatch.setattr(reader, "FAST_FROM", 0)  # the fast parser takes all blocks but those with strange cells
    monkeypatch.setattr(csv_decode, "CHUNK", 1024)
    assert scored(path, detector) == whole

    names = HEADER.split(",")
    cells = [line.split(",") for line in new_lines()]
    table = pa.table({name: [row[j] for row in cells] for j, name in enumerate(names)})
    pq.write_table(table, tmp_path / "new.parquet", row_group_size=37)
    monkeypatch.setattr(reader, "BATCH_ROWS", 16)
    at_once = scored(tmp_path / "new.parquet", detector)
    assert at_once == whole
    monkeypatch.setattr(file, "LONG_ROWS", 1)
    monkeypatch.setattr(file, "CHUNK_CELLS", 2 * 16 * len(names))
    asked = []

    def elsewhere(chunks):
        for chunk in chunks:
            there = msgspec.msgpack.decode(msgspec.msgpack.encode(chunk), type=Chunk)
            asked.append(there.counters)
            yield msgspec.msgpack.decode(msgspec.msgpack.encode(score_chunk(there, detector)), type=ScoredChunk)

    assert scored(tmp_path / "new.parquet", detector, chunk_scorer=elsewhere) == whole
    assert len(asked) == 10 and asked[0] == {"time": {}, "meter": {}} and asked[1]["meter"][""][0] > 41_000


def test_every_row_can_be_explained_as_it_was_scored(model: Path, detector: Detector, tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", new_lines())

    rows = {int(row["_av_line"]): row for row in csv.DictReader(scored(path, detector).decode().splitlines())}
    lines = [2, 3, 22, 23, 52, 53, 54, 93, 123, 301]
    explained = explain([f"{path}:{line}" for line in lines], detector)
    for row in explained.rows:
        assert row.score == float(rows[row.line]["_av_score"])


def test_a_file_that_falls_everywhere_is_told_so(detector: Detector, tmp_path: Path) -> None:
    path = write(tmp_path / "new.csv", log(100, 3, 41_000)[::-1])
    warnings = anomvae.score([str(path)], detector).files[0].warnings
    assert sorted(w.split(":")[0] for w in warnings) == ["counter_falls", "counter_falls"]


# --- a grown file, and what the ledger keeps


def test_a_grown_file_goes_on_from_its_last_row(model: Path, detector: Detector, tmp_path: Path) -> None:

    lines = new_lines()
    whole = scored(write(tmp_path / "whole.csv", lines), detector)
    expected = {row["_av_line"]: row["_av_score"] for row in csv.DictReader(whole.decode().splitlines())}
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    found: dict[str, str] = {}
    for upto in (51, 52, 91, 121, 300):  # behind the 0, the gap, the unreadable cell and the rejected row
        write(inbox / "log.csv", lines[:upto])
        assert folder_score(inbox, out, model) in (0, 1)
    for path in sorted((out / "results").glob("*.csv")):
        found |= {row["_av_line"]: row["_av_score"] for row in records(path)}
    assert len(list((out / "results").glob("*.csv"))) == 5
    assert found == expected
    manifest = max(
        (json.loads(path.read_text()) for path in (out / "results").glob("*.json")), key=lambda one: one["sequence"]
    )
    assert manifest["counters"]["meter"] == {"": [float(lines[-1].split(",")[1]), 0]}
    (out / "ledger.sqlite").unlink()  # rebuilt from the manifests
    write(inbox / "log.csv", [*lines, lines[-1].replace(lines[-1].split(",")[1], "41000.00")])
    assert folder_score(inbox, out, model) in (0, 1)
    last = max(((out / "results").glob("*.csv")), key=lambda path: path.stat().st_mtime_ns)
    assert [row["_av_flag"] for row in records(last)] == ["true"]


def folder_score(inbox: Path, out: Path, model: Path) -> int:
    from anomvae.cli import main

    return main(["score", str(inbox), "-o", str(out), "-m", str(model), "-q", "--settle", "0.001s"])


# --- groups


def test_counters_step_within_their_group(tmp_path: Path) -> None:
    schema = Schema(columns=(METER, Column(name="room", kind="ignore", modelled=False)), counter_group=("room",))
    path = tmp_path / "rooms.csv"
    path.write_text("room,meter\na,1.0\nb,50.0\na,3.5\nb,50.1\na,3.4\n")
    batch = next(TypedReader(str(path), schema, Dialect()).batches())
    np.testing.assert_array_equal(batch.columns[part_key("meter", "step")], [NAN, NAN, 2.5, 0.1, -0.1])


# --- synthetic rows and the estimator


def test_generated_counters_go_on_from_training(model: Path, detector: Detector, tmp_path: Path) -> None:
    out = tmp_path / "made.csv"
    anomvae.generate(detector, 400, output=str(out))

    rows = records(out)
    meter = np.array([float(row["meter"]) for row in rows])
    last = float(log(1200, 1)[-1].split(",")[1])
    assert meter[0] >= last
    assert (np.diff(meter) >= 0).all()
    real = np.diff([float(line.split(",")[1]) for line in log(1200, 1)])
    assert abs(np.diff(meter).mean() / real.mean() - 1) < 0.25
    frame = detector.sample(50)
    assert (np.diff(frame["meter"]) >= 0).all()
    with pytest.raises(anomvae.errors.UsageError, match="'meter' is a counter"):
        detector.sample(5, {"meter": 3})


def test_steps_are_added_up_within_groups() -> None:
    room = Column(name="room", kind="categorical", modelled=True)
    running = RunningCounters(Schema(columns=(room, METER), counter_group=("room",)), {"meter": 10.0})
    rooms = np.array(["a", "b", "a", "b"], dtype=object)
    first = running.advance({"room": rooms, "meter": np.array([1, 5, 2, NAN])})
    np.testing.assert_array_equal(first["meter"], [11, 15, 13, NAN])
    filled = {"meter": np.array([NAN, NAN, 90, NAN])}
    second = running.advance({"room": rooms, "meter": np.array([1.0, 1, 1, 1])}, filled)
    np.testing.assert_array_equal(second["meter"], [14, 16, 90, 17])


def test_a_filled_counter_stays_and_the_rows_after_go_on_from_it(detector: Detector, tmp_path: Path) -> None:

    (tmp_path / "like.csv").write_text("meter,note\n,ok\n50000.00,ok\n,ok\n,ok\n")
    anomvae.generate(
        detector, settings=GenerateSettings(like=str(tmp_path / "like.csv")), output=str(tmp_path / "o.csv")
    )
    meter = [float(row["meter"]) for row in records(tmp_path / "o.csv")]
    last = float(log(1200, 1)[-1].split(",")[1])
    assert last <= meter[0] < last + 5
    assert meter[1] == 50_000
    assert 50_000 <= meter[2] <= meter[3] < 50_010


def test_the_estimator_takes_the_rows_of_a_frame_in_their_order() -> None:
    import pandas as pd

    lines = [line.split(",") for line in log(400, 5)]
    frame = pd.DataFrame({"meter": [float(row[1]) for row in lines], "power": [float(row[2]) for row in lines]})
    found = anomvae.AnomVAE(steps=200, random_state=0).fit(frame)
    assert found.detector_.schema.columns[0].kind == "counter"
    new = frame.copy()
    new.loc[100, "meter"] = 0
    assert found.predict(new)[100] == -1
    assert np.isfinite(found.score_samples(frame[100:101])).all()  # a row alone has no step


def test_a_list_with_the_newest_on_top_is_left_out_as_a_running_number() -> None:
    cells = {"number": [str(n) for n in range(5000, 4800, -1)], "age": [str(20 + n * 7 % 50) for n in range(200)]}
    columns = [infer(name, texts).column for name, texts in cells.items()]
    number, age = with_counters(columns, cells.__getitem__)
    assert (number.modelled, number.reason.code) == (False, "running_number")
    assert (age.kind, age.modelled) == ("integer", True)
