"""What makes scoring and fitting quick or small must not change what they say."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomvae.cli import main
from anomvae.config import FitSettings
from anomvae.model.anomaly_score import fit_tails
from anomvae.model.likelihood import hidden_deviances
from anomvae.records.sentences import TableWarning
from anomvae.scoring.file import map_in_order
from anomvae.table.training_rows import BLOCK, CHUNK, TextRows, read_training_table
from anomvae.training.fit_detector import FittedDetector
from tests.conftest import SAMPLE

pytestmark = pytest.mark.slow  # large tables


@given(st.integers(1, 40), st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from([5, 300]))
@settings(deadline=None)
def test_the_largest_surprise_is_found_without_looking_up_every_column(
    columns: int, rows: int, seed: int, known: int
) -> None:
    rng = np.random.default_rng(seed)
    fitted = rng.exponential(size=(known, columns)).round(int(rng.integers(0, 4)))  # ties, as few-valued columns have
    tails = fit_tails(fitted)
    values = rng.exponential(size=(rows, columns)) * rng.choice([0.0, 0.3, 1.0, 50.0], size=(rows, 1))
    assert np.array_equal(tails.largest_surprise(values), tails.surprise(values).max(axis=1))


def test_a_lone_row_with_hidden_columns_has_the_bits_it_has_in_company(small: FittedDetector) -> None:
    detector = small.detector
    rng = np.random.default_rng(3)
    rows = detector.encode({name: rng.normal(5, 3, 700) for name in detector.columns})
    every = np.ones(len(detector.columns), dtype=bool)
    together = hidden_deviances(detector.ensemble, rows, every)
    for i in (0, 255, 256, 699):
        alone = hidden_deviances(detector.ensemble, rows.take(slice(i, i + 1)), every)
        assert np.array_equal(alone[0], together[i])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_work_on_threads_comes_back_in_order_and_is_not_held_without_bound(threads: int) -> None:
    taken, names, ahead = [0], set[str](), []

    def items() -> Iterator[int]:
        for i in range(50):
            taken[0] = i
            yield i

    def square(i: int) -> int:
        names.add(threading.current_thread().name)
        return i * i

    found = []
    for done in map_in_order(square, items(), threads):
        ahead.append(taken[0] - len(found))
        found.append(done)
    assert found == [i * i for i in range(50)]
    assert max(ahead) <= threads
    assert (len(names) > 1) == (threads > 1)


def test_an_error_on_a_thread_reaches_the_caller_and_ends_the_rest() -> None:
    def work(i: int) -> int:
        if i == 5:
            raise ValueError("row 5")
        return i

    before, found = set(threading.enumerate()), []
    with pytest.raises(ValueError, match="row 5"):
        for done in map_in_order(work, range(100), 2):
            found.append(done)
    assert found == [0, 1, 2, 3, 4]
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Orders, many times over, with a broken line and a new category among them: careful and plain blocks."""
    lines = (SAMPLE / "incoming" / "2026-11-12.csv").read_text().splitlines()
    path = tmp_path_factory.mktemp("long") / "long.csv"
    body = lines[1:] * 30
    body[7000], body[9000] = "broken", '"quoted",' + ",".join(body[9000].split(",")[1:])
    path.write_text("\n".join([lines[0], *body]) + "\n")
    return path


@pytest.mark.parametrize("emit", ["all", "flagged"])
def test_threads_change_neither_rows_nor_the_result(
    long_file: Path, orders_model: Path, tmp_path: Path, emit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []
    for threads in ("1", "2", "4", "auto"):
        out = tmp_path / f"{threads}.csv"
        main(["score", str(long_file), "-m", str(orders_model), "-o", str(out), "--emit", emit, "--json",
              "--threads", threads])  # fmt: skip
        result = json.loads(capsys.readouterr().out)["files"][0]
        told.append((out.read_bytes(), {k: v for k, v in result.items() if k not in ("seconds", "outputs")}))
    assert told[0][1]["rejected"] == 61  # two in each copy, and the broken line
    assert told[0][1]["flagged"] > 30
    assert all(one == told[0] for one in told[1:])


@pytest.mark.parametrize("threads", ["0", "-1", "many"])
def test_a_number_of_threads_that_cannot_be_is_a_usage_error(
    orders_model: Path, threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(SAMPLE / "incoming" / "2026-11-12.csv")
    assert main(["score", file, "-m", str(orders_model), "--threads", threads]) == 2
    assert "threads" in capsys.readouterr().err


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.integers(0, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=30)))
@settings(deadline=None)
def test_text_rows_give_back_what_was_put_in(rows: list[list[str]]) -> None:
    width = len(rows[0]) if rows else 2
    held = TextRows(width)
    for row in rows:
        held.add(row)
    assert len(held) == len(rows)
    assert [held.column(at) for at in range(width)] == [[row[at] for row in rows] for at in range(width)]
    if rows and width:
        held.keep([i % 2 == 0 for i in range(len(rows))])
        assert held.take([0]) == [rows[0]]
        assert held.column(0) == [row[0] for row in rows[::2]]
        held.add(rows[0])
        assert held.column(0) == [row[0] for row in [*rows[::2], rows[0]]]


def written(place: Path, rows: tuple[int, ...]) -> list[str]:
    """Files of so many rows: the file's number, the row's."""
    names = []
    for part, count in enumerate(rows):
        names.append(str(place / f"{part}.csv"))
        Path(names[-1]).write_text("a,b\n" + "".join(f"{part},{i}\n" for i in range(count)))
    return names


@pytest.mark.parametrize("most", [20, 63, 4000, 20_000])
def test_a_table_above_max_rows_is_sampled_by_blocks_whatever_the_order_of_its_files(tmp_path: Path, most: int) -> None:
    names = written(tmp_path, (3 * CHUNK, 5000, 10, 4001))
    found = read_training_table(names, FitSettings(max_rows=most), ())
    kept = [(int(part), int(i)) for part, i in found.rows.take(range(len(found.rows)))]
    assert len(kept) == most
    assert kept == sorted(set(kept))
    assert list(zip(found.file.tolist(), found.line.tolist(), strict=True)) == [(part, i + 2) for part, i in kept]
    blocks: dict[tuple[int, int], list[int]] = {}
    for part, i in kept:
        blocks.setdefault((part, i // BLOCK), []).append(i % BLOCK)
    assert all(rows == list(range(len(rows))) for rows in blocks.values())
    ends = {(part, rows // BLOCK): rows % BLOCK for part, rows in enumerate((3 * CHUNK, 5000, 10, 4001))}
    assert sum(len(rows) != ends.get(block, BLOCK) for block, rows in blocks.items()) <= 1
    assert found.rows_read == 3 * CHUNK + 5000 + 10 + 4001
    assert found.warnings[-1] == TableWarning(code="sampled_rows", count=most, total=found.rows_read)
    again = read_training_table(names[::-1], FitSettings(max_rows=most), ())
    assert sorted(map(tuple, again.rows.take(range(len(again.rows))))) == sorted((str(a), str(b)) for a, b in kept)


def test_every_row_has_the_same_chance_to_be_sampled(tmp_path: Path) -> None:
    found = read_training_table(written(tmp_path, (64_000, 64_000)), FitSettings(max_rows=32_000), ())
    shares = np.histogram(found.file * 64_000 + found.line, bins=8, range=(0, 128_000))[0] / 16_000
    assert np.abs(shares - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 250)  # 250 blocks a bin


def test_a_table_within_max_rows_is_kept_whole_in_the_order_that_was_named(tmp_path: Path) -> None:
    names = written(tmp_path, (700, 300))[::-1]
    found = read_training_table(names, FitSettings(max_rows=1000), ())
    assert found.rows.take(range(1000)) == [[part, str(i)] for part, n in (("1", 300), ("0", 700)) for i in range(n)]
    assert found.warnings == []
